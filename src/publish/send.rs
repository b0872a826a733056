//! Sends events: first those that failed, oldest first, then new ones.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaResult;

use super::backoff::WINDOW_MAX;
use super::classify::{ErrorClass, classify};
use super::producer::SendError;
use super::source::EventSource;
use super::worker::Worker;
use crate::ledger::{EventRow, ReadError};

/// Events read in one short transaction, about 400 KB of usage.
const READ_ROWS_MAX: usize = 256;

/// Bytes read in one: a dozen parts of content, which keep a producer busy until the next read.
const READ_BYTES_MAX: usize = 8 << 20;

/// How long to wait for the broker to say whether the topic exists.
const QUESTION: Duration = Duration::from_secs(2);

impl<S: EventSource> Worker<S> {
    /// Sends some events. Returns whether there is more to do at once.
    pub(super) fn send(&mut self) -> Result<bool, ReadError> {
        let room = self.backoff.room(self.tracker.in_flight());
        if self.producer.is_none() || room == 0 {
            return Ok(false);
        }
        if let Some(position) = self.tracker.first_failed() {
            return self.resend(position, room);
        }
        if self.ahead.is_empty() {
            self.read_ahead()?;
        }
        if self.ahead.is_empty() {
            return Ok(false);
        }
        self.ask_once();
        for _ in 0..room {
            let Some(row) = self.ahead.pop_front() else { return Ok(true) };
            if self.tracker.len() >= WINDOW_MAX || !self.hand_over(&row) {
                self.ahead.push_front(row);
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Sends what failed, oldest first.
    fn resend(&mut self, first: u64, room: usize) -> Result<bool, ReadError> {
        let rows = self.source.after(first - 1, READ_ROWS_MAX, READ_BYTES_MAX)?;
        if rows.first().is_none_or(|row| row.position != first) {
            tracing::error!(
                position = first,
                outbox = self.source.name(),
                "an event is gone from its outbox before it was delivered"
            );
            self.tracker.give_up(first);
        }
        // The rows between them were delivered or are under way.
        let failed = rows.iter().filter(|row| self.tracker.is_failed(row.position));
        let failed: Vec<&EventRow> = failed.take(room).collect();
        for row in failed {
            if !self.hand_over(row) {
                return Ok(false);
            }
            self.shared.resent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(true)
    }

    fn read_ahead(&mut self) -> Result<(), ReadError> {
        let (last, synced) = (self.tracker.last(), self.synced());
        if last < synced {
            let rows = self.source.after(last, READ_ROWS_MAX, READ_BYTES_MAX)?;
            self.ahead.extend(rows.into_iter().filter(|row| row.position <= synced));
        }
        Ok(())
    }

    /// Hands one event to the producer. Returns whether it took it.
    fn hand_over(&mut self, row: &EventRow) -> bool {
        let Some(producer) = &self.producer else { return false };
        let alone = self.tracker.in_flight() == 0;
        match producer.send(row.position, &row.body) {
            Ok(()) => {
                self.tracker.sent(row.position, self.now_ms());
                self.alone = alone.then_some(row.position);
                if alone {
                    self.answered = Instant::now();
                }
                self.shared.sent.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(SendError::Unreadable(why)) => {
                self.refused_here(row.position, &why);
                true
            }
            Err(SendError::Kafka(error)) => {
                self.not_taken(row.position, classify(&error), &error.to_string())
            }
        }
    }

    /// The producer did not take an event. Returns whether the event is dealt with.
    fn not_taken(&mut self, position: u64, class: ErrorClass, why: &str) -> bool {
        match class {
            // The client knows the limit, so it will say so each time: this event is to blame.
            ErrorClass::Event => {
                self.refused_here(position, why);
                return true;
            }
            // Answers make room, if there are any to come.
            ErrorClass::Full if self.tracker.in_flight() > 0 => return false,
            // The client refuses events until it has heard from the broker again, which it asks every few
            // minutes only.
            ErrorClass::Setting => drop(self.hear_of_topic()),
            ErrorClass::Full | ErrorClass::Again | ErrorClass::Producer | ErrorClass::Connection => {}
        }
        self.tell(class, why);
        self.backoff.trouble(Instant::now(), self.tracker.in_flight());
        false
    }

    fn refused_here(&mut self, position: u64, why: &str) {
        self.tracker.sent(position, self.now_ms());
        self.tracker.failed(position);
        self.give_up(position, why);
    }

    /// Looks once whether the topic exists, to say it in clear words. Sends go on regardless.
    fn ask_once(&mut self) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        match self.hear_of_topic() {
            Some(Ok(Some(why))) => tracing::error!(
                topic = self.config.topic,
                why,
                "the topic cannot be used; tokenweir never creates one: events are kept until it exists"
            ),
            Some(Err(error)) => {
                tracing::warn!(%error, "no broker answers yet; events are kept");
            }
            Some(Ok(None)) | None => {}
        }
    }

    /// Asks a broker for the topic; the client takes note of the answer too.
    fn hear_of_topic(&self) -> Option<KafkaResult<Option<String>>> {
        self.producer.as_ref().map(|producer| producer.ask_topic(QUESTION))
    }
}
