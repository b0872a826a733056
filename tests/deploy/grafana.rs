//! The dashboards: what they ask for is exported, and Grafana can show them as they are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::promql::Expr;
use super::{files, prometheus, read};

/// The columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Kinds of panels that every Grafana has.
const KINDS: [&str; 4] = ["row", "stat", "table", "timeseries"];

/// Variables that Grafana sets, with something to stand for them.
const BUILT_IN: [(&str, &str); 2] = [("$__rate_interval", "5m"), ("$__range", "1d")];

/// Every dashboard with its file.
fn dashboards() -> Vec<(PathBuf, Value)> {
    let parse = |path: PathBuf| {
        let board =
            serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, board)
    };
    files("grafana", "json").into_iter().map(parse).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The panels and annotations that ask for something, with what they ask.
fn targets(board: &Value) -> Vec<&Value> {
    let panels =
        list(&board["panels"]).iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    panels.chain(list(&board["annotations"]["list"]).iter().filter(|one| one["expr"].is_string())).collect()
}

/// An expression with something in place of Grafana's own variables.
fn plain(expr: &str) -> String {
    BUILT_IN.iter().fold(expr.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

/// What all dashboards ask for.
pub(super) fn expressions() -> Vec<String> {
    let boards = dashboards();
    boards.iter().flat_map(|(_, board)| targets(board)).map(|target| plain(text(&target["expr"]))).collect()
}

/// The names behind `$` of a text.
fn variables_of(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split('$')
        .skip(1)
        .map(move |rest| rest.trim_start_matches('{').split(|c| !is_name(c)).next().unwrap_or_default())
}

#[test]
fn every_panel_asks_for_what_is_exported() {
    let series = prometheus::series();
    let mut seen = 0;
    for (path, board) in dashboards() {
        let variables: BTreeSet<&str> =
            list(&board["templating"]["list"]).iter().map(|variable| text(&variable["name"])).collect();
        for target in targets(&board) {
            let asked = text(&target["expr"]);
            for variable in variables_of(&plain(asked)) {
                assert!(variables.contains(variable), "{}: no variable {variable}: {asked}", path.display());
            }
            let expr = Expr::read(&plain(asked)).and_then(|expr| series.labels_of(&expr));
            let labels = expr.unwrap_or_else(|error| panic!("{}: {asked}: {error}", path.display()));
            let legend =
                target["legendFormat"].as_str().or(target["titleFormat"].as_str()).unwrap_or_default();
            for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or_default()) {
                assert!(labels.contains(label), "{}: no label {label}: {asked}", path.display());
            }
            seen += 1;
        }
        // label_values(SELECTOR, LABEL)
        for variable in list(&board["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
            let query = text(&variable["definition"]);
            assert_eq!(query, text(&variable["query"]["query"]));
            // `up` and `process_..` are everybody's: all jobs are all of ours.
            assert!(
                variable["name"] == "deployment" || variable["allValue"].is_null(),
                "{}: {query}",
                path.display()
            );
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (selector, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values");
            let over_time = [selector.to_owned(), format!("increase({selector}[5m])")];
            let labels = over_time.iter().find_map(|text| series.labels_of(&Expr::read(text).ok()?).ok());
            assert!(labels.is_some_and(|labels| labels.contains(label)), "{}: {query}", path.display());
        }
    }
    assert!(seen > 80, "only {seen} expressions were found: the search is broken");
}

#[test]
fn every_dashboard_can_be_shown_as_it_is() {
    let boards = dashboards();
    assert_eq!(boards.len(), 3);
    let uids: BTreeSet<&str> = boards.iter().map(|(_, board)| text(&board["uid"])).collect();
    assert_eq!(uids.len(), boards.len(), "a uid names one dashboard");
    for (path, board) in &boards {
        let name = path.display();
        assert!(text(&board["uid"]).len() <= 40 && board["id"].is_null(), "{name}: Grafana gives ids");
        assert!(
            number(&board["schemaVersion"]) >= 39 && text(&board["title"]).starts_with("tokenweir: "),
            "{name}"
        );
        let mut ids = BTreeSet::new();
        for panel in list(&board["panels"]) {
            let title = text(&panel["title"]);
            assert!(ids.insert(number(&panel["id"])), "{name}: {title} has the id of another panel");
            assert!(KINDS.contains(&text(&panel["type"])), "{name}: {title}");
            if panel["type"] == "row" {
                continue;
            }
            assert!(text(&panel["description"]).ends_with('.'), "{name}: {title} says nothing of itself");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title} has no unit");
            let refs: Vec<&str> =
                list(&panel["targets"]).iter().map(|target| text(&target["refId"])).collect();
            assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "{name}: {title}: {refs:?}");
            assert!(!refs.is_empty(), "{name}: {title} asks for nothing");
        }
        no_two_panels_overlap(board);
        no_datasource_is_named(board);
    }
}

fn no_two_panels_overlap(board: &Value) {
    let mut taken = BTreeSet::new();
    for panel in list(&board["panels"]) {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| number(&panel["gridPos"][side]));
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{} is out of the grid", panel["title"]);
        for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
            assert!(taken.insert(cell), "{} lies over another panel", panel["title"]);
        }
    }
}

/// Nobody else's Prometheus has the uid of ours.
fn no_datasource_is_named(value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(source) = members.get("datasource") {
                let own = source["type"] == "grafana" && source["uid"] == "-- Grafana --";
                assert!(own || source["uid"] == "${datasource}", "{source} is somebody's");
            }
            members.values().for_each(no_datasource_is_named);
        }
        Value::Array(values) => values.iter().for_each(no_datasource_is_named),
        _ => {}
    }
}

#[test]
fn every_dashboard_lets_one_choose_its_datasource() {
    for (path, board) in dashboards() {
        let variables = list(&board["templating"]["list"]);
        assert_eq!(variables[0]["name"], "datasource", "{}", path.display());
        assert_eq!(
            (&variables[0]["type"], &variables[0]["query"]),
            (&"datasource".into(), &"prometheus".into())
        );
        for target in targets(&board) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}: {target}", path.display());
        }
    }
}
