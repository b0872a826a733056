//! One side of a call on its network thread: what passes is copied, or viewed where it is large, and handed over block
//! by block. Nothing here waits.
//!
//! What is kept is always a prefix of what passed. Where a bound is reached the side is cut, and nothing of it follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use metering::usage::{CaptureState, ContentSide, Outcome};

use super::block::{Block, PartEnd};
use super::captured_call::CapturedCall;
use super::memory::{CaptureMemory, HeldMemory};
use super::queue::BlockSender;
use crate::tee::{PinnedBytes, REQUEST_READ_BYTES_MAX, RESPONSE_READ_BYTES_MAX};

/// Bytes of a block: at this size a stream of events compresses to a 25th, at half of it to a 20th, and each stream
/// holds one.
pub(super) const BLOCK_BYTES: usize = 32 << 10;

/// Bytes of one side that may wait for the capture thread. A prompt of ten megabytes arrives at memory speed, before
/// that thread can run.
const QUEUED_BYTES_MAX: usize = 16 << 20;

/// Sweeps after which a part ends: so a process that dies takes no more of an open call with it than a few seconds.
const SWEEPS_OF_A_PART: u32 = 5;

/// The way of blocks, and what bounds it.
#[derive(Debug)]
pub(super) struct BlockOutlet {
    pub(super) queue: BlockSender,
    pub(super) memory: Arc<CaptureMemory>,
    /// Bytes of one side that are kept.
    pub(super) side_bytes_max: u64,
    /// Bytes of a part, as they pass.
    pub(super) part_bytes: u64,
    /// The process stops, so a side that is cut short now is cut by us.
    pub(super) is_stopping: AtomicBool,
}

impl BlockOutlet {
    /// How a side ends that is cut short now.
    pub(super) fn interrupted(&self) -> Outcome {
        if self.is_stopping.load(Ordering::Acquire) { Outcome::Shutdown } else { Outcome::ClientDisconnect }
    }
}

/// One side that is recorded.
#[derive(Debug)]
pub(super) struct SideRecorder {
    /// The bytes that wait to be handed over: at most a block.
    pinned: PinnedBytes,
    /// So many bytes more may be appended to them before there is anything to decide. Nearly every push of a stream
    /// finds room here: so it reaches for one place in memory, which with many streams is a cold one.
    free_bytes: usize,
    side: ContentSide,
    /// The part that the next byte belongs to.
    part: u64,
    /// Bytes of that part that were handed over.
    part_handed_bytes: u64,
    /// A block of it has been handed over.
    part_is_open: bool,
    part_sweeps: u32,
    /// The last sweep has seen bytes that wait.
    was_seen: bool,
    /// Bytes of all parts that were handed over.
    handed_bytes: u64,
    /// Bytes that passed and are not kept.
    dropped_bytes: u64,
    /// A block was not taken.
    is_refused: bool,
    /// How it ended, once it has.
    outcome: Option<Outcome>,
    is_closed: bool,
}

impl SideRecorder {
    pub(super) fn new(side: ContentSide) -> SideRecorder {
        let read_bytes_max = match side {
            ContentSide::Request => REQUEST_READ_BYTES_MAX,
            ContentSide::Response => RESPONSE_READ_BYTES_MAX,
        };
        SideRecorder {
            pinned: PinnedBytes::new(read_bytes_max),
            free_bytes: 0,
            side,
            part: 0,
            part_handed_bytes: 0,
            part_is_open: false,
            part_sweeps: 0,
            was_seen: false,
            handed_bytes: 0,
            dropped_bytes: 0,
            is_refused: false,
            outcome: None,
            is_closed: false,
        }
    }

    /// Keeps the next bytes that have passed if there is nothing to decide about them. False: they are to be pushed.
    #[inline]
    pub(super) fn try_append(&mut self, bytes: &Bytes) -> bool {
        let is_free = bytes.len() <= self.free_bytes;
        if is_free {
            self.free_bytes -= bytes.len();
            self.pinned.copy(bytes);
        }
        is_free
    }

    /// The next bytes that have passed.
    pub(super) fn push(&mut self, call: &Arc<CapturedCall>, outlet: &BlockOutlet, bytes: &Bytes) {
        if self.has_ended() {
            return;
        }
        let kept = if self.is_cut() { 0 } else { self.keep(call, outlet, bytes) };
        self.dropped_bytes += (bytes.len() - kept) as u64;
        self.free_bytes = self.bytes_before_a_decision(outlet);
    }

