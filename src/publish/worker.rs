//! The loop: collect answers, move the mark, send what failed, send what is new, wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;

use super::classify::{Class, classify};
use super::link::{Link, SendError};
use super::pace::Pace;
use super::tracker::Tracker;
use super::{Config, Shared, StartError};
use crate::ledger::{Ledger, ReadError, Reader, Row};

/// Events between the mark and the last one sent: what a new producer may have to send again, and
/// with events of 1.5 KiB more than the client's own queue takes.
const WINDOW_MAX: usize = 50_000;

/// Events read in one short transaction, about 400 KB.
const READ_ROWS: usize = 256;

/// How long to wait for an answer before looking for new events.
const ANSWER_WAIT: Duration = Duration::from_millis(10);

/// How long to wait for new events before looking whether to stop.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// How often the mark is handed to the ledger: what is sent again after a crash.
const MARK_EVERY: Duration = Duration::from_millis(100);

/// How often the broker must refuse an event that was sent alone.
const REFUSALS: u32 = 3;

/// No answer for this long is worth a word, and then, if a broker does answer a question, a new
/// producer. Longer than `request.timeout.ms`, within which librdkafka helps itself.
const SILENCE: Duration = Duration::from_secs(90);
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// How long to wait for the broker to say whether the topic exists.
const QUESTION: Duration = Duration::from_secs(2);

/// The publisher's thread.
pub(super) struct Worker {
    ledger: Ledger,
    reader: Reader,
    shared: Arc<Shared>,
    client: ClientConfig,
    topic: String,
    link: Option<Link>,
    tracker: Tracker,
    pace: Pace,
    /// Set while events go one by one, to find those that the broker refuses.
    alone: Option<Alone>,
    /// New rows read and not sent yet.
    ahead: VecDeque<Row>,
    answered: Instant,
    warned: bool,
    marked: Instant,
    asked: bool,
}

/// The search for an event that is refused.
#[derive(Clone, Copy, Debug)]
struct Alone {
    /// Everything up to here goes alone.
    until: u64,
    /// The one that is on its way, or was the last to be.
    sent: Option<u64>,
    /// How often it was refused.
    refused: u32,
}

impl Worker {
    pub(super) fn new(ledger: Ledger, config: &Config, shared: Arc<Shared>) -> Result<Worker, StartError> {
        let reader = Reader::open(ledger.dir())?;
        let client = config.producer();
        let mark = ledger.delivered();
        shared.mark.store(mark, Ordering::Release);
        let link = Link::new(&client, &config.topic).map_err(|e| StartError::Producer(e.to_string()))?;
        let now = Instant::now();
        Ok(Worker {
            ledger,
            reader,
            shared,
            client,
            topic: config.topic.clone(),
            link: Some(link),
            tracker: Tracker::new(mark),
            pace: Pace::new(),
            alone: None,
            ahead: VecDeque::new(),
            answered: now,
            warned: false,
            marked: now,
            asked: false,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            self.collect();
            self.save_mark(false);
            if self.over() {
                break;
            }
            self.renew_if_broken();
            if let Some(wait) = self.pace.wait(Instant::now()) {
                self.shared.backing_off.store(true, Ordering::Relaxed);
                self.rest(wait);
                continue;
            }
            self.shared.backing_off.store(false, Ordering::Relaxed);
            match self.send() {
                Ok(true) => {}
                Ok(false) => self.wait(),
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot be read; publishing pauses");
                    self.pace.failed(Instant::now());
                }
            }
        }
        // Answers that come while the producer ends still count.
        let reports = self.link.take().map(|link| Arc::clone(&link.reports));
        for (position, error) in reports.iter().flat_map(|reports| reports.take()) {
            if error.is_none() {
                self.tracker.acked(position);
            }
        }
        self.save_mark(true);
    }

    /// Nothing is left to send, or no time, and somebody wants an end.
    fn over(&self) -> bool {
        self.shared
            .deadline()
            .is_some_and(|deadline| Instant::now() >= deadline || self.tracker.mark() >= self.committed())
    }

    fn committed(&self) -> u64 {
        self.ledger.wait_committed(u64::MAX, Duration::ZERO)
    }

