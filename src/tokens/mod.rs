//! Incremental token counter: text in pieces, the count of the whole.

use std::sync::OnceLock;

/// A vocabulary with the rule that cuts text into pieces for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// gpt-4o and later.
    O200kBase,
    /// gpt-4, gpt-3.5, embeddings.
    Cl100kBase,
}

impl Encoding {
    /// The encoding of a model, by its name's prefix; `None` for a model that we do not know.
    pub fn for_model(model: &str) -> Option<Encoding> {
        let bare = model.rsplit('/').next().unwrap_or(model);
        let bare = bare.strip_prefix("ft:").unwrap_or(bare);
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| bare.starts_with(prefix));
        if starts(&[
            "gpt-4o",
            "gpt-4.1",
            "gpt-4.5",
            "gpt-5",
            "o1",
            "o3",
            "o4",
            "chatgpt",
            "gpt-audio",
            "gpt-realtime",
            "codex-",
            "computer-use",
        ]) {
            Some(Encoding::O200kBase)
        } else if starts(&["gpt-4", "gpt-3.5", "gpt-35", "text-embedding", "davinci-002", "babbage-002"]) {
            Some(Encoding::Cl100kBase)
        } else {
            None
        }
    }

    /// The name that tiktoken gives it; stands in `accounting.tokenizer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::O200kBase => "o200k_base",
            Encoding::Cl100kBase => "cl100k_base",
        }
    }
}

/// Counts the tokens of a text that arrives in pieces.
#[derive(Clone, Debug)]
pub struct Counter {
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Counter {
    /// A counter at the start of a text. Loads the vocabulary if no one has yet.
    pub fn new(encoding: Encoding) -> Counter {
        Counter { encoding, bytes: Vec::new() }
    }

    /// The next bytes of the text; a character may be cut anywhere. Bytes that are not UTF-8
    /// count as U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Tokens if the text ended here. Does not disturb the stream.
    pub fn count(&self) -> u64 {
        count(self.encoding, &String::from_utf8_lossy(&self.bytes))
    }
}

/// Tokens of a whole text.
pub fn count(encoding: Encoding, text: &str) -> u64 {
    static O: OnceLock<tiktoken_rs::CoreBPE> = OnceLock::new();
    static C: OnceLock<tiktoken_rs::CoreBPE> = OnceLock::new();
    let bpe = match encoding {
        Encoding::O200kBase => O.get_or_init(|| tiktoken_rs::o200k_base().unwrap()),
        Encoding::Cl100kBase => C.get_or_init(|| tiktoken_rs::cl100k_base().unwrap()),
    };
    bpe.encode_ordinary(text).len() as u64
}

/// Loads both vocabularies; the first call of [`Counter::new`] would otherwise wait for it.
pub fn load() {
    count(Encoding::O200kBase, "");
    count(Encoding::Cl100kBase, "");
}
