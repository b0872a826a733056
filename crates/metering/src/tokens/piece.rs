//! The pieces of one text: the closed ones as a sum, the current one until it is closed.
//!
//! The scanner reads one chunk after the other and says where pieces end. As long as the current
//! piece lies in one chunk nothing is copied. When the chunk ends first, the piece is held: as bytes
//! while it is short, as two rings when it has grown long, so memory is bounded whatever the text.
//!
//! A piece may contain one *cut*: a place where it will fall in two if the text goes on in one way
//! and not in another. A later cut replaces the earlier one, because it decides that everything
//! before it is one piece.

use super::merge::Bpe;
use super::ring::Ring;

/// The text that one push brings, and how far the scanner is.
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    /// Where the part of the current piece that lies in this chunk begins.
    pub(super) from: usize,
    /// The next character to look at; the current piece goes up to here.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// Takes the part of the current piece that lies in this chunk.
    #[inline(always)]
    fn take(&mut self) -> &'a [u8] {
        debug_assert!(self.from <= self.at && self.at <= self.text.len());
        let tail = &self.text[self.from..self.at];
        self.from = self.at;
        tail
    }

    #[inline(always)]
    fn tail_len(&self) -> usize {
        self.at - self.from
    }
}

/// See the module.
#[derive(Clone)]
pub(super) struct Pieces {
    bpe: Bpe,
    /// Tokens of all closed pieces.
    closed: u64,
    /// Bytes of the current piece that earlier chunks brought.
    held_len: usize,
    /// Bytes of the current piece before its cut; 0 if it has none.
    cut: usize,
    /// The held bytes, unless they are in `rings`.
    held: Vec<u8>,
    rings: Option<Box<Rings>>,
}

impl Pieces {
    pub(super) fn new(bpe: Bpe) -> Pieces {
        Pieces { bpe, closed: 0, held_len: 0, cut: 0, held: Vec::new(), rings: None }
    }

    /// Is the current piece empty?
    #[inline(always)]
    pub(super) fn is_empty(&self, chunk: &Cursor<'_>) -> bool {
        self.held_len + chunk.tail_len() == 0
    }

    /// Does nothing stand after the cut?
    #[inline(always)]
    pub(super) fn ends_with_cut(&self, chunk: &Cursor<'_>) -> bool {
        self.cut == self.held_len + chunk.tail_len()
    }

    /// The piece gets its cut here; an earlier one is forgotten.
    #[inline(always)]
    pub(super) fn cut(&mut self, chunk: &mut Cursor<'_>) {
        if self.rings.is_some() {
            self.cut_rings(chunk.take());
        } else {
            self.cut = self.held_len + chunk.tail_len();
        }
    }

    /// The piece will not fall in two.
    #[inline(always)]
    pub(super) fn uncut(&mut self) {
        self.cut = 0;
    }

    /// The piece ends here, in one.
    #[inline(always)]
    pub(super) fn close(&mut self, chunk: &mut Cursor<'_>) {
        self.cut = 0;
        if self.held_len == 0 {
            self.closed += self.bpe.count(chunk.take());
        } else {
            self.close_held(chunk.take());
        }
    }

    /// The piece falls in two at its cut, if it has one: what stands before is closed, what comes
    /// after is the current piece.
    #[inline(always)]
    pub(super) fn fall_in_two(&mut self, chunk: &mut Cursor<'_>) {
        if self.cut == 0 {
        } else if self.held_len == 0 {
            let first = &chunk.text[chunk.from..chunk.from + self.cut];
            self.closed += self.bpe.count(first);
            chunk.from += self.cut;
            self.cut = 0;
        } else {
            self.fall_in_two_held(chunk.take());
        }
    }

    /// All but the last `last` bytes of the piece are a piece; these bytes are the current one.
    #[inline(always)]
    pub(super) fn close_all_but(&mut self, last: &[u8], chunk: &mut Cursor<'_>) {
        if self.held_len == 0 {
            let end = chunk.at - last.len();
            self.closed += self.bpe.count(&chunk.text[chunk.from..end]);
            chunk.from = end;
        } else {
            self.close_held_but(last, chunk.take());
        }
    }

    /// The chunk ends before the piece does.
    #[inline(always)]
    pub(super) fn hold(&mut self, chunk: &mut Cursor<'_>) {
        let tail = chunk.take();
        if !tail.is_empty() {
            self.hold_tail(tail);
        }
    }

    /// Tokens of the whole text, which ends with the chunk.
    pub(super) fn end(mut self, mut chunk: Cursor<'_>, in_two: bool) -> u64 {
        if self.held_len == 0 {
            let (first, second) = chunk.take().split_at(if in_two { self.cut } else { 0 });
            return self.closed + self.bpe.count(first) + self.bpe.count(second);
        }
        self.hold(&mut chunk);
        if in_two { self.count_in_two() } else { self.count_whole() }
    }

