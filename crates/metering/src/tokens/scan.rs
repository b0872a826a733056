//! Finds where the pieces of a text end. It is the pretokenizer patterns as a state machine that reads each
//! character once.
//!
//! The encodings are defined by a regular expression each (`O200K_BASE_PAT_STR` and the pattern of
//! `cl100k_base` in tiktoken). A piece is what the leftmost of its alternatives matches, so a piece
//! that has ended never changes. The current piece depends on the characters that follow in four cases
//! only, and in each there is one place where it could fall in two ([`Pieces::cut`]):
//!
//! - o200k_base, a word without a lower-case letter: `中AAA` is two pieces (up to the last character
//!   that may end a word, and the upper-case rest), `中AAAb` is one.
//! - o200k_base, a word and `'`: `it's` is one piece, `it'x` two.
//! - White space with newlines: up to the last newline is one piece.
//! - White space before anything else: its last character may belong to what follows.
//!
//! Each function below is one state: it looks at the next character, perhaps consumes it, and gives
//! the next state.

use super::classes::{Char, CharClass};
use super::encoding::Encoding;
use super::merge::Bpe;
use super::piece::{Cursor, Pieces};
use super::tables::Tables;

/// The kind of the current piece, as far as it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PieceState {
    /// Nothing.
    Start,
    /// One character that is not a letter, number or newline: may begin a word or punctuation.
    Prefix,
    /// A word without a lower-case letter so far (o200k_base only).
    Upper,
    /// A word.
    Lower,
    /// A word and `'`, cut before it (o200k_base only).
    WordQuote,
    /// A word and `'r`, `'v` or `'l`, cut before the quote (o200k_base only).
    WordQuoteLetter(u8),
    /// A `'` that may begin a contraction (cl100k_base only).
    Quote,
    /// The same and `r`, `v` or `l` (cl100k_base only).
    QuoteLetter(u8),
    /// A run of punctuation.
    Punctuation,
    /// A run of punctuation and newlines (o200k_base: and `/`).
    Tail,
    /// So many digits.
    Digits(u8),
    /// White space, cut after the last newline.
    Space,
}

/// The last character of a run of white space.
#[derive(Clone, Copy)]
struct LastSpace {
    bytes: [u8; 3],
    len: u8,
}

impl LastSpace {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Reads a text in chunks and counts its tokens.
#[derive(Clone)]
pub(super) struct PieceScanner {
    tables: &'static Tables,
    pieces: Pieces,
    state: PieceState,
    last_space: LastSpace,
}

impl PieceScanner {
    pub(super) fn new(tables: &'static Tables, bpe: Bpe) -> PieceScanner {
        let last_space = LastSpace { bytes: [0; 3], len: 0 };
        PieceScanner { tables, pieces: Pieces::new(bpe), state: PieceState::Start, last_space }
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.tables.encoding
    }

    /// The next characters of the text.
    pub(super) fn push(&mut self, text: &str) {
        let mut chunk = self.read(text);
        self.pieces.hold(&mut chunk);
    }

    /// Tokens of a text that ends with these characters. The last piece, however long, need not be
    /// held.
    pub(super) fn end(mut self, text: &str) -> u64 {
        let chunk = self.read(text);
        let in_two = self.falls_in_two();
        self.pieces.end(chunk, in_two)
    }

    #[inline(always)]
    fn read<'a>(&mut self, text: &'a str) -> Cursor<'a> {
        let tables = self.tables;
        let mut chunk = Cursor { text: text.as_bytes(), from: 0, at: 0 };
        let mut state = self.state;
        while chunk.at < chunk.text.len() {
            let next = tables.classes.char_at(chunk.text, chunk.at);
            let chunk = &mut chunk;
            state = match state {
                PieceState::Start => self.start(chunk, next),
                PieceState::Prefix => self.prefix(chunk, next),
                PieceState::Upper => self.upper(chunk, next),
                PieceState::Lower => self.lower(chunk, next),
                PieceState::WordQuote => self.word_quote(chunk, next),
                PieceState::WordQuoteLetter(letter) => self.word_quote_letter(chunk, next, letter),
                PieceState::Quote => self.quote(chunk, next),
                PieceState::QuoteLetter(letter) => self.quote_letter(chunk, next, letter),
                PieceState::Punctuation => self.punctuation(chunk, next),
                PieceState::Tail => self.tail(chunk, next),
                PieceState::Digits(seen) => self.digits(chunk, next, seen),
                PieceState::Space => self.space(chunk, next),
            };
        }
        self.state = state;
        chunk
    }

    /// Tokens if the text ended here.
    pub(super) fn count(&self) -> u64 {
        if self.falls_in_two() { self.pieces.count_in_two() } else { self.pieces.count_whole() }
    }

    /// Would the piece fall in two if the text ended here?
    fn falls_in_two(&self) -> bool {
        match self.state {
            PieceState::Upper | PieceState::WordQuote | PieceState::WordQuoteLetter(_) => true,
            // cl100k_base has `\s++$` before their newline rule: white space at the end is one piece.
            PieceState::Space => self.tables.encoding == Encoding::O200kBase,
            _ => false,
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.pieces.heap_bytes()
    }
}

