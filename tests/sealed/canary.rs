//! Words in every free-text place of a call: they are under the seal, and nowhere else.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::rig::Rig;
use super::support::auditor::{Auditor, spooled};
use super::support::canaries::{Shape, absent, answer, chats, others, send};
use super::support::fake_service;
use super::support::http::get;
use super::support::sidecar::{binary, usage_events};

fn shapes() -> Vec<Shape> {
    chats().into_iter().chain(others()).collect()
}

/// `tokenweir open` with a key, of all that lies in the spool: what it prints, also where it finds fault.
fn opened(rig: &Rig, key: &Path) -> Vec<u8> {
    let mut command = Command::new(binary());
    command.arg("open").arg("--key").arg(key).arg("--capture-dir").arg(rig.ledger());
    let output = command.output().unwrap();
    [output.stdout, output.stderr].concat()
}

#[test]
fn words_are_under_the_seal_and_nowhere_else() {
    let shapes = shapes();
    assert!(shapes.len() >= 30, "{} shapes", shapes.len());
    let rig = Rig::new(fake_service::start(Arc::new(answer)));
    let sidecar = rig.start(&["--log-level", "trace", "--drift-sample", "100%"]);
    let mut bodies = Vec::new();
    for shape in &shapes {
        bodies.push(send(sidecar.addr, shape).body);
    }
    let metrics = get(sidecar.admin, "/metrics").body;
    let before = files(&rig.ledger());
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    absent("the metrics", &metrics);
    absent("the log", log.join("\n").as_bytes());
    for (name, bytes) in before.into_iter().chain(files(&rig.ledger())) {
        absent(&name, &bytes);
    }
    let usage = usage_events(&rig.ledger());
    absent("the usage events", serde_json::to_string(&usage).unwrap().as_bytes());
    let content = spooled(&rig.ledger());
    absent("the content events", serde_json::to_string(&content).unwrap().as_bytes());

    // With the right key all of it is there, byte for byte, of each call.
    let contents = rig.contents();
    let has = |side: &str, bytes: &[u8]| {
        contents.sides().any(|((_, name), found)| name == side && found.bytes == bytes)
    };
    for (shape, response) in shapes.iter().zip(&bodies) {
        assert!(has("request", shape.body.as_bytes()), "{}: its request is not there", shape.name);
        assert!(has("response", response), "{}: its response is not there", shape.name);
    }
    let text = String::from_utf8(opened(&rig, &rig.auditor.private_file)).unwrap();
    for word in
        ["canary7f3aprompt", "canary7f3asystem", "canary7f3aarguments", "canary7f3atext", "canary7f3adelta"]
    {
        assert!(text.contains(word), "{word} is not in what `open` prints");
    }

    // With another key nothing is.
    let other = Auditor::new(rig.dir.path(), "other");
    assert!(content.iter().all(|event| other.open(event).is_err()));
    absent("what another key opens", &opened(&rig, &other.private_file));
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

/// What holds for whoever does not ask for it: there is no spool, and no event says a word of capturing.
#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    let rig = Rig::new(fake_service::start(Arc::new(answer)));
    let sidecar = super::support::sidecar::Sidecar::start(rig.service, &rig.ledger(), &[]);
    for shape in &shapes() {
        send(sidecar.addr, shape);
    }
    assert_eq!(sidecar.stop().0, Some(0));
    assert!(!rig.ledger().join("capture.sqlite3").exists());
    for (name, bytes) in files(&rig.ledger()) {
        absent(&name, &bytes);
    }
    let usage = usage_events(&rig.ledger());
    assert!(!usage.is_empty() && usage.iter().all(|event| event["data"]["capture"].is_null()));
}
