//! A recorded exchange, and its way through a meter.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use smol_str::SmolStr;

use super::line::{Line, ResponseKind};
use super::output::Explanation;
use crate::caller::{Caller, Trust};
use crate::meter::{Ending, Meter, PromptNeed, Rules, count_prompt};
use crate::usage::{Api, Target, Usage};

/// A line that could be read.
pub(super) struct Recording {
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

impl Recording {
    /// Reads a line; what is wrong with it, in words.
    pub(super) fn parse(line: &[u8]) -> Result<Recording, String> {
        let line = Line::parse(line)?;
        Ok(Recording {
            id: line.id,
            api: line.api,
            azure: line.azure,
            model: line.model,
            api_version: line.api_version,
            deployment: line.deployment,
            status: line.status,
            request: Bytes::copy_from_slice(line.request.get().as_bytes()),
            kind: line.kind,
            response: line.response,
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

    /// The draft that `serve` makes of a call when it begins, as far as a recording has it.
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
