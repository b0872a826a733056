//! The publisher's loop: it collects delivery reports, moves the mark, sends what failed, sends what is new,
//! and waits.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::classify::{ErrorClass, classify};
use super::config::KafkaConfig;
use super::credentials::Credentials;
use super::error::StartError;
use super::probe::{Probe, ProbeFinding};
use super::producer::{self, DeliveryContext, EventProducer};
use super::source::EventSource;
use super::state::PublisherState;
use super::token::TokenRefresher;
use super::tracker::Tracker;
use crate::ledger::EventRow;

/// How long to wait for an answer before looking for new events.
const ANSWER_WAIT: Duration = Duration::from_millis(10);

/// How long to wait for new events before looking whether to stop.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// How often the mark is handed to the outbox: what is sent again after a crash.
const MARK_EVERY: Duration = Duration::from_millis(100);

/// How often the broker must refuse an event that was sent alone.
const REFUSALS: u32 = 3;

/// No answer for this long, and a second connection asks how the broker is.
const SILENCE: Duration = Duration::from_secs(3);

/// No answer for this long is worth a word, ..
const SILENCE_LONG: Duration = Duration::from_secs(90);

/// .. and for this long, while the broker answers others, a new producer. Longer than any
/// `request.timeout.ms` allowed, within which librdkafka helps itself.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// How long a producer may take to end when the publisher ends. Its late reports count.
const END_WAIT: Duration = Duration::from_secs(2);

/// The publisher's thread.
pub(super) struct Worker<S> {
    pub(super) source: S,
    pub(super) shared: Arc<PublisherState>,
    pub(super) config: KafkaConfig,
    pub(super) credentials: Credentials,
    pub(super) producer: Option<EventProducer>,
    pub(super) tracker: Tracker,
    pub(super) backoff: Backoff,
    /// The event that is under way alone, if there is one: only it can be to blame.
    pub(super) alone: Option<u64>,
    /// The event that was refused alone last, and how often.
    refused: (u64, u32),
    /// New rows read and not sent yet.
    pub(super) ahead: VecDeque<EventRow>,
    began: Instant,
    pub(super) answered: Instant,
    /// Asks how the broker is while nothing is answered.
    probe: Option<Probe>,
    /// The next producer, made ready while the old one has its last chance.
    next: Option<EventProducer>,
    warned: bool,
    marked: Instant,
    pub(super) asked: bool,
}

