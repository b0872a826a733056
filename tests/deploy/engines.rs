//! The recipes for engines: each knows every word that decides what is charged, and the events that they are held
//! against are ours. `tests/engines/run` runs them.

use std::collections::{BTreeMap, BTreeSet};

use metering::api::Api;
use metering::usage::{EventType, Outcome, Quality, StoredData, StoredEvent, StoredUsage};
use serde_json::Value;
use strum::VariantArray;
use tokenweir::config::settings::KAFKA_TOPIC;
use tokenweir::report::{PriceClass, billed_parts};

use super::read;
use crate::support::schema::misfits;

/// Those that make parts of events.
const RECIPES: [&str; 5] = [
    "duckdb/rollup.sql",
    "clickhouse/rollup.sql",
    "flink/rollup.sql",
    "adx/usage.kql",
    "connect/parts.blobl",
];

/// Those that read the flat table of prices.
const PRICED: [&str; 5] =
    ["duckdb/rollup.sql", "clickhouse/rollup.sql", "flink/rollup.sql", "flink/prices.sql", "adx/usage.kql"];

const EVENTS: &str = "fixtures/engines/events.jsonl";

fn recipe(name: &str) -> String {
    read(format!("deploy/{name}"))
}

fn rows(path: &str) -> Vec<BTreeMap<String, String>> {
    let text = read(path);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|row| row.expect("a row of the table")).collect()
}

/// The events that count, repeats among them, as our own reports read them.
fn whole(text: &str) -> Vec<(StoredEvent<'_>, StoredUsage)> {
    let read = |line| {
        let event = StoredEvent::read(line).ok()?;
        let usage = match event.data()? {
            StoredData::Call(usage, outcome) if outcome != Outcome::Rejected => usage,
            StoredData::Sum(usage, _) => usage,
            _ => return None,
        };
        event.time.map(|_| (event, usage))
    };
    text.lines().filter_map(read).collect()
}

#[test]
fn every_recipe_knows_every_word_that_decides_what_is_charged() {
    let classes = PriceClass::VARIANTS.iter().map(|class| class.as_str());
    let outcomes = Outcome::VARIANTS.iter().map(|outcome| outcome.as_str());
    let qualities = Quality::VARIANTS.iter().map(|quality| quality.as_str());
    let later = Api::VARIANTS.iter().filter(|api| api.defers().is_some()).map(|api| api.as_str());
    let types = EventType::VARIANTS.iter().map(|kind| kind.as_str());
    let words: Vec<&str> = classes.chain(outcomes).chain(qualities).chain(later).chain(types).collect();
    for name in RECIPES {
        let text = recipe(name);
        for word in &words {
            let known = ['\'', '"'].iter().any(|quote| text.contains(&format!("{quote}{word}{quote}")));
            assert!(known, "{name} does not know {word}");
        }
    }
}

#[test]
fn every_recipe_knows_every_column_of_the_flat_prices() {
    let prices = rows("fixtures/engines/prices.csv");
    let columns: Vec<&String> = prices[0].keys().collect();
    assert_eq!(columns.len(), 15, "{columns:?}");
    for name in PRICED {
        let text = recipe(name);
        let words: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).collect();
        for column in &columns {
            assert!(words.contains(column.as_str()), "{name} does not know the column {column}");
        }
    }
}

#[test]
fn the_mappings_of_the_cluster_fill_every_column() {
    let text = recipe("adx/usage.kql");
    let columns = |table: &str| -> Vec<String> {
        let (_, rest) = text.split_once(&format!(".create table {table} (")).expect("the table");
        let (columns, _) = rest.split_once(')').expect("its end");
        let name = |column: &str| {
            column.split(':').next().unwrap_or_default().trim_matches(['[', ']', '\'', ' ']).to_owned()
        };
        columns.split(',').map(name).collect()
    };
    for (table, paths) in [("UsageRaw", true), ("Prices", false)] {
        let (_, rest) = text.split_once(&format!("table {table} ingestion ")).expect("the mapping");
        let mapping: Value = serde_json::from_str(rest.split('\'').nth(3).expect("a text")).expect("of JSON");
        let mapping = mapping.as_array().expect("a list");
        let mapped: Vec<&str> = mapping.iter().filter_map(|one| one["column"].as_str()).collect();
        assert_eq!(mapped, columns(table), "{table}");
        for (place, one) in mapping.iter().enumerate() {
            let name = one["column"].as_str().unwrap_or_default();
            let from = if paths {
                one["path"].as_str().and_then(|path| path.strip_prefix("$.")) == Some(name)
            } else {
                one["Properties"]["Ordinal"].as_str().and_then(|text| text.parse().ok()) == Some(place)
            };
            assert!(from, "{one}");
        }
    }
    let prices = read("fixtures/engines/prices.csv");
    assert_eq!(prices.lines().next().unwrap_or_default(), columns("Prices").join(","));
}

#[test]
fn the_connectors_read_the_topic_that_is_written() {
    for name in ["openmeter", "lago", "archive"] {
        let text = recipe(&format!("connect/{name}.yaml"));
        let config: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).expect("YAML");
        let topics = &config["input"]["kafka_franz"]["topics"];
        assert_eq!(topics[0].as_str(), KAFKA_TOPIC.any().default, "{name}");
        assert_eq!(name != "archive", text.contains("from \"parts.blobl\""), "{name}");
    }
}

/// The events of the fixture are as tokenweir writes them, and those that shall not count do not with us either.
#[test]
fn the_fixture_is_what_we_write() {
    let text = read(EVENTS);
    let events = whole(&text);
    let left_out = rows("fixtures/engines/left_out.csv");
    let left_out = left_out.iter().filter(|row| !row["reason"].starts_with("repeat"));
    let left_out: usize = left_out.map(|row| row["lines"].parse::<usize>().expect("a number")).sum();
    assert_eq!(events.len(), text.lines().count() - left_out);
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    for (event, _) in events {
        let line = text.lines().find(|line| line.contains(&*event.id)).expect("the event's line");
        assert_eq!(misfits(&parse(line)), Vec::<String>::new(), "{line}");
    }
}

/// Engines and our own reports make the same parts of the same events.
#[test]
fn the_fixtures_sums_are_our_own() {
    let text = read(EVENTS);
    let (mut seen, mut bills) = (BTreeSet::new(), BTreeSet::new());
    let mut ours = BTreeMap::<(String, String, String), u64>::new();
    for (event, usage) in whole(&text) {
        let bill = usage.bill_of().map(|(resource, work)| (resource.to_owned(), work.to_owned()));
        let is_new = seen.insert((event.source.clone(), event.id.clone()));
        if !is_new || bill.is_some_and(|bill| !bills.insert(bill)) {
            continue;
        }
        for part in billed_parts(&usage).0 {
            let (tool, model) =
                part.tool.map_or((String::new(), usage.target.any_model().cloned()), |(tool, model)| {
                    (tool.to_string(), model)
                });
            let key = (tool, model.unwrap_or_default().to_string(), part.class.as_str().to_owned());
            *ours.entry(key).or_default() += part.quantity;
        }
    }
    let mut theirs = BTreeMap::new();
    for row in rows("fixtures/engines/daily.csv").iter().filter(|row| row["class"] != "calls") {
        let key = (row["tool"].clone(), row["model"].clone(), row["class"].clone());
        *theirs.entry(key).or_default() += row["quantity"].parse::<u64>().expect("a number");
    }
    assert_eq!(ours, theirs);
}
