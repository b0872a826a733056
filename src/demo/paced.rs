//! A response body that comes at a model's pace, and may break.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

/// How fast a stream comes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Mean time between two writes; zero for as fast as they are read.
    pub interval: Duration,
    /// How far an interval may lie from the mean, in per cent of it; at most 100.
    pub jitter_percent: u32,
}

impl Pace {
    /// No waiting at all.
    pub const NONE: Pace = Pace { interval: Duration::ZERO, jitter_percent: 0 };

    /// As a model of the gpt-4o class writes.
    pub(super) const MODEL: Pace = Pace { interval: Duration::from_millis(20), jitter_percent: 60 };

    /// The next interval, uniform in mean ± jitter.
    pub(super) fn next(self, random: &mut Random) -> Duration {
        let jitter = self.jitter_percent.min(100);
        self.interval * (100 - jitter + random.below(2 * jitter + 1)) / 100
    }
}

/// A small generator (xorshift64*), so that a run's pace can be repeated from its seed.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        // Neighbouring seeds must not give neighbouring streams, and the state must not be 0.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        ((u64::from(high) * u64::from(bound)) >> 32) as u32
    }
}

/// Before a break: hyper drops what it has not yet written when a body fails.
const FLUSH_PAUSE: Duration = Duration::from_millis(20);

/// The service broke the stream off on purpose. Given to hyper, it closes the connection without
/// the chunk that ends a message.
#[derive(Debug, thiserror::Error)]
#[error("the demo service broke this stream off")]
pub(super) struct Cut;

/// Writes one after the other, each after a pause.
#[derive(Debug)]
pub(super) struct Paced {
    writes: VecDeque<Bytes>,
    cut: bool,
    pace: Pace,
    random: Random,
    pause: Pin<Box<Sleep>>,
}

impl Paced {
    /// A body of `writes` that ends cleanly, or breaks if `cut`. Needs a tokio runtime.
    pub(super) fn new(writes: VecDeque<Bytes>, cut: bool, pace: Pace, mut random: Random) -> Paced {
        let pause = Box::pin(tokio::time::sleep(pace.next(&mut random)));
        Paced { writes, cut, pace, random, pause }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let waits = match this.writes.is_empty() {
            true => this.cut,
            false => !this.pace.interval.is_zero(),
        };
        if waits {
            ready!(this.pause.as_mut().poll(cx));
        }
        let Some(bytes) = this.writes.pop_front() else {
            return Poll::Ready(this.cut.then_some(Err(Cut)));
        };
        let next = match this.writes.is_empty() {
            true => Instant::now() + FLUSH_PAUSE,
            // From the last deadline, not from now: a busy machine must not slow a stream.
            false => this.pause.deadline() + this.pace.next(&mut this.random),
        };
        this.pause.as_mut().reset(next);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn intervals_lie_within_the_jitter(seed in any::<u64>(), ms in 0..10_000_u64, jitter_percent in 0..=100_u32) {
            let mut random = Random::new(seed);
            let interval = Duration::from_millis(ms);
            let pace = Pace { interval, jitter_percent };
            for _ in 0..20 {
                let next = pace.next(&mut random);
                prop_assert!(next >= interval * (100 - jitter_percent) / 100);
                prop_assert!(next <= interval * (100 + jitter_percent) / 100);
            }
        }
    }
}
