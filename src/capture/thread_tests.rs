//! The rule of the prefix: whatever blocks come, whatever is cut, whatever cannot be sealed, what is stored of a side is
//! a prefix of what passed, and no memory stays taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use metering::usage::{ContentEvent, ContentSide, Outcome, PartFacts, Reporter, StoredEvent};
use proptest::prelude::*;
use uuid::Uuid;

use super::block::PartEnd;
use super::captured_call::CapturedCall;
use super::counters::CaptureCounters;
use super::memory::CaptureMemory;
use super::part_sealer::PartSealer;
use super::queue::{BlockSender, block_queue};
use super::seal::{SealMode, SealedContent, Sealer};
use super::spool::{SpoolOptions, SpoolSource, SpoolWriter};
use super::testing::{block, call};
use super::thread::{CaptureThread, CaptureThreadParts};
use crate::publish::EventSource;

/// A sealer that refuses each part whose number is `refuses`, and panics at another once the test lets go of it.
struct FlakySealer {
    sealer: Sealer,
    refuses: Option<u64>,
    panics: Option<(u64, Receiver<()>)>,
}

impl PartSealer for FlakySealer {
    fn seal(
        &mut self,
        id: &str,
        facts: &PartFacts,
        compressed: &[u8],
        now: Instant,
    ) -> Result<SealedContent, String> {
        if let Some((_, released)) = self.panics.as_ref().filter(|(part, _)| *part == facts.part) {
            let _ = released.recv();
            panic!("the test wants it");
        }
        if self.refuses == Some(facts.part) {
            return Err("the test wants it".to_owned());
        }
        PartSealer::seal(&mut self.sealer, id, facts, compressed, now)
    }

    fn tidy(&mut self, _: Instant) {}
}

struct Rig {
    _dir: tempfile::TempDir,
    sender: BlockSender,
    memory: Arc<CaptureMemory>,
    counters: Arc<CaptureCounters>,
    source: SpoolSource,
    thread: CaptureThread,
}

impl Rig {
    fn start(refuses: Option<u64>, panics: Option<(u64, Receiver<()>)>) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let (sender, receiver) = block_queue(1 << 20);
        let (memory, counters) = (Arc::new(CaptureMemory::new(64 << 20)), Arc::<CaptureCounters>::default());
        let options = SpoolOptions {
            dir: dir.path().to_owned(),
            in_ledger_dir: false,
            network_fs: true,
            source: "//tokenweir/test".into(),
            boot: Uuid::now_v7(),
            max_bytes: 1 << 30,
        };
        let spool = SpoolWriter::open(&options, Arc::clone(&counters), 1 << 20).unwrap();
        let source = spool.source();
        let thread = CaptureThread::start(CaptureThreadParts {
            receiver,
            spool,
            sealer: Box::new(FlakySealer { sealer: Sealer::new(SealMode::Cleartext), refuses, panics }),
            counters: Arc::clone(&counters),
            source: options.source,
            reporter: Reporter { instance: "boot".into(), version: "1".into() },
            control_interval: Duration::from_secs(60),
        });
        Rig { _dir: dir, sender, memory, counters, source, thread: thread.unwrap() }
    }

    /// Hands a block over as a network thread does.
    fn send(
        &self,
        call: &Arc<CapturedCall>,
        side: ContentSide,
        part: u64,
        bytes: &[u8],
        end: Option<PartEnd>,
    ) -> bool {
        self.sender.try_send(block(&self.memory, call, side, part, bytes, end)).is_ok()
    }

    /// All parts that are stored, by call and side, in the order of their rows.
    fn stored(&mut self) -> BTreeMap<(String, ContentSide), Vec<ContentEvent>> {
        let mut sides = BTreeMap::<_, Vec<ContentEvent>>::new();
        for row in self.source.after(0, usize::MAX >> 1, usize::MAX).unwrap() {
            // As the publisher reads it, for the key and the headers.
            let envelope = StoredEvent::read(&row.body).unwrap();
            let Ok(event) = serde_json::from_str::<ContentEvent>(&row.body) else { continue };
            let facts = &event.data.facts;
            assert_eq!((&*envelope.partitionkey, &*envelope.id), (&*facts.call, &*event.id));
            sides.entry((facts.call.to_string(), facts.side)).or_default().push(event);
        }
        sides
    }
}

