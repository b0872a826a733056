//! A recorded session, and its way through the reader of sessions: each of its responses has two meters, as a call by
//! HTTP has.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use smol_str::SmolStr;

use super::accounted::{Accounted, Replayed};
use super::frame::{FrameContent, RecordedFrame};
use super::output::Explanation;
use crate::api::Treatment;
use crate::frames::Frames;
use crate::meter::{Ending, Meter, Rules, SessionNames};
use crate::session::{
    BegunResponse, FirstEnd, LaneNumber, ResponseDrafts, Session, SessionSide, SessionSink,
};
use crate::usage::Usage;

/// A session and its responses so far.
pub(super) struct RecordedSession {
    drafts: ResponseDrafts,
    rules: Rules,
    model: Option<SmolStr>,
    own: TwoMeters,
    open: BTreeMap<LaneNumber, TwoMeters>,
    ended: Vec<Accounted>,
}

/// A meter that sees all, and one that is blind to what the service reports.
struct TwoMeters {
    seeing: Meter,
    blind: Meter,
}

impl TwoMeters {
    fn new(meter: impl Fn() -> Meter) -> TwoMeters {
        TwoMeters { seeing: meter(), blind: meter().blind() }
    }

    fn tell(&mut self, what: impl Fn(&mut Meter)) {
        what(&mut self.seeing);
        what(&mut self.blind);
    }

    fn settle(mut self, ending: Ending) -> Accounted {
        self.tell(|meter| meter.end(ending));
        // The prompts of a session are never counted.
        let explanation = Explanation { input: Vec::new(), output: self.blind.output_parts() };
        Accounted { event: Some(self.seeing.settle(ending)), blind: self.blind.settle(ending), explanation }
    }
}

impl RecordedSession {
    /// A session with this draft, whose handshake had this status.
    pub(super) fn begin(
        draft: Usage,
        rules: Rules,
        model: Option<SmolStr>,
        status: StatusCode,
    ) -> RecordedSession {
        let own = TwoMeters::new(|| {
            let mut own = draft.clone();
            let treatment = if status == StatusCode::SWITCHING_PROTOCOLS {
                own.bill_per_response();
                Treatment::PerResponse
            } else {
                Treatment::Free // nothing was asked that could be billed
            };
            let mut meter = Meter::new(own, rules).treated(treatment);
            meter.response_head(status, &HeaderMap::new());
            meter
        });
        let drafts = ResponseDrafts::new(draft, HeaderMap::new());
        RecordedSession { drafts, rules, model, own, open: BTreeMap::new(), ended: Vec::new() }
    }

    /// Runs it to its end: where no side is seen to end it, the caller has hung up.
    pub(super) fn run(mut self, frames: &[RecordedFrame<'_>]) -> Replayed {
        let kind = self.drafts.session().target.api.session_kind();
        let mut session = Session::new(kind, Frames::of_client(None), Frames::of_server(None));
        let mut ended = None;
        for frame in frames {
            let (bytes, mut budget) = (frame.bytes(), usize::MAX);
            match frame.side {
                SessionSide::Client => session.from_client(&bytes, &mut budget, Duration::ZERO),
                SessionSide::Server => session.from_server(&bytes, &mut budget, Duration::ZERO, &mut self),
            };
            ended = ended.or_else(|| end_by(frame, &session));
        }
        let ended = ended.unwrap_or(FirstEnd::closed_by(SessionSide::Client));
        let ending = ended.ending(session.is_responding());
        for (_, mut meters) in std::mem::take(&mut self.open) {
            meters.tell(|meter| meter.frames_read(session.frames_read()));
            self.ended.push(meters.settle(ending));
        }
        Replayed { call: self.own.settle(ending), responses: Some(self.ended) }
    }
}

/// The end of the session, if this frame is one.
fn end_by(frame: &RecordedFrame<'_>, session: &Session) -> Option<FirstEnd> {
    let frames = match frame.side {
        SessionSide::Client => session.client(),
        SessionSide::Server => session.server(),
    };
    match frame.content {
        FrameContent::Cut => Some(FirstEnd::broken_by(frame.side)),
        _ => frames.is_closed().then_some(FirstEnd::closed_by(frame.side)),
    }
}

impl SessionSink for RecordedSession {
    fn named(&mut self, names: &SessionNames) {
        self.drafts.named(names);
        self.own.tell(|meter| meter.named(names));
    }

    fn begin(&mut self, lane: LaneNumber, response: BegunResponse) -> bool {
        let headers = self.drafts.headers(&response);
        let mut meters = TwoMeters::new(|| {
            let meter = Meter::new(self.drafts.draft(&response), self.rules);
            meter.treated(self.drafts.treatment()).assuming(self.model.clone())
        });
        meters.tell(|meter| {
            meter.asked(response.facts.clone(), response.request_bytes);
            meter.response_head(response.status, &headers);
        });
        self.open.insert(lane, meters);
        true
    }

    fn show(&mut self, lane: LaneNumber, bytes: Bytes) {
        if let Some(meters) = self.open.get_mut(&lane) {
            meters.tell(|meter| {
                meter.response_bytes(&bytes, usize::MAX);
            });
        }
    }

    fn left_out(&mut self, lane: LaneNumber) {
        if let Some(meters) = self.open.get_mut(&lane) {
            meters.tell(Meter::left_out);
        }
    }

    fn end(&mut self, lane: LaneNumber) {
        if let Some(meters) = self.open.remove(&lane) {
            self.ended.push(meters.settle(Ending::Eof));
        }
    }
}
