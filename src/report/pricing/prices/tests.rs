//! Which price counts, and what is wrong with a file of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::report::pricing::amount::Amount;
use crate::report::pricing::charges::Charges;
use crate::report::usage_event::UsageEvent;
use metering::usage::StoredEvent;

const WIDE: &str = "model,deployment,from,to,input,input_cached,output,per_tokens,currency";
const LONG: &str = "model,deployment,deployment_type,region,service_tier,class,from,to,price,per_tokens,per_units,currency,sku_id";

fn read(texts: &[String]) -> Result<Prices, String> {
    let parse = |(at, text): (usize, &String)| PriceFile::parse(text, at).map_err(|wrong| wrong.to_string());
    let files: Result<Vec<_>, String> = texts.iter().enumerate().map(parse).collect();
    Prices::of(files?).map_err(|WrongFile { file, wrong }| format!("file {file}: {wrong}"))
}

fn wide(lines: &str) -> Prices {
    read(&[format!("{WIDE}\n{lines}")]).unwrap()
}

fn long(lines: &str) -> Prices {
    read(&[format!("{LONG}\n{lines}")]).unwrap()
}

/// A call whose data has these members instead of the usual ones.
fn event(time: &str, data: Value) -> UsageEvent {
    let mut whole = json!({
        "caller": {"id": "a"}, "target": {"deployment": "d", "model": "m"}, "tokens": {"input": 0, "output": 0},
        "accounting": {"input_quality": "exact", "output_quality": "exact"}, "stream": {"outcome": "complete"},
        "reporter": {"instance": "b", "version": "1"}
    });
    for (name, value) in data.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let time = if time.len() == 10 { format!("{time}T00:00:00Z") } else { time.to_owned() };
    let body = json!({
        "specversion": "1.0", "id": "01a20359-92af-74b9-b085-5495d89722d1", "source": "//tokenweir/x",
        "type": "dev.tokenweir.usage.v1", "time": time, "subject": "a", "partitionkey": "a", "data": whole
    });
    let body = body.to_string();
    let stored = StoredEvent::read(&body).unwrap();
    UsageEvent::of(&stored, stored.data().unwrap()).unwrap().unwrap()
}

/// The sum of what has a price. Nothing used is nothing to pay.
fn amount(charges: &Charges<'_>) -> Option<Amount> {
    let priced: Vec<Amount> = charges.parts.iter().filter_map(|charge| charge.amount).collect();
    (!priced.is_empty() || charges.parts.is_empty()).then(|| priced.into_iter().sum())
}

/// Returns the cost of a call, and the classes that have no price.
fn cost(prices: &Prices, time: &str, data: Value) -> (Option<String>, Vec<&'static str>) {
    let event = event(time, data);
    let charges = Charges::of(Some(prices), &event);
    let unpriced = charges.unpriced().map(|part| part.class.as_str()).collect();
    (amount(&charges).map(|amount| amount.to_string()), unpriced)
}

fn used(prices: &Prices, target: Value, tokens: Value) -> Option<String> {
    cost(prices, "2026-11-22", json!({"target": target, "tokens": tokens})).0
}

#[test]
fn cached_input_is_a_part_of_input_and_has_its_own_price() {
    let prices = wide("m,,,,2.50,1.25,10.00,1000000,USD\nn,,,,3,,1,1000,USD");
    let of = |model, input, cached, output| {
        used(
            &prices,
            json!({"model": model}),
            json!({"input": input, "input_cached": cached, "output": output}),
        )
        .unwrap()
    };
    assert_eq!(of("m", 1_000_000, 400_000, 0), "2.00");
    assert_eq!(of("m", 1, 0, 1), "0.0000125");
    assert_eq!(of("m", 1, 5, 0), "0.00000125", "never more than there is");
    assert_eq!(of("n", 1_000, 500, 1_000), "4.00", "no price of its own: as input");
    assert_eq!(of("m", 0, 0, 0), "0.00");
    assert_eq!(of("nobody", 0, 0, 0), "0.00", "nothing used needs no price");
    assert_eq!(prices.currency().code(), "USD");
}