/// One side of a call, as a network thread makes it.
#[derive(Clone, Debug)]
struct Script {
    /// The parts, in blocks.
    parts: Vec<Vec<Vec<u8>>>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The last block says so.
    Said,
    /// The side is cut after the last block, which has not ended its part.
    Cut,
    /// Nothing more is said, and the call is dropped.
    Dropped,
}

fn script() -> impl Strategy<Value = Script> {
    let block = prop::collection::vec(any::<u8>(), 0..2_000);
    let parts = prop::collection::vec(prop::collection::vec(block, 1..5), 1..5);
    let ending = prop_oneof![Just(Ending::Said), Just(Ending::Cut), Just(Ending::Dropped)];
    (parts, ending).prop_map(|(parts, ending)| Script { parts, ending })
}

fn send(rig: &Rig, call: &Arc<CapturedCall>, side: ContentSide, script: &Script) {
    for (part, blocks) in script.parts.iter().enumerate() {
        for (index, bytes) in blocks.iter().enumerate() {
            let ends = index + 1 == blocks.len();
            let last = part + 1 == script.parts.len();
            let end = match script.ending {
                Ending::Said if ends && last => {
                    Some(PartEnd::Last { outcome: Outcome::ClientDisconnect, truncated: false })
                }
                _ if ends && !last => Some(PartEnd::More),
                _ => None,
            };
            assert!(rig.send(call, side, part as u64, bytes, end));
        }
    }
    if script.ending == Ending::Cut {
        call.side(side).is_cut.store(true, Ordering::Release);
    }
}

/// Holds what is stored of a side against what was sent.
fn judge(script: &Script, stored: &[ContentEvent], refuses: Option<u64>) {
    let numbers: Vec<u64> = stored.iter().map(|event| event.data.facts.part).collect();
    let kept = script.parts.len().min(refuses.map_or(usize::MAX, |refused| refused as usize));
    assert_eq!(numbers, (0..kept as u64).collect::<Vec<_>>(), "there is a hole, or too much or too little");
    for (event, sent) in stored.iter().zip(&script.parts) {
        let (facts, sent) = (&event.data.facts, sent.concat());
        let compressed = BASE64_STANDARD.decode(event.data.cleartext.as_ref().unwrap()).unwrap();
        assert_eq!(zstd::decode_all(&*compressed).unwrap(), sent);
        assert_eq!(facts.bytes_raw, sent.len() as u64);
        let is_last = facts.part + 1 == script.parts.len() as u64;
        let said = script.ending == Ending::Said;
        assert_eq!((facts.last, facts.truncated), (is_last, is_last && !said));
        assert_eq!(facts.outcome, (is_last && said).then_some(Outcome::ClientDisconnect));
    }
}

