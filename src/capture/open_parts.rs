//! The parts that are open: compressed bytes of each side of each call, until the part ends.
//!
//! A part ends with a block that says so, or where the network thread has cut the side, or where the call is over
//! without a word: then it is the side's last one, and truncated. Of a side that has lost a part only the numbers are
//! counted on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metering::usage::{ContentSide, Outcome};
use strum::VariantArray;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::block::{Block, PartEnd};
use super::captured_call::{CapturedCall, CapturedSide};
use super::compressor::BlockCompressor;
use super::counters::CaptureCounters;
use super::unstored_part::UnstoredPart;

/// A part whose bytes are all here.
#[derive(Debug)]
pub(super) struct EndedPart {
    pub(super) unstored: UnstoredPart,
    pub(super) compressed: Zeroizing<Vec<u8>>,
    pub(super) end: SideEnd,
}

/// The statement of a part on the end of its side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SideEnd {
    pub(super) last: bool,
    /// `None` where the network thread has said nothing more.
    pub(super) outcome: Option<Outcome>,
    pub(super) truncated: bool,
}

impl SideEnd {
    /// The side was cut, or its call is over without a word.
    const CUT: SideEnd = SideEnd { last: true, outcome: None, truncated: true };
}

impl From<PartEnd> for SideEnd {
    fn from(end: PartEnd) -> SideEnd {
        match end {
            PartEnd::More => SideEnd::default(),
            PartEnd::Last { outcome, truncated } => SideEnd { last: true, outcome: Some(outcome), truncated },
        }
    }
}

/// All open parts.
pub(super) struct OpenParts {
    calls: HashMap<Uuid, OpenCallParts>,
    compressor: BlockCompressor,
    counters: Arc<CaptureCounters>,
}

/// Those of one call.
#[derive(Debug)]
struct OpenCallParts {
    call: Arc<CapturedCall>,
    request: OpenSide,
    response: OpenSide,
}

#[derive(Debug, Default)]
struct OpenSide {
    open: Option<OpenPart>,
    /// The cut was seen by an earlier sweep, so what was sent before it has come since.
    is_cut: bool,
    /// Its last part has ended: nothing more of it is wanted.
    is_over: bool,
}

#[derive(Debug)]
struct OpenPart {
    unstored: UnstoredPart,
    compressed: Zeroizing<Vec<u8>>,
}

impl OpenParts {
    pub(super) fn new(counters: Arc<CaptureCounters>) -> std::io::Result<OpenParts> {
        Ok(OpenParts { calls: HashMap::new(), compressor: BlockCompressor::new()?, counters })
    }

    /// Takes a block, and returns the part that ends with it, unless that is lost.
    pub(super) fn add(&mut self, block: Block) -> Option<EndedPart> {
        let Block { call, side, part, pieces, bytes, held, end } = block;
        let entry = self.calls.entry(call.id).or_insert_with(|| OpenCallParts::of(&call));
        let open_side = entry.side(side);
        if open_side.is_over {
            give_back(call.side(side), bytes);
            return None;
        }
        let open = match &mut open_side.open {
            Some(open) => {
                open.unstored.held.take_over(held);
                open
            }
            none => none.insert(OpenPart {
                unstored: UnstoredPart::new(&call, side, part, held, &self.counters),
                compressed: Zeroizing::default(),
            }),
        };
        open.unstored.bytes_raw += bytes as u64;
        if open.unstored.part != part {
            tracing::error!(id = %call.id, side = side.as_str(), "a part of captured content did not end; its side is lost");
            lose(call.side(side));
        }
        if !open.unstored.follows_a_loss()
            && let Err(error) = self.compressor.compress(&pieces, &mut open.compressed)
        {
            tracing::error!(%error, "captured content cannot be compressed; its side is lost");
            lose(call.side(side));
        }
        drop(pieces);
        open.unstored.held.exchange(open.compressed.len());
        end.and_then(|end| self.end(call.id, side, end.into()))
    }

    /// Ends the parts whose side was cut or lost, or whose call is over, and forgets calls of which nothing more can
    /// come. Every block that was sent before the sweep before this one must have been added.
    pub(super) fn sweep(&mut self) -> Vec<EndedPart> {
        let mut over = Vec::new();
        for (id, entry) in &mut self.calls {
            let is_over = entry.is_over();
            for side in ContentSide::VARIANTS.iter().copied() {
                let was_cut = entry.side(side).is_cut;
                entry.side(side).is_cut = entry.call.side(side).is_cut.load(Ordering::Acquire);
                if is_over || was_cut {
                    over.push((*id, side));
                }
            }
        }
        let ended = self.end_all(over);
        self.calls.retain(|_, entry| !entry.is_done() || !entry.is_over());
        ended
    }

