//! The templates of the hubs and their archives: well-formed, each parameter is used, nothing is kept for less than the
//! page says, and content has readers of its own.

use std::collections::BTreeSet;

use serde_json::Value;
use tokenweir::config::settings::{CAPTURE_TOPIC, KAFKA_TOPIC};

use super::read;

/// The most that Standard keeps.
const RETENTION_HOURS: u64 = 7 * 24;

/// The hub of usage, and that of content.
const USAGE: &str = "deploy/eventhubs/archive.json";
const CONTENT: &str = "deploy/eventhubs/content-archive.json";

/// Roles of Azure that let somebody read a hub, or the blobs of a container.
const HUB_RECEIVER: &str = "a638d3c7-ab3a-418d-83e6-5f17a39d4fde";
const BLOB_READER: &str = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";

fn template(path: &str) -> Value {
    serde_json::from_str(&read(path)).expect("a template is JSON")
}

fn resource<'a>(template: &'a Value, kind: &str) -> &'a Value {
    let mut resources = template["resources"].as_array().expect("a list").iter();
    resources.find(|one| one["type"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// What stands between `begin` and the next quote, wherever it occurs.
fn named<'a>(text: &'a str, begin: &'a str) -> BTreeSet<&'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split('\'').next()).collect()
}

#[test]
fn each_parameter_and_variable_is_there_and_is_used() {
    for path in [USAGE, CONTENT] {
        let (template, text) = (template(path), read(path));
        for (kind, begin) in [("parameters", "parameters('"), ("variables", "variables('")] {
            let there: BTreeSet<&str> =
                template[kind].as_object().expect("a list").keys().map(String::as_str).collect();
            assert_eq!(named(&text, begin), there, "{path}: {kind}");
        }
        let readme = read("deploy/eventhubs/README.md");
        for (name, parameter) in template["parameters"].as_object().expect("a list") {
            let given = readme.contains(&format!("{name}="));
            let is_known = given || parameter.get("defaultValue").is_some();
            assert!(is_known, "the README does not give {name} of {path}");
        }
    }
}

#[test]
fn the_hubs_are_kept_and_captured() {
    for (path, topic, days) in [(USAGE, KAFKA_TOPIC.any(), 366), (CONTENT, CAPTURE_TOPIC.any(), 3 * 366)] {
        let template = template(path);
        let default = |name: &str| &template["parameters"][name]["defaultValue"];
        assert_eq!(default("hub").as_str(), topic.default, "{path}");
        assert_eq!(default("retentionHours").as_u64(), Some(RETENTION_HOURS), "{path}");
        assert!(default("archiveDays").as_u64() > Some(days), "{path}: the years and the month after them");
        let hub = resource(&template, "Microsoft.EventHub/namespaces/eventhubs");
        let capture = &hub["properties"]["captureDescription"];
        assert_eq!((&capture["enabled"], &capture["encoding"]), (&true.into(), &"Avro".into()), "{path}");
        assert_eq!(hub["properties"]["retentionDescription"]["cleanupPolicy"], "Delete", "{path}");
    }
}

#[test]
fn content_is_immutable_and_its_readers_are_auditors_alone() {
    let template = template(CONTENT);
    let container = resource(&template, "Microsoft.Storage/storageAccounts/blobServices/containers");
    assert_eq!(container["properties"]["publicAccess"], "None");
    assert_eq!(container["properties"]["immutableStorageWithVersioning"]["enabled"], true);
    let service = resource(&template, "Microsoft.Storage/storageAccounts/blobServices");
    assert_eq!(service["properties"]["isVersioningEnabled"], true);
    let policy =
        resource(&template, "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies");
    assert_eq!(policy["properties"]["allowProtectedAppendWrites"], false);
    let text = read(CONTENT);
    assert!(!text.contains("financePrincipalId"), "finance has no right here");
    assert!(!text.contains(HUB_RECEIVER), "nobody reads the hub itself");
    let reader = template["variables"].as_object().expect("a list").iter();
    let reader = reader.filter(|(_, role)| role.as_str().is_some_and(|role| role.contains(BLOB_READER)));
    let reader: Vec<String> = reader.map(|(name, _)| format!("[variables('{name}')]")).collect();
    let roles = template["resources"].as_array().expect("a list").iter().map(|one| &one["properties"]);
    let readers: Vec<&Value> = roles
        .filter(|role| role["roleDefinitionId"] == *reader[0])
        .map(|role| &role["principalId"])
        .collect();
    assert_eq!(readers, ["[parameters('auditorPrincipalId')]"]);
}

/// Compaction would keep one part of each call.
#[test]
fn the_topics_of_kafka_are_those_of_the_settings_and_are_not_compacted() {
    let readme = read("deploy/kafka/README.md").replace("\\\n", " ");
    for topic in [KAFKA_TOPIC.any(), CAPTURE_TOPIC.any()] {
        let name = topic.default.expect("it has one");
        let made = readme.lines().find(|line| line.contains(&format!("--create --topic {name} ")));
        assert!(made.is_some_and(|line| line.contains("--config cleanup.policy=delete")), "{name}");
        let grants = readme
            .lines()
            .filter(|line| line.contains("kafka-acls.sh") && line.contains(&format!("--topic {name}")));
        let may_read = grants.filter(|line| line.contains("--operation Read") || line.contains("--consumer"));
        let is_other = |line: &&str| {
            if name == "ai-content" { line.contains("finance") } else { line.contains("auditors") }
        };
        assert_eq!(may_read.filter(is_other).count(), 0, "{name}");
    }
}