#[test]
fn in_the_wide_form_all_tokens_cost_what_text_costs() {
    let prices = wide("m,,,,1,0.5,10,1,USD");
    let tokens = json!({
        "input": 100, "input_cached": 40, "input_cached_audio": 10, "input_cache_write": 20, "input_cache_write_long": 5,
        "input_audio": 15, "input_image": 5, "output": 10, "output_audio": 3, "output_image": 2
    });
    assert_eq!(used(&prices, json!({"model": "m"}), tokens), Some("180.00".to_owned()));
    let units = cost(&prices, "2026-11-22", json!({"units": {"images": 3}}));
    assert_eq!(units, (None, vec!["images"]), "what has no price is not free");
}

#[test]
fn a_part_without_a_line_costs_what_its_whole_costs_and_other_classes_have_no_price() {
    let prices = long(
        "m,,,,,input_cached,,,2,1,,USD,\nm,,,,,input_cache_write,,,3,1,,USD,\nm,,,,,input_uncached,,,1,1,,USD,\n\
         n,,,,,input_cached,,,2,1,,USD,\nn,,,,,input_cached_audio,,,9,1,,USD,",
    );
    let tokens = json!({"input": 10, "input_cached": 4, "input_cached_audio": 1, "input_cache_write": 3, "input_cache_write_long": 2, "output": 0});
    let of = |model: &str| {
        cost(&prices, "2026-11-22", json!({"target": {"model": model}, "tokens": tokens.clone()}))
    };
    assert_eq!(of("m"), (Some("20.00".to_owned()), vec![]));
    assert_eq!(
        of("n"),
        (Some("15.00".to_owned()), vec!["input_uncached", "input_cache_write", "input_cache_write_long"])
    );
    let audio = json!({"tokens": {"input": 7, "input_audio": 7, "output": 0}});
    assert_eq!(cost(&prices, "2026-11-22", audio), (None, vec!["input_audio"]));
}

#[test]
fn the_most_specific_line_wins() {
    let prices = wide(
        "*,,,,1,,0,1,EUR\n gpt-*,,,,2,,0,1,EUR\ngpt-4o-*,,,,3,,0,1,EUR\n# a comment\ngpt-4o-mini,,,2026-06-01,4,,0,1,EUR\n\
         *,batch,,,5,,0,1,EUR\n*,bat*,,,9,,0,1,EUR\ngpt-4o-mini,,2026-06-01,,6,,0,1,EUR\ngpt-5,,2026-01-01,2026-02-01,7,,0,1,EUR",
    );
    let of = |model, deployment, day| {
        let target = json!({"model": model, "deployment": deployment});
        cost(&prices, day, json!({"target": target, "tokens": {"input": 1, "output": 0}})).0.unwrap()
    };
    assert_eq!(of("o3", "d", "2026-01-01"), "1.00");
    assert_eq!(of("gpt-3.5", "d", "2026-01-01"), "2.00");
    assert_eq!(of("gpt-4o-2024-11-20", "d", "2026-01-01"), "3.00");
    assert_eq!(of("gpt-4o-mini", "d", "2026-05-31"), "4.00");
    assert_eq!(of("gpt-4o-mini", "batch", "2026-05-31"), "5.00");
    assert_eq!(of("gpt-4o-mini", "batches", "2026-05-31"), "9.00");
    assert_eq!(of("gpt-4o-mini", "d", "2026-06-01"), "6.00");
    assert_eq!(of("gpt-5", "d", "2026-01-31"), "7.00");
    assert_eq!(of("gpt-5", "d", "2026-02-01"), "2.00");
    assert!(prices.notes().is_empty(), "{:?}", prices.notes());
}