    /// Takes a block of which nothing can be kept any more: its part is lost, and so counted.
    pub(super) fn lose(&mut self, block: Block) {
        lose(block.call.side(block.side));
        drop(self.add(block));
    }

    /// Ends all parts: nothing more comes of any.
    pub(super) fn end_everything(&mut self) -> Vec<EndedPart> {
        let sides = |id: &Uuid| ContentSide::VARIANTS.iter().map(|side| (*id, *side)).collect::<Vec<_>>();
        let all = self.calls.keys().flat_map(sides).collect();
        self.end_all(all)
    }

    fn end_all(&mut self, sides: Vec<(Uuid, ContentSide)>) -> Vec<EndedPart> {
        let ends = sides.into_iter().filter_map(|(id, side)| self.end(id, side, SideEnd::CUT));
        ends.collect()
    }

    fn end(&mut self, id: Uuid, side: ContentSide, end: SideEnd) -> Option<EndedPart> {
        let entry = self.calls.get_mut(&id)?;
        let open_side = entry.side(side);
        open_side.is_over |= end.last;
        let OpenPart { mut unstored, mut compressed } = open_side.open.take()?;
        give_back(unstored.captured_side(), usize::try_from(unstored.bytes_raw).unwrap_or(usize::MAX));
        if unstored.follows_a_loss() {
            return None;
        }
        self.compressor.close(&mut compressed);
        unstored.held.exchange(compressed.len());
        Some(EndedPart { unstored, compressed, end })
    }
}

impl OpenCallParts {
    fn of(call: &Arc<CapturedCall>) -> OpenCallParts {
        OpenCallParts { call: Arc::clone(call), request: OpenSide::default(), response: OpenSide::default() }
    }

    fn side(&mut self, side: ContentSide) -> &mut OpenSide {
        match side {
            ContentSide::Request => &mut self.request,
            ContentSide::Response => &mut self.response,
        }
    }

    fn is_done(&self) -> bool {
        self.open_parts() == 0
    }

    fn open_parts(&self) -> usize {
        usize::from(self.request.open.is_some()) + usize::from(self.response.open.is_some())
    }

    /// The call is over: only this and its open parts have it, so no block of it is under way.
    fn is_over(&self) -> bool {
        Arc::strong_count(&self.call) == 1 + self.open_parts()
    }
}

fn lose(side: &CapturedSide) {
    side.is_lost.store(true, Ordering::Release);
}

/// Bytes of a side are no longer queued.
fn give_back(side: &CapturedSide, bytes: usize) {
    side.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::memory::CaptureMemory;
    use crate::capture::testing::{block, call};

    fn open_parts() -> (OpenParts, Arc<CaptureMemory>) {
        (OpenParts::new(Arc::default()).unwrap(), Arc::new(CaptureMemory::new(1 << 20)))
    }

    /// The network thread has sent a block, and then cut the side; the thread sees the cut first.
    #[test]
    fn a_block_that_was_sent_before_the_cut_is_kept() {
        let (mut parts, memory) = open_parts();
        let (call, side) = (call(), ContentSide::Response);
        assert!(parts.add(block(&memory, &call, side, 0, b"one", None)).is_none());
        call.response.is_cut.store(true, Ordering::Release);
        assert!(parts.sweep().is_empty());
        assert!(parts.add(block(&memory, &call, side, 0, b"two", None)).is_none());
        let ended = parts.sweep();
        assert_eq!(ended.len(), 1);
        assert_eq!(zstd::decode_all(&**ended[0].compressed).unwrap(), b"onetwo");
        assert_eq!((ended[0].unstored.bytes_raw, ended[0].end), (6, SideEnd::CUT));
        assert_eq!(call.response.queued_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(memory.used_bytes(), ended[0].compressed.len(), "what is compressed is what is held");
    }

    #[test]
    fn a_call_that_is_over_is_forgotten_and_one_that_runs_is_not() {
        let (mut parts, memory) = open_parts();
        let running = call();
        parts.add(block(&memory, &running, ContentSide::Request, 0, b"one", None));
        {
            let over = call();
            parts.add(block(&memory, &over, ContentSide::Request, 0, b"one", None));
        }
        let ended = parts.sweep();
        assert_eq!(ended.iter().map(|part| part.end).collect::<Vec<_>>(), [SideEnd::CUT]);
        drop(ended);
        assert!(parts.sweep().is_empty());
        assert_eq!(parts.calls.keys().collect::<Vec<_>>(), [&running.id]);
    }
}
