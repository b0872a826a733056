//! Where the pieces of a text end: the pretokenizer patterns as a state machine that reads each
//! character once.
//!
//! The encodings are defined by a regular expression each (`O200K_BASE_PAT_STR` and the pattern of
//! `cl100k_base` in tiktoken; the two older ones share that of GPT-2). A piece is what the leftmost of its alternatives matches, so a piece
//! that has ended never changes. What the current piece is depends on what follows in five cases
//! only, and in each there is one place where it could fall in two ([`Pieces::cut`]):
//!
//! - o200k_base, a word without a lower-case letter: `中AAA` is two pieces (up to the last character
//!   that may end a word, and the upper-case rest), `中AAAb` is one.
//! - o200k_base, a word and `'`: `it's` is one piece, `it'x` two.
//! - White space with newlines: up to the last newline is one piece.
//! - White space before anything else: its last character may belong to what follows.
//! - GPT-2, `'` before `r`, `v` or `l`: `'re` is one piece, `'rx` two.
//!
//! Each function below is one state: it looks at the next character, perhaps consumes it, and gives
//! the next state.

use super::Encoding;
use super::classes::{Char, Class};
use super::merge::Bpe;
use super::piece::{Chunk, Pieces};
use super::tables::Tables;

/// What the current piece is so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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
    /// A `'` that may begin a contraction (not o200k_base).
    Quote,
    /// The same and `r`, `v` or `l` (not o200k_base); for GPT-2 cut before the letter.
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
pub(super) struct Scanner {
    tables: &'static Tables,
    pieces: Pieces,
    state: State,
    last_space: LastSpace,
}

impl Scanner {
    pub(super) fn new(tables: &'static Tables, bpe: Bpe) -> Scanner {
        let last_space = LastSpace { bytes: [0; 3], len: 0 };
        Scanner { tables, pieces: Pieces::new(bpe), state: State::Start, last_space }
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
    fn read<'a>(&mut self, text: &'a str) -> Chunk<'a> {
        let tables = self.tables;
        let mut chunk = Chunk { text: text.as_bytes(), from: 0, at: 0 };
        let mut state = self.state;
        while chunk.at < chunk.text.len() {
            let next = tables.classes.char_at(chunk.text, chunk.at);
            let chunk = &mut chunk;
            state = match state {
                State::Start => self.start(chunk, next),
                State::Prefix => self.prefix(chunk, next),
                State::Upper => self.upper(chunk, next),
                State::Lower => self.lower(chunk, next),
                State::WordQuote => self.word_quote(chunk, next),
                State::WordQuoteLetter(letter) => self.word_quote_letter(chunk, next, letter),
                State::Quote => self.quote(chunk, next),
                State::QuoteLetter(letter) => self.quote_letter(chunk, next, letter),
                State::Punctuation => self.punctuation(chunk, next),
                State::Tail => self.tail(chunk, next),
                State::Digits(seen) => self.digits(chunk, next, seen),
                State::Space => self.space(chunk, next),
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
            // There is no cut in the quote of cl100k_base.
            State::Upper | State::WordQuote | State::WordQuoteLetter(_) | State::QuoteLetter(_) => true,
            // The others have `\s++$` before their newline rule: white space at the end is one piece.
            State::Space => self.tables.encoding == Encoding::O200kBase,
            _ => false,
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.pieces.heap_bytes()
    }
}

/// The states.
impl Scanner {
    #[inline(always)]
    fn start(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Space | Class::Newline => return State::Space,
            _ => chunk.at += next.len,
        }
        match next.class {
            Class::Lower => State::Lower,
            Class::Upper => State::Upper,
            Class::Caseless | Class::Mark => {
                self.pieces.cut(chunk);
                State::Upper
            }
            Class::Number => State::Digits(1),
            Class::Apostrophe if self.tables.encoding != Encoding::O200kBase => State::Quote,
            _ if self.tables.encoding.is_old() => State::Punctuation,
            _ => State::Prefix,
        }
    }

