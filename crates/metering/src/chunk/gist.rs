//! Makes the gist of a document, in constant memory, however long it is and in whatever pieces it comes: the
//! same document, with everything left out that is only counted.
//!
//! So the readers of short documents read long ones too: nothing is read in two ways. A `usage` or an error
//! that is malformed is so in the gist, at the same place, for its reader to find. Labels, errors, ends
//! and each `usage` are copied as they stand, all their levels, in their order; texts, tool calls,
//! images, vectors and unknown members are passed over.

use memchr::{memchr, memchr2, memmem};

use super::charges::Charges;
use super::chat::Chunk;
use super::media::ENTRIES_MAX;
use super::messages::ITERATIONS_MAX;
use super::scan::{JsonScanner, JsonSink, JsonToken};
use crate::api;

/// Bytes of a gist. A response of 128 choices takes some 6 kB, a `usage` with all its details one, and one with
/// as many iterations as are read some 40.
const GIST_BYTES_MAX: usize = 64 << 10;

/// Levels that are copied: `response.usage.input_tokens_details.cached_tokens_details.audio_tokens` has five.
const DEPTH_MAX: usize = 12;

/// Choices that are copied; the API's limit for `n` is 128, and it is for the meter to say that there are more.
const CHOICES_MAX: usize = 256;

/// Items of a response that are copied. One that searches the web or runs code has some tens.
const ITEMS_MAX: usize = 128;

/// Entries that are copied: one more than are counted, to show that there are more.
const ENTRIES_COPIED_MAX: usize = ENTRIES_MAX + 1;

/// Bytes that are kept of the end of a document that cannot be followed to there.
const TAIL_BYTES_MAX: usize = 64 << 10;

/// A value that is malformed for its reader, and is passed over by whoever does not read it.
const MALFORMED: &[u8] = b"!";

/// Stands for the end of a stream where a document could stand.
const DONE: &[u8] = api::DONE.as_bytes();

/// A document, as far as it has come.
#[derive(Clone, Debug)]
pub struct Gist {
    scanner: JsonScanner,
    copy: Copied,
    /// How much of [`DONE`] has come, white space aside. `None`: it is something else.
    done: Option<usize>,
    /// The end of a document that is malformed further up.
    tail: Vec<u8>,
}

impl Default for Gist {
    fn default() -> Gist {
        let tail = Vec::new();
        Gist { scanner: JsonScanner::default(), copy: Copied::default(), done: Some(0), tail }
    }
}

impl Gist {
    /// The gist of these bytes.
    pub fn of(bytes: &[u8]) -> Gist {
        let mut gist = Gist::default();
        gist.push(bytes);
        gist
    }

    /// From here on another document is read.
    pub fn restart(&mut self) {
        self.scanner.restart();
        self.copy.restart();
        self.done = Some(0);
        self.tail = Vec::new();
    }

    /// The next bytes of the document.
    pub fn push(&mut self, bytes: &[u8]) {
        self.look_for_done(bytes);
        let read = if self.scanner.is_malformed() { 0 } else { self.scanner.push(bytes, &mut self.copy) };
        // A document that is not an object from its first byte on may be anything, a text of the model as well.
        if self.scanner.is_malformed() && self.copy.has_begun() {
            self.keep_tail(&bytes[read..]);
        }
    }

    /// It is a JSON object and has ended.
    pub fn is_complete(&self) -> bool {
        self.scanner.complete() && !self.copy.full
    }

    /// It is `[DONE]` and no document.
    pub fn is_done_marker(&self) -> bool {
        self.done == Some(DONE.len())
    }

    /// The `type` of the document, if that is the first of its members of which anything is copied, and it has come.
    pub fn kind_ahead(&self) -> Option<&[u8]> {
        let rest = self.copy.out.strip_prefix(b"{\"type\":\"")?;
        rest.get(..memchr(b'"', rest)?)
    }

    /// `output` had elements, whose texts are left out.
    pub fn left_out_items(&self) -> bool {
        self.copy.left_out_items
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.scanner.heap_bytes() + self.copy.out.capacity() + self.tail.capacity()
    }

    /// The gist of what has come, as a whole JSON object, in which a `usage` or an error may be malformed.
    /// Empty if it is none.
    pub fn read(&mut self) -> &[u8] {
        self.copy.close();
        &self.copy.out
    }

