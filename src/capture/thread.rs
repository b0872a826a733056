//! The thread `tw-capture`: it compresses blocks as they come, seals each part when it ends, and has it stored.
//!
//! Network threads never wait for it. If it panics, what it had is lost and counted, which the log says once; blocks that
//! follow find nobody who takes them, and so become lost at their senders.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::{
    CONTENT_SCHEMA_VERSION, CloudEvent, ContentEvent, ContentPart, ContentType, PartFacts, Reporter, part_id,
};
use smol_str::SmolStr;

use super::counters::CaptureCounters;
use super::open_parts::{EndedPart, OpenParts};
use super::part_sealer::PartSealer;
use super::queue::{BLOCKS_MAX, BlockReceiver, Received};
use super::seal::SealedContent;
use super::spool::{ControlKind, SealedPart, SpoolWriter};
use super::thread_phase::{SharedPhase, ThreadPhase};
use super::unstored_part::UnstoredPart;

/// The pause between two commits, and between two looks for cut sides: a dying process loses so much more than what is open.
const COMMIT_EVERY: Duration = Duration::from_millis(250);

/// Memory that an event takes beside its content.
const ENVELOPE_BYTES: usize = 2_048;

/// The pause between two log lines that tell that parts cannot be sealed.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// All that the thread works with.
pub(super) struct CaptureThreadParts {
    pub(super) receiver: BlockReceiver,
    pub(super) spool: SpoolWriter,
    pub(super) sealer: Box<dyn PartSealer>,
    pub(super) counters: Arc<CaptureCounters>,
    /// CloudEvents `source` of the usage events.
    pub(super) source: SmolStr,
    pub(super) reporter: Reporter,
    /// How often a control event is written.
    pub(super) control_interval: Duration,
}

/// The thread as its owner has it. Dropped without [`CaptureThread::close`], it ends as if it was called.
#[derive(Debug)]
pub(super) struct CaptureThread {
    phase: Arc<SharedPhase>,
    thread: Option<JoinHandle<()>>,
}

