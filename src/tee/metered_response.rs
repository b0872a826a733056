//! The response of a call on the network thread, and the meter that is shown it.
//!
//! A little is counted at once. Where more comes in one turn, the meter is lent to the pool and counts there;
//! the network thread itself reads on for what the response reports ([`metering::meter::Skim`]). That takes no
//! more memory however far behind the pool is, and needs nothing of it: when too much waits to be counted, the
//! count is given up, and what was reported is still known. So no end of a response is ever lost, and
//! nothing that is only skimmed waits for anybody.
//!
//! A coding can only be undone once and in order, so that is done here as well, and the pool gets what comes of
//! it.

use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};

use super::checkpoint::{CallSnapshot, CheckpointNews, NextCheckpoint};
use super::context::CallContext;
use super::meter::{CallMeter, CallSkim};
use super::meter_location::{MeterLocation, MeterNote};
use super::pinned_bytes::{PinnedBytes, RESPONSE_READ_BYTES_MAX};
use super::turn::{INLINE_BYTES_MAX, Turn};
use crate::pool::Lane;

/// Work of a response between two looks at what the meter holds of it. Little comes in between.
const WEIGH_EVERY_BYTES: u64 = 16 << 10;

/// Part of a response that waits to be counted, with the meter that counts it.
pub(super) struct Backlog<M> {
    pub(super) meter: Box<M>,
    pub(super) pieces: Vec<Bytes>,
    pub(super) pinned_bytes: usize,
}

/// The response of a call, and its meter.
pub(super) struct MeteredResponse<M: CallMeter> {
    meter: MeterLocation<M>,
    /// Reads the response on while the meter is lent: always while it is with the pool and bytes may come,
    /// and as long as there is a backlog.
    skim: Option<Box<M::Skim>>,
    /// Decoded bytes that the meter has yet to be shown.
    backlog: PinnedBytes,
    /// Bytes that came and were not read yet: part of one frame.
    unread: Bytes,
    /// The bytes by which the backlogs of all calls grew when this call ended: a response that waits to be read.
    ended_backlog_bytes: usize,
    /// Work of the response when it was last found out what the meter holds.
    weighed_at_bytes: u64,
    /// The next checkpoint of what the meter knows.
    checkpoint: NextCheckpoint,
    /// The call stands in the pool's queue of responses, or is being run from there.
    pub(super) queued: bool,
}

impl<M: CallMeter> MeteredResponse<M> {
    /// A response whose meter is still to come.
    pub(super) fn new() -> MeteredResponse<M> {
        MeteredResponse {
            meter: MeterLocation::Away(Vec::new()),
            skim: None,
            backlog: PinnedBytes::new(RESPONSE_READ_BYTES_MAX),
            unread: Bytes::new(),
            ended_backlog_bytes: 0,
            weighed_at_bytes: 0,
            checkpoint: NextCheckpoint::default(),
            queued: false,
        }
    }

    // ===== The meter =====

    pub(super) fn has_meter(&self) -> bool {
        matches!(self.meter, MeterLocation::Here(_))
    }

    pub(super) fn is_meter_away(&self) -> bool {
        self.meter.is_away()
    }

    pub(super) fn is_meter_lost(&self) -> bool {
        self.meter.is_lost()
    }

    /// Asks the meter, if it is here. Its panic ends its work, and nothing else.
    pub(super) fn ask<T>(&mut self, cx: &CallContext, ask: impl FnOnce(&mut M) -> T) -> Option<T> {
        let MeterLocation::Here(meter) = &mut self.meter else { return None };
        let said = cx.accounts.guard(|| ask(meter));
        if said.is_none() {
            self.lose_meter();
        }
        said
    }

    /// Tells the meter something, now or when it is back.
    pub(super) fn tell(&mut self, cx: &CallContext, note: MeterNote) {
        match &mut self.meter {
            MeterLocation::Here(_) => drop(self.ask(cx, |meter| note.tell(meter))),
            MeterLocation::Away(notes) => notes.push(note),
            MeterLocation::Lost => {}
        }
    }

    /// Takes the meter away for the pool, if it is here.
    pub(super) fn take_meter(&mut self) -> Option<Box<M>> {
        self.meter.take()
    }

