//! Bills within a transaction: whether one is news is decided here, where its event is stored.

use std::borrow::Cow;

use super::bill::{BillInHand, DeferredNote};
use super::deferred::{Deferrals, Known, WorkKey};
use super::error::StoreError;
use super::store::Append;
use metering::usage::{Beginner, BillSeen, Deferral, DeferredId, DeferredKind, Settled};

impl Append<'_> {
    fn deferrals(&self) -> Deferrals<'_> {
        Deferrals { db: &self.tx, now_ms: self.now.as_millisecond(), rows_max: self.deferred_max }
    }

    /// Appends the event of a call that has ended, and remembers the work that it began.
    pub(super) fn closed(
        &mut self,
        number: Option<u64>,
        settled: &Settled,
        deferral: Option<&Deferral>,
    ) -> Result<(), StoreError> {
        let Some(Deferral { work, billed }) = deferral else { return self.usage(number, settled) };
        let resource = settled.usage.target.resource.clone();
        let key = WorkKey::of(&resource, work);
        let beginner = Beginner::of(&settled.usage);
        let is_repeat = *billed && self.deferrals().find(key)?.is_billed(&beginner);
        let event = if is_repeat { Cow::Owned(repeated(settled, work.kind)) } else { Cow::Borrowed(settled) };
        self.usage(number, &event)?;
        if *billed { self.deferrals().mark_billed(key) } else { self.deferrals().announce(key, &beginner) }
    }

    /// Appends the events of the bills that are news, and says at each which that was.
    pub(super) fn bills(&mut self, bills: &mut [BillInHand]) -> Result<(), StoreError> {
        for BillInHand { bill, stored } in bills {
            *stored = self.bill(&bill.settled, &bill.seen)?.map(Box::new);
        }
        Ok(())
    }

    fn bill(&mut self, settled: &Settled, seen: &BillSeen) -> Result<Option<Settled>, StoreError> {
        let resource = settled.usage.target.resource.clone();
        let work = match seen {
            BillSeen::Of(work) | BillSeen::ByCancel(work) => work.clone(),
            BillSeen::InFile { work, file } => {
                let known = self.deferrals().find(WorkKey::of(&resource, work))?;
                if !matches!(known, Known::Billed { .. }) {
                    self.deferrals().note_file(&resource, work, file)?;
                }
                return Ok(None);
            }
            BillSeen::OfFile { file } => match self.deferrals().batch_of(&resource, file)? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let key = WorkKey::of(&resource, &work);
        let event = match self.deferrals().find(key)? {
            Known::No => of_work(settled, &work, None),
            Known::Due(beginner) => of_work(settled, &work, beginner),
            Known::Billed { .. } if matches!(seen, BillSeen::ByCancel(_)) => {
                Settled { usage: settled.usage.clone().not_billed(), ..settled.clone() }
            }
            Known::Billed { .. } => return Ok(None),
        };
        self.usage(None, &event)?;
        self.log.boot.settled += 1;
        self.deferrals().mark_billed(key)?;
        Ok(Some(event))
    }

    /// Remembers the work of calls that are in sums.
    pub(super) fn notes(&mut self, notes: &[DeferredNote]) -> Result<(), StoreError> {
        for note in notes {
            let key = WorkKey::of(&note.resource, &note.work);
            if note.billed {
                self.deferrals().mark_billed(key)?;
            } else {
                self.deferrals().announce(key, &note.beginner)?;
            }
        }
        Ok(())
    }

    /// Lets go of work that is remembered for too long, or that is too much.
    pub(super) fn expire_deferred(&mut self) -> Result<(), StoreError> {
        let expired = self.deferrals().expire()?;
        self.log.boot.since.deferred_expired += expired;
        Ok(())
    }
}

/// The event of a bill: charged to whoever began the work, if that is known. How long the look at it took says nothing.
fn of_work(settled: &Settled, work: &DeferredId, beginner: Option<Box<Beginner>>) -> Settled {
    let mut usage = settled.usage.clone();
    usage.ids.response_id = Some(work.id.clone());
    let timing = &mut usage.timing;
    (timing.upstream_headers_ms, timing.first_token_ms, timing.duration_ms) = (None, None, None);
    if let Some(beginner) = beginner {
        usage = usage.begun_by(*beginner);
    }
    Settled { usage, ..*settled }
}

/// The event of a call whose bill is stored already. Its numbers are that one's.
fn repeated(settled: &Settled, kind: DeferredKind) -> Settled {
    let usage = settled.usage.clone();
    // Of a session's responses each connection has an event, and one of them the bill.
    let of_session = kind == DeferredKind::RealtimeResponse;
    Settled { usage: if of_session { usage.not_billed() } else { usage.announcing() }, ..*settled }
}
