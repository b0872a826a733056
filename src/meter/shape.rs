//! Most chunks of a stream are the same bytes but for the text: they need no parser.
//!
//! Sound by construction: if a document is `before "text" after` and parsing showed that its only
//! effect is to add that text to one choice, then `before "other" after` is the same document with
//! another text, as long as `other` holds no quote and no backslash.

use memchr::memchr2;

use crate::chunk::{Chunk, Text};

/// Bytes around the text that are remembered. A chunk with Azure's filter results has some 450.
const SHAPE_BYTES_MAX: usize = 1 << 10;

/// What stands around the text of the last chunk.
#[derive(Debug, Default)]
pub(super) struct Shape {
    before: Vec<u8>,
    after: Vec<u8>,
    choice: u64,
    known: bool,
}

impl Shape {
    /// The text of a document of this shape, and the index of its choice.
    pub(super) fn text<'a>(&self, document: &'a [u8]) -> Option<(u64, Text<'a>)> {
        if !self.known {
            return None;
        }
        let text = document.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        memchr2(b'"', b'\\', text).is_none().then(|| (self.choice, Text::plain(text)))
    }

    /// Remembers the shape of a document that has been parsed, or that it has none.
    pub(super) fn learn(&mut self, document: &[u8], chunk: &Chunk<'_>) {
        self.known = false;
        let Some((choice, text)) = chunk.sole_content() else { return };
        let Some((before, after)) = text.around(document) else { return };
        if before.len() + after.len() > SHAPE_BYTES_MAX {
            return;
        }
        self.before.clear();
        self.before.extend_from_slice(before);
        self.after.clear();
        self.after.extend_from_slice(after);
        (self.choice, self.known) = (choice, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str =
        r#"{"choices":[{"index":2,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}"#;

    fn shape(document: &str) -> Shape {
        let mut shape = Shape::default();
        shape.learn(document.as_bytes(), &Chunk::parse(document.as_bytes()).unwrap());
        shape
    }

    #[test]
    fn another_text_in_the_same_place() {
        for learned in [CHUNK, &CHUNK.replace("Hi", "a\\nb"), &CHUNK.replace("Hi", "")] {
            let shape = shape(learned);
            let text = |document: &str| {
                shape.text(document.as_bytes()).map(|(choice, text)| (choice, text.lossy().into_owned()))
            };
            assert_eq!(text(&CHUNK.replace("Hi", " there")), Some((2, " there".to_owned())));
            assert_eq!(text(&CHUNK.replace("Hi", "")), Some((2, String::new())));
            for other in ["a\\n", "\",\"x\":\""] {
                assert_eq!(text(&CHUNK.replace("Hi", other)), None);
            }
            assert_eq!(text(&CHUNK.replace("null}]", "\"stop\"}]")), None);
            assert_eq!(text(&CHUNK[..CHUNK.len() - 1]), None);
        }
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
            assert!(!shape(&document).known, "{document}");
        }
    }
}