    /// The meter comes back from the pool, or does not.
    pub(super) fn put_back(&mut self, cx: &CallContext, meter: Option<Box<M>>) {
        debug_assert!(!self.has_meter(), "there is one meter");
        let Some(meter) = meter else { return self.lose_meter() };
        if self.meter.is_lost() {
            return; // the skim panicked meanwhile
        }
        let was = std::mem::replace(&mut self.meter, MeterLocation::Here(meter));
        self.rejoin(cx);
        if let MeterLocation::Away(notes) = was {
            notes.into_iter().for_each(|note| self.tell(cx, note));
        }
    }

    fn lose_meter(&mut self) {
        self.meter = MeterLocation::Lost;
        (self.skim, self.unread) = (None, Bytes::new());
    }

    /// Takes the meter for good.
    pub(super) fn take_for_settling(&mut self) -> Option<Box<M>> {
        match std::mem::replace(&mut self.meter, MeterLocation::Lost) {
            MeterLocation::Here(meter) => Some(meter),
            MeterLocation::Away(_) | MeterLocation::Lost => None,
        }
    }

    // ===== Bytes that come =====

    /// Some bytes are left that the last turn was too short for.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Takes the next bytes, as far as the turn allows.
    pub(super) fn push(&mut self, cx: &CallContext, bytes: &Bytes, turn: &mut Turn) {
        if self.has_unread() {
            self.read_on(cx, &mut Turn::skim_all());
        }
        let taken = self.show(cx, bytes, turn);
        if taken < bytes.len() {
            self.unread = bytes.slice(taken..);
            self.read_on(cx, turn);
        }
    }

    /// Reads what is unread, as far as the turn allows.
    pub(super) fn read_on(&mut self, cx: &CallContext, turn: &mut Turn) {
        let mut bytes = std::mem::take(&mut self.unread);
        while !bytes.is_empty() && !self.meter.is_lost() {
            let taken = self.show(cx, &bytes, turn);
            bytes.advance(taken);
            if taken > 0 {
                continue;
            }
            if turn.is_over() {
                break;
            }
            // The meter has counted enough for this turn, or the pool has it.
            self.lend(cx);
            self.defer(cx, &mut bytes, turn);
        }
        if !self.meter.is_lost() {
            self.unread = bytes;
        }
    }

    /// Shows bytes to the meter, if it is here and not lent, for as much work as the turn allows. Returns how
    /// many it took.
    fn show(&mut self, cx: &CallContext, bytes: &[u8], turn: &mut Turn) -> usize {
        self.rejoin(cx);
        if self.skim.is_some() {
            return 0;
        }
        let (weighed_at_bytes, mut work_bytes, mut held_bytes) = (self.weighed_at_bytes, 0, None);
        let taken = self.ask(cx, |meter| {
            let budget = if meter.is_light() {
                &mut turn.skim_bytes
            } else if meter.held_bytes() > INLINE_BYTES_MAX {
                return 0; // it may be read as a whole now
            } else {
                &mut turn.count_bytes
            };
            if *budget == 0 {
                return 0;
            }
            let before = meter.work_bytes();
            let taken = meter.response_bytes(bytes, *budget);
            work_bytes = meter.work_bytes();
            let done_bytes = usize::try_from(work_bytes - before).unwrap_or(usize::MAX);
            *budget = if taken < bytes.len() { 0 } else { budget.saturating_sub(done_bytes) };
            if work_bytes - weighed_at_bytes >= WEIGH_EVERY_BYTES {
                held_bytes = Some(meter.memory_bytes());
            }
            taken
        });
        if let Some(held_bytes) = held_bytes {
            self.weighed_at_bytes = work_bytes;
            if !cx.weigh(held_bytes) {
                self.give_up_count(cx);
            }
        }
        debug_assert!(taken.is_none_or(|taken| taken <= bytes.len()), "a meter takes what it is shown");
        taken.unwrap_or(0)
    }

    /// Has the response read on without the meter from here.
    fn lend(&mut self, cx: &CallContext) {
        if self.skim.is_none() {
            self.skim = self.ask(cx, |meter| Box::new(meter.lend()));
        }
    }