fn run(scripts: &[(Script, Script)], refuses: Option<u64>, waits: bool) {
    let mut rig = Rig::start(refuses, None);
    let calls: Vec<_> = scripts.iter().map(|_| call()).collect();
    for (call, (request, response)) in calls.iter().zip(scripts) {
        send(&rig, call, ContentSide::Request, request);
        send(&rig, call, ContentSide::Response, response);
    }
    let ids: Vec<String> = calls.iter().map(|call| call.id.to_string()).collect();
    let sides: Vec<_> = calls.iter().flat_map(|call| [Arc::clone(call), Arc::clone(call)]).collect();
    drop(calls);
    if waits {
        drop(sides);
        std::thread::sleep(Duration::from_millis(20));
        rig.thread.finish();
    } else {
        rig.thread.finish();
        for call in sides {
            assert_eq!(call.request.queued_bytes.load(Ordering::Acquire), 0);
            assert_eq!(call.response.queued_bytes.load(Ordering::Acquire), 0);
        }
    }
    assert_eq!(rig.memory.used_bytes(), 0, "memory stays taken");
    let mut stored = rig.stored();
    let (mut parts, mut sent) = (0, 0);
    for (id, (request, response)) in ids.into_iter().zip(scripts) {
        for (side, script) in [(ContentSide::Request, request), (ContentSide::Response, response)] {
            let events = stored.remove(&(id.clone(), side)).unwrap_or_default();
            judge(script, &events, refuses);
            parts += events.len() as u64;
            sent += script.parts.len() as u64;
        }
    }
    let stats = rig.counters.stats();
    assert_eq!(
        (stats.parts, stats.lost_parts),
        (parts, sent - parts),
        "each part is stored or counted as lost"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_is_stored_of_a_side_is_a_prefix(
        scripts in prop::collection::vec((script(), script()), 1..6),
        refuses in prop::option::of(0_u64..4),
        waits in any::<bool>(),
    ) {
        run(&scripts, refuses, waits);
    }
}

/// Waits until something is so, for a time that no busy machine needs.
fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never was");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_side_that_is_cut_is_stored_while_its_call_goes_on_and_what_follows_is_not() {
    let mut rig = Rig::start(None, None);
    let call = call();
    assert!(rig.send(&call, ContentSide::Response, 0, b"said", None));
    call.response.is_cut.store(true, Ordering::Release);
    until(|| !rig.stored().is_empty());
    assert!(rig.send(&call, ContentSide::Response, 0, b"too late", Some(PartEnd::More)));
    assert!(rig.send(&call, ContentSide::Response, 1, b"too late", None));
    rig.thread.finish();
    let stored = rig.stored().into_values().next().unwrap();
    let facts: Vec<_> = stored
        .iter()
        .map(|event| (event.data.facts.last, event.data.facts.truncated, event.data.facts.bytes_raw))
        .collect();
    assert_eq!(facts, [(true, true, 4)]);
    assert_eq!((rig.memory.used_bytes(), call.response.queued_bytes.load(Ordering::Relaxed)), (0, 0));
}

/// Whatever it had: a part that is open, one that is being sealed, and what waits in the queue.
#[test]
fn a_panic_loses_what_the_thread_had_counts_it_and_keeps_no_memory() {
    let (hold, released) = channel();
    let mut rig = Rig::start(None, Some((3, released)));
    let [stored, open, sealed, waiting] = [call(), call(), call(), call()];
    assert!(rig.counters.is_storing());
    assert!(rig.send(&stored, ContentSide::Request, 0, b"said", Some(PartEnd::More)));
    until(|| rig.counters.stats().parts == 1);
    assert!(rig.send(&open, ContentSide::Response, 0, b"said", None));
    assert!(rig.send(&sealed, ContentSide::Request, 3, b"said", Some(PartEnd::More)));
    assert!(rig.send(&waiting, ContentSide::Request, 0, b"said", Some(PartEnd::More)));
    assert!(rig.send(&waiting, ContentSide::Request, 1, b"said", None));
    assert!(rig.send(&waiting, ContentSide::Response, 0, b"said", None));
    drop(hold);
    // It does not wait for what nobody does any more.
    rig.thread.finish();
    let stats = rig.counters.stats();
    assert_eq!((stats.parts, stats.lost_parts, stats.lost_bytes), (1, 5, 20));
    assert!(stats.degraded && rig.memory.used_bytes() == 0, "{} bytes stay taken", rig.memory.used_bytes());
    assert!(!rig.send(&waiting, ContentSide::Response, 0, b"said", None), "somebody takes it");
    assert_eq!(rig.memory.used_bytes(), 0);
    // What was stored before is delivered nevertheless, and seen to be.
    assert_eq!((rig.stored().len(), stats.undelivered), (1, 1));
    rig.source.mark_delivered(rig.source.stored());
    assert_eq!(rig.counters.stats().undelivered, 0);
    rig.thread.close();
}
