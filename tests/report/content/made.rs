//! Calls with content, as a sidecar would tell of them: usage events, sealed parts, and the control events of both.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::caller::{Caller, Reload, Trust};
use metering::usage::{
    CONTENT_SCHEMA_VERSION, Capture, CaptureState, CloudEvent, ContentCaller, ContentControl, ContentPart,
    ContentSide, ContentTarget, ContentType, Control, EventType, Outcome, PartFacts, Reporter, RowHash,
    RowsDigest, SCHEMA_VERSION, Target, TokenTotals, Usage, UsageRecord, part_id,
};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use tokenweir::capture::seal::{PrivateKeys, Recipients, SealMode, Sealer};
use uuid::{NoContext, Uuid};

/// The ledger of all of it.
pub(super) const SOURCE: &str = "//tokenweir/018f3a1e-0000-7000-8000-000000000000";

/// The boot of the usage events, and that of the content.
const BOOT: &str = "018f3a1e-0000-7000-8000-00000000000b";

/// Parts between two control events.
const CONTROL_EVERY: usize = 5;

static KEY: LazyLock<PKey<Private>> = LazyLock::new(new_key);

fn new_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(3072).unwrap()).unwrap()
}

/// The key that opens all of it.
pub(super) fn the_key() -> PrivateKeys {
    keys(&KEY)
}

/// A key that opens none.
pub(super) fn another_key() -> PrivateKeys {
    keys(&new_key())
}

fn keys(key: &PKey<Private>) -> PrivateKeys {
    let mut keys = PrivateKeys::default();
    keys.add(std::str::from_utf8(&key.private_key_to_pem_pkcs8().unwrap()).unwrap()).unwrap();
    keys
}

/// The private key as a file has it.
pub(super) fn the_key_as_pem() -> Vec<u8> {
    KEY.private_key_to_pem_pkcs8().unwrap()
}

/// What passed of a call: the sizes of the parts of each side, and how it is told.
#[derive(Clone, Debug)]
pub(super) struct MadeCall {
    pub(super) request: Vec<usize>,
    pub(super) response: Vec<usize>,
    pub(super) is_truncated: bool,
    pub(super) usage: UsageRecord,
}

/// Lines of both topics.
#[derive(Clone, Debug, Default)]
pub(super) struct MadeLines {
    pub(super) usage: Vec<String>,
    pub(super) content: Vec<String>,
}

/// So many seconds after a beginning.
pub(super) fn at(seconds: usize) -> Option<String> {
    let begin: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    Some((begin + Duration::from_secs(seconds as u64)).to_string())
}

/// The id of a call that began then.
fn id_at(seconds: usize) -> Uuid {
    let began: Timestamp = at(seconds).unwrap().parse().unwrap();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, began.as_second().unsigned_abs(), 0))
}

/// Tells of all calls, one after the other, whose sidecar has ended. Each part comes a second after what was before, and a
/// usage event with the last part of its call.
pub(super) fn made(calls: &[MadeCall]) -> MadeLines {
    let public = KEY.public_key_to_pem().unwrap();
    let recipients = Reload::<Recipients>::fixed(std::str::from_utf8(&public).unwrap()).unwrap();
    let mut maker = Maker {
        sealer: Sealer::new(SealMode::To(Arc::new(recipients))),
        lines: MadeLines::default(),
        second: 0,
        sequence: 0,
        since: ContentControl::default(),
        digest: RowsDigest::default(),
    };
    let mut usage = UsageLines::default();
    usage.add(id_at(0), 0, 0, None);
    for call in calls {
        maker.second += 1;
        let began = maker.second;
        let id = id_at(began);
        let capture = maker.call(id, call);
        if call.usage == UsageRecord::Event {
            usage.add(id, began, maker.second, Some(capture));
        }
    }
    maker.second += 1;
    maker.control(true);
    MadeLines { usage: usage.ended(maker.second), content: maker.lines.content }
}

struct Maker {
    sealer: Sealer,
    lines: MadeLines,
    /// The time now.
    second: usize,
    sequence: u64,
    since: ContentControl,
    digest: RowsDigest,
}

impl Maker {
    fn call(&mut self, id: Uuid, call: &MadeCall) -> Capture {
        let (mut parts, mut bytes) = (0, 0);
        for (side, sizes) in [(ContentSide::Request, &call.request), (ContentSide::Response, &call.response)]
        {
            for (number, size) in sizes.iter().enumerate() {
                let is_last = number + 1 == sizes.len();
                let is_truncated = call.is_truncated && side == ContentSide::Response;
                let mut facts = facts(id, side, number as u64, is_last, *size);
                facts.truncated = is_last && is_truncated;
                facts.usage = call.usage;
                self.part(facts);
                (parts, bytes) = (parts + 1, bytes + *size as u64);
            }
        }
        let response = if call.is_truncated { CaptureState::Truncated } else { CaptureState::Full };
        Capture { request: CaptureState::Full, response, parts: Some(parts), bytes: Some(bytes) }
    }