#[test]
fn tiers_regions_and_what_else_prices_a_call() {
    let prices = read(&["model,resource,region,service_tier,speed,inference_geo,size,quality,provider,class,price,per_tokens,currency\n\
         m,,,,,,,,,output_text,1,1,USD\nm,,,priority,,,,,,output_text,2,1,USD\nm,,,batch,,,,,,output_text,3,1,USD\n\
         m,,westeurope,,,,,,,output_text,4,1,USD\nm,,West Europe,flex,,,,,,output_text,5,1,USD\nm,,,default,,,,,,output_text,6,1,USD\n\
         m,,,,fast,,,,,output_text,7,1,USD\nm,,,,,us,,,,output_text,8,1,USD\nm,,,,,,1024x1024,,,output_text,9,1,USD\n\
         m,,,,,,1024x1024,high,,output_text,10,1,USD\nm,r.example,,,,,,,,output_text,11,1,USD\nm,,,,,,,,anthropic,output_text,12,1,USD".to_owned()]).unwrap();
    let of = |mut target: Value, request: Value| {
        target["model"] = "m".into();
        let data = json!({"target": target, "request": request, "tokens": {"input": 0, "output": 1}});
        cost(&prices, "2026-11-22", data).0.unwrap()
    };
    let none = || json!({});
    assert_eq!(of(none(), none()), "6.00", "a response that names no tier is of the default one");
    assert_eq!(of(json!({"service_tier": "default"}), none()), "6.00");
    assert_eq!(of(json!({"service_tier": "standard"}), none()), "6.00");
    assert_eq!(of(json!({"service_tier": "Priority"}), none()), "2.00");
    assert_eq!(of(json!({"service_tier": "flex"}), none()), "1.00");
    assert_eq!(of(json!({"api": "batch", "service_tier": "default"}), none()), "3.00");
    assert_eq!(of(json!({"region": "West Europe"}), none()), "4.00", "a region before a tier");
    assert_eq!(of(json!({"region": "westeurope", "service_tier": "flex"}), none()), "5.00");
    assert_eq!(of(json!({"service_tier": "scale", "speed": "fast"}), none()), "7.00");
    assert_eq!(of(json!({"service_tier": "scale", "inference_geo": "us"}), none()), "8.00");
    assert_eq!(of(json!({"service_tier": "scale"}), json!({"size": "1024x1024"})), "9.00");
    assert_eq!(
        of(json!({"service_tier": "scale"}), json!({"size": "1024x1024", "quality": "high"})),
        "10.00"
    );
    assert_eq!(of(json!({"resource": "R.example"}), none()), "11.00");
    assert_eq!(of(json!({"service_tier": "scale", "provider": "anthropic"}), none()), "12.00");
    let flex = event(
        "2026-11-22",
        json!({"target": {"model": "m", "service_tier": "flex"}, "tokens": {"input": 0, "output": 1}}),
    );
    assert!(Charges::of(Some(&prices), &flex).parts[0].tier_is_unnamed);
}

#[test]
fn a_call_that_spilled_over_is_priced_where_it_was_served() {
    let prices = wide("m,ptu,,,0,,0,1,EUR\nm,,,,2,,2,1,EUR");
    let target =
        json!({"model": "m", "deployment": "ptu", "deployment_served": "std", "spillover_from": "ptu"});
    assert_eq!(used(&prices, target, json!({"input": 1, "output": 0})), Some("2.00".to_owned()));
    assert_eq!(
        used(&prices, json!({"model": "m", "deployment": "ptu"}), json!({"input": 1, "output": 0})),
        Some("0.00".to_owned())
    );
}

#[test]
fn tools_are_priced_by_their_own_model_and_by_no_deployment() {
    let prices = wide("m,,,,1,,1,1,EUR\n*,d,,,0,,0,1,EUR\npainter,,,,5,,50,1,EUR");
    let data = |model: Value| {
        json!({
            "target": {"model": "m", "deployment": "d"}, "tokens": {"input": 9, "output": 9},
            "tools": [{"tool": "image_generation", "model": model, "input": 2, "output": 1}]
        })
    };
    assert_eq!(cost(&prices, "2026-11-22", data("painter".into())), (Some("60.00".to_owned()), vec![]));
    assert_eq!(
        cost(&prices, "2026-11-22", data(Value::Null)),
        (Some("0.00".to_owned()), vec!["input_uncached", "output_text"])
    );
}

