//! Rules of Prometheus: they ask for what the binary exports, each alert fires and is silent in a test of its own and
//! has a runbook, and promtool takes all of it where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_yaml_ng::Value;

use super::promql::Expr;
use super::series::Series;
use super::{files, grafana, read, root};

const RULES: &str = "deploy/prometheus/tokenweir.rules.yaml";
const PRICES: &str = "deploy/prometheus/prices.rules.yaml";
const PRICE_LIST: &str = "deploy/prices/azure-openai-global-standard.csv";
const RUNBOOKS: &str = "docs/runbooks.md";

/// Where runbooks are read, until somebody puts in where they are.
const RUNBOOKS_URL: &str = "https://RUNBOOKS/runbooks.md#";

/// What each runbook says, in this order.
const PARTS: [&str; 4] = ["**It means**", "**At risk**", "**Look**", "**Do**"];

/// A rule that alerts or records.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    _lasts: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn yaml(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rules of a file, in order.
fn rules(path: &str) -> Vec<Rule> {
    let groups = yaml(path);
    let groups = groups["groups"].as_sequence().expect("groups").clone();
    let rules = groups.into_iter().flat_map(|group| group["rules"].as_sequence().expect("rules").clone());
    rules
        .map(|rule| {
            serde_yaml_ng::from_value(rule.clone()).unwrap_or_else(|error| panic!("{rule:?}: {error}"))
        })
        .collect()
}

fn alerts() -> Vec<Rule> {
    rules(RULES).into_iter().filter(|rule| rule.alert.is_some()).collect()
}

fn names() -> BTreeSet<String> {
    alerts().into_iter().filter_map(|rule| rule.alert).collect()
}

fn expr(text: &str) -> Expr {
    Expr::read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What there is to ask for once the rules are loaded.
pub(super) fn series() -> Series {
    let mut series = Series::exported();
    for rule in rules(RULES).into_iter().chain(rules(PRICES)) {
        if let Some(name) = &rule.record {
            let more: Vec<&str> = rule.labels.keys().map(String::as_str).collect();
            series.record(name, &expr(&rule.expr), &more);
        }
    }
    series
}

/// The names in `{{ $labels.name }}` of a template.
fn labels_of_template(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split("$labels.").skip(1).map(move |rest| rest.split(|c| !is_name(c)).next().unwrap_or_default())
}

#[test]
fn every_alert_asks_for_what_is_exported_and_says_what_it_knows() {
    let series = series();
    for rule in alerts() {
        let name = rule.alert.expect("it is an alert");
        let labels = series.labels_of(&expr(&rule.expr)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("page" | "ticket")), "{name}: whom does it wake?");
        assert_eq!(rule.labels.len(), 1, "{name}");
        for text in ["summary", "description", "runbook_url"] {
            let text = rule.annotations.get(text).unwrap_or_else(|| panic!("{name} has no {text}"));
            for label in labels_of_template(text) {
                assert!(labels.contains(label), "{name} has no label {label}: {text}");
            }
        }
        assert_eq!(
            rule.annotations["runbook_url"],
            format!("{RUNBOOKS_URL}{}", name.to_lowercase()),
            "{name}"
        );
    }
}

/// Alerts by the tests in which they fire, and by those in which they are looked for and do not.
fn tested() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut fire, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for path in files("prometheus/tests", "yaml") {
        for group in yaml(&path)["tests"].as_sequence().expect("tests") {
            for check in group["alert_rule_test"].as_sequence().into_iter().flatten() {
                let name = check["alertname"].as_str().expect("the name of an alert").to_owned();
                let alerts = check["exp_alerts"].as_sequence().expect("alerts, or [] for none");
                let healthy = path.ends_with("healthy.yaml");
                assert!(alerts.is_empty() || !healthy, "{name} fires while all is well");
                match (alerts.is_empty(), healthy) {
                    (false, _) => drop(fire.insert(name)),
                    (true, true) => drop(silent.insert(name)),
                    (true, false) => {}
                }
            }
        }
    }
    (fire, silent)
}