    /// Tokens if the text ended here, after [`Pieces::hold`], and the piece stayed in one.
    pub(super) fn count_whole(&self) -> u64 {
        self.closed
            + match &self.rings {
                Some(rings) => rings.whole.count(),
                None => self.bpe.count(&self.held),
            }
    }

    /// Tokens if the text ended here, after [`Pieces::hold`], and the piece fell in two.
    pub(super) fn count_in_two(&self) -> u64 {
        self.closed
            + match &self.rings {
                Some(rings) if self.cut > 0 => rings.before_cut + rings.after_cut.count(),
                Some(rings) => rings.whole.count(),
                None => self.bpe.count(&self.held[..self.cut]) + self.bpe.count(&self.held[self.cut..]),
            }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.held.capacity() + self.rings.as_ref().map_or(0, |_| size_of::<Rings>())
    }
}

/// A piece that was held goes on. This is rarer, so it is kept out of the scanner's loop.
impl Pieces {
    #[inline(never)]
    fn hold_tail(&mut self, tail: &[u8]) {
        let len = self.held_len + tail.len();
        if let Some(rings) = &mut self.rings {
            rings.push(self.bpe, tail, self.cut > 0);
        } else if len <= self.bpe.limits.piece_bytes_max {
            if self.held.capacity() < len {
                // Doubling by hand: the vector's own growth could pass the limit.
                self.held.reserve_exact(len.next_power_of_two() - self.held.len());
            }
            self.held.extend_from_slice(tail);
        } else {
            self.rings = Some(Rings::new(self.bpe, &self.held, tail, self.cut));
            self.held = Vec::new();
        }
        self.held_len = len;
    }

    #[cold]
    fn cut_rings(&mut self, tail: &[u8]) {
        self.cut = 0; // the bytes before the new cut need not go to the ring after the old one
        self.hold_tail(tail);
        if let Some(rings) = &mut self.rings {
            rings.before_cut = rings.whole.count();
            rings.after_cut.clear();
        }
        self.cut = self.held_len;
    }

    #[inline(never)]
    fn close_held(&mut self, tail: &[u8]) {
        if tail.is_empty() && self.rings.is_none() {
            self.closed += self.bpe.count(&self.held);
        } else {
            self.hold_tail(tail);
            self.closed = self.count_whole();
        }
        self.forget_held();
    }

    #[inline(never)]
    fn fall_in_two_held(&mut self, tail: &[u8]) {
        self.hold_tail(tail);
        self.held_len -= self.cut;
        if let Some(rings) = &mut self.rings {
            self.closed += rings.before_cut;
            std::mem::swap(&mut rings.whole, &mut rings.after_cut);
        } else {
            self.closed += self.bpe.count(&self.held[..self.cut]);
            self.held.drain(..self.cut);
        }
        self.cut = 0;
        if self.held_len == 0 {
            self.forget_held();
        }
    }

    #[inline(never)]
    fn close_held_but(&mut self, last: &[u8], tail: &[u8]) {
        self.hold_tail(tail);
        self.closed += match &self.rings {
            Some(rings) => rings.whole.count_without(last.len()),
            None => self.bpe.count(&self.held[..self.held_len - last.len()]),
        };
        self.forget_held();
        self.hold_tail(last);
    }

    fn forget_held(&mut self) {
        self.held.clear();
        self.held_len = 0;
        self.rings = None;
    }
}

/// A long piece.
#[derive(Clone)]
struct Rings {
    whole: Ring,
    /// Reads the bytes after the cut; idle if there is none.
    after_cut: Ring,
    /// Tokens of the bytes before the cut.
    before_cut: u64,
}

impl Rings {
    fn new(bpe: Bpe, held: &[u8], tail: &[u8], cut: usize) -> Box<Rings> {
        let mut rings = Box::new(Rings { whole: Ring::new(), after_cut: Ring::new(), before_cut: 0 });
        let (held_before, held_after) = held.split_at(cut.min(held.len()));
        let (tail_before, tail_after) = tail.split_at(cut.saturating_sub(held.len()));
        rings.push(bpe, held_before, false);
        rings.push(bpe, tail_before, false);
        rings.before_cut = rings.whole.count();
        rings.push(bpe, held_after, cut > 0);
        rings.push(bpe, tail_after, cut > 0);
        rings
    }

    fn push(&mut self, bpe: Bpe, bytes: &[u8], after_cut: bool) {
        for &byte in bytes {
            self.whole.push(bpe.vocabulary, byte);
            if after_cut {
                self.after_cut.push(bpe.vocabulary, byte);
            }
        }
    }
}