/// The states.
impl PieceScanner {
    #[inline(always)]
    fn start(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Space | CharClass::Newline => return PieceState::Space,
            _ => chunk.at += next.len,
        }
        match next.class {
            CharClass::Lower => PieceState::Lower,
            CharClass::Upper => PieceState::Upper,
            CharClass::Caseless | CharClass::Mark => {
                self.pieces.cut(chunk);
                PieceState::Upper
            }
            CharClass::Number => PieceState::Digits(1),
            CharClass::Apostrophe if self.tables.encoding == Encoding::Cl100kBase => PieceState::Quote,
            _ => PieceState::Prefix,
        }
    }

    #[inline(always)]
    fn prefix(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Number | CharClass::Space => self.close(chunk),
            CharClass::Newline => step(chunk, next, PieceState::Tail),
            CharClass::Lower => step(chunk, next, PieceState::Lower),
            CharClass::Upper => step(chunk, next, PieceState::Upper),
            CharClass::Caseless | CharClass::Mark => {
                chunk.at += next.len;
                self.pieces.cut(chunk);
                PieceState::Upper
            }
            CharClass::Other | CharClass::Apostrophe | CharClass::Slash => {
                step(chunk, next, PieceState::Punctuation)
            }
        }
    }

    /// The pattern takes letters that may stand in the upper part of a word, then at least one that
    /// may stand in the lower part. With no lower-case letter it gives characters back until the
    /// last one fits the lower part: the cut.
    #[inline(always)]
    fn upper(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Upper => step(chunk, next, PieceState::Upper),
            CharClass::Caseless | CharClass::Mark => {
                chunk.at += next.len;
                self.pieces.cut(chunk);
                PieceState::Upper
            }
            CharClass::Lower => {
                self.pieces.uncut();
                step(chunk, next, PieceState::Lower)
            }
            _ => {
                if self.pieces.ends_with_cut(chunk) {
                    self.pieces.uncut();
                } else {
                    self.pieces.fall_in_two(chunk);
                }
                self.word_ends(chunk, next)
            }
        }
    }

    #[inline(always)]
    fn lower(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Lower | CharClass::Caseless | CharClass::Mark => {
                chunk.at += next.len;
                // Most of most texts are ASCII letters: look no further than at the byte.
                while chunk.at < chunk.text.len()
                    && self.tables.classes.of_byte(chunk.text[chunk.at]) == CharClass::Lower
                {
                    chunk.at += 1;
                }
                PieceState::Lower
            }
            _ => self.word_ends(chunk, next),
        }
    }

    #[inline(always)]
    fn word_ends(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        if next.class == CharClass::Apostrophe && self.tables.encoding == Encoding::O200kBase {
            self.pieces.cut(chunk);
            step(chunk, next, PieceState::WordQuote)
        } else {
            self.close(chunk)
        }
    }

    #[inline(always)]
    fn word_quote(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match Contraction::begun_by(next) {
            Contraction::Complete => self.close_with(chunk, next),
            Contraction::Half(letter) => step(chunk, next, PieceState::WordQuoteLetter(letter)),
            Contraction::None => {
                self.pieces.fall_in_two(chunk);
                PieceState::Prefix
            }
        }
    }

    #[inline(always)]
    fn word_quote_letter(&mut self, chunk: &mut Cursor<'_>, next: Char, letter: u8) -> PieceState {
        if completes_contraction(letter, next) {
            return self.close_with(chunk, next);
        }
        self.pieces.fall_in_two(chunk);
        if letter.is_ascii_lowercase() { PieceState::Lower } else { PieceState::Upper }
    }

    #[inline(always)]
    fn quote(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match Contraction::begun_by(next) {
            Contraction::Complete => self.close_with(chunk, next),
            Contraction::Half(letter) => step(chunk, next, PieceState::QuoteLetter(letter)),
            Contraction::None => PieceState::Prefix,
        }
    }

    #[inline(always)]
    fn quote_letter(&mut self, chunk: &mut Cursor<'_>, next: Char, letter: u8) -> PieceState {
        if completes_contraction(letter, next) { self.close_with(chunk, next) } else { PieceState::Lower }
    }

    #[inline(always)]
    fn punctuation(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Other | CharClass::Apostrophe | CharClass::Slash | CharClass::Mark => {
                step(chunk, next, PieceState::Punctuation)
            }
            CharClass::Newline => step(chunk, next, PieceState::Tail),
            _ => self.close(chunk),
        }
    }

    #[inline(always)]
    fn tail(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Newline | CharClass::Slash => step(chunk, next, PieceState::Tail),
            _ => self.close(chunk),
        }
    }

    /// Digits come in threes.
    #[inline(always)]
    fn digits(&mut self, chunk: &mut Cursor<'_>, next: Char, seen: u8) -> PieceState {
        match (next.class, seen) {
            (CharClass::Number, 2..) => self.close_with(chunk, next),
            (CharClass::Number, _) => step(chunk, next, PieceState::Digits(seen + 1)),
            _ => self.close(chunk),
        }
    }

    /// `\s*[\r\n]+` takes everything up to the last newline; `\s+(?!\S)` the rest but its last
    /// character; that one begins the next piece if it can.
    #[inline(always)]
    fn space(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        match next.class {
            CharClass::Space => {
                self.last_space.len = next.len as u8;
                self.last_space.bytes[..next.len].copy_from_slice(&chunk.text[chunk.at..chunk.at + next.len]);
                step(chunk, next, PieceState::Space)
            }
            CharClass::Newline => {
                chunk.at += next.len;
                self.pieces.cut(chunk);
                PieceState::Space
            }
            class => {
                self.pieces.fall_in_two(chunk);
                if self.pieces.is_empty(chunk) {
                    return PieceState::Start;
                }
                self.pieces.close_all_but(self.last_space.bytes(), chunk);
                let punctuation =
                    matches!(class, CharClass::Other | CharClass::Apostrophe | CharClass::Slash);
                if punctuation && self.last_space.bytes() != b" " {
                    return self.close(chunk);
                }
                PieceState::Prefix
            }
        }
    }

    /// The piece ends before the next character.
    #[inline(always)]
    fn close(&mut self, chunk: &mut Cursor<'_>) -> PieceState {
        self.pieces.close(chunk);
        PieceState::Start
    }

    /// The piece ends with the next character.
    #[inline(always)]
    fn close_with(&mut self, chunk: &mut Cursor<'_>, next: Char) -> PieceState {
        chunk.at += next.len;
        self.close(chunk)
    }
}

/// The next character belongs to the piece.
#[inline(always)]
fn step(chunk: &mut Cursor<'_>, next: Char, state: PieceState) -> PieceState {
    chunk.at += next.len;
    state
}

/// `'s 't 'm 'd 're 've 'll` in any case, as far as the first letter tells.
enum Contraction {
    Complete,
    Half(u8),
    None,
}

impl Contraction {
    #[inline(always)]
    fn begun_by(letter: Char) -> Contraction {
        match char::from_u32(letter.code) {
            // U+017F, the long s, is an s to a pattern that ignores case.
            Some('s' | 'S' | 'ſ' | 't' | 'T' | 'm' | 'M' | 'd' | 'D') => Contraction::Complete,
            Some(letter @ ('r' | 'R' | 'v' | 'V' | 'l' | 'L')) => Contraction::Half(letter as u8),
            _ => Contraction::None,
        }
    }
}

#[inline(always)]
fn completes_contraction(first: u8, second: Char) -> bool {
    let expected = if first.eq_ignore_ascii_case(&b'l') { 'l' } else { 'e' };
    char::from_u32(second.code).is_some_and(|second| second.eq_ignore_ascii_case(&expected))
}