#[test]
fn every_alert_fires_in_a_test_and_is_silent_while_all_is_well() {
    let (fire, silent) = tested();
    assert_eq!(fire, names(), "fire");
    assert_eq!(silent, names(), "are silent in tests/healthy.yaml");
}

/// Series that tests make up would hide a metric or a label that there is not.
#[test]
fn the_series_of_the_tests_are_those_that_are_exported() {
    let series = series();
    let mut seen = 0;
    for path in files("prometheus/tests", "yaml") {
        for group in yaml(&path)["tests"].as_sequence().expect("tests") {
            for made in group["input_series"].as_sequence().into_iter().flatten() {
                let made = made["series"].as_str().expect("a series");
                // A counter can be asked for over a range only, a gauge also now.
                let ways = [format!("increase({made}[5m])"), format!("last_over_time({made}[5m])")];
                let known = ways.iter().any(|text| series.labels_of(&expr(text)).is_ok());
                assert!(known, "{}: there is no {made}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "only {seen} series were found: the search is broken");
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let text = read(RUNBOOKS);
    let mut sections = BTreeMap::new();
    let mut severity = "";
    for section in text.split("\n#").skip(1) {
        let (title, body) = section.split_once('\n').expect("a title has a text");
        match title.strip_prefix("## ") {
            Some(name) => drop(sections.insert(name.trim().to_owned(), (severity, body))),
            None if title.contains("Wake somebody") => severity = "page",
            None if title.contains("Look tomorrow") => severity = "ticket",
            None => {}
        }
    }
    assert_eq!(sections.keys().cloned().collect::<BTreeSet<_>>(), names());
    for rule in alerts() {
        let name = rule.alert.expect("an alert");
        let (severity, body) = sections[&name];
        assert_eq!(rule.labels["severity"], severity, "{name} stands under the other heading");
        let places: Vec<_> = PARTS.iter().map(|part| body.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{name}: {PARTS:?}");
        assert!(body.contains("\n    "), "{name} has no command to copy");
    }
    let series = series();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.starts_with("tokenweir_") {
            assert!(series.has(word), "{RUNBOOKS}: there is no {word}");
        }
    }
}

/// What the log is searched for, the program logs.
#[test]
fn the_runbooks_look_for_lines_that_are_logged() {
    let text = read(RUNBOOKS);
    let sources: String = below(&root().join("src")).into_iter().map(read).collect();
    // A long line is cut in two in the source.
    let sources = sources.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
    let quoted = text.split("'\"").skip(1).filter_map(|rest| rest.split_once("\"'")).map(|(line, _)| line);
    let lines: BTreeSet<&str> =
        quoted.filter(|line| !line.contains("level\":") && line.contains(' ')).collect();
    assert!(lines.len() > 12, "only {lines:?} were found: the search is broken");
    for line in lines {
        assert!(sources.contains(&format!("\"{line}\"")), "nothing logs {line}");
    }
}

/// Every file below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

/// The recorded prices are those of the list, where a line says no more than a model.
#[test]
fn the_recorded_prices_are_those_of_the_list() {
    let list = read(PRICE_LIST);
    let mut lines = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(list.as_bytes());
    let lines = lines.deserialize::<BTreeMap<String, String>>().map(|line| line.expect("a line of the list"));
    let plain = lines.filter(|line| {
        line["service_tier"].is_empty()
            && matches!(line["class"].as_str(), "input_uncached" | "input_cached" | "output_text")
    });
    let price = |line: BTreeMap<String, String>| {
        let number = |name: &str| line[name].parse::<f64>().expect("a number");
        let key = [&line["model"], &line["class"], &line["currency"]].map(Clone::clone);
        (key, number("price") / number("per_tokens"))
    };
    let listed: BTreeMap<_, _> = plain.map(price).collect();
    let recorded: Vec<_> = rules(PRICES);
    assert!(listed.len() > 100 && listed.len() == recorded.len(), "{} of {}", recorded.len(), listed.len());
    for rule in recorded {
        let key = ["model", "class", "currency"].map(|label| rule.labels[label].clone());
        let vector = rule.expr.strip_prefix("vector(").and_then(|rest| rest.strip_suffix(')'));
        let (price, tokens) = vector.and_then(|vector| vector.split_once(" / ")).expect("a constant");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let recorded = number(price) / number(tokens);
        assert!((recorded / listed[&key] - 1.0).abs() < 1e-9, "{key:?}: {recorded}");
    }
}

#[test]
fn the_prices_are_what_the_script_makes_of_the_list() {
    let script = Command::new("awk")
        .args(["-f", "deploy/prometheus/prices.awk", PRICE_LIST])
        .current_dir(root())
        .output();
    let Ok(output) = script else { return crate::support::skip::test("awk is not installed") };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == read(PRICES).as_bytes(), "{PRICES} is not what prices.awk writes");
}

#[test]
fn what_prometheus_reads_is_there() {
    let config = yaml("deploy/prometheus/prometheus.yaml");
    for file in config["rule_files"].as_sequence().expect("rules") {
        assert!(root().join("deploy/prometheus").join(file.as_str().expect("a name")).exists(), "{file:?}");
    }
    let jobs = config["scrape_configs"].as_sequence().expect("jobs");
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["job_name"], "tokenweir", "the rules count on it");
    let target = jobs[0]["static_configs"][0]["targets"][0].as_str().expect("a target");
    assert_eq!(target, format!("tokenweir:{}", super::ADMIN_PORT));
}

#[test]
fn the_operator_gets_the_same_rules() {
    let resource = yaml(OPERATOR_RULES);
    assert_eq!(resource["kind"], "PrometheusRule");
    let groups = yaml(RULES)["groups"].clone();
    if resource["spec"]["groups"] == groups {
        return;
    }
    if std::env::var_os("TOKENWEIR_UPDATE").is_some() {
        let text = read(OPERATOR_RULES);
        let (head, _) = text.split_once("  groups:").expect("the rules");
        let rules = read(RULES);
        let (_, rules) = rules.split_once("groups:\n").expect("the rules");
        let indented =
            rules.lines().map(|line| if line.is_empty() { String::new() } else { format!("  {line}") });
        let text = format!("{head}  groups:\n{}\n", indented.collect::<Vec<_>>().join("\n"));
        return std::fs::write(root().join(OPERATOR_RULES), text).expect("it is written anew");
    }
    panic!("{OPERATOR_RULES} has other rules than {RULES}: run with TOKENWEIR_UPDATE=1");
}

const OPERATOR_RULES: &str = "deploy/kubernetes/monitoring/prometheus-rule.yaml";

/// promtool on rules, tests and configuration, and on every expression of the dashboards.
#[test]
fn promtool_finds_nothing_wrong() {
    if Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    {
        return crate::support::skip::test("promtool is not installed (Debian's package prometheus)");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let asked = dir.path().join("dashboards.yaml");
    let rules = grafana::expressions()
        .into_iter()
        .enumerate()
        .map(|(number, expr)| serde_json::json!({"record": format!("dashboard:{number}"), "expr": expr}));
    let group = serde_json::json!({"groups": [{"name": "dashboards", "rules": rules.collect::<Vec<_>>()}]});
    std::fs::write(&asked, group.to_string()).expect("JSON is YAML");
    let asked = asked.to_str().expect("a path in UTF-8").to_owned();
    let tests = files("prometheus/tests", "yaml").into_iter().map(|path| path.display().to_string());
    let check_rules = ["check", "rules", RULES, PRICES, &asked].map(str::to_owned).to_vec();
    let check_config = ["check", "config", "deploy/prometheus/prometheus.yaml"].map(str::to_owned).to_vec();
    let test_rules = ["test", "rules"].map(str::to_owned).into_iter().chain(tests).collect();
    for arguments in [check_rules, check_config, test_rules] {
        let output =
            Command::new("promtool").args(&arguments).current_dir(root()).output().expect("promtool runs");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "promtool {}:\n{said}", arguments.join(" "));
    }
}