    fn part(&mut self, facts: PartFacts) {
        self.second += 1;
        let id = part_id(&facts.call, facts.side, facts.part);
        let content = vec![b'x'; facts.bytes_raw as usize];
        let compressed = zstd::bulk::compress(&content, 1).unwrap();
        let sealed = self.sealer.seal(&id, &facts, &compressed, Instant::now()).unwrap();
        let data = ContentPart {
            schema_version: CONTENT_SCHEMA_VERSION.into(),
            facts: facts.clone(),
            reporter: reporter(),
            jwe: sealed.jwe,
            cleartext: sealed.cleartext,
        };
        let mut event = CloudEvent::new(ContentType::Part, SOURCE, id, at(self.second), "team-a", data);
        event.partitionkey = facts.call;
        self.sequence += 1;
        let line = serde_json::to_string(&event.with_sequence(self.sequence)).unwrap();
        self.digest.add(&RowHash::of(line.as_bytes()));
        self.lines.content.push(line);
        self.since.first_sequence.get_or_insert(self.sequence);
        self.since.last_sequence = Some(self.sequence);
        self.since.parts += 1;
        self.since.bytes += facts.bytes_raw;
        if self.since.parts as usize >= CONTROL_EVERY {
            self.control(false);
        }
    }

    fn control(&mut self, last: bool) {
        self.sequence += 1;
        let data = ContentControl {
            schema_version: CONTENT_SCHEMA_VERSION.into(),
            instance: BOOT.into(),
            digest: std::mem::take(&mut self.digest).to_string(),
            last,
            ..std::mem::take(&mut self.since)
        };
        let id = Uuid::now_v7().to_string();
        let event = CloudEvent::new(ContentType::Control, SOURCE, id, at(self.second), BOOT, data);
        self.lines.content.push(serde_json::to_string(&event.with_sequence(self.sequence)).unwrap());
    }
}

fn facts(call: Uuid, side: ContentSide, part: u64, last: bool, bytes: usize) -> PartFacts {
    let target = ContentTarget::of(&draft());
    PartFacts {
        call: call.to_string().into(),
        usage: UsageRecord::Event,
        caller: ContentCaller { id: "team-a".into(), department: None, trust: Trust::None },
        target,
        side,
        part,
        last,
        bytes_raw: bytes as u64,
        content_type: Some("application/json".into()),
        content_encoding: None,
        status: None,
        edited: Vec::new(),
        outcome: last.then_some(Outcome::Complete),
        truncated: false,
    }
}

fn draft() -> Usage {
    Usage::draft(Caller::unattributed(Trust::None), Target::default())
}

fn reporter() -> Reporter {
    Reporter { instance: BOOT.into(), ..draft().reporter }
}

/// The usage events of one boot.
#[derive(Default)]
struct UsageLines {
    lines: Vec<String>,
    digest: RowsDigest,
}

impl UsageLines {
    fn add(&mut self, id: Uuid, began: usize, second: usize, capture: Option<Capture>) {
        let mut usage = Usage { capture, reporter: reporter(), ..draft() };
        usage.timing.started_at = at(began).and_then(|time| time.parse().ok());
        let event = CloudEvent::new(EventType::Usage, SOURCE, id.to_string(), at(second), "team-a", usage);
        let event = event.with_sequence(self.lines.len() as u64 + 1);
        let line = serde_json::to_string(&event).unwrap();
        self.digest.add(&RowHash::of(line.as_bytes()));
        self.lines.push(line);
    }

    fn ended(mut self, second: usize) -> Vec<String> {
        let events = self.lines.len() as u64;
        let control = Control {
            schema_version: SCHEMA_VERSION.to_owned(),
            instance: BOOT.to_owned(),
            first_sequence: Some(1),
            last_sequence: Some(events),
            events,
            tokens: TokenTotals::default(),
            accepted: events,
            settled: events,
            last: true,
            digest: Some(self.digest.to_string()),
            ..Control::default()
        };
        let id = Uuid::now_v7().to_string();
        let event = CloudEvent::new(EventType::Control, SOURCE, id, at(second), BOOT, control);
        let event = event.with_sequence(events + 1).sealed(None).unwrap();
        self.lines.push(serde_json::to_string(&event).unwrap());
        self.lines
    }
}