impl CaptureThread {
    /// Starts it.
    pub(super) fn start(parts: CaptureThreadParts) -> std::io::Result<CaptureThread> {
        let phase = Arc::<SharedPhase>::default();
        let (seen, counters) = (Arc::clone(&phase), Arc::clone(&parts.counters));
        let marks = parts.spool.marks();
        let mut worker = CaptureWorker::new(parts, Arc::clone(&phase))?;
        let thread = std::thread::Builder::new().name("tw-capture".to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                counters.degraded.store(true, Ordering::Release);
                tracing::error!("the thread of captured content panicked: from here on all content is lost");
                // Another panic changes nothing: what the worker has is dropped by it, too.
                let _ = catch_unwind(AssertUnwindSafe(|| worker.lose_everything()));
            }
            marks.end();
            seen.advance(ThreadPhase::Ended);
        })?;
        Ok(CaptureThread { phase, thread: Some(thread) })
    }

    /// Stores all that was handed over so far and the boot's last control event: what was open is truncated, and what
    /// cannot be stored within some seconds is lost. What is handed over later is lost too. Blocks; may be repeated.
    pub(super) fn finish(&self) {
        self.go_to(ThreadPhase::Finishing);
        self.phase.wait(ThreadPhase::Finished);
    }

    /// [`CaptureThread::finish`], then notes what was delivered since, and ends.
    pub(super) fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.finish();
        self.go_to(ThreadPhase::Closing);
        if let Some(thread) = self.thread.take() {
            // It says itself when it panicked.
            let _ = thread.join();
        }
    }

    fn go_to(&self, phase: ThreadPhase) {
        self.phase.advance(phase);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for CaptureThread {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// The worker that runs on the thread.
struct CaptureWorker {
    receiver: BlockReceiver,
    open: OpenParts,
    sealer: Box<dyn PartSealer>,
    spool: SpoolWriter,
    source: SmolStr,
    reporter: Reporter,
    control_interval: Duration,
    commit_at: Instant,
    control_at: Instant,
    /// When the log last told that a part cannot be sealed.
    said: Option<Instant>,
    phase: Arc<SharedPhase>,
}

impl CaptureWorker {
    fn new(parts: CaptureThreadParts, phase: Arc<SharedPhase>) -> std::io::Result<CaptureWorker> {
        let CaptureThreadParts { receiver, spool, sealer, counters, source, reporter, control_interval } =
            parts;
        let now = Instant::now();
        Ok(CaptureWorker {
            receiver,
            open: OpenParts::new(counters)?,
            sealer,
            spool,
            source,
            reporter,
            control_interval,
            commit_at: now + COMMIT_EVERY,
            control_at: now + control_interval,
            said: None,
            phase,
        })
    }

    fn run(&mut self) {
        self.receiver.wake_this_thread();
        loop {
            let is_idle = self.receive();
            let now = Instant::now();
            if now >= self.commit_at || self.spool.is_ripe() {
                self.store(now);
            }
            match self.phase.get() {
                ThreadPhase::Finishing => self.finish(),
                ThreadPhase::Closing => break self.spool.commit(now),
                // What comes meanwhile is stored by the same commit as if it was taken now.
                _ if is_idle => self.receiver.sleep(self.commit_at.saturating_duration_since(now)),
                _ => {}
            }
        }
    }

    /// After a panic: what waits in the queue is lost as all else is that this has, so each part is counted and no memory
    /// stays taken. What is sent meanwhile holds nothing either once the queue is gone.
    fn lose_everything(mut self) {
        for _ in 0..BLOCKS_MAX {
            let Received::Block(block) = self.receiver.try_receive() else { return };
            self.open.lose(block);
        }
    }

    /// Takes the blocks that have come, until it is time to store. Returns whether there is none left.
    fn receive(&mut self) -> bool {
        while let Received::Block(block) = self.receiver.try_receive() {
            if let Some(ended) = self.open.add(block) {
                self.seal(ended);
            }
            if self.spool.is_ripe() || Instant::now() >= self.commit_at {
                return false;
            }
        }
        true
    }

    /// Stores what is sealed, and looks for sides that have ended otherwise.
    fn store(&mut self, now: Instant) {
        if now >= self.commit_at {
            // What was cut before the last time has come by now, however much there is.
            self.receive_all();
            for ended in self.open.sweep() {
                self.seal(ended);
            }
            self.sealer.tidy(now);
            self.commit_at = now + COMMIT_EVERY;
        }
        if now >= self.control_at && self.phase.get() < ThreadPhase::Finishing {
            self.spool.control(ControlKind::Periodic);
            self.control_at = now + self.control_interval;
        }
        self.spool.commit(now);
    }

    /// Takes what is in the queue now; what comes meanwhile may follow later.
    fn receive_all(&mut self) {
        for _ in 0..BLOCKS_MAX {
            let Received::Block(block) = self.receiver.try_receive() else { return };
            if let Some(ended) = self.open.add(block) {
                self.seal(ended);
            }
        }
    }

    fn finish(&mut self) {
        self.receive_all();
        for ended in self.open.end_everything() {
            self.seal(ended);
        }
        self.spool.finish();
        self.phase.advance(ThreadPhase::Finished);
    }

    fn seal(&mut self, ended: EndedPart) {
        let (now, facts) = (Instant::now(), facts(&ended));
        let EndedPart { mut unstored, compressed, .. } = ended;
        let call = unstored.call.id.to_string();
        let id = part_id(&call, unstored.side, unstored.part);
        match self.sealer.seal(&id, &facts, &compressed, now) {
            Ok(content) => {
                unstored.held.exchange(content_bytes(&content) + ENVELOPE_BYTES);
                let event = self.event(id, call, facts, content);
                self.spool.append(SealedPart { event, unstored });
            }
            Err(error) => self.not_sealed(unstored, &error, now),
        }
    }

    fn event(&self, id: String, call: String, facts: PartFacts, content: SealedContent) -> ContentEvent {
        let (time, subject) = (format!("{:.3}", Timestamp::now()), facts.caller.id.clone());
        let data = ContentPart {
            schema_version: SmolStr::new_static(CONTENT_SCHEMA_VERSION),
            facts,
            reporter: self.reporter.clone(),
            jwe: content.jwe,
            cleartext: content.cleartext,
        };
        let mut event =
            CloudEvent::new(ContentType::Part, self.source.clone(), id, Some(time), subject, data);
        event.partitionkey = call.into();
        event
    }

    fn not_sealed(&mut self, lost: UnstoredPart, error: &str, now: Instant) {
        drop(lost);
        if self.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY) {
            self.said = Some(now);
            tracing::error!(error, "captured content cannot be sealed; it is lost and counted");
        }
    }
}

/// The facts that a part states in the clear.
fn facts(ended: &EndedPart) -> PartFacts {
    let UnstoredPart { call, side, part, bytes_raw, .. } = &ended.unstored;
    let head = call.side(*side).head.get().cloned().unwrap_or_default();
    PartFacts {
        call: call.id.to_string().into(),
        usage: call.usage,
        caller: call.caller.clone(),
        target: call.target.clone(),
        side: *side,
        part: *part,
        last: ended.end.last,
        bytes_raw: *bytes_raw,
        content_type: head.content_type,
        content_encoding: head.content_encoding,
        status: head.status,
        edited: head.edited,
        outcome: ended.end.outcome,
        truncated: ended.end.truncated,
    }
}

/// Bytes of the texts that carry a part's content.
fn content_bytes(content: &SealedContent) -> usize {
    let jwe = content.jwe.as_ref().map_or(0, |jwe| {
        let keys = jwe.recipients.iter().map(|recipient| recipient.encrypted_key.len()).sum::<usize>();
        let key = jwe.encrypted_key.as_ref().map_or(0, String::len);
        jwe.protected.len() + jwe.ciphertext.len() + keys + key
    });
    jwe + content.cleartext.as_ref().map_or(0, String::len)
}
