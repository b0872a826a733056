//! Whether a new connection gets an answer while the producer's own says nothing.
//!
//! A connection that died silently (a firewall that forgot it, a node that vanished) is noticed only
//! when a request times out, a minute later. So while nothing is answered, a second client asks the
//! broker for the topic. If it fails first and then gets answers, the broker was away and is back:
//! the old connection should wake up too, and if it does not within a moment, it is dead. A broker
//! that merely answers late, as Event Hubs does when it throttles, answers the second client from the
//! beginning, and nothing is concluded.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, Producer};

use super::config::KafkaConfig;
use super::producer::DeliveryContext;

/// How long a question may take. The worker waits for it, and has nothing else to do.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// How often to ask.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How long the old connection has to wake up once the broker is back. A broker that was only
/// frozen answers both at once, and a client that was refused tries again within 750 ms
/// (`reconnect.backoff.max.ms` and half of it).
const GRACE: Duration = Duration::from_secs(1);

/// Time-outs of the second client: an attempt that the broker does not answer must not keep the next
/// one waiting. A network where a login takes longer has no use of the probe, and the requests'
/// own time-outs count. The first request of a connection has half of that, since it hangs where a
/// way swallows everything: so the one that was begun just before the broker's return is over in time.
const SETTINGS: [(&str, &str); 6] = [
    ("socket.connection.setup.timeout.ms", "1000"),
    ("api.version.request.timeout.ms", "500"),
    ("socket.timeout.ms", "1000"),
    ("reconnect.backoff.ms", "500"),
    ("reconnect.backoff.max.ms", "500"),
    ("request.timeout.ms", "900"),
];

/// The second client, and its findings.
pub(super) struct Probe {
    client: BaseProducer<DeliveryContext>,
    topic: String,
    asked: Option<Instant>,
    was_away: bool,
    back: Option<Instant>,
}

/// The state of the broker, as a probe finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeFinding {
    /// It does not answer.
    Away,
    /// It answers, and nothing speaks for a dead connection.
    There,
    /// It was away and is back: the old connection has a moment to wake up.
    Returning,
    /// It was away and has been back for long enough: the old connection is dead.
    Returned,
}

impl Probe {
    /// A second client with the same credentials, and time-outs of its own.
    pub(super) fn new(config: &KafkaConfig, context: DeliveryContext) -> KafkaResult<Probe> {
        let mut client = config.connection();
        for (key, value) in SETTINGS {
            client.set(key, value);
        }
        let (client, topic) = (client.create_with_context(context)?, config.topic.clone());
        Ok(Probe { client, topic, asked: None, was_away: false, back: None })
    }

    /// Asks, if it is time to. Waits at most 300 ms.
    pub(super) fn ask(&mut self) -> ProbeFinding {
        if self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            // Tokens are asked for while it is polled.
            self.client.poll(Duration::ZERO);
            let answer = self.client.client().fetch_metadata(Some(&self.topic), ANSWER_MAX);
            self.note(answer.is_ok(), Instant::now());
        }
        self.finding(Instant::now())
    }

    fn note(&mut self, answered: bool, now: Instant) {
        if answered {
            self.back.get_or_insert(now);
        } else {
            (self.was_away, self.back) = (true, None);
        }
    }

    fn finding(&self, now: Instant) -> ProbeFinding {
        match self.back {
            None => ProbeFinding::Away,
            Some(_) if !self.was_away => ProbeFinding::There,
            Some(back) if now.duration_since(back) < GRACE => ProbeFinding::Returning,
            Some(_) => ProbeFinding::Returned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Auth;
    use super::*;

    fn probe() -> Probe {
        let config = KafkaConfig {
            brokers: "127.0.0.1:1".to_owned(),
            topic: "t".to_owned(),
            auth: Auth::None,
            properties: Vec::new(),
        };
        Probe::new(&config, DeliveryContext::new(None)).unwrap()
    }

    #[test]
    fn only_a_broker_that_was_away_and_came_back_speaks_for_a_dead_connection() {
        let now = Instant::now();
        let (mut late, mut away) = (probe(), probe());
        for n in 0..100 {
            late.note(true, now + n * ASK_EVERY);
            assert_eq!(late.finding(now + n * ASK_EVERY), ProbeFinding::There, "it only answers late");
        }
        away.note(false, now);
        assert_eq!(away.finding(now), ProbeFinding::Away);
        away.note(true, now + ASK_EVERY);
        assert_eq!(away.finding(now + GRACE), ProbeFinding::Returning, "the old connection may wake up");
        assert_eq!(away.finding(now + ASK_EVERY + GRACE), ProbeFinding::Returned);
        away.note(false, now + 2 * GRACE);
        assert_eq!(away.finding(now + 3 * GRACE), ProbeFinding::Away);
    }

    #[test]
    fn a_question_to_nobody_is_short() {
        let (mut probe, began) = (probe(), Instant::now());
        assert_eq!(probe.ask(), ProbeFinding::Away);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
