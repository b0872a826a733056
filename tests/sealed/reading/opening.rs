//! `tokenweir open`, as somebody runs it: with a key, with a command, with the wrong key, on parts that are not whole.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, open};
use super::support::packages::run;
use super::support::sidecar::binary;

const REQUEST: &str =
    r#"{"model":"gpt","messages":[{"role":"user","content":"What is the tallest church of Bern?"}]}"#;

/// A stream of chat whose text is long enough for several parts.
fn chat() -> String {
    let chunk = |word: &str| {
        let chunk =
            json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]});
        format!("data: {chunk}\n\n")
    };
    let words = (0..40).map(|number| chunk(&format!("word {number} ü, ")));
    words.collect::<String>() + "data: [DONE]\n\n"
}

fn messages() -> String {
    let events = [
        json!({"type": "message_start", "message": {"role": "assistant", "content": []}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "The Min"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ster."}}),
        json!({"type": "message_stop"}),
    ];
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

fn responses() -> String {
    let events = [
        json!({"type": "response.created", "response": {"id": "resp_1", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}),
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "The Min"}),
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "ster."}),
    ];
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

const STREAM: &str = "text/event-stream";

fn lines(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn with_a_key_calls_are_put_together_for_people() {
    let mut rig = Rig::new(2);
    let calls = [
        rig.call(REQUEST.as_bytes(), STREAM, chat().as_bytes()),
        rig.call(REQUEST.as_bytes(), STREAM, messages().as_bytes()),
        rig.call(REQUEST.as_bytes(), STREAM, responses().as_bytes()),
    ];
    let key = rig.auditors[1].private_file.to_str().unwrap();
    let told = open(&["--key", key], &rig.events());
    assert_eq!((told.status.code(), String::from_utf8_lossy(&told.stderr).as_ref()), (Some(0), ""));
    let records = lines(&told.stdout);
    assert!(records.iter().map(|record| &record["call"]).eq(&calls));
    let content = |number: usize| &records[number]["response"]["content"];
    let text: String = (0..40).map(|number| format!("word {number} ü, ")).collect();
    assert_eq!(
        (&content(0)["form"], &content(0)["json"]["choices"][0]["message"]["content"]),
        (&json!("chat"), &json!(text))
    );
    assert_eq!(
        (&content(1)["form"], &content(1)["json"]["content"][0]["text"]),
        (&json!("messages"), &json!("The Minster."))
    );
    assert_eq!(content(2)["json"]["output"][0]["content"][0]["text"], "The Minster.");
    for record in &records {
        assert_eq!(record["request"]["content"]["json"], serde_json::from_str::<Value>(REQUEST).unwrap());
        assert_eq!(
            (&record["request"]["sealed"], &record["response"]["whole"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(record["caller"], json!({"id": "team-a", "department": "sales", "trust": "network"}));
    }
    // The same from the spool of a sidecar.
    let mut command = Command::new(binary());
    command.args(["open", "--key", key, "--capture-dir"]).arg(rig.spool()).env_clear();
    let spooled = run(command, Duration::from_secs(120)).unwrap();
    assert_eq!(lines(&spooled.stdout), records);
}

#[test]
fn raw_is_what_passed() {
    let mut rig = Rig::new(1);
    let call = rig.call(REQUEST.as_bytes(), STREAM, chat().as_bytes());
    let other = rig.call(b"\xff\x00", "audio/wav", b"\x01\x02");
    let (events, key) = (rig.events(), rig.auditors[0].private_file.to_str().unwrap());
    for (call, side, wanted) in [
        (&call, "request", REQUEST.as_bytes()),
        (&call, "response", chat().as_bytes()),
        (&other, "request", b"\xff\x00"),
    ] {
        let told = open(&["--key", key, "--format", "raw", "--side", side, "--call", call], &events);
        assert!(told.stdout == wanted && told.status.success(), "{side}");
    }
    let folder = rig.dir.path().join("out");
    let told = open(&["--key", key, "--format", "raw", "--out", folder.to_str().unwrap()], &events);
    assert!(told.status.success() && told.stdout.is_empty());
    assert_eq!(std::fs::read(folder.join(format!("{call}.response"))).unwrap(), chat().as_bytes());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
    for (arguments, code, needle) in [
        (&["--format", "raw", "--side", "request"][..], 1, "more than one call"),
        (&["--format", "raw"], 2, "needs --side"),
        (&["--side", "request"], 2, "go with --format raw"),
        (&["--call", "01987f2e-9c1a-7b3e-8d5f-2a4b6c8d0e1f"], 1, "no part of that call"),
        (&["--unwrap-command", "a 'b"], 2, "cannot be used with"),
    ] {
        let told = open(&[&["--key", key], arguments].concat(), &events);
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.code() == Some(code) && said.contains(needle), "{arguments:?}: {said}");
    }
}

#[test]
fn whoever_has_another_key_reads_nothing_and_is_told_so() {
    let mut rig = Rig::new(1);
    let call = rig.call(REQUEST.as_bytes(), STREAM, chat().as_bytes());
    let other = Rig::new(1);
    let events = rig.events();
    for arguments in [&["--key", other.auditors[0].private_file.to_str().unwrap()][..], &[]] {
        let told = open(arguments, &events);
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.code(), Some(4), "{said}");
        assert!(said.contains(&format!("{call}.request.0: it is sealed to other keys")), "{said}");
        let all = String::from_utf8(told.stdout).unwrap() + &said;
        assert!(!all.contains("church") && !all.contains("word 3"), "{all}");
    }
    let told = open(&["--key", rig.auditors[0].public_file.to_str().unwrap()], &events);
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.code() == Some(1) && said.contains("opens nothing: it is public"), "{said}");
}

#[test]
fn what_was_altered_left_out_or_swapped_is_said() {
    let mut rig = Rig::new(1);
    let call = rig.call(REQUEST.as_bytes(), STREAM, chat().as_bytes());
    let key = rig.auditors[0].private_file.to_str().unwrap().to_owned();
    let second = format!("{call}.response.1");
    let is_second = |line: &str| line.contains(&format!("\"id\":\"{second}\""));
    let told = |path: &std::path::Path| {
        let told = open(&["--key", &key], path);
        (told.status.code(), String::from_utf8(told.stderr).unwrap(), lines(&told.stdout))
    };
    let (code, said, records) = told(&rig.events_of(|line| (!is_second(line)).then(|| line.to_owned())));
    assert!(code == Some(4) && said.contains("response: part 1 is missing"), "{said}");
    assert_eq!(records[0]["response"]["missing_parts"], json!(["1"]));
    let altered = |line: &str| match is_second(line) {
        true => line.replace("\"deployment\":\"gpt\"", "\"deployment\":\"gpu\""),
        false => line.to_owned(),
    };
    let (code, said, records) = told(&rig.events_of(|line| Some(altered(line))));
    assert!(code == Some(3) && said.contains(&second) && said.contains("target.deployment"), "{said}");
    let text = records[0]["response"]["content"].to_string();
    assert!(text.contains("word 0") && !text.contains("word 20"), "{text}");
}
