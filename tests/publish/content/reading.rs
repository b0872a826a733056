//! The capture topic as `tokenweir verify --content topic` and `tokenweir open` read it: whole, and with a part left out.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::Rig;
use super::support::fake_service::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};
use super::support::http::{Message, connect, exchange, post};
use super::support::packages::run;
use super::support::sidecar::binary;
use super::support::{eventually, kafka, messages, skip, turn};
use super::topic::ContentTopic;

/// Some twenty messages are read, on a machine that may be busy.
const COMMAND_MAX: Duration = Duration::from_secs(120);

/// A document of several parts, of 64 KiB each.
const DOCUMENT_BYTES: usize = 200_000;

const CHAT: &str = "/openai/deployments/d/chat/completions?api-version=2024-10-21";

/// A document of the service.
fn document() -> String {
    let text = "The Minster of Bern is 100.6 m tall. ".repeat(DOCUMENT_BYTES / 37);
    let message = json!({"role": "assistant", "content": text});
    json!({"id": "x", "object": "chat.completion", "model": "gpt-4o-2024-11-20",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}})
    .to_string()
}

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let stream = match request.target() {
        target if target.contains("/messages") => messages::stream(),
        _ if request.body.windows(13).any(|part| part == b"\"stream\":true") => {
            delta("Spring ") + &delta("water.") + &stop()
        }
        _ => {
            let body = document();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            return write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    };
    to.write_all(STREAM_HEAD.as_bytes())?;
    write_chunk(to, stream.as_bytes())?;
    write_end(to)
}

/// Calls of a caller. Returns the body of the response.
fn call(addr: SocketAddr, path: &str, caller: &str, body: &str) -> Vec<u8> {
    let request = post(path, &[("x-apim-subscription-id", caller)], body);
    exchange(&mut connect(addr), &request).body
}

/// Runs a command on these topics with the key. Returns its exit code and what it says.
fn command(name: &str, rig: &Rig, topics: &[&str], more: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(binary());
    command.arg(name).args(topics).arg("--key").arg(&rig.auditor.private_file).args(more).env_clear();
    let output = run(command, COMMAND_MAX).unwrap();
    (output.status.code(), output)
}

fn verify(rig: &Rig, topics: &[&str]) -> (Option<i32>, String) {
    // A topic may have an event twice.
    let (code, output) = command("verify", rig, topics, &["--content", "topic", "--allow-repeats"]);
    (code, [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat())
}

#[test]
fn the_topic_is_verified_and_opened_and_a_part_that_is_left_out_is_named() {
    let _turn = turn::beside();
    let topic = kafka::real_broker().map_or_else(
        || {
            skip::no_broker();
            ContentTopic::embedded()
        },
        |servers| ContentTopic::on(&servers),
    );
    let rig = Rig::new(fake_service::start(Arc::new(answer)));
    let flags = topic.flags(&topic.servers);
    let sidecar = rig.start(&[&flags[..], &["--capture-part-bytes", "64KiB"]].concat());
    let asked = r#"{"stream":true,"messages":[{"role":"user","content":"What is in the fountain?"}]}"#;
    call(sidecar.addr, CHAT, "team-a", asked);
    let told = call(sidecar.addr, CHAT, "team-b", r#"{"messages":[{"role":"user","content":"How tall?"}]}"#);
    call(sidecar.addr, "/anthropic/v1/messages", "team-a", messages::REQUEST);
    assert_eq!(told, document().as_bytes());
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    eventually("the last control event", || topic.has_ended(1));

    let (code, said) = verify(&rig, &flags);
    assert_eq!(code, Some(0), "{said}");
    let parts = topic.events().iter().filter(|event| event["type"] == "dev.tokenweir.content.v1").count();
    assert!(parts > 8, "{parts} parts: a document has several");
    let bytes = said.lines().last().unwrap();
    assert!(bytes.starts_with(&format!("content complete: {parts} parts with ")), "{said}");
    assert!(bytes.contains(&format!("{parts} opened, of 3 calls")), "{said}");

    let of_content = ["--kafka-brokers", &topic.servers, "--capture-topic", flags[5]];
    let records = |caller: &str| -> Vec<Value> {
        let (code, output) = command("open", &rig, &of_content, &["--caller", caller]);
        assert_eq!((code, String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of_a = records("team-a");
    let has =
        |pointer: &str, text: &str| of_a.iter().any(|record| record.pointer(pointer) == Some(&json!(text)));
    assert_eq!(of_a.len(), 2);
    assert!(has("/response/content/json/choices/0/message/content", "Spring water."), "{of_a:#?}");
    assert!(has("/request/content/json/messages/0/content", "What is in the fountain?"), "{of_a:#?}");
    assert!(has("/response/content/json/content/0/text", "Teal."), "{of_a:#?}");
    let of_b = records("team-b");
    let [record] = &of_b[..] else { panic!("{of_b:#?}") };
    let id = record["call"].as_str().unwrap();
    assert_eq!(record["response"]["content"]["json"], serde_json::from_str::<Value>(&document()).unwrap());
    let raw = ["--call", id, "--format", "raw", "--side", "response"];
    let (code, output) = command("open", &rig, &of_content, &raw);
    assert!(code == Some(0) && output.stdout == told, "{}", String::from_utf8_lossy(&output.stderr));

    // The same topic but for one part, in the middle of a side and at its end.
    let count = record["response"]["parts"].as_u64().unwrap();
    for (gone, problem) in [(1, "part 1 is missing"), (count - 1, "its last part is missing")] {
        let part = format!("{id}.response.{gone}");
        let mut lines = topic.lines();
        lines.retain(|line| serde_json::from_str::<Value>(line).unwrap()["id"] != part);
        let short = topic.with(&lines);
        let (code, said) = verify(&rig, &[&flags[..5], &[&short]].concat());
        assert_eq!(code, Some(3), "{said}");
        let named = if gone == 1 { &part } else { id };
        let about = said.lines().filter(|line| line.starts_with("  ") && line.contains(named)).count();
        assert!(about > 0 && said.contains("content NOT complete (missing)"), "{said}");
        let of_short = ["--kafka-brokers", &topic.servers, "--capture-topic", &short];
        let (code, output) = command("open", &rig, &of_short, &raw);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains(&format!("call {id}, response: {problem}")), "{said}");
        let prefix = gone as usize * (64 << 10);
        assert!(output.stdout == told[..prefix], "{} bytes, and not {prefix}", output.stdout.len());
    }
}
