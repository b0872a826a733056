//! What a month costs, held against events whose cost is known to the last digit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use metering::caller::{Caller, CallerMap, Reload, Trust};
use metering::usage::{CloudEvent, EventType, Target, Tokens, Usage};
use serde_json::Value;
use tokenweir::report::{
    CostFiles, GroupBy, Input, KeyValue, Prices, PtuCosts, Rates, Report, ReportOptions, expand_prices,
    report,
};

use crate::skip;
use crate::support::files::root;

/// Enough that every deployment, tier, class, price and place of the map is there.
const EVENTS: &str = "20000";

/// Money in 10^-30.
type Sums = BTreeMap<Vec<String>, u128>;

/// Events with their truth; `None`: what makes them is not here.
pub(crate) fn made() -> Option<tempfile::TempDir> {
    made_with(&["--events", EVENTS])
}

/// Events that are made so.
pub(crate) fn made_with(arguments: &[&str]) -> Option<tempfile::TempDir> {
    let shared = std::env::var_os("TOKENWEIR_SHARED").map(PathBuf::from);
    let program = shared.unwrap_or_else(|| root().join("../shared")).join("tools/usage-events/generate.py");
    if !program.exists() {
        skip::test(
            "the program that makes events with a known truth is absent; TOKENWEIR_SHARED names its folder",
        );
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new("python3").arg(program).arg(folder.path()).args(arguments).output();
    let Ok(run) = run else {
        skip::test("there is no python3 to make events with a known truth");
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(folder)
}

fn options(folder: &Path, by: &str, cost: CostFiles) -> ReportOptions {
    let input = Input::Files(folder.join("events.jsonl"));
    ReportOptions { cost, ..ReportOptions::of(input, GroupBy::list(by).unwrap()) }
}

fn prices(folder: &Path, name: &str) -> CostFiles {
    CostFiles { prices: Some(Prices::read(&[folder.join(name)]).unwrap()), ..CostFiles::default() }
}

fn money(text: &str) -> u128 {
    let (whole, places) = text.split_once('.').unwrap();
    format!("{whole}{places:0<30}").parse().unwrap()
}

/// What the report says of each row, with what is missing as an empty text.
fn sums(
    report: &Report,
    of: impl Fn(&tokenweir::report::ReportSums) -> Option<tokenweir::report::Amount>,
) -> Sums {
    let mut found = Sums::new();
    for line in &report.lines {
        let key = |key: &KeyValue| key.value().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let cost = of(&line.sums).map_or(0, |cost| money(&cost.to_string()));
        *found.entry(line.keys.iter().map(key).collect()).or_default() += cost;
    }
    found
}

/// The truth by some of its columns.
fn truth(folder: &Path, keys: &[&str], cost: &str) -> Sums {
    let mut found = Sums::new();
    let mut reader = csv::Reader::from_path(folder.join("truth.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    for record in reader.records() {
        let record = record.unwrap();
        let get = |name: &str| record[header.iter().position(|column| column == name).unwrap()].to_owned();
        *found.entry(keys.iter().map(|key| get(key)).collect()).or_default() += money(&get(cost));
    }
    found
}

#[test]
fn every_row_costs_what_it_must_to_the_last_digit() {
    let Some(folder) = made() else { return };
    let folder = folder.path();
    for (name, column) in [("prices.csv", "cost"), ("prices-full.csv", "cost_full")] {
        let report = report(&options(folder, "caller,model,day,tier", prices(folder, name))).unwrap();
        assert_eq!(
            sums(&report, |sums| sums.cost()),
            truth(folder, &["caller", "model", "day", "tier"], column),
            "{name}"
        );
        assert!(report.unpriced.is_empty() && report.lines.len() > 1_000);
    }
    let map = Reload::<CallerMap>::file(&folder.join("callers-corrected.csv")).unwrap().current();
    let by_map = ReportOptions {
        caller_map: Some(Arc::clone(&map)),
        ..options(folder, "department,cost_center", prices(folder, "prices-full.csv"))
    };
    let report = report(&by_map).unwrap();
    let expected = truth(folder, &["map_department", "map_cost_center"], "cost_full");
    assert_eq!(sums(&report, |sums| sums.cost()), expected);
    assert_ne!(
        expected,
        truth(folder, &["department", "cost_center"], "cost_full"),
        "the map corrects something"
    );
    assert_eq!(report.cost.versions.caller_map.as_deref(), Some(map.version()));
}

/// A call that begins before midnight and ends after it is paid by who paid for its caller when it began.
#[test]
fn a_map_says_who_pays_as_of_the_beginning_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let (events, map) = (folder.path().join("events.jsonl"), folder.path().join("callers.csv"));
    let mut usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
    usage.caller.id = "team-a".into();
    usage.timing.started_at = Some("2026-10-31T23:59:59.999Z".parse().unwrap());
    usage.tokens = Tokens { input: Some(1), output: Some(1), ..Tokens::default() };
    let time = Some("2026-11-01T00:00:00.001Z".to_owned());
    let id = "0192f0c5-0000-7000-8000-000000000001".to_owned();
    let event = CloudEvent::new(EventType::Usage, "//tokenweir/x", id, time, "team-a", usage);
    std::fs::write(&events, serde_json::to_string(&event.with_sequence(1)).unwrap()).unwrap();
    let rows =
        "caller,from,to,cost_center,department\nteam-a,,2026-11-01,1,Before\nteam-a,2026-11-01,,2,After\n";
    std::fs::write(&map, rows).unwrap();
    let options = ReportOptions {
        caller_map: Some(Reload::<CallerMap>::file(&map).unwrap().current()),
        ..ReportOptions::of(Input::Files(events), GroupBy::list("department").unwrap())
    };
    let report = report(&options).unwrap();
    let [line] = &report.lines[..] else { panic!("{} lines", report.lines.len()) };
    assert_eq!(line.keys[0].value().as_deref(), Some("Before"));
}

#[test]
fn a_second_currency_is_exact_too() {
    let Some(folder) = made() else { return };
    let folder = folder.path();
    let rates = folder.join("rates.csv");
    std::fs::write(
        &rates,
        "from,to,base,quote,rate\n,2026-10-01,EUR,USD,1.0841\n2026-10-01,,EUR,USD,1.079713333333\n",
    )
    .unwrap();
    let files = CostFiles { rates: Some(Rates::read(&rates).unwrap()), ..prices(folder, "prices-full.csv") };
    let found = sums(&report(&options(folder, "caller,day", files)).unwrap(), |sums| sums.cost_2());
    for (keys, cost) in truth(folder, &["caller", "day"], "cost_full") {
        let rate = if keys[1].as_str() < "2026-10-01" { 1_084_100_000_000 } else { 1_079_713_333_333 };
        assert_eq!(found[&keys], cost / 10_u128.pow(12) * rate, "{keys:?}");
    }
}

#[test]
fn fixed_costs_are_shared_to_the_cent_whatever_the_keys_are() {
    let Some(folder) = made() else { return };
    let folder = folder.path();
    let ptu = PtuCosts::read(&folder.join("ptu.csv")).unwrap();
    let files = || CostFiles { ptu: Some(ptu.clone()), ..prices(folder, "prices-full.csv") };
    let found =
        sums(&report(&options(folder, "deployment,month,caller", files())).unwrap(), |sums| sums.cost());
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap();
    let costs = [
        ("gpt-4o-ptu", "2026-09", 2_628_000),
        ("gpt-4o-ptu", "2026-10", 2_715_600),
        ("o3-ptu", "2026-09", 1_314_000),
        ("o3-ptu", "2026-10", 1_357_800),
    ];
    for (deployment, month, cents) in costs {
        let tokens = facts["ptu_tokens"][format!("{deployment} {month}")].as_object().unwrap();
        let sum: u64 = tokens.values().map(|tokens| tokens.as_u64().unwrap()).sum();
        let mut lost: Vec<(u64, &String)> = Vec::new();
        let mut expected: BTreeMap<&String, u64> = BTreeMap::new();
        for (caller, tokens) in tokens {
            let product = cents * tokens.as_u64().unwrap();
            expected.insert(caller, product / sum);
            lost.push((product % sum, caller));
        }
        lost.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let missing = cents - expected.values().sum::<u64>();
        for (_, caller) in lost.iter().take(usize::try_from(missing).unwrap()) {
            *expected.get_mut(caller).unwrap() += 1;
        }
        for (caller, cents) in expected {
            let key = [deployment, month, caller].map(str::to_owned).to_vec();
            assert_eq!(found[&key], u128::from(cents) * 10_u128.pow(28), "{key:?}");
        }
    }
    let whole: u128 = truth(folder, &[], "cost_full").values().sum::<u128>() + 8_015_400 * 10_u128.pow(28);
    let callers = sums(&report(&options(folder, "caller", files())).unwrap(), |sums| sums.cost());
    for by in ["deployment", "class,day", "caller,hour", "department,tier", "source"] {
        let report = report(&options(folder, by, files())).unwrap();
        let found = sums(&report, |sums| sums.cost());
        assert_eq!(found.values().sum::<u128>(), whole, "{by}");
        assert_eq!(money(&report.total.cost().unwrap().to_string()), whole, "{by}");
        if by == "caller,hour" {
            let mut again = Sums::new();
            found.into_iter().for_each(|(keys, cost)| *again.entry(keys[..1].to_vec()).or_default() += cost);
            assert_eq!(again, callers, "a caller pays the same, however it is cut");
        }
    }
}

/// An engine that joins by equality and period finds the same sum.
#[test]
fn the_flat_table_prices_what_the_report_prices() {
    let Some(folder) = made() else { return };
    let folder = folder.path();
    let options = options(folder, "model", prices(folder, "prices-full.csv"));
    let mut table = Vec::new();
    expand_prices(&options, &mut table).unwrap();
    let rows: Vec<csv::StringRecord> =
        csv::Reader::from_reader(&*table).records().map(Result::unwrap).collect();
    assert!(rows.len() > 100);
    let flat = folder.join("flat.csv");
    // The same columns in the words of price tables: every row stands for its combination only.
    let mut text = "deployment,resource,model,region,service_tier,speed,inference_geo,size,quality,provider,class,from,to,price,per_tokens,currency\n".to_owned();
    for row in &rows {
        let unit: u128 = row[13].parse().unwrap();
        let price = format!("{}.{:012}", unit / 10_u128.pow(12), unit % 10_u128.pow(12));
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(at, cell)| if at == 13 { format!("{price},1000000") } else { cell.to_owned() })
            .collect();
        text += &format!("{}\n", cells.join(","));
    }
    std::fs::write(&flat, text).unwrap();
    let direct = report(&options).unwrap();
    let again = report(&ReportOptions {
        cost: CostFiles { prices: Some(Prices::read(&[flat]).unwrap()), ..CostFiles::default() },
        ..options
    })
    .unwrap();
    assert!(again.unpriced.is_empty());
    assert_eq!(sums(&again, |sums| sums.cost()), sums(&direct, |sums| sums.cost()));
}

#[test]
fn the_starter_table_is_read_and_says_whose_word_counts() {
    let path: PathBuf = root().join("deploy/prices/azure-openai-global-standard.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    let head: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    assert!(head[0].contains("check against your agreement") && head[0].contains("as of 20"), "{head:?}");
    let prices = Prices::read(&[path]).unwrap();
    assert!(prices.notes().is_empty(), "{:?}", prices.notes());
}