    /// The `usage` at the very end of a document that is malformed further up: nothing but members and
    /// brackets may follow it. It is none of a text's: there its quotes would be escaped.
    pub fn last_usage(&self) -> Option<Charges> {
        let tail = &self.tail[self.tail.len().saturating_sub(TAIL_BYTES_MAX)..];
        let at = memmem::rfind(tail, b"\"usage\"").filter(|at| *at > 0 && tail[at - 1] != b'\\')?;
        let members = &tail[at..];
        let is_end = |byte: &u8| matches!(byte, b'}' | b']') || byte.is_ascii_whitespace();
        let ends = members.iter().rev().take_while(|byte| is_end(byte)).count();
        let (members, ends) = members.split_at(members.len() - ends);
        let mut gist = Gist::of(b"{");
        gist.push(members);
        // It must end before the brackets do; those that are left are the document's own.
        let is_whole = ends.iter().any(|end| {
            gist.push(std::slice::from_ref(end));
            gist.is_complete()
        });
        let fits = is_whole && !gist.copy.malformed_within;
        if fits { Chunk::parse(gist.read()).ok()?.charges() } else { None }
    }

    fn look_for_done(&mut self, bytes: &[u8]) {
        let Some(mut seen) = self.done else { return };
        for byte in bytes {
            match byte {
                _ if DONE.get(seen) == Some(byte) => seen += 1,
                byte if byte.is_ascii_whitespace() && (seen == 0 || seen == DONE.len()) => {}
                _ => {
                    self.done = None;
                    return;
                }
            }
        }
        self.done = Some(seen);
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        if self.tail.len() + bytes.len() > 2 * TAIL_BYTES_MAX {
            self.tail.drain(..self.tail.len() - TAIL_BYTES_MAX);
        }
        self.tail.extend_from_slice(bytes);
    }
}

/// Where a value stands, and so what of it is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GistPlace {
    /// The document itself, or the response that an event carries.
    #[default]
    Response,
    /// A `usage`, an `error`: all names, numbers and short texts.
    Whole,
    /// `choices`
    Choices,
    /// One of them.
    Choice,
    /// `data`, whose elements are only counted.
    Entries,
    /// `output`
    Items,
    /// One of its elements, or the item that an event carries.
    Item,
    /// `iterations`
    Iterations,
    /// `delta`
    Delta,
    /// `session`, and what leads in it to the names of models.
    Session,
    /// `agent_reference`
    Agent,
}

/// The kind of values of a member that are copied, beside `null`, numbers and short texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Label,
    Object(GistPlace),
    Array(GistPlace),
    /// An object, or an array of the second place.
    Either(GistPlace, GistPlace),
    /// An object and nothing else: a text that may stand in its place is counted, and not copied.
    Only(GistPlace),
}

impl GistPlace {
    fn is_array(self) -> bool {
        matches!(self, GistPlace::Choices | GistPlace::Entries | GistPlace::Items | GistPlace::Iterations)
    }

    /// Elements that are copied of an array in which every one has its place, whatever it is.
    fn places_max(self) -> Option<usize> {
        match self {
            GistPlace::Items => Some(ITEMS_MAX),
            GistPlace::Entries => Some(ENTRIES_COPIED_MAX),
            _ => None,
        }
    }

