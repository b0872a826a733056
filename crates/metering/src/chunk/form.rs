//! Reads a `multipart/form-data` body (RFC 7578) of any size, in any pieces and in constant memory. It keeps
//! the short parts that say what is asked for; files go by at the speed of memmem, whatever lines they have.
//!
//! A part is what stands between two delimiter lines; its head ends at its first empty line. A line
//! ends in LF, with a CR before it or not. A delimiter line holds two dashes, the boundary, two more
//! dashes if it is the last, and white space: a line that only begins like one belongs to its part,
//! as a boundary within a part may (RFC 2046 5.1.1). No file name is ever looked at.

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use smol_str::SmolStr;

/// Bytes of a boundary. RFC 2046 allows 70, and not all senders know.
const BOUNDARY_BYTES_MAX: usize = 256;

/// Bytes of a part that is read. A longer one is no word, number or model's name.
const VALUE_BYTES_MAX: usize = 256;

/// Bytes of a part's head. One of a part that is read has some 60; only file names are long.
const HEAD_BYTES_MAX: usize = 1024;

/// Bytes of a delimiter line behind its boundary: dashes, white space and the line's end.
const PADDING_BYTES_MAX: usize = 64;

/// The longest end of a line.
const LINE_END_BYTES: usize = "\r\n".len();

/// The parts of a form that say what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormFacts {
    /// `model`
    pub model: Option<SmolStr>,
    /// `stream`
    pub stream: Option<SmolStr>,
    /// `response_format`
    pub response_format: Option<SmolStr>,
    /// `size`
    pub size: Option<SmolStr>,
    /// `quality`
    pub quality: Option<SmolStr>,
    /// `n`
    pub n: Option<SmolStr>,
    /// `seconds`
    pub seconds: Option<SmolStr>,
    /// The last delimiter has come.
    pub complete: bool,
}

impl FormFacts {
    /// Where the part of this name goes; `None` if it is not asked for. Of equal names the last stands.
    fn slot(&mut self, name: PartName) -> &mut Option<SmolStr> {
        match name {
            PartName::Model => &mut self.model,
            PartName::Stream => &mut self.stream,
            PartName::ResponseFormat => &mut self.response_format,
            PartName::Size => &mut self.size,
            PartName::Quality => &mut self.quality,
            PartName::N => &mut self.n,
            PartName::Seconds => &mut self.seconds,
        }
    }
}

/// The names that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartName {
    Model,
    Stream,
    ResponseFormat,
    Size,
    Quality,
    N,
    Seconds,
}

impl PartName {
    fn of(name: &[u8]) -> Option<PartName> {
        Some(match name {
            b"model" => PartName::Model,
            b"stream" => PartName::Stream,
            b"response_format" => PartName::ResponseFormat,
            b"size" => PartName::Size,
            b"quality" => PartName::Quality,
            b"n" => PartName::N,
            b"seconds" => PartName::Seconds,
            _ => return None,
        })
    }
}

/// Finds [`FormFacts`] in a body that arrives in pieces.
#[derive(Debug)]
pub struct FormScan {
    /// The end of a line, two dashes and the boundary.
    line_begin: Finder<'static>,
    state: FormState,
    /// The bytes behind the boundary of a line that may be a delimiter.
    padding: Vec<u8>,
    part: FormPart,
    facts: FormFacts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FormState {
    /// At a line's beginning, or so many bytes of the delimiter behind it.
    Begins(usize),
    /// Behind a delimiter that stands at a line's beginning.
    Padding,
    /// Within a line of a part.
    Line,
    /// Behind the last delimiter: the rest means nothing.
    Closed,
}

/// The part that is being read.
#[derive(Debug)]
struct FormPart {
    state: PartState,
    /// Its head, or its value.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    /// The bytes before the first part, a file, or a part that is not asked for.
    Passed,
    Head,
    Value(PartName),
}

impl FormScan {
    /// A reader of a body with this boundary.
    pub fn new(boundary: &[u8]) -> FormScan {
        FormScan {
            line_begin: Finder::new(&[b"\n--", boundary].concat()).into_owned(),
            state: FormState::Begins(0),
            padding: Vec::new(),
            part: FormPart { state: PartState::Passed, text: Vec::new() },
            facts: FormFacts::default(),
        }
    }

