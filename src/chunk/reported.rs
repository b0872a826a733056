//! What the service says it will charge: its `usage` object, in both families of names.

use std::collections::BTreeMap;

use super::json::{Malformed, Value, members};

/// A count over this is no count. The largest context windows hold some million tokens.
const PLAUSIBLE_MAX: u64 = 1_000_000_000_000;

/// Unknown members of the details that are kept, and the bytes of a name.
const OTHER_MAX: usize = 16;
const OTHER_NAME_BYTES_MAX: usize = 64;

/// A `usage` object. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// `prompt_tokens` or `input_tokens`
    pub input: Option<u64>,
    /// `completion_tokens` or `output_tokens`
    pub output: Option<u64>,
    /// `total_tokens`
    pub total: Option<u64>,
    /// Input details: `cached_tokens`
    pub input_cached: Option<u64>,
    /// Input details: `cache_write_tokens`
    pub input_cache_write: Option<u64>,
    /// Input details: `audio_tokens`
    pub input_audio: Option<u64>,
    /// Input details: `image_tokens`
    pub input_image: Option<u64>,
    /// Input details: `text_tokens`
    pub input_text: Option<u64>,
    /// Output details: `reasoning_tokens`
    pub output_reasoning: Option<u64>,
    /// Output details: `audio_tokens`
    pub output_audio: Option<u64>,
    /// Output details: `image_tokens`
    pub output_image: Option<u64>,
    /// Output details: `accepted_prediction_tokens`
    pub output_prediction_accepted: Option<u64>,
    /// Output details: `rejected_prediction_tokens`
    pub output_prediction_rejected: Option<u64>,
    /// Other members of the details, by `details.key`.
    pub other: BTreeMap<String, u64>,
    /// A main number is negative, fractional or beyond reason.
    pub implausible: bool,
}

impl Reported {
    /// Reads a `usage` object.
    ///
    /// # Errors
    /// [`Malformed`] if it is no JSON object.
    pub(crate) fn parse(object: &[u8]) -> Result<Reported, Malformed> {
        let mut reported = Reported::default();
        let mut all_read = Ok(());
        members(object, |key, value| match value {
            Value::Object(details) => {
                let inner = members(details, |inner, value| reported.set(key, inner, value));
                all_read = all_read.and(inner);
            }
            value => reported.set(b"", key, value),
        })?;
        all_read.map(|()| reported)
    }

    /// One number: a member of `usage` itself (`group` empty) or of one of its details.
    pub(super) fn set(&mut self, group: &[u8], key: &[u8], value: Value<'_>) {
        let Value::Number(_) = value else { return };
        let number = value.whole().filter(|number| *number <= PLAUSIBLE_MAX);
        let slot = match (group, key) {
            (b"", b"prompt_tokens" | b"input_tokens") => &mut self.input,
            (b"", b"completion_tokens" | b"output_tokens") => &mut self.output,
            (b"", b"total_tokens") => &mut self.total,
            (b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details", key) => match key {
                b"cached_tokens" => &mut self.input_cached,
                b"cache_write_tokens" => &mut self.input_cache_write,
                b"audio_tokens" => &mut self.input_audio,
                b"image_tokens" => &mut self.input_image,
                b"text_tokens" => &mut self.input_text,
                _ => return self.set_other(group, key, number),
            },
            (b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details", key) => {
                match key {
                    b"reasoning_tokens" => &mut self.output_reasoning,
                    b"audio_tokens" => &mut self.output_audio,
                    b"image_tokens" => &mut self.output_image,
                    b"accepted_prediction_tokens" => &mut self.output_prediction_accepted,
                    b"rejected_prediction_tokens" => &mut self.output_prediction_rejected,
                    _ => return self.set_other(group, key, number),
                }
            }
            _ => return,
        };
        *slot = number;
        self.implausible |= number.is_none() && group.is_empty();
    }

    fn set_other(&mut self, group: &[u8], key: &[u8], number: Option<u64>) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let fits = key.len() <= OTHER_NAME_BYTES_MAX && key.iter().all(is_name);
        if let Some(number) = number
            && fits
            && self.other.len() < OTHER_MAX
        {
            let name = [group, b".", key].concat();
            self.other.insert(String::from_utf8_lossy(&name).into_owned(), number);
        }
    }

    /// Whether it can be charged by: zeros on every chunk, as some gateways send, cannot.
    pub fn usable(&self) -> bool {
        let any = [self.input, self.output, self.total].into_iter().flatten().any(|number| number > 0);
        any && !self.implausible && (self.input.is_some() || self.output.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Reported {
        Reported::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn both_families_of_names() {
        let chat = parse(
            r#"{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19,
                "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0,"cache_write_tokens":1},
                "completion_tokens_details":{"reasoning_tokens":2,"accepted_prediction_tokens":1,"rejected_prediction_tokens":3}}"#,
        );
        assert_eq!((chat.input, chat.output, chat.total), (Some(12), Some(7), Some(19)));
        assert_eq!((chat.input_cached, chat.input_audio, chat.input_image), (Some(4), Some(0), None));
        assert_eq!((chat.output_reasoning, chat.output_prediction_rejected), (Some(2), Some(3)));
        let responses = parse(
            r#"{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}}"#,
        );
        assert_eq!(
            (responses.input, responses.output, responses.output_reasoning),
            (Some(1), Some(2), Some(1))
        );
    }

    #[test]
    fn case_33_unknown_details_are_kept_by_name() {
        let reported =
            parse(r#"{"input_tokens":1,"completion_tokens_details":{"text_tokens":5,"x y":1,"new":{}}}"#);
        assert_eq!(reported.other, BTreeMap::from([("completion_tokens_details.text_tokens".to_owned(), 5)]));
    }

    #[test]
    fn case_35_absurd_numbers_and_zeros_cannot_be_charged_by() {
        assert!(parse(r#"{"prompt_tokens":5,"completion_tokens":0,"total_tokens":5}"#).usable());
        assert!(parse(r#"{"prompt_tokens":1e2,"completion_tokens":3.0}"#).usable());
        for json in [
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"prompt_tokens":-5,"completion_tokens":3}"#,
            r#"{"prompt_tokens":5,"completion_tokens":3.5}"#,
            r#"{"prompt_tokens":5,"completion_tokens":99999999999999999999}"#,
            r#"{"prompt_tokens":null,"total_tokens":7}"#,
            r#"{"type":"duration","seconds":3}"#,
            "{}",
        ] {
            assert!(!parse(json).usable(), "{json}");
        }
    }
}