    /// The kind of values that are copied of its member with this name. Every name that [`Chunk`], [`super::ResponsesEvent`],
    /// [`super::Response`], [`super::Work`], [`super::MessagesEvent`], [`super::Media`] and [`super::RealtimeEvent`] ask for is here,
    /// but for those of texts.
    fn wants(self, key: &[u8]) -> Option<Wanted> {
        match (self, key) {
            (
                GistPlace::Response,
                b"type" | b"id" | b"model" | b"service_tier" | b"created" | b"created_at",
            ) => Some(Wanted::Label),
            (GistPlace::Response, b"object" | b"status" | b"status_code" | b"code" | b"reason") => {
                Some(Wanted::Label)
            }
            // Work that goes on: see [`super::Work`].
            (GistPlace::Response, b"background" | b"output_file_id") => Some(Wanted::Label),
            (GistPlace::Response, b"seconds" | b"n_seconds" | b"n_variants") => Some(Wanted::Label),
            (GistPlace::Response, b"output_index" | b"response_id" | b"item_id") => Some(Wanted::Label),
            (GistPlace::Response, b"size" | b"quality" | b"duration") => Some(Wanted::Label),
            (GistPlace::Response, b"data") => Some(Wanted::Array(GistPlace::Entries)),
            (GistPlace::Response, b"session") => Some(Wanted::Object(GistPlace::Session)),
            (GistPlace::Session, b"id" | b"model") => Some(Wanted::Label),
            (GistPlace::Session, b"audio" | b"input" | b"transcription" | b"input_audio_transcription") => {
                Some(Wanted::Object(GistPlace::Session))
            }
            // Its cost: see [`super::Charges`].
            (GistPlace::Response, b"usage" | b"tool_usage" | b"svg_usage" | b"usage_info" | b"meta") => {
                Some(Wanted::Object(GistPlace::Whole))
            }
            // How it failed: see [`super::Failure`].
            (GistPlace::Response, b"error" | b"incomplete_details" | b"status_details") => {
                Some(Wanted::Object(GistPlace::Whole))
            }
            (GistPlace::Response, b"innererror" | b"inner_error") => Some(Wanted::Object(GistPlace::Whole)),
            // A line of a batch's output has the body of a response in it: see [`super::BatchLine`].
            (GistPlace::Response, b"response" | b"message" | b"body") => {
                Some(Wanted::Object(GistPlace::Response))
            }
            (GistPlace::Response, b"choices") => Some(Wanted::Array(GistPlace::Choices)),
            (GistPlace::Response, b"reasoning") => Some(Wanted::Object(GistPlace::Whole)),
            (GistPlace::Response, b"output") => Some(Wanted::Array(GistPlace::Items)),
            (GistPlace::Response, b"item") => Some(Wanted::Object(GistPlace::Item)),
            (GistPlace::Item, b"type") => Some(Wanted::Label),
            (GistPlace::Item, b"svg_usage" | b"caller") => Some(Wanted::Object(GistPlace::Whole)),
            (GistPlace::Response, b"agent_reference" | b"agent") => Some(Wanted::Object(GistPlace::Agent)),
            (GistPlace::Agent, b"name") => Some(Wanted::Label),
            (GistPlace::Response, b"stop_reason") => Some(Wanted::Label),
            (GistPlace::Response, b"delta") => Some(Wanted::Only(GistPlace::Delta)),
            (GistPlace::Delta, b"type" | b"stop_reason") => Some(Wanted::Label),
            (GistPlace::Whole, b"iterations") => {
                Some(Wanted::Either(GistPlace::Whole, GistPlace::Iterations))
            }
            (GistPlace::Whole, _) => Some(Wanted::Object(GistPlace::Whole)),
            (GistPlace::Choice, b"index" | b"finish_reason") => Some(Wanted::Label),
            _ => None,
        }
    }
}

/// The gist as it is written.
#[derive(Clone, Debug, Default)]
struct Copied {
    out: Vec<u8>,
    /// Of the brackets that are open in `out`; the outermost is the first.
    places: [GistPlace; DEPTH_MAX],
    depth: usize,
    /// The member whose value comes next, if it is copied, and where its name begins in `out`.
    member: Option<(Wanted, usize)>,
    /// The bracket that was opened last is copied.
    entered: bool,
    /// Elements of the list that is being copied.
    elements: usize,
    left_out_items: bool,
    /// A value of it is malformed.
    malformed_within: bool,
    /// There was more than a gist may hold.
    full: bool,
}

impl Copied {
    fn restart(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        *self = Copied { out, ..Copied::default() };
    }

    fn has_begun(&self) -> bool {
        !self.out.is_empty()
    }

