//! A recorded exchange, and its way through a meter.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::explain::Explanation;
use crate::caller::{Caller, Trust};
use crate::meter::{Ending, Meter, PromptNeed, Rules, count_prompt};
use crate::usage::{Api, Target, Usage};

/// RFC 4648, section 4, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One line as it stands. Other keys are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    id: String,
    #[serde(borrow)]
    api: Cow<'a, str>,
    #[serde(default)]
    azure: bool,
    model: Option<SmolStr>,
    api_version: Option<SmolStr>,
    status: Option<u16>,
    deployment: Option<SmolStr>,
    /// As it stands in the line: the order of its keys counts.
    #[serde(borrow)]
    request: &'a RawValue,
    response_kind: ResponseKind,
    response_body: Option<String>,
    response_body_base64: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResponseKind {
    Json,
    Sse,
}

/// A line that could be read.
pub(super) struct Exchange {
    pub(super) id: String,
    pub(super) api: Api,
    azure: bool,
    model: Option<SmolStr>,
    api_version: Option<SmolStr>,
    deployment: Option<SmolStr>,
    status: StatusCode,
    request: Bytes,
    kind: ResponseKind,
    response: Vec<u8>,
}

impl Exchange {
    /// Reads a line; what is wrong with it, in words.
    pub(super) fn parse(line: &[u8]) -> Result<Exchange, String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let api = match &*line.api {
            "chat" | "chat/completions" => Api::ChatCompletions,
            "completions" => Api::Completions,
            "embeddings" => Api::Embeddings,
            "responses" => Api::Responses,
            other => {
                let given: String = other.chars().take(40).collect();
                return Err(format!(
                    "`api` is {given:?}, not one of chat, completions, embeddings, responses"
                ));
            }
        };
        let status = StatusCode::from_u16(line.status.unwrap_or(200)).map_err(|error| error.to_string())?;
        let response = match (line.response_body, &line.response_body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(coded)) => decode(coded)?,
            _ => return Err("there must be one of `response_body` and `response_body_base64`".to_owned()),
        };
        Ok(Exchange {
            id: line.id,
            api,
            azure: line.azure,
            model: line.model,
            api_version: line.api_version,
            deployment: line.deployment,
            status,
            request: Bytes::copy_from_slice(line.request.get().as_bytes()),
            kind: line.response_kind,
            response,
        })
    }

    /// Shows the exchange to a meter. `blind`: to one that does not look at what the service reported.
    pub(super) fn replay(&self, end_of_turn: Option<bool>, blind: bool) -> (Usage, Explanation) {
        let rules = Rules { end_of_turn: end_of_turn.unwrap_or(self.azure) };
        let meter = Meter::new(self.draft(), rules).assuming(self.model.clone());
        let mut meter = if blind { meter.blind() } else { meter };
        meter.request_bytes(&self.request);
        meter.request_end();
        let content_type = HeaderValue::from_static(match self.kind {
            ResponseKind::Json => "application/json",
            ResponseKind::Sse => "text/event-stream",
        });
        meter.response_head(self.status, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
        meter.response_bytes(&self.response, usize::MAX);
        meter.end(Ending::Eof);
        let mut input = Vec::new();
        if let PromptNeed::Count { model } = meter.prompt_need() {
            let count = count_prompt(self.api, std::slice::from_ref(&self.request), &model);
            input = meter.prompt_counted(count);
        }
        let explanation = Explanation { input, output: meter.output_parts() };
        (meter.settle(Ending::Eof), explanation)
    }

    /// What `serve` knows of a call when it begins, as far as a recording has it.
    fn draft(&self) -> Usage {
        let target = Target {
            api: self.api,
            deployment: self.deployment.clone(),
            api_version: self.api_version.clone(),
            ..Target::default()
        };
        Usage::draft(Caller::unattributed(Trust::None), target)
    }
}

/// Base64 that may be broken into lines.
fn decode(coded: &str) -> Result<Vec<u8>, String> {
    let digits: String = coded.split_ascii_whitespace().collect();
    BASE64.decode(digits).map_err(|error| format!("`response_body_base64`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_base64() {
        assert_eq!(decode("aGVsbG8h\naGk=").unwrap(), b"hello!hi");
        assert_eq!(decode("aGk").unwrap(), b"hi");
        assert!(decode("a").is_err() && decode("a-b_").is_err());
    }
}