#[test]
fn units_have_prices_of_any_number_of_them() {
    let prices = long(
        "w,,,,,audio_ms,,,0.36,,3600000,USD,\nw,,,,,images,,,0.04,,,USD,\nv,,,,,audio_ms,,,1,,3600000,USD,\n",
    );
    let of = |model, units| {
        cost(&prices, "2026-11-22", json!({"target": {"model": model}, "units": units})).0.unwrap()
    };
    assert_eq!(of("w", json!({"audio_ms": 90_000, "images": 2})), "0.089");
    assert_eq!(of("v", json!({"audio_ms": 3_600_000})), "1.0000000000008", "a price of one to 10^-18");
    let note = "line 4: 1 for 3600000 audio_ms is no decimal fraction for one of them: it counts to 10^-18";
    assert_eq!(prices.notes(), [note]);
}

#[test]
fn periods_that_overlap_are_said_and_the_later_counts() {
    let prices = wide(
        "m,,,,1,,0,1,EUR\nm,,2026-06-01,,2,,0,1,EUR\nm,,2026-03-01,2026-04-01,3,,0,1,EUR\nn,,,2026-06-01,1,,0,1,EUR\nn,,2026-06-01,,1,,0,1,EUR",
    );
    let of = |day| cost(&prices, day, json!({"tokens": {"input": 1, "output": 0}})).0.unwrap();
    assert_eq!(
        ["2026-02-28", "2026-03-31", "2026-04-01", "2026-06-01"].map(of),
        ["1.00", "3.00", "1.00", "2.00"]
    );
    let said = prices.notes().join("\n");
    assert!(said.contains("lines 2 and 3 overlap: from 2026-06-01T00:00:00Z on line 3 counts"), "{said}");
    assert!(said.contains("lines 2 and 4 overlap: from 2026-03-01T00:00:00Z on line 4 counts"), "{said}");
    assert_eq!(prices.notes().len(), 2);
    let many: Vec<String> = (1..10).map(|day| format!("m,,2026-01-0{day},,1,,1,1,EUR")).collect();
    let said = wide(&many.join("\n")).notes().join("\n");
    assert!(
        said.lines().count() == 6 && said.ends_with("3 more periods overlap: the later from counts"),
        "{said}"
    );
}

#[test]
fn several_files_are_one_and_the_later_goes_before() {
    let list = format!("{LONG}\nm,,,,,input_uncached,,,1,1,,EUR,list\nm,,,,,output_text,,,5,1,,EUR,list");
    let own = format!("{WIDE}\nm,,,,2,,6,1,EUR\nn,x,,,3,,3,1,EUR");
    let prices = read(&[list.clone(), own.clone()]).unwrap();
    let of =
        |model| used(&prices, json!({"model": model, "deployment": "x"}), json!({"input": 1, "output": 1}));
    assert_eq!((of("m"), of("n")), (Some("8.00".to_owned()), Some("6.00".to_owned())));
    let version = |text: &str| metering::caller::version(text);
    assert_eq!(prices.version(), format!("{}+{}", version(&list), version(&own)));
    let wrong = read(&[list, own.replace("EUR", "USD")]).unwrap_err();
    assert!(wrong.contains("file 1: line 2: currency is USD, but EUR in the file before"), "{wrong}");
}

