//! Work that goes on after the response of the call that began it. The call itself has no numbers then; a look at the
//! work shows its bill, when it is over.

use http::StatusCode;

use super::call::Meter;
use super::read::{SeenWork, WorkState};
use super::side::SideNumber;
use crate::api::Treatment;
use crate::usage::{BillSeen, Deferral, DeferredId, Reason};

impl Meter {
    /// The work that the response tells of, as it was seen last.
    pub(super) fn work(&self) -> Option<&SeenWork> {
        let answered = self.status.is_some_and(|status| status.is_success());
        self.body.response.facts.work.as_deref().filter(|_| answered)
    }

    /// The work goes on, so the bill is another event's.
    pub(super) fn is_deferred(&self) -> bool {
        self.work().is_some_and(|work| work.state == WorkState::GoesOn)
    }

    /// How the call's event stands to the work that it began; `None`: it began none that goes on, or went on.
    pub fn deferral(&self) -> Option<Deferral> {
        let own = matches!(self.treatment, Treatment::Metered | Treatment::ReportedOnly);
        let id = self.work_id().filter(|_| own && !self.blind)?;
        Some(Deferral { work: id, billed: !self.is_deferred() })
    }

    /// The news that a look at work has for its ledger: the work is over, and this is its bill or says where that
    /// stands. To be asked after [`Meter::end`].
    pub fn bill(&self) -> Option<BillSeen> {
        // A part of a document (206) is no bill.
        let whole = self.status == Some(StatusCode::OK) && self.body.response.whole;
        if !whole || !self.treatment.is_poll() {
            return None;
        }
        if self.treatment == Treatment::PollOutput {
            return Some(BillSeen::OfFile { file: self.draft.ids.response_id.clone()? });
        }
        let (work, id) = (self.work()?, self.work_id()?);
        let priced = self.reported().is_some() || self.video_ms().is_some();
        match &work.output_file {
            _ if self.is_deferred() => None,
            Some(file) if !priced => Some(BillSeen::InFile { work: id, file: file.clone() }),
            _ if self.treatment == Treatment::Cancel => Some(BillSeen::ByCancel(id)),
            _ => Some(BillSeen::Of(id)),
        }
    }

    /// Milliseconds of video that were made.
    pub(super) fn video_ms(&self) -> Option<u64> {
        self.work().and_then(SeenWork::video_ms)
    }

    /// Some lines of a batch's output could not be read, so that there is more than what is known.
    pub(super) fn misses_lines(&self) -> bool {
        self.treatment == Treatment::PollOutput && self.body.response.parse_errors > 0
    }

    /// A side that the service does not report, where the numbers are or were another event's.
    pub(super) fn of_work(&self) -> Option<SideNumber> {
        match () {
            () if self.treatment.is_poll() => Some(self.not_reported(None)),
            () if self.is_deferred() => Some(SideNumber::unknown(vec![Reason::Deferred])),
            // It is over, and only the service knows what it cost.
            () if !self.blind && self.work().is_some() && self.reported().is_none() => {
                Some(self.not_reported(None))
            }
            () => None,
        }
    }

    fn work_id(&self) -> Option<DeferredId> {
        let (work, stated) = (self.work()?, &self.body.response.facts);
        Some(DeferredId { kind: work.kind, id: stated.id.clone()? })
    }
}
