//! Which calls are sampled: a part of all, chosen by their identifiers.

use uuid::Uuid;

/// A part of all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleRatio {
    /// Of 2^32.
    parts: u64,
}

impl SampleRatio {
    /// A ratio given in parts per million; more than a million are all.
    pub fn from_ppm(ppm: u32) -> SampleRatio {
        SampleRatio { parts: (u64::from(ppm.min(1_000_000)) << 32) / 1_000_000 }
    }

    /// Whether the call of this id is one of them. The last 32 bits of a UUIDv7 are random, so the
    /// choice is independent of time and of the call; and it can be made again from the event.
    pub fn has(self, id: Uuid) -> bool {
        (id.as_u128() & 0xFFFF_FFFF) < u128::from(self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_as_many_calls_as_it_says() {
        let ids: Vec<_> = (0..20_000).map(|_| Uuid::now_v7()).collect();
        let held = |ppm: u32| ids.iter().filter(|id| SampleRatio::from_ppm(ppm).has(**id)).count();
        assert_eq!((held(0), held(1_000_000), held(u32::MAX)), (0, 20_000, 20_000));
        // Seven standard deviations.
        assert!((100..=300).contains(&held(10_000)), "{} of 200", held(10_000));
        assert!((9_500..=10_500).contains(&held(500_000)), "{} of 10,000", held(500_000));
    }

    #[test]
    fn a_smaller_ratio_is_part_of_a_larger_one() {
        for _ in 0..1_000 {
            let id = Uuid::now_v7();
            let has: Vec<_> =
                [0, 1, 10_000, 300_000, 1_000_000].map(|ppm| SampleRatio::from_ppm(ppm).has(id)).into();
            assert!(has.is_sorted());
        }
    }
}