#[test]
fn a_wrong_line_is_named_with_its_number_and_what_is_allowed() {
    for (lines, line, needle) in [
        ("m,,,,x,,1,,USD", 2, "input is x; allowed"),
        ("m,,,,1,,1,,USD\nn,,,,-1,,1,,USD", 3, "input is -1"),
        ("m,,,,1,,1e3,,USD", 2, "output is 1e3"),
        ("m,,,,1,,1,500,USD", 2, "per_tokens is 500; allowed"),
        ("m,,,,1,,1,+10,USD", 2, "per_tokens is +10; allowed"),
        ("m,,,,0.0000000000001,,1,,USD", 2, "12 places"),
        ("m,,,,1,,1,,USD\nn,,,,1,,1,,EUR", 3, "one currency"),
        ("m,,,,1,,1,,usd", 2, "currency is usd; allowed: a code of ISO 4217"),
        ("m,,,,1,,1,,Dollars", 2, "currency is Dollars; allowed"),
        ("m,,,,1,,1,,USD\nm,,,,2,,1,,USD", 3, "line 2"),
        ("m,,2026-02-30,,1,,1,,USD", 2, "from: "),
        ("m,,2026-02-02,2026-02-02,1,,1,,USD", 2, "to is not after from"),
        (",,,,1,,1,,USD", 2, "model is empty"),
        (
            "gpt-*-mini,,,,1,,1,,USD",
            2,
            "model is gpt-*-mini; allowed: a name, the beginning of names and *, or *",
        ),
        ("m,**,,,1,,1,,USD", 2, "deployment is **"),
        ("# a comment\n\nm,,,,x,,1,,USD", 4, "input is x"),
        ("m,,,,1,,1,", 2, "8 fields, the header has 9"),
        ("", 1, "no line below"),
    ] {
        let wrong = read(&[format!("{WIDE}\n{lines}")]).unwrap_err();
        assert!(wrong.starts_with(&format!("line {line}: ")) && wrong.contains(needle), "{lines}: {wrong}");
    }
    for (lines, needle) in [
        ("m,,,,,input,,,1,,,USD,", "class is input; allowed: input_uncached, input_cached,"),
        ("m,,,,,images,,,1,1000,,USD,", "per_tokens is not empty, and images are units"),
        ("m,,,,,output_text,,,1,,10,USD,", "per_units is not empty, and output_text are tokens"),
        ("m,,,,,images,,,1,,0,USD,", "per_units is 0; allowed: a whole number from 1"),
        ("m,,,,,images,,,,,1,USD,", "price is empty"),
        ("m,,a,,,images,,,1,,1,USD,\nm,,b,,,images,,,2,,1,USD,", "name the deployments"),
    ] {
        let wrong = read(&[format!("{LONG}\n{lines}")]).unwrap_err();
        assert!(wrong.contains(needle), "{lines}: {wrong}");
    }
    let wrong = |text: &str| read(&[text.to_owned()]).unwrap_err();
    assert!(wrong("model,input,output\nm,1,1").contains("no column `currency`"));
    assert!(wrong("model,cost").contains("`cost` is no column"));
    assert!(wrong("model,class,price,input,currency").contains("a file has one form"));
    assert!(wrong("model,input,output,per_units,currency").contains("goes with class and price"));
    assert!(read(&["model,input,output,currency\nm,1,1,USD".to_owned()]).is_ok());
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = read(&[format!("{WIDE}\nm,,,,x,,y,7,usd\nn,,,,1,,1,,USD\no\np,,,,1,,1,,EUR\n")]).unwrap_err();
    assert_eq!(
        wrong,
        "has 3 wrong lines:\n\
         line 2: currency is usd; allowed: a code of ISO 4217 such as USD or EUR; \
         per_tokens is 7; allowed: 1, 10, 100 and so on up to 1000000000; \
         input is x; allowed: a number such as 2.50, below 1000000, with up to 12 places; \
         output is y; allowed: a number such as 2.50, below 1000000, with up to 12 places\n\
         line 4: has 1 field, the header has 9\n\
         line 5: currency is EUR, but USD above: one file, one currency"
    );
}

/// Model, deployment, tier, region, class, first day, last day, price.
type Row = (usize, usize, usize, usize, usize, Option<i64>, Option<i64>, u32);

