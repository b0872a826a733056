//! Calls whose parts are sealed, as the capture thread does it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metering::caller::Reload;
use metering::usage::{
    CONTENT_SCHEMA_VERSION, CloudEvent, ContentPart, ContentSide, ContentType, PartFacts, Reporter, part_id,
};
use serde_json::json;
use tokenweir::capture::seal::{SealMode, Sealer};
use uuid::Uuid;

use super::support::auditor::Auditor;
use super::support::packages::run;
use super::support::sidecar::binary;

/// `open` reads a few hundred lines.
const OPEN_MAX: Duration = Duration::from_secs(120);

/// Bytes of a part here: each side of a call has several.
const PART_BYTES: usize = 700;

/// A folder with keys, and a file of parts that are sealed to them.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) auditors: Vec<Auditor>,
    sealer: Sealer,
    lines: Vec<String>,
}

impl Rig {
    /// With so many who may read.
    pub(crate) fn new(recipients: usize) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let auditors: Vec<Auditor> =
            (0..recipients).map(|number| Auditor::new(dir.path(), &format!("auditor-{number}"))).collect();
        let keys: String =
            auditors.iter().map(|auditor| fs::read_to_string(&auditor.public_file).unwrap()).collect();
        let sealer = Sealer::new(SealMode::To(Arc::new(Reload::fixed(&keys).unwrap())));
        Rig { dir, auditors, sealer, lines: Vec::new() }
    }

    /// Seals both sides of a call; returns its id.
    pub(crate) fn call(&mut self, request: &[u8], content_type: &str, response: &[u8]) -> String {
        let call = Uuid::now_v7().to_string();
        self.side(&call, ContentSide::Request, "application/json", request);
        self.side(&call, ContentSide::Response, content_type, response);
        call
    }

    fn side(&mut self, call: &str, side: ContentSide, content_type: &str, content: &[u8]) {
        let parts = content.chunks(PART_BYTES);
        let last = parts.len() - 1;
        for (number, raw) in parts.enumerate() {
            let facts: PartFacts = serde_json::from_value(json!({
                "call": call, "usage": "event", "caller": {"id": "team-a", "department": "sales", "trust": "network"},
                "target": {"api": "other", "resource": "eastus", "deployment": "gpt"}, "side": side, "part": number,
                "last": number == last, "bytes_raw": raw.len(), "content_type": content_type,
            }))
            .unwrap();
            self.part(facts, raw);
        }
    }

    fn part(&mut self, facts: PartFacts, raw: &[u8]) {
        let id = part_id(&facts.call, facts.side, facts.part);
        // A frame for each block, one after the other.
        let frames = raw.chunks(100).map(|block| zstd::bulk::compress(block, 1).unwrap());
        let sealed =
            self.sealer.seal(&id, &facts, &frames.collect::<Vec<_>>().concat(), Instant::now()).unwrap();
        let subject = facts.caller.id.clone();
        let data = ContentPart {
            schema_version: CONTENT_SCHEMA_VERSION.into(),
            facts,
            reporter: Reporter::default(),
            jwe: sealed.jwe,
            cleartext: sealed.cleartext,
        };
        let call = data.facts.call.clone();
        let time = Some("2026-11-22T09:15:04Z".to_owned());
        let mut event = CloudEvent::new(ContentType::Part, "//tokenweir/x", id, time, subject, data);
        event.partitionkey = call;
        self.lines.push(serde_json::to_string(&event).unwrap());
    }

    /// The events so far, in a file.
    pub(crate) fn events(&self) -> PathBuf {
        self.events_of(|line| Some(line.to_owned()))
    }

    /// The same, of which some are changed or left out.
    pub(crate) fn events_of(&self, change: impl Fn(&str) -> Option<String>) -> PathBuf {
        let path = self.dir.path().join("events.jsonl");
        let lines: Vec<String> = self.lines.iter().filter_map(|line| change(line)).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    }

    /// The spool that a sidecar would have left.
    pub(crate) fn spool(&self) -> PathBuf {
        let dir = self.dir.path().join("spool");
        fs::create_dir_all(&dir).unwrap();
        let db = rusqlite::Connection::open(dir.join("capture.sqlite3")).unwrap();
        db.execute_batch("CREATE TABLE part (position INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT")
            .unwrap();
        for line in &self.lines {
            db.execute("INSERT INTO part (body) VALUES (?1)", [line]).unwrap();
        }
        dir
    }
}

/// Runs `tokenweir open`.
pub(crate) fn open(arguments: &[&str], input: &Path) -> Output {
    let mut command = Command::new(binary());
    command.arg("open").arg(input).args(arguments).env_clear();
    run(command, OPEN_MAX).unwrap()
}