    /// Keeps as much of these bytes as there is room for, and returns how much that is.
    fn keep(&mut self, call: &Arc<CapturedCall>, outlet: &BlockOutlet, bytes: &Bytes) -> usize {
        let (mut at, end) = (0, bytes.len().min(room(outlet.side_bytes_max, self.kept_bytes())));
        while at < end {
            if self.part_bytes() == outlet.part_bytes && !self.hand_over(call, outlet, Some(PartEnd::More)) {
                break;
            }
            let len = room(outlet.part_bytes, self.part_bytes()).min(end - at);
            if self.is_beyond_block(len) && !self.hand_over(call, outlet, None) {
                break;
            }
            if !outlet.memory.try_take(call.share, self.pinned.cost_bytes(len)) {
                break;
            }
            self.pinned.push_part(bytes, at..at + len);
            at += len;
            if self.pinned.len() >= BLOCK_BYTES && !self.hand_over(call, outlet, None) {
                break;
            }
        }
        at
    }

    /// So many bytes fit into what waits as it is, and make neither a block, nor a part, nor the side full.
    fn bytes_before_a_decision(&self, outlet: &BlockOutlet) -> usize {
        if self.has_ended() || self.is_cut() {
            return 0;
        }
        (BLOCK_BYTES - 1)
            .saturating_sub(self.pinned.len())
            .min(self.pinned.room_bytes())
            .min(room(outlet.part_bytes, self.part_bytes()))
            .min(room(outlet.side_bytes_max, self.kept_bytes()))
    }

    /// With so many bytes more, what waits would hold more memory than a block may.
    fn is_beyond_block(&self, more: usize) -> bool {
        let cost_bytes = self.pinned.cost_bytes(more);
        cost_bytes > 0 && !self.pinned.is_empty() && self.pinned.pinned_bytes() + cost_bytes > BLOCK_BYTES
    }

    /// Something that passed is not kept: nothing that follows is.
    fn is_cut(&self) -> bool {
        self.is_refused || self.dropped_bytes > 0
    }

    /// Whatever passes belongs to it no longer.
    fn has_ended(&self) -> bool {
        self.is_closed || self.outcome.is_some()
    }

    /// Bytes of the part that is open.
    fn part_bytes(&self) -> u64 {
        self.part_handed_bytes + self.pinned.len() as u64
    }

    /// Hands over what waits. False: it was not taken, and the side is cut.
    fn hand_over(&mut self, call: &Arc<CapturedCall>, outlet: &BlockOutlet, end: Option<PartEnd>) -> bool {
        let bytes = self.pinned.len();
        let (pieces, pinned_bytes) = self.pinned.take();
        (self.free_bytes, self.was_seen) = (0, false);
        let side = call.side(self.side);
        let block = Block {
            call: Arc::clone(call),
            side: self.side,
            part: self.part,
            pieces,
            bytes,
            held: HeldMemory::of_taken(&outlet.memory, call.share, pinned_bytes),
            end,
        };
        let queued = side.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let is_lost = side.is_lost.load(Ordering::Acquire);
        if is_lost || queued + bytes > QUEUED_BYTES_MAX || outlet.queue.try_send(block).is_err() {
            side.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.dropped_bytes += bytes as u64;
            self.is_refused = true;
            // What the thread has of it is sealed as truncated.
            side.is_cut.store(true, Ordering::Release);
            return false;
        }
        self.handed_bytes += bytes as u64;
        self.part_handed_bytes += bytes as u64;
        self.part_is_open = true;
        if end.is_some() {
            self.part += 1;
            (self.part_handed_bytes, self.part_is_open, self.part_sweeps) = (0, false, 0);
        }
        true
    }

    /// A second has gone by: what waited all along is handed over, and a part that is old ends.
    pub(super) fn sweep(&mut self, call: &Arc<CapturedCall>, outlet: &BlockOutlet) {
        if self.is_closed || self.is_refused || self.part_bytes() == 0 {
            return;
        }
        self.part_sweeps += 1;
        if self.part_sweeps >= SWEEPS_OF_A_PART {
            self.hand_over(call, outlet, Some(PartEnd::More));
        } else if !self.pinned.is_empty() && std::mem::replace(&mut self.was_seen, true) {
            self.hand_over(call, outlet, None);
        }
    }

    /// The side has come to its end in this way. The first end counts.
    pub(super) fn finish(&mut self, call: &Arc<CapturedCall>, outlet: &BlockOutlet, outcome: Outcome) {
        if !self.has_ended() {
            self.outcome = Some(outcome);
            self.close(call, outlet, outcome);
        }
    }