/// Rows at random, of a few names, so that many fit.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let day = || prop::option::of(0..40_i64);
    prop::collection::vec(
        (0..4_usize, 0..3_usize, 0..3_usize, 0..3_usize, 0..4_usize, day(), day(), 0..1000_u32),
        1..25,
    )
}

proptest! {
    /// The sum of the parts is the price of the sum: nothing is rounded anywhere.
    #[test]
    fn amounts_are_exact(calls in prop::collection::vec((0..1_000_000_u64, 0..1_000_000_u64), 1..50), micros in 0..999_999_999_u64) {
        let price = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let prices = wide(&format!("m,,,,{price},,{price},1000000,USD"));
        let mut sum = Amount::default();
        for (input, output) in &calls {
            let event = event("2026-11-22", json!({"tokens": {"input": input, "output": output}}));
            sum.add(amount(&Charges::of(Some(&prices), &event)).unwrap());
        }
        let tokens: u64 = calls.iter().map(|(input, output)| input + output).sum();
        prop_assert_eq!(sum.whole(), u128::from(tokens) * u128::from(micros) * 1_000_000);
        let text = sum.to_string();
        let (whole, places) = text.split_once('.').unwrap();
        let back: u128 = format!("{whole}{places:0<18}").parse().unwrap();
        prop_assert_eq!(back, sum.whole());
    }

    /// The row that counts does not depend on the order of rows, whatever they are, and the flat table says the same at
    /// each instant.
    #[test]
    fn one_row_counts_and_the_flat_table_agrees(rows in rows(), deployment in 0..3_usize, model in 0..3_usize, tier in 0..3_usize, day in -1..41_i64) {
        let (models, deployments) = (["*", "a*", "ab", "ab*"], ["", "d*", "d1"]);
        let (tiers, regions, classes) = (["", "flex", "default"], ["", "west europe", "x"], ["input_cached", "input_cached_audio", "input_cached_image", "input_uncached"]);
        let at = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        let text = |day: Option<i64>| day.map(|day| at(day).to_string()).unwrap_or_default();
        let mut lines: Vec<String> = rows.iter().filter(|row| row.5.zip(row.6).is_none_or(|(from, to)| from < to)).map(|(model, d, tier, region, class, from, to, price)| {
            format!("{},{},,{},{},{},{},{},{price},1,,EUR,", models[*model], deployments[*d], regions[*region], tiers[*tier], classes[*class], text(*from), text(*to))
        }).collect();
        prop_assume!(!lines.is_empty());
        let Ok(prices) = read(&[format!("{LONG}\n{}", lines.join("\n"))]) else { return Ok(()) };
        lines.reverse();
        let reversed = long(&lines.join("\n"));
        let call = PricedCall {
            deployment: ["", "d", "d1"].get(deployment).copied().filter(|name| !name.is_empty()), resource: "r", model: ["ab", "abc", "b"][model],
            region: "West Europe", service_tier: ["", "flex", "priority"][tier], speed: "", inference_geo: "", size: "", quality: "",
            provider: "", time: at(day),
        };
        for class in PriceClass::VARIANTS {
            let unit = prices.row(*class, &call).map(|row| row.unit);
            prop_assert_eq!(unit, reversed.row(*class, &call).map(|row| row.unit));
            let periods = prices.periods(*class, &call);
            let fitting: Vec<_> = periods.iter().filter(|period| period.from.is_none_or(|from| from <= call.time) && period.to.is_none_or(|to| call.time < to)).collect();
            prop_assert!(fitting.len() <= 1);
            prop_assert_eq!(unit, fitting.first().map(|period| period.unit));
            // By the plain reading: the maximum of closeness over all rows that fit.
            let plain = prices.rows.iter().filter(|row| row.fits(&call)).filter_map(|row| Some((row.closeness(*class)?, row.unit))).max();
            prop_assert_eq!(unit, plain.map(|(_, unit)| unit));
        }
    }
}
