//! The last 15 minutes, second by second.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::call::LiveCall;

/// Seconds that are kept: 15 minutes, 56 bytes each.
pub const HISTORY_SECONDS: u64 = 900;

/// Numbers of one moment that others keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Responses that are passing.
    pub streams: u64,
    /// Events that are not delivered.
    pub undelivered: u64,
}

/// One second. On the wire it is a list of numbers in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 7]", into = "[u64; 7]")]
pub struct Point {
    /// Its number since the start.
    pub second: u64,
    /// Calls that ended in it.
    pub calls: u64,
    /// Of these: cut short.
    pub interrupted: u64,
    /// Tokens of their prompts.
    pub input: u64,
    /// Tokens of their responses.
    pub output: u64,
    /// Responses that were passing when it ended.
    pub streams: u64,
    /// Events that were not delivered when it ended.
    pub undelivered: u64,
}

impl From<[u64; 7]> for Point {
    fn from(numbers: [u64; 7]) -> Point {
        let [second, calls, interrupted, input, output, streams, undelivered] = numbers;
        Point { second, calls, interrupted, input, output, streams, undelivered }
    }
}

impl From<Point> for [u64; 7] {
    fn from(point: Point) -> [u64; 7] {
        let Point { second, calls, interrupted, input, output, streams, undelivered } = point;
        [second, calls, interrupted, input, output, streams, undelivered]
    }
}

/// The last seconds, without a gap, the one that is not over yet among them.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Point>);

impl History {
    pub(super) fn add(&mut self, call: &LiveCall, second: u64) {
        let Some(point) = self.at(second) else { return };
        point.calls = point.calls.saturating_add(call.calls);
        point.interrupted += u64::from(call.is_interrupted());
        point.input = point.input.saturating_add(call.input.unwrap_or(0));
        point.output = point.output.saturating_add(call.output.unwrap_or(0));
    }

    /// The numbers of this moment, in the second that is ending.
    pub(super) fn sample(&mut self, gauges: Gauges, second: u64) {
        if let Some(point) = self.at(second) {
            (point.streams, point.undelivered) = (gauges.streams, gauges.undelivered);
        }
    }

    /// The place of a second, if it is kept.
    fn at(&mut self, second: u64) -> Option<&mut Point> {
        let newest = self.0.back().copied();
        if let Some(behind) = newest.and_then(|newest| newest.second.checked_sub(second)) {
            let place = (self.0.len() as u64).checked_sub(1 + behind)?;
            return self.0.get_mut(usize::try_from(place).ok()?);
        }
        let from = newest.map_or(second, |newest| newest.second + 1);
        if second - from > HISTORY_SECONDS {
            self.0.clear();
        }
        // What is only looked at now and then is what it was.
        let Point { streams, undelivered, .. } = newest.unwrap_or_default();
        let from = from.max(second.saturating_sub(HISTORY_SECONDS));
        self.0.extend((from..=second).map(|second| Point {
            second,
            streams,
            undelivered,
            ..Point::default()
        }));
        while self.0.len() as u64 > HISTORY_SECONDS + 1 {
            self.0.pop_front();
        }
        self.0.back_mut()
    }

    /// The seconds from this one on that are over.
    pub(super) fn since(&self, first: u64, now: u64) -> impl Iterator<Item = &Point> {
        self.0.iter().filter(move |point| (first..now).contains(&point.second))
    }
}
