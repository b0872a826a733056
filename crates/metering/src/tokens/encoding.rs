//! The encodings that models use.

/// A vocabulary with the rule that cuts text into pieces for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// gpt-4o and later.
    O200kBase,
    /// gpt-4, gpt-3.5, embeddings.
    Cl100kBase,
}

impl Encoding {
    /// The name that tiktoken gives it; stands in `accounting.tokenizer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::O200kBase => "o200k_base",
            Encoding::Cl100kBase => "cl100k_base",
        }
    }
}
