//! Random numbers from a seed: a fixed one, or one that is printed, so that a bad run can be looked at again.

use std::time::{Duration, SystemTime};

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From `TOKENWEIR_SEED`, else from the clock; prints the seed.
    pub(crate) fn new(what: &str) -> Random {
        let given = std::env::var("TOKENWEIR_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| {
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
        });
        println!("{what}: TOKENWEIR_SEED={seed}");
        Random(seed)
    }

    /// The same numbers in every run.
    pub(crate) fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// Another one that depends on this one's seed.
    pub(crate) fn fork(&mut self) -> Random {
        Random(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to, but not including, `to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    /// From 0 up to, but not including, `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// From 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }

    /// A time of whole microseconds.
    pub(crate) fn time(&mut self, from: Duration, to: Duration) -> Duration {
        Duration::from_micros(self.between(from.as_micros() as u64, to.as_micros() as u64))
    }
}