    /// Nothing more of it is recorded: the call is over. Without an end before, it ended in this way.
    pub(super) fn close(&mut self, call: &Arc<CapturedCall>, outlet: &BlockOutlet, outcome: Outcome) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.free_bytes = 0;
        let begun = self.kept_bytes() > 0 || self.part > 0 || self.part_is_open;
        if !begun || self.is_refused {
            return;
        }
        let truncated = self.is_cut() || self.outcome.is_none();
        let end = PartEnd::Last { outcome: self.outcome.unwrap_or(outcome), truncated };
        self.hand_over(call, outlet, Some(end));
    }

    /// It has ended, one way or another.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The state of the side, once it is closed.
    pub(super) fn state(&self) -> CaptureState {
        match (self.kept_bytes(), self.dropped_bytes) {
            (0, 0) => CaptureState::Full,
            (0, _) => CaptureState::Lost,
            _ if self.is_cut() || self.outcome.is_none() => CaptureState::Truncated,
            _ => CaptureState::Full,
        }
    }

    /// Parts of which the thread has got something.
    pub(super) fn parts(&self) -> u64 {
        self.part + u64::from(self.part_is_open)
    }

    /// Bytes that were handed over, or wait for it.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.handed_bytes + self.pinned.len() as u64
    }
}

/// Bytes that are left of a bound.
fn room(max_bytes: u64, used_bytes: u64) -> usize {
    usize::try_from(max_bytes.saturating_sub(used_bytes)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::queue::{BlockReceiver, Received, block_queue};
    use crate::capture::testing;

    /// What happens to a side.
    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Sweep,
        /// The thread takes so many blocks.
        Take(usize),
        /// The thread has lost a part.
        Lose,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => prop_oneof![1_usize..200, 1_usize..5_000, 20_000_usize..200_000].prop_map(Step::Push),
            2 => Just(Step::Sweep),
            2 => (0_usize..20).prop_map(Step::Take),
            1 => Just(Step::Lose),
        ]
    }

    struct Rig {
        outlet: BlockOutlet,
        receiver: BlockReceiver,
        call: Arc<CapturedCall>,
        taken: Vec<Block>,
    }

    impl Rig {
        fn new(memory_bytes: usize, side_bytes_max: u64, part_bytes: u64) -> Rig {
            let (queue, receiver) = block_queue(memory_bytes);
            let memory = Arc::new(CaptureMemory::new(memory_bytes));
            let is_stopping = AtomicBool::new(false);
            let outlet = BlockOutlet { queue, memory, side_bytes_max, part_bytes, is_stopping };
            Rig { outlet, receiver, call: testing::call(), taken: Vec::new() }
        }

        /// Shows bytes to a recorder, as the network thread does.
        fn push(&self, recorder: &mut SideRecorder, bytes: &Bytes) {
            if !recorder.try_append(bytes) {
                recorder.push(&self.call, &self.outlet, bytes);
            }
        }

        /// Takes blocks as the thread does, and gives their memory back.
        fn take(&mut self, blocks: usize) {
            for _ in 0..blocks {
                let Received::Block(mut block) = self.receiver.try_receive() else { return };
                block.held.exchange(0);
                block.call.side(block.side).queued_bytes.fetch_sub(block.bytes, Ordering::AcqRel);
                self.taken.push(block);
            }
        }
    }

    proptest! {
        /// Whatever comes in whatever pieces, and whatever has no room: what is handed over is a prefix of what passed,
        /// in parts that are numbered without gaps and no longer than they may be, and the state says what it is.
        #[test]
        fn what_is_handed_over_is_a_prefix(
            steps in prop::collection::vec(step(), 0..60),
            memory in prop_oneof![Just(1_usize << 30), 1_000_usize..400_000],
            most in prop_oneof![Just(u64::MAX), 1_000_u64..300_000],
            part in prop_oneof![Just(512_u64 << 10), 1_000_u64..100_000],
            loses in any::<bool>(),
            ends in any::<bool>(),
        ) {
            let mut rig = Rig::new(memory, most, part);
            let mut recorder = SideRecorder::new(ContentSide::Response);
            let (mut passed, mut lost) = (Vec::new(), false);
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(bytes) => {
                        let bytes: Vec<u8> = (0..bytes).map(|at| (at ^ n ^ (at >> 8)) as u8).collect();
                        rig.push(&mut recorder, &Bytes::copy_from_slice(&bytes));
                        passed.extend(bytes);
                    }
                    Step::Sweep => recorder.sweep(&rig.call, &rig.outlet),
                    Step::Take(blocks) => rig.take(blocks),
                    Step::Lose if loses => {
                        lost = true;
                        rig.call.response.is_lost.store(true, Ordering::Release);
                    }
                    Step::Lose => {}
                }
            }
            if ends {
                recorder.finish(&rig.call, &rig.outlet, Outcome::Complete);
            }
            recorder.close(&rig.call, &rig.outlet, Outcome::Shutdown);
            rig.push(&mut recorder, &Bytes::from_static(b"too late"));
            rig.take(usize::MAX);
            let kept: Vec<u8> = rig.taken.iter().flat_map(|block| block.pieces.concat()).collect();
            prop_assert!(passed.starts_with(&kept), "no prefix");
            prop_assert_eq!(recorder.kept_bytes(), kept.len() as u64);
            prop_assert!(kept.len() as u64 <= most);
            let (mut number, mut bytes, mut is_ended) = (0, 0, false);
            for block in &rig.taken {
                prop_assert!(!is_ended, "something follows the end");
                prop_assert_eq!(block.part, number);
                bytes += block.bytes as u64;
                prop_assert!(bytes <= part);
                match block.end {
                    None => {}
                    Some(PartEnd::More) => (number, bytes) = (number + 1, 0),
                    Some(PartEnd::Last { truncated, outcome }) => {
                        is_ended = true;
                        prop_assert_eq!(truncated, recorder.state() != CaptureState::Full);
                        prop_assert_eq!(outcome, if ends { Outcome::Complete } else { Outcome::Shutdown });
                    }
                }
            }
            let parts = rig.taken.last().map_or(0, |block| block.part + 1);
            prop_assert_eq!(recorder.parts(), parts);
            let all = kept.len() == passed.len();
            match recorder.state() {
                CaptureState::Full => prop_assert!(all && (passed.is_empty() || (ends && is_ended))),
                CaptureState::Lost => prop_assert!(kept.is_empty() && !passed.is_empty()),
                CaptureState::Truncated => prop_assert!(!kept.is_empty() && (!all || !ends || !is_ended)),
                other => prop_assert!(false, "{:?}", other),
            }
            // What is not said to have ended is said to be cut.
            let cut = rig.call.response.is_cut.load(Ordering::Acquire);
            prop_assert!(kept.is_empty() || is_ended || cut);
            prop_assert!(!all || lost || memory < passed.len() + (64 << 10) || !ends || recorder.state() == CaptureState::Full);
            prop_assert_eq!(rig.outlet.memory.used_bytes(), 0, "all memory is given back");
            prop_assert_eq!(rig.call.response.queued_bytes.load(Ordering::Acquire), 0);
        }
    }

    /// A stream that says little is handed over all the same, and its parts end in time.
    #[test]
    fn what_waits_goes_with_the_second_sweep_and_a_part_ends_with_the_fifth() {
        let mut rig = Rig::new(1 << 20, u64::MAX, 512 << 10);
        let mut recorder = SideRecorder::new(ContentSide::Response);
        rig.push(&mut recorder, &Bytes::from_static(b"one"));
        let mut after = |recorder: &mut SideRecorder, sweeps: u32| {
            (0..sweeps).for_each(|_| recorder.sweep(&rig.call, &rig.outlet));
            rig.take(usize::MAX);
            rig.taken.iter().map(|block| (block.bytes, block.end)).collect::<Vec<_>>()
        };
        assert_eq!(after(&mut recorder, 1), []);
        assert_eq!(after(&mut recorder, 1), [(3, None)]);
        assert_eq!(after(&mut recorder, 3), [(3, None), (0, Some(PartEnd::More))]);
        assert_eq!(after(&mut recorder, 100).len(), 2, "where nothing passes nothing is handed over");
    }

    #[test]
    fn more_than_may_wait_is_not_handed_over() {
        let mut rig = Rig::new(1 << 30, u64::MAX, 512 << 10);
        let mut recorder = SideRecorder::new(ContentSide::Request);
        let bytes = Bytes::from(vec![7; 1 << 20]);
        (0..20).for_each(|_| rig.push(&mut recorder, &bytes));
        recorder.finish(&rig.call, &rig.outlet, Outcome::Complete);
        assert_eq!(
            (recorder.state(), recorder.kept_bytes()),
            (CaptureState::Truncated, QUEUED_BYTES_MAX as u64)
        );
        rig.take(usize::MAX);
        assert_eq!(rig.taken.iter().map(|block| block.bytes).sum::<usize>(), QUEUED_BYTES_MAX);
    }
}