    /// The next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.state {
                FormState::Begins(seen) => self.begins(rest, seen),
                FormState::Padding => self.padding(rest),
                FormState::Line => self.line(rest),
                FormState::Closed => return,
            };
        }
    }

    /// The facts that have been found so far.
    pub fn facts(&self) -> FormFacts {
        let mut facts = self.facts.clone();
        // Many senders leave out the end of the last line.
        if self.state == FormState::Padding && is_last(&self.padding) == Some(true) {
            self.part.ends(&mut facts);
            facts.complete = true;
        }
        facts
    }

    fn begins<'b>(&mut self, bytes: &'b [u8], seen: usize) -> &'b [u8] {
        let delimiter = &self.line_begin.needle()[1..];
        let wanted = &delimiter[seen..];
        let same = wanted.iter().zip(bytes).take_while(|(wanted, byte)| wanted == byte).count();
        let seen = seen + same;
        self.state = if seen == delimiter.len() {
            self.padding.clear();
            FormState::Padding
        } else if same == bytes.len() {
            FormState::Begins(seen)
        } else {
            self.part.take(&delimiter[..seen]);
            FormState::Line
        };
        &bytes[same..]
    }

    fn padding<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let line_end = memchr(b'\n', bytes).map(|at| at + 1);
        let (padding, rest) = bytes.split_at(line_end.unwrap_or(bytes.len()));
        let fits = self.padding.len() + padding.len() <= PADDING_BYTES_MAX;
        if fits {
            self.padding.extend_from_slice(padding);
            if line_end.is_none() {
                return rest;
            }
        }
        match is_last(&self.padding).filter(|_| fits) {
            Some(last) => {
                self.part.ends(&mut self.facts);
                self.facts.complete = last;
                self.part = FormPart { state: PartState::Head, text: Vec::new() };
                self.state = if last { FormState::Closed } else { FormState::Begins(0) };
                rest
            }
            None => {
                self.part.take(&self.line_begin.needle()[1..]);
                self.part.take(&self.padding);
                self.state = if fits { FormState::Begins(0) } else { FormState::Line };
                if fits { rest } else { bytes }
            }
        }
    }

    fn line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.part.state == PartState::Passed {
            return self.passed(bytes);
        }
        let line_end = memchr(b'\n', bytes).map(|at| at + 1);
        let (line, rest) = bytes.split_at(line_end.unwrap_or(bytes.len()));
        self.part.take(line);
        if line_end.is_some() {
            self.state = FormState::Begins(0);
        }
        rest
    }

    /// Looks for the next line that may be a delimiter: one that is whole, or the last one that has begun.
    fn passed<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let whole = self.line_begin.find(bytes);
        let begun = || {
            let needle = self.line_begin.needle();
            let tail_at = bytes.len().saturating_sub(needle.len());
            let at = tail_at + memrchr(b'\n', &bytes[tail_at..])?;
            needle.starts_with(&bytes[at..]).then_some(at)
        };
        let Some(at) = whole.or_else(begun) else { return &[] };
        self.state = FormState::Begins(0);
        &bytes[at + 1..]
    }
}

/// Whether a delimiter line is the last, by what it has behind the boundary; `None`: it is none.
fn is_last(padding: &[u8]) -> Option<bool> {
    let line = padding.strip_suffix(b"\n").unwrap_or(padding);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (last, white) = match line.strip_prefix(b"--") {
        Some(white) => (true, white),
        None => (false, line),
    };
    white.iter().all(|byte| matches!(byte, b' ' | b'\t')).then_some(last)
}

