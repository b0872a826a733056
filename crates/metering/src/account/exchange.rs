//! A recorded exchange, and its way through two meters: one that sees all, and one that is blind to what the service
//! reported.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::accounted::{Accounted, Replayed};
use super::line::{BodyFraming, Line, RecordedResponse};
use super::output::Explanation;
use super::session::RecordedSession;
use crate::api::Treatment;
use crate::caller::{Caller, Trust};
use crate::meter::{BillPart, Ending, Meter, PromptNeed, Rules, count_prompt};
use crate::usage::{BillSeen, Target, Usage};

/// Shows a line to the meters; an `end_of_turn` that is not said is that of the line.
pub(super) fn replay(line: &Line<'_>, end_of_turn: Option<bool>) -> Replayed {
    let rules = Rules { end_of_turn: end_of_turn.unwrap_or(line.azure) };
    match &line.response {
        RecordedResponse::Frames(frames) => {
            RecordedSession::begin(draft(line), rules, line.model.clone(), line.status).run(frames)
        }
        RecordedResponse::Body { framing, bytes } => {
            let request = line.request.map(|request| Bytes::copy_from_slice(request.get().as_bytes()));
            let call = RecordedCall { line, request, framing: *framing, response: bytes };
            Replayed { call: call.accounted(rules), responses: None }
        }
    }
}

/// The draft that `serve` makes of a call when it begins, as far as a recording has it.
fn draft(line: &Line<'_>) -> Usage {
    let target = Target {
        api: line.api,
        deployment: line.deployment.clone(),
        api_version: line.api_version.clone(),
        ..Target::default()
    };
    let mut draft = Usage::draft(Caller::unattributed(Trust::None), target);
    if let Some(operation) = &line.operation {
        draft.target.operation = operation.name().or(draft.target.operation);
        draft.ids.response_id.clone_from(&operation.polled);
    }
    draft
}

/// A call that came by HTTP.
struct RecordedCall<'a> {
    line: &'a Line<'a>,
    request: Option<Bytes>,
    framing: BodyFraming,
    response: &'a [u8],
}

impl RecordedCall<'_> {
    fn accounted(&self, rules: Rules) -> Accounted {
        let meter = || {
            let meter = Meter::new(draft(self.line), rules).treated(self.treatment());
            meter.assuming(self.line.model.clone())
        };
        let (seen, _) = self.shown_to(meter());
        let event = has_event(&seen, self.treatment()).then(|| seen.settle(Ending::Eof));
        let (blind, input) = self.shown_to(meter().blind());
        let explanation = Explanation { input, output: blind.output_parts() };
        Accounted { event, blind: blind.settle(Ending::Eof), explanation }
    }

    /// Without a target the API alone tells whose numbers the call has.
    fn treatment(&self) -> Treatment {
        self.line.operation.as_ref().map_or(Treatment::Metered, |operation| operation.treatment)
    }

    /// The meter when it has seen the call to its end, and the parts of the prompt if that had to be counted.
    fn shown_to(&self, mut meter: Meter) -> (Meter, Vec<BillPart>) {
        if let Some(request) = &self.request {
            meter.request_bytes(request);
        }
        meter.request_end();
        let content_type = HeaderValue::from_static(match self.framing {
            BodyFraming::Json => "application/json",
            BodyFraming::Sse => "text/event-stream",
            BodyFraming::Other => "text/plain",
        });
        meter.response_head(self.line.status, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
        meter.response_bytes(self.response, usize::MAX);
        meter.end(Ending::Eof);
        let mut parts = Vec::new();
        if let PromptNeed::Count { model } = meter.prompt_need() {
            let count = count_prompt(self.line.api, self.request.as_slice(), &model);
            parts = meter.prompt_counted(count);
        }
        (meter, parts)
    }
}

/// `serve` makes an event of such a call: of a look at another call's work only if it shows the bill.
fn has_event(meter: &Meter, treatment: Treatment) -> bool {
    match treatment {
        Treatment::Silent => false,
        Treatment::Poll | Treatment::PollOutput | Treatment::Cancel => match meter.bill() {
            Some(BillSeen::Of(_) | BillSeen::ByCancel(_) | BillSeen::OfFile { .. }) => true,
            Some(BillSeen::InFile { .. }) | None => false,
        },
        _ => true,
    }
}