    #[inline(always)]
    fn prefix(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Number | Class::Space => self.close(chunk),
            Class::Newline => step(chunk, next, State::Tail),
            Class::Lower => step(chunk, next, State::Lower),
            Class::Upper => step(chunk, next, State::Upper),
            Class::Caseless | Class::Mark => {
                chunk.at += next.len;
                self.pieces.cut(chunk);
                State::Upper
            }
            Class::Other | Class::Apostrophe | Class::Slash => step(chunk, next, State::Punctuation),
        }
    }

    /// The pattern takes letters that may stand in the upper part of a word, then at least one that
    /// may stand in the lower part. With no lower-case letter it gives characters back until the
    /// last one fits the lower part: the cut.
    #[inline(always)]
    fn upper(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Upper => step(chunk, next, State::Upper),
            Class::Caseless | Class::Mark => {
                chunk.at += next.len;
                self.pieces.cut(chunk);
                State::Upper
            }
            Class::Lower => {
                self.pieces.uncut();
                step(chunk, next, State::Lower)
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
    fn lower(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Lower | Class::Caseless | Class::Mark => {
                chunk.at += next.len;
                // Most of most texts are ASCII letters: look no further than at the byte.
                while chunk.at < chunk.text.len()
                    && self.tables.classes.of_byte(chunk.text[chunk.at]) == Class::Lower
                {
                    chunk.at += 1;
                }
                State::Lower
            }
            _ => self.word_ends(chunk, next),
        }
    }

    #[inline(always)]
    fn word_ends(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        if next.class == Class::Apostrophe && self.tables.encoding == Encoding::O200kBase {
            self.pieces.cut(chunk);
            step(chunk, next, State::WordQuote)
        } else {
            self.close(chunk)
        }
    }

    #[inline(always)]
    fn word_quote(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match Contraction::begun_by(next) {
            Contraction::Complete => self.close_with(chunk, next),
            Contraction::Half(letter) => step(chunk, next, State::WordQuoteLetter(letter)),
            Contraction::None => {
                self.pieces.fall_in_two(chunk);
                State::Prefix
            }
        }
    }

    #[inline(always)]
    fn word_quote_letter(&mut self, chunk: &mut Chunk<'_>, next: Char, letter: u8) -> State {
        if completes_contraction(letter, next) {
            return self.close_with(chunk, next);
        }
        self.pieces.fall_in_two(chunk);
        if letter.is_ascii_lowercase() { State::Lower } else { State::Upper }
    }

    #[inline(always)]
    fn quote(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        if self.tables.encoding.is_old() {
            return self.old_quote(chunk, next);
        }
        match Contraction::begun_by(next) {
            Contraction::Complete => self.close_with(chunk, next),
            Contraction::Half(letter) => step(chunk, next, State::QuoteLetter(letter)),
            Contraction::None => State::Prefix,
        }
    }

    #[inline(always)]
    fn quote_letter(&mut self, chunk: &mut Chunk<'_>, next: Char, letter: u8) -> State {
        let old = self.tables.encoding.is_old();
        if completes_contraction(letter, next) && (!old || next.code >= u32::from(b'a')) {
            return self.close_with(chunk, next);
        }
        // Without a contraction GPT-2 has punctuation and a word, cl100k_base a word.
        self.pieces.fall_in_two(chunk);
        State::Lower
    }

    /// GPT-2 knows contractions in lower case only, and takes no letter along with punctuation.
    #[cold]
    fn old_quote(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match u8::try_from(next.code) {
            Ok(b's' | b't' | b'm' | b'd') => self.close_with(chunk, next),
            Ok(letter @ (b'r' | b'v' | b'l')) => {
                self.pieces.cut(chunk);
                step(chunk, next, State::QuoteLetter(letter))
            }
            _ => State::Punctuation,
        }
    }

    #[inline(always)]
    fn punctuation(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Other | Class::Apostrophe | Class::Slash | Class::Mark => {
                step(chunk, next, State::Punctuation)
            }
            Class::Newline => step(chunk, next, State::Tail),
            _ => self.close(chunk),
        }
    }

    #[inline(always)]
    fn tail(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Newline | Class::Slash => step(chunk, next, State::Tail),
            _ => self.close(chunk),
        }
    }

    /// Digits come in threes; for GPT-2 in any number.
    #[inline(always)]
    fn digits(&mut self, chunk: &mut Chunk<'_>, next: Char, seen: u8) -> State {
        match (next.class, seen) {
            (Class::Number, 2..) if self.tables.encoding.is_old() => step(chunk, next, State::Digits(2)),
            (Class::Number, 2..) => self.close_with(chunk, next),
            (Class::Number, _) => step(chunk, next, State::Digits(seen + 1)),
            _ => self.close(chunk),
        }
    }

    /// `\s*[\r\n]+` takes everything up to the last newline; `\s+(?!\S)` the rest but its last
    /// character; that one begins the next piece if it can.
    #[inline(always)]
    fn space(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        match next.class {
            Class::Space => {
                self.last_space.len = next.len as u8;
                self.last_space.bytes[..next.len].copy_from_slice(&chunk.text[chunk.at..chunk.at + next.len]);
                step(chunk, next, State::Space)
            }
            Class::Newline => {
                chunk.at += next.len;
                self.pieces.cut(chunk);
                State::Space
            }
            class => {
                self.pieces.fall_in_two(chunk);
                if self.pieces.is_empty(chunk) {
                    return State::Start;
                }
                self.pieces.close_all_but(self.last_space.bytes(), chunk);
                if self.tables.encoding.is_old() {
                    return self.after_old_space(chunk, class);
                }
                let punctuation = matches!(class, Class::Other | Class::Apostrophe | Class::Slash);
                if punctuation && self.last_space.bytes() != b" " {
                    return self.close(chunk);
                }
                State::Prefix
            }
        }
    }

    /// For GPT-2 a blank belongs to the word, number or punctuation after it, other white space to
    /// nothing.
    #[cold]
    fn after_old_space(&mut self, chunk: &mut Chunk<'_>, next: Class) -> State {
        match next {
            _ if self.last_space.bytes() != b" " => self.close(chunk),
            Class::Lower => State::Lower,
            Class::Number => State::Digits(0),
            _ => State::Punctuation,
        }
    }

    /// The piece ends before the next character.
    #[inline(always)]
    fn close(&mut self, chunk: &mut Chunk<'_>) -> State {
        self.pieces.close(chunk);
        State::Start
    }

    /// The piece ends with the next character.
    #[inline(always)]
    fn close_with(&mut self, chunk: &mut Chunk<'_>, next: Char) -> State {
        chunk.at += next.len;
        self.close(chunk)
    }
}

/// The next character belongs to the piece.
#[inline(always)]
fn step(chunk: &mut Chunk<'_>, next: Char, state: State) -> State {
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