impl FormPart {
    /// More of it.
    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.state {
                PartState::Passed => return,
                PartState::Head => self.head(rest),
                PartState::Value(_) => {
                    self.keep(rest, VALUE_BYTES_MAX + LINE_END_BYTES);
                    return;
                }
            };
        }
    }

    fn head<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let line_end = memchr(b'\n', bytes).map(|at| at + 1);
        let (line, rest) = bytes.split_at(line_end.unwrap_or(bytes.len()));
        self.keep(line, HEAD_BYTES_MAX);
        let ended = [&b"\n\n"[..], b"\n\r\n"].iter().any(|end| self.text.ends_with(end));
        if self.state == PartState::Head && (ended || matches!(&self.text[..], b"\n" | b"\r\n")) {
            self.state = name(&self.text).map_or(PartState::Passed, PartState::Value);
            self.text.clear();
        }
        rest
    }

    fn keep(&mut self, bytes: &[u8], max: usize) {
        if self.text.len() + bytes.len() > max {
            self.state = PartState::Passed;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// The delimiter behind it has come, to which the last line's end belongs.
    fn ends(&self, facts: &mut FormFacts) {
        let PartState::Value(name) = self.state else { return };
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if let (..=VALUE_BYTES_MAX, Ok(text)) = (text.len(), str::from_utf8(text)) {
            *facts.slot(name) = Some(text.into());
        }
    }
}

/// The name of a part with this head, if it is one that is asked for and read: no file, nothing that
/// is coded, no form within the form.
fn name(head: &[u8]) -> Option<PartName> {
    let mut name = None;
    for field in unfolded(head).split(|byte| *byte == b'\n') {
        let Some(colon) = memchr(b':', field) else { continue };
        let (field, value) = (field[..colon].trim_ascii_end(), field[colon + 1..].trim_ascii());
        if field.eq_ignore_ascii_case(b"content-disposition") {
            for (parameter, value) in parameters(value) {
                if parameter.eq_ignore_ascii_case(b"filename") || parameter.eq_ignore_ascii_case(b"filename*")
                {
                    return None;
                }
                if parameter.eq_ignore_ascii_case(b"name") {
                    name = PartName::of(&value);
                }
            }
        } else if field.eq_ignore_ascii_case(b"content-type") {
            let of_many = value.get(..b"multipart/".len());
            if of_many.is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
                return None;
            }
        } else if field.eq_ignore_ascii_case(b"content-transfer-encoding")
            && ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain))
        {
            return None;
        }
    }
    name
}

/// A head whose fields are one line each: a line that begins with white space goes on with the one
/// before (RFC 5322 2.2.3).
fn unfolded(head: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(head.len());
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            lines.push(b'\n');
        }
        lines.extend_from_slice(line);
    }
    lines
}

/// The parameters behind a field's value: `; name=token` or `; name="text"`.
fn parameters(value: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let (mut found, mut rest) = (Vec::new(), value);
    while let Some(semicolon) = memchr(b';', rest) {
        rest = &rest[semicolon + 1..];
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let name = rest[..end].trim_ascii();
        rest = &rest[end..];
        let Some(value) = rest.strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let (text, behind) = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted_text(quoted),
            None => {
                let end = memchr(b';', value).unwrap_or(value.len());
                (value[..end].trim_ascii().to_vec(), &value[end..])
            }
        };
        rest = behind;
        found.push((name, text));
    }
    found
}

/// A text to its closing quote, and what follows. A backslash stands before a quote or another one;
/// elsewhere it belongs to a path that was not escaped.
fn quoted_text(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut text, mut at) = (Vec::new(), 0);
    while let Some(&byte) = quoted.get(at) {
        match (byte, quoted.get(at + 1)) {
            (b'"', _) => return (text, &quoted[at + 1..]),
            (b'\\', Some(&next @ (b'"' | b'\\'))) => {
                text.push(next);
                at += 1;
            }
            _ => text.push(byte),
        }
        at += 1;
    }
    (text, &[])
}

/// The boundary in a `Content-Type`, if that is `multipart/form-data`: empty if it names none that can
/// be used.
pub fn form_boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let end = memchr(b';', content_type).unwrap_or(content_type.len());
    if !content_type[..end].trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let named = parameters(content_type).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
    let usable = |boundary: &Vec<u8>| boundary.len() <= BOUNDARY_BYTES_MAX && !boundary.contains(&b'\n');
    Some(named.map(|(_, boundary)| boundary).filter(usable).unwrap_or_default())
}

#[cfg(test)]
mod tests;