    /// Reads bytes for what they report, and leaves them to the pool to be counted unless that is given up.
    fn defer(&mut self, cx: &CallContext, bytes: &mut Bytes, turn: &mut Turn) {
        let before_bytes = self.backlog.pinned_bytes();
        let (Some(skim), backlog) = (&mut self.skim, &mut self.backlog) else { return };
        let (counted, plain) = (!cx.is_count_given_up(), skim.is_plain());
        let skimmed = cx.accounts.guard(|| {
            let work_before_bytes = skim.work_bytes();
            let taken = skim.push(bytes, turn.skim_bytes, |part| {
                if counted && !plain {
                    backlog.copy(part);
                }
            });
            (taken, skim.work_bytes() - work_before_bytes)
        });
        let Some((taken, work_bytes)) = skimmed else { return self.lose_meter() };
        let shown = bytes.split_to(taken);
        let work_bytes = usize::try_from(work_bytes).unwrap_or(usize::MAX);
        turn.skim_bytes = if bytes.is_empty() { turn.skim_bytes.saturating_sub(work_bytes) } else { 0 };
        if !counted {
            return;
        }
        if plain && !shown.is_empty() {
            self.backlog.push(shown);
        }
        self.charge_backlog(cx, before_bytes);
    }

    /// Takes memory for what the backlog has grown by, and has the pool count it. Without either the count is
    /// given up.
    fn charge_backlog(&mut self, cx: &CallContext, before_bytes: usize) {
        let more_bytes = self.backlog.pinned_bytes() - before_bytes;
        let too_much = self.backlog.pinned_bytes() > cx.accounts.bounds.call_backlog_bytes;
        if too_much || !cx.try_add_backlog(more_bytes) {
            let (_, pinned_bytes) = self.backlog.take();
            cx.release_backlog(pinned_bytes - more_bytes);
            self.give_up_count(cx);
        } else if !self.backlog.is_empty() && !self.enqueue(cx) {
            self.give_up_count(cx);
        }
    }

    /// Puts the call in the pool's queue of responses, unless it is there. False: the pool takes no more.
    pub(super) fn enqueue(&mut self, cx: &CallContext) -> bool {
        if !self.queued {
            self.queued = cx.submit(Lane::Response);
        }
        self.queued
    }

    // ===== The count =====

    /// Gives up the count, for which there is no time or memory: from here on the response is only read for
    /// what it reports.
    pub(super) fn give_up_count(&mut self, cx: &CallContext) {
        let (_, pinned_bytes) = self.backlog.take();
        cx.release_backlog(pinned_bytes);
        if cx.count_given_up.swap(true, Ordering::AcqRel) {
            return;
        }
        cx.accounts.counters.meter_overload.fetch_add(1, Ordering::Relaxed);
        match self.skim.take() {
            // If the meter is away, it is told when it comes back.
            Some(skim) if self.meter.is_away() => self.skim = Some(skim),
            Some(skim) => drop(self.ask(cx, |meter| meter.take_back(*skim, false))),
            None => drop(self.ask(cx, M::skim)),
        }
        self.weigh_again(cx);
    }

    /// The meter holds less than before.
    fn weigh_again(&mut self, cx: &CallContext) {
        if let Some(held_bytes) = self.ask(cx, |meter| meter.memory_bytes()) {
            cx.weigh(held_bytes);
        }
    }

    /// Gives a meter that has come back from the pool what the network thread has read without it.
    pub(super) fn rejoin(&mut self, cx: &CallContext) {
        let given_up = cx.is_count_given_up();
        if (given_up || self.backlog.is_empty())
            && self.has_meter()
            && let Some(skim) = self.skim.take()
        {
            self.ask(cx, |meter| meter.take_back(*skim, !given_up));
            if given_up {
                self.weigh_again(cx);
            }
        }
    }

    /// Takes the meter and all that waits for it, for the pool. Of a response that is over this is also what
    /// the last turn was too short for, once it comes to no other thread.
    pub(super) fn take_backlog(&mut self, cx: &CallContext, over: bool) -> Option<Backlog<M>> {
        let rest = over && self.skim.is_none() && self.has_unread();
        if self.backlog.is_empty() && !rest {
            return None;
        }
        let (mut pieces, pinned_bytes) = self.backlog.take();
        if rest {
            pieces.push(std::mem::take(&mut self.unread));
        }
        let Some(meter) = self.meter.take() else {
            cx.release_backlog(pinned_bytes);
            return None;
        };
        Some(Backlog { meter, pieces, pinned_bytes })
    }

