//! The archive's template: well-formed, each parameter is used, and nothing is kept for less than the page says.

use std::collections::BTreeSet;

use serde_json::Value;
use tokenweir::config::settings::KAFKA_TOPIC;

use super::read;

/// The most that Standard keeps.
const RETENTION_HOURS: u64 = 7 * 24;

fn template() -> Value {
    serde_json::from_str(&read("deploy/eventhubs/archive.json")).expect("a template is JSON")
}

/// What stands between `begin` and the next quote, wherever it occurs.
fn named<'a>(text: &'a str, begin: &'a str) -> BTreeSet<&'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split('\'').next()).collect()
}

#[test]
fn each_parameter_and_variable_is_there_and_is_used() {
    let (template, text) = (template(), read("deploy/eventhubs/archive.json"));
    for (kind, begin) in [("parameters", "parameters('"), ("variables", "variables('")] {
        let there: BTreeSet<&str> =
            template[kind].as_object().expect("a list").keys().map(String::as_str).collect();
        assert_eq!(named(&text, begin), there, "{kind}");
    }
    let readme = read("deploy/eventhubs/README.md");
    for (name, parameter) in template["parameters"].as_object().expect("a list") {
        let given = readme.contains(&format!("{name}="));
        assert!(given || parameter.get("defaultValue").is_some(), "the README does not give {name}");
    }
}

#[test]
fn the_hub_is_kept_and_captured() {
    let template = template();
    let default = |name: &str| &template["parameters"][name]["defaultValue"];
    assert_eq!(default("hub").as_str(), KAFKA_TOPIC.any().default);
    assert_eq!(default("retentionHours").as_u64(), Some(RETENTION_HOURS));
    assert!(default("archiveDays").as_u64() > Some(366), "a year and the month after it");
    let resources = template["resources"].as_array().expect("a list");
    let hub = resources
        .iter()
        .find(|one| one["type"] == "Microsoft.EventHub/namespaces/eventhubs")
        .expect("the hub");
    let capture = &hub["properties"]["captureDescription"];
    assert_eq!((&capture["enabled"], &capture["encoding"]), (&true.into(), &"Avro".into()));
    assert_eq!(hub["properties"]["retentionDescription"]["cleanupPolicy"], "Delete");
}