    fn place(&self) -> Option<GistPlace> {
        self.depth.checked_sub(1).map(|at| self.places[at])
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.out.len() + bytes.len() > GIST_BYTES_MAX {
            self.full = true;
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    /// A string, which has been unescaped.
    fn write_text(&mut self, mut text: &[u8]) {
        self.write(b"\"");
        while let Some(at) = memchr2(b'"', b'\\', text) {
            self.write(&text[..at]);
            self.write(&[b'\\', text[at]]);
            text = &text[at + 1..];
        }
        self.write(text);
        self.write(b"\"");
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[') | None) {
            self.write(b",");
        }
    }

    fn key(&mut self, key: &[u8]) {
        self.member = self.place().and_then(|place| place.wants(key)).map(|wanted| (wanted, self.out.len()));
        if self.member.is_some() {
            self.comma();
            self.write_text(key);
            self.write(b":");
        }
    }

    /// A bracket opens: copied, or `null` in its place, or nothing.
    fn open(&mut self, array: bool) {
        self.entered = false;
        let place = match (self.place(), self.member.take()) {
            (None, _) if self.out.is_empty() => Some(GistPlace::Response),
            (_, Some((Wanted::Object(place) | Wanted::Only(place) | Wanted::Either(place, _), _)))
                if !array =>
            {
                Some(place)
            }
            (_, Some((Wanted::Array(place) | Wanted::Either(_, place), _))) if array => Some(place),
            (_, Some(_)) => return self.write(b"null"),
            (Some(GistPlace::Choices), _) if !array && self.begins_element(CHOICES_MAX) => {
                Some(GistPlace::Choice)
            }
            (Some(GistPlace::Iterations), _) if !array && self.begins_element(ITERATIONS_MAX) => {
                Some(GistPlace::Whole)
            }
            (Some(GistPlace::Items), _) if self.begins_element(ITEMS_MAX) => {
                self.left_out_items = true;
                if array {
                    return self.write(b"null");
                }
                Some(GistPlace::Item)
            }
            (Some(GistPlace::Entries), _) => return self.place_of_element(ENTRIES_COPIED_MAX),
            _ => None,
        };
        let Some(place) = place else { return };
        if self.depth == DEPTH_MAX {
            return self.write(b"null");
        }
        self.write(if array { b"[" } else { b"{" });
        self.places[self.depth] = place;
        self.depth += 1;
        self.entered = true;
        if place.is_array() {
            self.elements = 0;
        }
    }

    /// Another element of a list of which so many are copied.
    fn begins_element(&mut self, max: usize) -> bool {
        self.elements += 1;
        if self.elements > max {
            return false;
        }
        self.comma();
        true
    }

    /// Another element, of which nothing is copied but that it is there.
    fn place_of_element(&mut self, max: usize) {
        if self.begins_element(max) {
            self.write(b"null");
        }
    }

    fn close_one(&mut self) {
        if let Some(place) = self.place() {
            self.write(if place.is_array() { b"]" } else { b"}" });
            self.depth -= 1;
        }
    }

    /// Makes a whole of what has come.
    fn close(&mut self) {
        if let Some((_, at)) = self.member.take() {
            self.out.truncate(at); // its value has not come
        }
        while self.depth > 0 {
            self.close_one();
        }
        if self.full {
            self.out.clear();
        }
    }
}

impl JsonSink for Copied {
    fn token(&mut self, depth: usize, token: JsonToken<'_>) {
        match token {
            JsonToken::Key(key) => self.key(key),
            JsonToken::Text(_) if matches!(self.member, Some((Wanted::Only(_), _))) => {
                self.member = None;
                self.write(b"null");
            }
            JsonToken::Text(text) if self.member.take().is_some() => self.write_text(text),
            JsonToken::Scalar(scalar) if self.member.take().is_some() => self.write(scalar),
            // Items are known by their place.
            JsonToken::Text(_) | JsonToken::Scalar(_) => {
                if let Some(max) = self.place().and_then(GistPlace::places_max) {
                    self.place_of_element(max);
                }
            }
            JsonToken::Open { array } => self.open(array),
            // A value that was passed over ends on the level that it began on, and that is open.
            JsonToken::Close if depth < self.depth => self.close_one(),
            JsonToken::Close => {}
        }
    }

    fn descends(&self, _: usize) -> bool {
        self.entered
    }

    fn wants_text(&self) -> bool {
        self.member.is_some() || self.place().is_some_and(|place| place.places_max().is_some())
    }

    /// A reader of the whole document passes over such a value by its brackets.
    fn malformed(&mut self) -> bool {
        let passed_over =
            [GistPlace::Whole, GistPlace::Entries, GistPlace::Iterations, GistPlace::Delta, GistPlace::Agent];
        let is_passed_over = self.place().is_some_and(|place| passed_over.contains(&place));
        if is_passed_over {
            self.member = None;
            self.malformed_within = true;
            self.write(MALFORMED);
        }
        is_passed_over
    }
}

#[cfg(test)]
mod tests;