    // ===== Its checkpoints =====

    /// The meter knows more than at the last checkpoint.
    pub(super) fn note_news(&mut self) {
        self.checkpoint.note_news();
    }

    /// The checkpoint that is made now, if there is news. Where that takes long, the pool finds out first what it
    /// says.
    pub(super) fn checkpoint(&mut self, cx: &CallContext) -> Option<CallSnapshot> {
        if let Some(ready) = self.checkpoint.ready.take() {
            return Some(*ready);
        }
        if self.checkpoint.news == CheckpointNews::None {
            return None;
        }
        let away = self.meter.is_away();
        self.checkpoint.news = if away { CheckpointNews::Overdue } else { CheckpointNews::Some };
        if self.ask(cx, |meter| meter.uncounted_bytes())? > INLINE_BYTES_MAX {
            if self.enqueue(cx) {
                self.checkpoint.news = CheckpointNews::Overdue;
            }
            return None;
        }
        let snapshot = self.ask(cx, |meter| CallSnapshot::of(meter))?;
        self.checkpoint.news = CheckpointNews::None;
        Some(snapshot)
    }

    /// Takes the meter for a checkpoint that was due and that the pool makes now.
    pub(super) fn take_for_checkpoint(&mut self, cx: &CallContext) -> Option<Box<M>> {
        if !self.checkpoint.take_overdue() {
            return None;
        }
        self.lend(cx);
        let meter = self.meter.take()?;
        self.checkpoint.news = CheckpointNews::None;
        Some(meter)
    }

    /// The pool has found out what the next checkpoint says. `None`: the meter panicked over it.
    pub(super) fn was_assessed(&mut self, cx: &CallContext, assessed: Option<(Box<M>, CallSnapshot)>) {
        let (meter, snapshot) = assessed.unzip();
        self.checkpoint.ready = snapshot.map(Box::new);
        self.put_back(cx, meter);
        cx.expedite_checkpoint();
    }

    /// The pool has shown the meter a backlog. `None`: it panicked. False: it holds more than it may.
    pub(super) fn was_shown(&mut self, cx: &CallContext, shown: Option<(Box<M>, bool)>) {
        self.note_news();
        if let Some((_, false)) = &shown {
            self.give_up_count(cx);
        }
        self.put_back(cx, shown.map(|(meter, _)| meter));
        if self.checkpoint.take_overdue() {
            cx.expedite_checkpoint();
        }
    }

    // ===== The end =====

    /// It came to the end of its body.
    pub(super) fn is_whole(&mut self, cx: &CallContext) -> bool {
        match &self.skim {
            Some(skim) => skim.is_whole(),
            None => self.ask(cx, |meter| meter.is_whole()).unwrap_or(false),
        }
    }

    /// The response is over. True: it is left to the pool to be read, since that is long; else the meter was
    /// shown all of it.
    pub(super) fn finish(&mut self, cx: &CallContext) -> bool {
        debug_assert_eq!(self.ended_backlog_bytes, 0, "a response ends once");
        self.rejoin(cx);
        let to_read_bytes = self.ask(cx, |meter| meter.unread_bytes() + meter.uncounted_bytes()).unwrap_or(0);
        let light = self.ask(cx, |meter| meter.is_light()).unwrap_or(true);
        if to_read_bytes > INLINE_BYTES_MAX || !(light || self.unread.is_empty()) {
            if cx.try_add_backlog(to_read_bytes) {
                self.ended_backlog_bytes = to_read_bytes;
                if self.enqueue(cx) {
                    return true;
                }
            }
            self.give_up_count(cx);
        }
        self.read_rest(cx);
        false
    }

    /// Shows the meter, which is light, what the last turn was too short for.
    fn read_rest(&mut self, cx: &CallContext) {
        let mut bytes = std::mem::take(&mut self.unread);
        self.ask(cx, |meter| {
            while !bytes.is_empty() {
                bytes.advance(meter.response_bytes(&bytes, INLINE_BYTES_MAX));
            }
        });
    }

    /// Gives all memory back.
    pub(super) fn release(&mut self, cx: &CallContext) {
        let (_, pinned_bytes) = self.backlog.take(); // of a meter that is lost
        cx.release_backlog(pinned_bytes + std::mem::take(&mut self.ended_backlog_bytes));
        cx.release_response();
    }
}
