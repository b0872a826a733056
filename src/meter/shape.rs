//! Most events of a stream are the same bytes but for the text, and for a number and padding that mean
//! nothing to us: they need no parser.
//!
//! Sound by construction. If a document was parsed, and its only effect is to add one of its strings to
//! one text, then a document that differs in the inside of that string alone, or of other strings and
//! numbers that have no effect, has the same effect with its own string: as long as the inside of a
//! string holds no quote and no backslash, and a number is digits, both are the same JSON.

use memchr::memchr2;

use crate::chunk::{Chunk, Event, Text, place_in};

/// Bytes beside the varying ones that are remembered. A chunk with Azure's filter results has some 450.
const SHAPE_BYTES_MAX: usize = 1 << 10;

/// The text, a number, padding.
const HOLES_MAX: usize = 3;

/// What may differ from one document to the next: bytes of the parsed document.
#[derive(Clone, Copy, Debug)]
enum Varying<'a> {
    /// The inside of the string that counts.
    Counted(&'a [u8]),
    /// The inside of a string that means nothing.
    Padding(&'a [u8]),
    /// A number that means nothing.
    Number(&'a [u8]),
}

/// What stands around the text of the last document, and where `T` says that it belongs.
#[derive(Debug)]
pub(super) struct Shape<T> {
    /// What stays the same, one piece after the other.
    fixed: Vec<u8>,
    /// Where they part.
    holes: [Hole; HOLES_MAX],
    hole_count: usize,
    target: Option<T>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    /// The fixed bytes before it.
    fixed_end: usize,
    is_number: bool,
    is_counted: bool,
}

impl<T> Default for Shape<T> {
    fn default() -> Shape<T> {
        Shape { fixed: Vec::new(), holes: [Hole::default(); HOLES_MAX], hole_count: 0, target: None }
    }
}

impl<T: Copy> Shape<T> {
    /// The text of a document of this shape, and where it belongs.
    pub(super) fn text<'a>(&self, document: &'a [u8]) -> Option<(T, Text<'a>)> {
        let target = self.target?;
        let (mut rest, mut at, mut text) = (document, 0, None);
        for hole in &self.holes[..self.hole_count] {
            rest = rest.strip_prefix(&self.fixed[at..hole.fixed_end])?;
            at = hole.fixed_end;
            let length = if hole.is_number {
                rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
            } else {
                memchr2(b'"', b'\\', rest)?
            };
            if hole.is_number && length == 0 {
                return None;
            }
            let (inside, tail) = rest.split_at(length);
            if hole.is_counted {
                text = Some(Text::plain(inside));
            }
            rest = tail;
        }
        // The next fixed piece begins with the closing quote, or with what ends a number.
        if rest != &self.fixed[at..] {
            return None;
        }
        text.map(|text| (target, text))
    }

    /// Remembers a document that has been parsed, whose only effect is to add its counted string to
    /// `target`.
    fn learn(&mut self, document: &[u8], target: T, varying: [Option<Varying<'_>>; HOLES_MAX]) {
        self.target = self.part(document, varying).map(|()| target);
    }

    /// Remembers a chunk of a chat, or that it has no shape.
    pub(super) fn learn_chunk(&mut self, document: &[u8], chunk: &Chunk<'_>)
    where
        T: From<u64>,
    {
        self.unlearn();
        if let Some((choice, text)) = chunk.sole_content() {
            let padding = chunk.obfuscation.map(|padding| Varying::Padding(padding.raw()));
            self.learn(document, choice.into(), [Some(Varying::Counted(text.raw())), padding, None]);
        }
    }

    /// Remembers a delta of a response.
    pub(super) fn learn_event(&mut self, document: &[u8], target: T, event: &Event<'_>) {
        self.unlearn();
        if let Some(delta) = event.delta {
            let number = event.sequence_number.map(Varying::Number);
            let padding = event.obfuscation.map(|padding| Varying::Padding(padding.raw()));
            self.learn(document, target, [Some(Varying::Counted(delta.raw())), number, padding]);
        }
    }

    /// Forgets: the last document did something else.
    pub(super) fn unlearn(&mut self) {
        self.target = None;
    }

    /// Parts a document into what varies and what does not. `None` if it is too long.
    fn part(&mut self, document: &[u8], varying: [Option<Varying<'_>>; HOLES_MAX]) -> Option<()> {
        let mut places = [(0, 0, Hole::default()); HOLES_MAX];
        self.hole_count = 0;
        for (slot, one) in places.iter_mut().zip(varying.iter().flatten()) {
            let (inside, is_number, is_counted) = match *one {
                Varying::Counted(inside) => (inside, false, true),
                Varying::Padding(inside) => (inside, false, false),
                Varying::Number(digits) => (digits, true, false),
            };
            let place = place_in(document, inside)?;
            *slot = (place.start, place.end, Hole { fixed_end: 0, is_number, is_counted });
            self.hole_count += 1;
        }
        let places = &mut places[..self.hole_count];
        places.sort_unstable_by_key(|(start, ..)| *start);
        self.fixed.clear();
        let mut done = 0;
        for (hole, (start, end, kind)) in self.holes.iter_mut().zip(places) {
            self.fixed.extend_from_slice(document.get(done..*start)?);
            *hole = Hole { fixed_end: self.fixed.len(), ..*kind };
            done = *end;
        }
        self.fixed.extend_from_slice(document.get(done..)?);
        (self.fixed.len() <= SHAPE_BYTES_MAX).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = r#"{"choices":[{"index":2,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null,"obfuscation":"xyz"}"#;
    const EVENT: &str = r#"{"type":"response.output_text.delta","item_id":"m","output_index":1,"content_index":0,"delta":"Hi","sequence_number":9,"obfuscation":"a\n"}"#;

    fn chat_shape(document: &str) -> Shape<u64> {
        let mut shape = Shape::default();
        shape.learn_chunk(document.as_bytes(), &Chunk::parse(document.as_bytes()).unwrap());
        shape
    }

    fn event_shape(document: &str) -> Shape<u64> {
        let mut shape = Shape::default();
        let event = Event::parse(document.as_bytes()).unwrap();
        shape.learn_event(document.as_bytes(), event.item_index, &event);
        shape
    }

    fn text(shape: &Shape<u64>, document: &str) -> Option<(u64, String)> {
        shape.text(document.as_bytes()).map(|(target, text)| (target, text.lossy().into_owned()))
    }

    #[test]
    fn another_text_in_the_same_place() {
        for learned in [CHUNK, &CHUNK.replace("Hi", "a\\nb"), &CHUNK.replace("Hi", "")] {
            let shape = chat_shape(learned);
            assert_eq!(text(&shape, &CHUNK.replace("Hi", " there")), Some((2, " there".to_owned())));
            assert_eq!(text(&shape, &CHUNK.replace("Hi", "").replace("xyz", "")), Some((2, String::new())));
            for other in ["a\\n", "\",\"x\":\""] {
                assert_eq!(text(&shape, &CHUNK.replace("Hi", other)), None);
                assert_eq!(text(&shape, &CHUNK.replace("xyz", other)), None);
            }
            assert_eq!(text(&shape, &CHUNK.replace("null}]", "\"stop\"}]")), None);
            assert_eq!(text(&shape, &CHUNK[..CHUNK.len() - 1]), None);
        }
    }

    #[test]
    fn another_number_and_padding() {
        let shape = event_shape(EVENT);
        let like = |number: &str, padding: &str| {
            EVENT.replace("Hi", "Ho").replace(":9,", &format!(":{number},")).replace("a\\n", padding)
        };
        for (number, padding) in [("10", ""), ("0", "longer padding"), ("123456789", "é")] {
            assert_eq!(text(&shape, &like(number, padding)), Some((1, "Ho".to_owned())));
        }
        for (number, padding) in
            [("", "x"), ("-1", "x"), ("1e3", "x"), ("null", "x"), ("1", "\\n"), ("1", "\"")]
        {
            assert_eq!(text(&shape, &like(number, padding)), None, "{number} {padding}");
        }
        assert_eq!(text(&shape, &EVENT.replace(":1,", ":2,")), None);
    }

    #[test]
    fn only_a_chunk_that_is_nothing_but_text_has_a_shape() {
        for document in [
            CHUNK.replace("null}]", "\"stop\"}]"),
            CHUNK.replace("\"usage\":null", "\"usage\":{\"prompt_tokens\":1}"),
            CHUNK.replace("\"content\":\"Hi\"", "\"content\":\"Hi\",\"refusal\":\"no\""),
            CHUNK.replace("\"content\":\"Hi\"", "\"content\":\"Hi\",\"tool_calls\":[]"),
            CHUNK.replace("\"content\":\"Hi\"", "\"content\":null"),
            CHUNK.replace("{\"index\":2,", "{\"index\":1},{\"index\":2,"),
            CHUNK.replace("\"index\":2,", "\"index\":2,\"logprobs\":{\"content\":[]},"),
            CHUNK.replace("\"usage\":null", "\"error\":{}"),
        ] {
            assert!(chat_shape(&document).target.is_none(), "{document}");
        }
    }
}
