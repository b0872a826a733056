//! Most events of a stream are the same bytes but for the text, and for a number and padding that mean
//! nothing to us: they need no parser.
//!
//! Sound by construction. If a document was parsed, and its only effect is to add one of its strings to
//! one text, then a document that differs in the inside of that string alone, or of other strings and
//! numbers that have no effect, has the same effect with its own string. Where a string ends, and what
//! its escapes mean, is said by the parser's own code ([`Text`]); a number is digits.

use crate::chunk::{Chunk, ResponsesEvent, Text, place_in};

/// Bytes beside the varying ones that are remembered. A chunk with Azure's filter results has some 450.
const SHAPE_BYTES_MAX: usize = 1 << 10;

/// The text, a number, padding.
const HOLES_MAX: usize = 3;

/// A part that may differ from one document to the next: bytes of the parsed document.
#[derive(Clone, Copy, Debug)]
enum Varying<'a> {
    /// The inside of the string that counts.
    Counted(&'a [u8]),
    /// The inside of a string that means nothing.
    Padding(&'a [u8]),
    /// A number that means nothing.
    Number(&'a [u8]),
}

/// The surroundings of the text of the last document, and where `T` says that it belongs.
#[derive(Debug)]
pub(super) struct DeltaShape<T> {
    /// The bytes that stay the same, one piece after the other.
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

impl<T> Default for DeltaShape<T> {
    fn default() -> DeltaShape<T> {
        DeltaShape { fixed: Vec::new(), holes: [Hole::default(); HOLES_MAX], hole_count: 0, target: None }
    }
}

impl<T: Copy> DeltaShape<T> {
    /// The text of a document of this shape, and where it belongs.
    pub(super) fn text<'a>(&self, document: &'a [u8]) -> Option<(T, Text<'a>)> {
        let target = self.target?;
        let (mut rest, mut at, mut text) = (document, 0, None);
        for hole in &self.holes[..self.hole_count] {
            rest = rest.strip_prefix(&self.fixed[at..hole.fixed_end])?;
            at = hole.fixed_end;
            let length = if hole.is_number {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                (digits > 0).then_some(digits)?
            } else {
                let inside = Text::up_to_quote(rest)?;
                if hole.is_counted {
                    text = Some(inside);
                }
                inside.raw().len()
            };
            rest = &rest[length..];
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
    pub(super) fn learn_event(&mut self, document: &[u8], target: T, event: &ResponsesEvent<'_>) {
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
    use proptest::prelude::*;

    const CHUNK: &str = r#"{"choices":[{"index":2,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null,"obfuscation":"xyz"}"#;
    const EVENT: &str = r#"{"type":"response.output_text.delta","item_id":"m","output_index":1,"content_index":0,"delta":"Hi","sequence_number":9,"obfuscation":"a\n"}"#;

    fn chat_shape(document: &str) -> DeltaShape<u64> {
        let mut shape = DeltaShape::default();
        shape.learn_chunk(document.as_bytes(), &Chunk::parse(document.as_bytes()).unwrap());
        shape
    }

    fn event_shape(document: &str) -> DeltaShape<u64> {
        let mut shape = DeltaShape::default();
        let event = ResponsesEvent::parse(document.as_bytes()).unwrap();
        shape.learn_event(document.as_bytes(), event.item_index, &event);
        shape
    }

    fn text(shape: &DeltaShape<u64>, document: &str) -> Option<(u64, String)> {
        shape.text(document.as_bytes()).map(|(target, text)| (target, text.lossy().into_owned()))
    }

    #[test]
    fn another_text_in_the_same_place() {
        for learned in [CHUNK, &CHUNK.replace("Hi", "a\\nb"), &CHUNK.replace("Hi", "")] {
            let shape = chat_shape(learned);
            assert_eq!(text(&shape, &CHUNK.replace("Hi", " there")), Some((2, " there".to_owned())));
            assert_eq!(text(&shape, &CHUNK.replace("Hi", "").replace("xyz", "")), Some((2, String::new())));
            assert_eq!(
                text(&shape, &CHUNK.replace("Hi", r#"\n\"\u00e9\\"#)),
                Some((2, "\n\"é\\".to_owned()))
            );
            assert_eq!(text(&shape, &CHUNK.replace("xyz", r#"a\"b\\"#)), Some((2, "Hi".to_owned())));
            for other in ["\",\"x\":\"", "\\", "\\\\\\"] {
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
        for (number, padding) in [("10", ""), ("0", "longer padding"), ("123456789", "é"), ("1", "\\n")] {
            assert_eq!(text(&shape, &like(number, padding)), Some((1, "Ho".to_owned())));
        }
        for (number, padding) in
            [("", "x"), ("-1", "x"), ("1e3", "x"), ("null", "x"), ("1", "\\"), ("1", "\"")]
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

    /// The inside of a string: right, wrong, or no inside at all.
    fn inside() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::sample::select(vec![
                "Hi", " ", "é", "堰", r"\n", r#"\""#, r"\\", r"\/", r"\u00e9", r"\ud83d\ude00", r"\ud83d", r"\ude00",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::sample::select(vec![
                r"\q", r"\u12", r"\u", r"\", "\"", "\"}", "\",\"content\":\"x", "\n", "\0", "{", "]",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    /// A document with these insides.
    fn filled(template: &str, text: &[u8], padding: &[u8]) -> Vec<u8> {
        let (before, rest) = template.split_once("Hi").unwrap();
        let (between, after) = rest.split_once("xyz").unwrap();
        [before.as_bytes(), text, between.as_bytes(), padding, after.as_bytes()].concat()
    }

    /// The whole of a string's inside is inside.
    fn is_inside(bytes: &[u8]) -> bool {
        let quoted = [bytes, b"\""].concat();
        Text::up_to_quote(&quoted).is_some_and(|text| text.raw() == bytes)
    }

    /// Overwrites some bytes.
    fn spoiled(mut document: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
        for (at, byte) in changes {
            let at = at.index(document.len());
            document[at] = *byte;
        }
        document
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Nothing, or what the parser says: the same bytes, to be unescaped or not.
        #[test]
        fn the_fast_way_says_what_the_parser_says(
            learned in [inside(), inside()], now in [inside(), inside()],
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\\\",:}1a".to_vec())), 0..2),
        ) {
            let mut shape = DeltaShape::<u64>::default();
            let first = filled(CHUNK, &learned[0], &learned[1]);
            if let Ok(chunk) = Chunk::parse(&first) {
                shape.learn_chunk(&first, &chunk);
            }
            let document = spoiled(filled(CHUNK, &now[0], &now[1]), &changes);
            let fast = shape.text(&document);
            if fast.is_some() {
                let chunk = Chunk::parse(&document);
                prop_assert_eq!(fast, chunk.ok().and_then(|chunk| chunk.sole_content()));
            } else {
                let all_fit = learned.iter().chain(&now).all(|inside| is_inside(inside));
                prop_assert!(!(changes.is_empty() && all_fit), "a string is not taken");
            }
        }

        #[test]
        fn an_event_goes_the_same_way(
            learned in [inside(), inside()], now in [inside(), inside()], number in any::<u64>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\\\",:}1a".to_vec())), 0..2),
        ) {
            let template = EVENT.replace("a\\n", "xyz");
            let mut shape = DeltaShape::<u64>::default();
            let first = filled(&template, &learned[0], &learned[1]);
            if let Ok(event) = ResponsesEvent::parse(&first) && event.whole.is_none() {
                shape.learn_event(&first, event.item_index, &event);
            }
            let next = template.replace(":9,", &format!(":{number},"));
            let document = spoiled(filled(&next, &now[0], &now[1]), &changes);
            let fast = shape.text(&document);
            if let Some((place, text)) = fast {
                let event = ResponsesEvent::parse(&document).unwrap();
                let (kind, learned) = (event.kind(), ResponsesEvent::parse(&first).unwrap().kind());
                prop_assert_eq!((event.item_index, event.delta, event.whole), (place, Some(text), None));
                prop_assert_eq!(kind, learned);
            } else {
                let all_fit = learned.iter().chain(&now).all(|inside| is_inside(inside));
                prop_assert!(!(changes.is_empty() && all_fit), "a string is not taken");
            }
        }
    }
}
