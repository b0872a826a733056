//! What is measured: how many callers want what, and at what pace the service answers.

use std::time::Duration;

use super::answer::{Answer, Question, question};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A load, and how long it is watched.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) connections: usize,
    pub(crate) answer: Wanted,
    pub(crate) prompt_bytes: usize,
    /// The time between events of a stream, on average; none: as fast as they are read.
    pub(crate) pace: Option<Duration>,
    /// The time between the beginnings of two calls, of all callers together; none: each calls again
    /// as soon as it has its answer.
    pub(crate) between_calls: Option<Duration>,
    /// Over which the callers begin.
    pub(crate) ramp: Duration,
    /// From the first caller to the window.
    pub(crate) warmup: Duration,
    /// What is measured, at least.
    pub(crate) window: Duration,
    /// The window stays open until so many answers have been checked to their end.
    pub(crate) answers_min: usize,
}

/// What the callers ask for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    Stream { deltas: usize, usage: bool },
    Json { bytes: usize },
}

impl Scenario {
    pub(crate) fn streams(&self) -> bool {
        matches!(self.answer, Wanted::Stream { .. })
    }

    pub(crate) fn answer(&self, question: &Question) -> Answer {
        match self.answer {
            Wanted::Stream { deltas, usage } => Answer::stream(deltas, question.tokens, usage),
            Wanted::Json { bytes } => Answer::json(bytes, question.tokens),
        }
    }

    pub(crate) fn question(&self) -> Question {
        let usage = matches!(self.answer, Wanted::Stream { usage: true, .. });
        question(self.prompt_bytes, self.streams(), usage)
    }

    fn with(mut self, connections: usize, ramp: Duration, warmup: Duration, window: Duration) -> Scenario {
        (self.connections, self.ramp, self.warmup, self.window) = (connections, ramp, warmup, window);
        self
    }
}

const TOKENS: Wanted = Wanted::Stream { deltas: 200, usage: false };
const COUNTED_TOKENS: Wanted = Wanted::Stream { deltas: 200, usage: true };
const FEW_TOKENS: Wanted = Wanted::Stream { deltas: 40, usage: false };
const JSON: Wanted = Wanted::Json { bytes: 1 << 10 };

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let scenario = |name, what, answer| Scenario {
        name,
        what,
        answer,
        connections: 64,
        prompt_bytes: 200,
        pace: None,
        between_calls: None,
        ramp: ms(200),
        warmup: ms(1_000),
        window: ms(4_000),
        answers_min: 1,
    };
    let paced = |name, what, answer, pace| Scenario { pace: Some(pace), ..scenario(name, what, answer) };
    let s4 = scenario("S4", "64 callers, 1 KB of JSON each way", JSON);
    let s5 = scenario("S5", "8 callers, prompts of 1 MB, answers of 1 KB", JSON);
    vec![
        scenario(
            "S1",
            "64 streams as fast as they are read, one event a write, usage reported",
            COUNTED_TOKENS,
        ),
        paced("S2", "500 streams, an event each 20 ms", TOKENS, ms(20)).with(
            500,
            ms(2_500),
            ms(3_500),
            ms(5_000),
        ),
        paced("S2H", "1,500 streams, an event each 20 ms", TOKENS, ms(20)).with(
            1_500,
            ms(2_500),
            ms(4_000),
            ms(5_000),
        ),
        paced("S3", "5,000 streams, an event each 250 ms", FEW_TOKENS, ms(250)).with(
            5_000,
            ms(6_000),
            ms(8_000),
            ms(8_000),
        ),
        Scenario { prompt_bytes: 800, ..s4.clone() },
        Scenario {
            name: "S4P",
            what: "2,000 calls a second of 64 callers, 1 KB of JSON each way",
            prompt_bytes: 800,
            between_calls: Some(Duration::from_micros(500)),
            ..s4
        },
        Scenario { prompt_bytes: 1_000_000, connections: 8, ..s5 },
    ]
}

/// What a plain `cargo bench` shows, within a minute.
pub(crate) fn short() -> Vec<Scenario> {
    let picked = all().into_iter().filter(|scenario| ["S1", "S2", "S4"].contains(&scenario.name));
    picked
        .map(|scenario| match scenario.name {
            "S2" => Scenario { what: "100 streams, an event each 20 ms", ..scenario }.with(
                100,
                ms(1_500),
                ms(2_500),
                ms(4_000),
            ),
            _ => scenario,
        })
        .collect()
}

/// What a test runs: ten callers, half a second, every check.
pub(crate) fn tiny() -> Vec<Scenario> {
    let picked =
        all().into_iter().filter(|scenario| ["S1", "S2", "S4", "S4P", "S5"].contains(&scenario.name));
    let brief = |scenario: Scenario| match scenario.answer {
        Wanted::Stream { usage, .. } => {
            Scenario { what: "10 streams", answer: Wanted::Stream { deltas: 10, usage }, ..scenario }
        }
        Wanted::Json { .. } => Scenario { what: "10 callers", ..scenario },
    };
    let tiny = |scenario| Scenario { answers_min: 10, ..brief(scenario) };
    picked.map(|scenario| tiny(scenario).with(10, ms(50), ms(100), ms(500))).collect()
}
