//! `tokenweir count`: the tokens of a text.

use std::io::{self, Read};

use crate::tokens::{Counter, Encoding, FAMILIES, why_uncounted};

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// Why a text could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The vocabulary of the model is not known.
    #[error(transparent)]
    UnknownModel(UnknownModel),
    /// The text could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// A model of no known family.
#[derive(Debug, thiserror::Error)]
#[error("model `{name}` {}", why(name))]
pub struct UnknownModel {
    name: String,
}

fn why(model: &str) -> String {
    match why_uncounted(model) {
        Some(why) => format!("has no vocabulary to count with: {why}"),
        None => format!("is not known; known families: {}", families()),
    }
}

fn families() -> String {
    FAMILIES.iter().map(|(family, _)| *family).collect::<Vec<_>>().join(", ")
}

/// Tokens of a text under a model's vocabulary; bytes that are not UTF-8 count as U+FFFD.
///
/// # Errors
///
/// [`CountError`]
pub fn count(model: &str, mut text: impl Read) -> Result<u64, CountError> {
    let encoding = Encoding::for_model(model)
        .ok_or_else(|| CountError::UnknownModel(UnknownModel { name: model.to_owned() }))?;
    let (mut counter, mut bytes) = (Counter::new(encoding), vec![0; READ_BYTES]);
    loop {
        match text.read(&mut bytes) {
            Ok(0) => return Ok(counter.count()),
            Ok(read) => counter.push(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_a_text() {
        assert_eq!(count("gpt-4o", &b"Hello, world"[..]).unwrap(), 3);
        assert_eq!(count("gpt-4", &b"\xFF"[..]).unwrap(), count("gpt-4", "\u{FFFD}".as_bytes()).unwrap());
        let error = count("lama", &b""[..]).unwrap_err().to_string();
        assert!(error.contains("lama") && error.contains("gpt-4o"), "{error}");
        let error = count("dall-e-3", &b""[..]).unwrap_err().to_string();
        assert!(error.contains("dall-e-3") && error.contains("images"), "{error}");
        let error = count("anthropic/claude-sonnet-5", &b""[..]).unwrap_err().to_string();
        let why =
            "has no vocabulary to count with: Anthropic does not publish it; only the service can count";
        assert_eq!(error, format!("model `anthropic/claude-sonnet-5` {why}"));
        assert_eq!(count("gpt-oss-120b", &b"Hello, world"[..]).unwrap(), 3);
    }
}