    /// Waits for what comes next: answers if there are any to come, else new events.
    fn wait(&self) {
        match &self.link {
            Some(link) if self.tracker.in_flight() > 0 => link.reports.wait(ANSWER_WAIT),
            _ => {
                let last = self.tracker.last();
                if self.ledger.wait_committed(last, IDLE_WAIT) <= last {
                    // A ledger that has ended does not wait.
                    std::thread::sleep(ANSWER_WAIT);
                }
            }
        }
    }

    /// Waits because of an error; not beyond the end.
    fn rest(&self, wait: Duration) {
        match self.shared.deadline() {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                std::thread::sleep(wait.min(left).min(IDLE_WAIT));
            }
            None => self.shared.sleep(wait.min(IDLE_WAIT)),
        }
    }

    /// Takes the answers that have come.
    fn collect(&mut self) {
        let Some(link) = &self.link else { return };
        let reports = link.reports.take();
        if reports.is_empty() {
            return;
        }
        self.answered = Instant::now();
        self.warned = false;
        for (position, error) in reports {
            match error {
                None => {
                    self.tracker.acked(position);
                    self.pace.succeeded();
                    self.passed(position);
                }
                Some(error) => {
                    self.tracker.failed(position);
                    self.trouble(position, classify(&error), &error.to_string());
                }
            }
        }
        self.shared.in_flight.store(self.tracker.in_flight() as u64, Ordering::Relaxed);
    }

    /// An event is done with: if it went alone, so does the next, from a clean slate.
    fn passed(&mut self, position: u64) {
        if let Some(alone) = &mut self.alone {
            alone.refused = 0;
            if position >= alone.until {
                self.alone = None;
            }
        }
    }

    /// Decides what an error of one event means.
    fn trouble(&mut self, position: u64, class: Class, why: &str) {
        let now = Instant::now();
        if class != Class::Full && class != Class::Event && self.pace.says(now) {
            tracing::error!(
                topic = self.topic,
                why,
                "events cannot be delivered; they are kept and sent again"
            );
        }
        match class {
            Class::Full => {}
            Class::Again | Class::Setting => self.pace.failed(now),
            Class::Producer => {
                self.pace.failed(now);
                self.end_link(why);
            }
            Class::Event => self.refusal(position, why),
        }
    }

    /// The broker does not accept an event, or one of its batch.
    fn refusal(&mut self, position: u64, why: &str) {
        let Some(alone) = &mut self.alone else {
            self.alone = Some(Alone { until: position, sent: None, refused: 0 });
            return;
        };
        alone.until = alone.until.max(position);
        // Only what was sent alone is to blame.
        if alone.sent == Some(position) {
            alone.refused += 1;
            if alone.refused >= REFUSALS {
                self.give_up(position, why);
                self.passed(position);
            }
        }
    }

    fn give_up(&mut self, position: u64, why: &str) {
        tracing::error!(
            position,
            why,
            "the broker refuses an event for good; it is kept: `events --refused`"
        );
        self.ledger.mark_refused(position, why);
        self.tracker.give_up(position);
    }

    /// Hands the mark to the ledger, now and then or at the end.
    fn save_mark(&mut self, now: bool) {
        self.shared.mark.store(self.tracker.mark(), Ordering::Release);
        if now || self.marked.elapsed() >= MARK_EVERY {
            self.marked = Instant::now();
            self.ledger.mark_delivered(self.tracker.mark());
        }
    }

    /// Replaces a producer that will never deliver again.
    fn renew_if_broken(&mut self) {
        if let Some(why) = self.link.as_ref().and_then(Link::fatal) {
            self.pace.failed(Instant::now());
            self.end_link(&why);
        } else if self.tracker.in_flight() > 0 && self.answered.elapsed() >= SILENCE {
            self.silence();
        }
        if self.link.is_none() && self.pace.wait(Instant::now()).is_none() {
            match Link::new(&self.client, &self.topic) {
                Ok(link) => self.link = Some(link),
                Err(error) => {
                    tracing::error!(%error, "no producer can be made");
                    self.pace.failed(Instant::now());
                }
            }
        }
    }

    fn end_link(&mut self, why: &str) {
        if self.link.take().is_some() {
            tracing::warn!(why, "the Kafka client is replaced; what it had not delivered is sent again");
            self.shared.renewed.fetch_add(1, Ordering::Relaxed);
            self.tracker.lost();
            self.answered = Instant::now();
        }
    }

    /// Nothing was answered for long. If a broker is there, the producer is stuck.
    fn silence(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::error!(
                events = self.tracker.in_flight(),
                "no broker has answered for 90 s; events are kept"
            );
        }
        if self.answered.elapsed() >= SILENCE_MAX {
            let there = self.link.as_ref().is_some_and(|link| link.ask_topic(QUESTION).is_ok());
            if there {
                self.end_link("nothing was answered for 10 minutes although a broker is there");
            }
            self.answered = Instant::now();
        }
    }

    /// Sends some events. Returns whether there is more to do at once.
    fn send(&mut self) -> Result<bool, ReadError> {
        if self.link.is_none() {
            return Ok(false);
        }
        if self.alone.is_some() && self.tracker.in_flight() > 0 {
            return Ok(false);
        }
        if let Some(position) = self.tracker.first_failed() {
            return self.resend(position);
        }
        if self.ahead.is_empty() {
            self.read_ahead()?;
        }
        if self.ahead.is_empty() {
            return Ok(false);
        }
        self.ask_once();
        while let Some(row) = self.ahead.pop_front() {
            if self.tracker.len() >= WINDOW_MAX || !self.hand_over(&row) {
                self.ahead.push_front(row);
                return Ok(false);
            }
            if self.alone.is_some() {
                break;
            }
        }
        Ok(true)
    }

    /// Sends what failed, oldest first.
    fn resend(&mut self, position: u64) -> Result<bool, ReadError> {
        let limit = if self.alone.is_some() { 1 } else { READ_ROWS };
        let rows = self.reader.after(position - 1, limit)?;
        if rows.first().is_none_or(|row| row.position != position) {
            tracing::error!(position, "an event is gone from the ledger before it was delivered");
            self.tracker.give_up(position);
        }
        for row in rows {
            // What lies between was delivered.
            let Some(failed) = self.tracker.first_failed() else { break };
            if row.position < failed {
                continue;
            }
            if row.position > failed {
                break;
            }
            if !self.hand_over(&row) {
                return Ok(false);
            }
            self.shared.resent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(true)
    }

    fn read_ahead(&mut self) -> Result<(), ReadError> {
        let (last, committed) = (self.tracker.last(), self.committed());
        if last < committed {
            let rows = self.reader.after(last, READ_ROWS)?;
            self.ahead.extend(rows.into_iter().filter(|row| row.position <= committed));
        }
        Ok(())
    }

    /// Hands one event to the producer. Returns whether it took it.
    fn hand_over(&mut self, row: &Row) -> bool {
        let Some(link) = &self.link else { return false };
        if self.tracker.in_flight() == 0 {
            self.answered = Instant::now();
        }
        match link.send(row.position, &row.body) {
            Ok(()) => {
                self.tracker.sent(row.position);
                if let Some(alone) = &mut self.alone {
                    alone.sent = Some(row.position);
                }
                self.shared.sent.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(SendError::Unreadable(why)) => {
                self.tracker.sent(row.position);
                self.tracker.failed(row.position);
                self.give_up(row.position, &why);
                true
            }
            Err(SendError::Kafka(error)) => {
                self.not_taken(row.position, classify(&error), &error.to_string())
            }
        }
    }

    /// `send` itself refused. Returns whether the event is dealt with.
    fn not_taken(&mut self, position: u64, class: Class, why: &str) -> bool {
        if class == Class::Event {
            // The client knows the limit, so it will say so each time: this event is to blame.
            self.tracker.sent(position);
            self.tracker.failed(position);
            self.give_up(position, why);
            return true;
        }
        self.trouble(position, class, why);
        false
    }

    /// Looks once whether the topic exists, to say it in clear words. Sends go on regardless.
    fn ask_once(&mut self) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        match self.link.as_ref().map(|link| link.ask_topic(QUESTION)) {
            Some(Ok(Some(why))) => tracing::error!(
                topic = self.topic,
                why,
                "the topic cannot be used; tokenweir never creates one: events are kept until it exists"
            ),
            Some(Err(error)) => {
                tracing::warn!(%error, "no broker answers yet; events are kept");
            }
            Some(Ok(None)) | None => {}
        }
    }
}