impl<S: EventSource> Worker<S> {
    pub(super) fn new(
        source: S,
        config: KafkaConfig,
        refresher: Option<Arc<TokenRefresher>>,
        shared: Arc<PublisherState>,
    ) -> Result<Worker<S>, StartError> {
        let mark = source.delivered();
        shared.mark.store(mark, Ordering::Release);
        // One that needs a token is made when there is one.
        let producer = match refresher {
            Some(_) => None,
            None => Some(EventProducer::new(&config, None).map_err(|e| StartError::Producer(e.to_string()))?),
        };
        let now = Instant::now();
        Ok(Worker {
            source,
            shared,
            config,
            credentials: Credentials::new(refresher),
            producer,
            tracker: Tracker::new(mark),
            backoff: Backoff::new(),
            alone: None,
            refused: (0, 0),
            ahead: VecDeque::new(),
            began: now,
            answered: now,
            probe: None,
            next: None,
            warned: false,
            marked: now,
            asked: false,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            self.source.let_go_if_called_off();
            self.collect();
            self.shared.in_flight.store(self.tracker.in_flight() as u64, Ordering::Relaxed);
            self.look_at_brokers();
            self.save_mark(false);
            if self.over() {
                break;
            }
            self.keep_login();
            self.renew_if_broken();
            self.shared.backing_off.store(self.backoff.in_trouble(), Ordering::Relaxed);
            if let Some(wait) = self.backoff.wait(Instant::now()) {
                self.rest(wait);
                continue;
            }
            if self.credentials.is_changing() {
                self.wait();
                continue;
            }
            match self.send() {
                Ok(true) => {}
                Ok(false) => self.wait(),
                Err(error) => {
                    tracing::error!(%error, outbox = self.source.name(), "the outbox cannot be read; publishing pauses");
                    self.backoff.trouble(Instant::now(), self.tracker.in_flight());
                }
            }
        }
        self.end();
    }

    /// The end is asked for, and nothing is left to send, or no time.
    fn over(&self) -> bool {
        self.shared
            .deadline()
            .is_some_and(|deadline| Instant::now() >= deadline || self.tracker.mark() >= self.stored())
    }

    /// Answers that come while the producer ends still count.
    fn end(mut self) {
        self.close_probe();
        if let Some(producer) = self.producer.take() {
            let reports = Arc::clone(&producer.reports);
            let (thread, began) = (producer::end(producer), Instant::now());
            while thread.as_ref().is_some_and(|thread| !thread.is_finished()) && began.elapsed() < END_WAIT {
                std::thread::sleep(ANSWER_WAIT);
            }
            for (position, error) in reports.take() {
                if error.is_none() {
                    self.tracker.acked(position);
                }
            }
        }
        self.save_mark(true);
    }

    fn stored(&self) -> u64 {
        self.source.stored()
    }

    /// Only synced rows may be sent: an event on the topic is never unknown to its outbox, also after a loss of power.
    pub(super) fn synced(&self) -> u64 {
        self.source.wait_synced(u64::MAX, Duration::ZERO)
    }

    /// Waits for what comes next: answers if there are any to come, else new events.
    fn wait(&self) {
        match &self.producer {
            Some(producer) if self.tracker.in_flight() > 0 => producer.reports.wait(ANSWER_WAIT),
            Some(_) => {
                let last = self.tracker.last();
                if self.source.wait_synced(last, IDLE_WAIT) <= last {
                    // An outbox that has ended does not wait.
                    std::thread::sleep(ANSWER_WAIT);
                }
            }
            None => self.rest(ANSWER_WAIT),
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
        let Some(producer) = &self.producer else { return };
        let reports = producer.reports.take();
        if reports.is_empty() {
            return;
        }
        self.answered = Instant::now();
        self.warned = false;
        self.close_probe();
        let mut admitted = false;
        for (position, error) in reports {
            match error {
                None => {
                    if let Some(sent_ms) = self.tracker.acked(position) {
                        let took_ms = self.now_ms().saturating_sub(sent_ms);
                        self.shared.delivered(Duration::from_millis(took_ms.into()));
                    }
                    self.backoff.succeeded();
                    admitted = true;
                }
                Some(error) => {
                    self.tracker.failed(position);
                    self.not_delivered(position, classify(&error), &error.to_string());
                }
            }
        }
        if let Some(producer) = self.producer.as_ref().filter(|_| admitted) {
            producer.context.admitted();
        }
    }

    /// Milliseconds since the start; they stay at their largest after 49 days.
    pub(super) fn now_ms(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// Decides what the error of an event means that was sent.
    fn not_delivered(&mut self, position: u64, class: ErrorClass, why: &str) {
        self.tell(class, why);
        self.backoff.failed(Instant::now(), self.tracker.in_flight());
        match class {
            ErrorClass::Full | ErrorClass::Again | ErrorClass::Setting | ErrorClass::Connection => {}
            ErrorClass::Producer => self.end_producer(why),
            ErrorClass::Event => {
                self.backoff.narrow();
                self.refusal(position, why);
            }
        }
    }

    /// Counts a refusal. Only what was sent alone is to blame for it.
    fn refusal(&mut self, position: u64, why: &str) {
        if self.alone != Some(position) {
            return;
        }
        let before = if self.refused.0 == position { self.refused.1 } else { 0 };
        self.refused = (position, before + 1);
        if before + 1 >= REFUSALS {
            self.give_up(position, why);
        }
    }

    /// Counts an error, and says so in the log now and then.
    pub(super) fn tell(&mut self, class: ErrorClass, why: &str) {
        self.shared.errors[class as usize].fetch_add(1, Ordering::Relaxed);
        if class == ErrorClass::Full || !self.backoff.says(Instant::now()) {
            return;
        }
        let topic = &self.config.topic;
        if class == ErrorClass::Setting {
            tracing::error!(
                topic,
                why,
                "nothing is delivered until a setting is changed, here or at the broker; events are kept"
            );
        } else {
            tracing::error!(topic, why, "events cannot be delivered; they are kept and sent again");
        }
    }

    pub(super) fn give_up(&mut self, position: u64, why: &str) {
        tracing::error!(
            position,
            why,
            outbox = self.source.name(),
            "the broker refuses an event for good; the outbox keeps it"
        );
        self.source.mark_refused(position, why);
        self.tracker.give_up(position);
    }

    /// Shows what the client has seen of the brokers, and counts connections that failed before there was an event to fail.
    fn look_at_brokers(&self) {
        let context = self.producer.as_ref().map(|producer| &producer.context);
        self.shared.reachable.store(context.is_some_and(|context| context.is_reachable()), Ordering::Relaxed);
        let failures = context.map_or(0, |context| context.take_failures());
        self.shared.errors[ErrorClass::Connection as usize].fetch_add(failures, Ordering::Relaxed);
        if let Some(seen) = context.and_then(|context| context.take_brokers()) {
            *self.shared.brokers.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
    }

    /// Hands the mark to the outbox, now and then or at the end.
    fn save_mark(&mut self, now: bool) {
        self.shared.mark.store(self.tracker.mark(), Ordering::Release);
        if now || self.marked.elapsed() >= MARK_EVERY {
            self.marked = Instant::now();
            self.shared.stored.store(self.stored(), Ordering::Release);
            self.source.mark_delivered(self.tracker.mark());
        }
    }

    /// Looks after the login: hears of denials, reads secrets again, replaces the client for a new
    /// secret or token.
    fn keep_login(&mut self) {
        let denied = self.producer.as_ref().is_some_and(|producer| producer.context.is_denied());
        if self.credentials.note_denied(denied) {
            self.tell(ErrorClass::Setting, "the broker denies the login");
        }
        self.shared.login_denied.store(denied, Ordering::Relaxed);
        self.credentials.reload(&mut self.config);
        if self.credentials.has_changed(self.tracker.in_flight()) {
            self.end_producer("a secret has changed");
        } else if self.producer.as_ref().is_some_and(|producer| producer.context.misses_token()) {
            self.end_producer("a token has come");
        }
    }

    /// Replaces a producer that will never deliver again.
    fn renew_if_broken(&mut self) {
        if let Some(why) = self.producer.as_ref().and_then(EventProducer::fatal) {
            self.backoff.trouble(Instant::now(), 0);
            self.end_producer(&why);
        } else if self.tracker.in_flight() > 0 && self.answered.elapsed() >= SILENCE {
            self.silence();
        }
        if self.producer.is_none()
            && self.credentials.is_possible()
            && self.backoff.wait(Instant::now()).is_none()
        {
            match EventProducer::new(&self.config, self.credentials.refresher.clone()) {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => {
                    tracing::error!(error = self.config.told(&error), "no producer can be made");
                    self.backoff.trouble(Instant::now(), 0);
                }
            }
        }
    }

    pub(super) fn end_producer(&mut self, why: &str) {
        if let Some(producer) = self.producer.take() {
            tracing::warn!(why, "the Kafka client is replaced; what it had not delivered is sent again");
            producer::end(producer);
            self.shared.replaced.fetch_add(1, Ordering::Relaxed);
            self.tracker.lost();
            self.backoff.lost();
            self.alone = None;
            self.close_probe();
            self.answered = Instant::now();
        }
    }

    /// Nothing was answered for a while: asks how the broker is.
    fn silence(&mut self) {
        let silent = self.answered.elapsed();
        if silent >= SILENCE_LONG && !std::mem::replace(&mut self.warned, true) {
            let events = self.tracker.in_flight();
            tracing::error!(events, "no broker has answered for 90 s; events are kept");
        }
        if self.probe.is_none() {
            match Probe::new(&self.config, DeliveryContext::new(self.credentials.refresher.clone())) {
                Ok(probe) => self.probe = Some(probe),
                Err(error) => {
                    tracing::debug!(error = self.config.told(&error), "no second client can be made")
                }
            }
        }
        match self.probe.as_mut().map_or(ProbeFinding::Away, Probe::ask) {
            ProbeFinding::Returning => self.prepare(),
            ProbeFinding::Returned => {
                let next = self.next.take();
                self.end_producer("the broker is back and its old connection is dead");
                self.producer = next;
            }
            ProbeFinding::There if silent >= SILENCE_MAX => {
                self.end_producer("nothing was answered for 10 minutes although a broker is there");
            }
            ProbeFinding::There | ProbeFinding::Away => {}
        }
    }

    /// Makes the next producer: until it is connected and has its number from the broker, a second
    /// goes by, which is half of what a recovery may take.
    fn prepare(&mut self) {
        if self.next.is_none() && self.credentials.is_possible() {
            self.next = EventProducer::new(&self.config, self.credentials.refresher.clone()).ok();
        }
    }

    fn close_probe(&mut self) {
        if let Some(probe) = self.probe.take() {
            producer::end(probe);
        }
        if let Some(next) = self.next.take() {
            producer::end(next);
        }
    }
}
