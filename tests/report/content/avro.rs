//! Content as Event Hubs Capture keeps it: Avro whose records are messages. Avro of another kind is refused by name.

use std::path::Path;
use std::process::{Command, Output};

use apache_avro::types::Value as Avro;
use apache_avro::{Schema, Writer};
use serde_json::Value;

use super::made::{MadeLines, the_key_as_pem};
use super::two_calls;
use crate::inputs::stored_as;
use crate::support::sidecar::binary;
use crate::truth::file_of;

fn tokenweir(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(binary()).args(arguments).args(paths).output().unwrap()
}

/// A folder with a key, and with a folder `content`.
fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("content")).unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, the_key_as_pem()).unwrap();
    (folder, key.to_str().unwrap().to_owned())
}

/// What `verify` says of the content there, as JSON, without what it says of the place.
fn verified(lines: &MadeLines, key: &str, content: &Path) -> (Option<i32>, Value) {
    let usage = file_of(&lines.usage);
    let arguments = ["verify", "--format", "json", "--key", key, "--content", content.to_str().unwrap()];
    let output = tokenweir(&arguments, &[usage.path()]);
    let said = String::from_utf8_lossy(&output.stderr);
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output.status.code(), verdict["content"].clone())
}

#[test]
fn content_in_avro_of_capture_is_read_as_its_lines_are() {
    let lines = two_calls();
    let plain = file_of(&lines.content);
    for kind in 3..7 {
        let (folder, key) = folder();
        let content = folder.path().join("content");
        for (number, piece) in lines.content.chunks(3).enumerate() {
            std::fs::write(content.join(format!("{number}.avro")), stored_as(kind, piece)).unwrap();
        }
        let (code, verdict) = verified(&lines, &key, &content);
        assert_eq!((code, &verdict), (Some(0), &verified(&lines, &key, plain.path()).1), "kind {kind}");
        assert_eq!((&verdict["parts"], &verdict["opened"]), (&Value::from(8), &Value::from(8)));
        let open = |path: &Path| tokenweir(&["open", "--key", &key], &[path]);
        let opened = open(&content);
        assert_eq!(opened.status.code(), Some(0), "{}", String::from_utf8_lossy(&opened.stderr));
        assert!(opened.stdout == open(plain.path()).stdout, "kind {kind}");
        // Without one message it is not whole.
        let mut short = lines.content.clone();
        short.remove(2);
        std::fs::remove_dir_all(&content).unwrap();
        std::fs::create_dir(&content).unwrap();
        std::fs::write(content.join("all.avro"), stored_as(kind, &short)).unwrap();
        let (code, verdict) = verified(&lines, &key, &content);
        assert_eq!(
            (code, &verdict["findings"][0]["kind"]),
            (Some(3), &Value::from("missing")),
            "kind {kind}"
        );
    }
}

/// Avro of the events themselves is nobody's format here: a file of it is left out, and that is said.
#[test]
fn avro_that_is_not_of_capture_is_refused_by_name() {
    let lines = two_calls();
    let (folder, key) = folder();
    let content = folder.path().join("content");
    let schema = r#"{"type":"record","name":"ContentPart","fields":[{"name":"id","type":"string"},{"name":"call","type":"string"}]}"#;
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    let text = |name: &str| (name.to_owned(), Avro::String("x".to_owned()));
    writer.append_value(Avro::Record(vec![text("id"), text("call")])).unwrap();
    std::fs::write(content.join("events.avro"), writer.into_inner().unwrap()).unwrap();
    std::fs::write(content.join("lines.jsonl"), lines.content.join("\n") + "\n").unwrap();
    let why = "events.avro: Avro, but not of Event Hubs Capture: its records have no `Body` of bytes";
    let opened = tokenweir(&["open", "--key", &key], &[&content]);
    let said = String::from_utf8(opened.stderr).unwrap();
    assert!(opened.status.code() == Some(4) && said.contains(why), "{said}");
    // All that there must be is in the other file; yet what this one holds is not known.
    let (code, verdict) = verified(&lines, &key, &content);
    assert_eq!((code, &verdict["unread"]), (Some(4), &Value::from(true)), "{verdict:#}");
    assert!(verdict["notes"].to_string().contains(why), "{verdict:#}");
}
