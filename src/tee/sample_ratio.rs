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

    /// Reads a share such as `1%` or `0.25%`; `None` without its sign, with more than four decimals, or above `100%`.
    pub fn parse(text: &str) -> Option<SampleRatio> {
        const PPM_PER_PERCENT: u32 = 10_000;
        let (whole, decimals) = match text.strip_suffix('%')?.split_once('.') {
            Some((whole, decimals)) => (whole, decimals),
            None => (text.strip_suffix('%')?, "0"),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 4 {
            return None;
        }
        let ppm = whole.parse::<u32>().ok()?.checked_mul(PPM_PER_PERCENT)?;
        let ppm = ppm.checked_add(format!("{decimals:0<4}").parse().ok()?)?;
        (ppm <= 100 * PPM_PER_PERCENT).then(|| SampleRatio::from_ppm(ppm))
    }

    /// It has no call.
    pub fn is_none(self) -> bool {
        self.parts == 0
    }

    /// It has every call.
    pub fn is_all(self) -> bool {
        self.parts == 1 << 32
    }

    /// Whether the call of this id is one of them. The last 32 bits of a UUIDv7 are random, so the
    /// choice is independent of time and of the call; and it can be made again from the event.
    pub fn has(self, id: Uuid) -> bool {
        self.has_drawn((id.as_u128() & 0xFFFF_FFFF) as u32)
    }

    /// Whether the call is one of them for which this random number was drawn.
    pub fn has_drawn(self, drawn: u32) -> bool {
        u64::from(drawn) < self.parts
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
    fn a_share_is_a_percentage() {
        for (text, ppm) in [
            ("0%", 0),
            ("1%", 10_000),
            ("0.25%", 2_500),
            ("0.0001%", 1),
            ("99.9%", 999_000),
            ("100%", 1_000_000),
            ("100.0000%", 1_000_000),
        ] {
            assert_eq!(SampleRatio::parse(text), Some(SampleRatio::from_ppm(ppm)), "{text}");
        }
        for bad in [
            "",
            "%",
            "1",
            "0.01",
            ".5%",
            "1.%",
            "-1%",
            "+1%",
            "100.1%",
            "101%",
            "1.00001%",
            "1 %",
            "4294967296%",
        ] {
            assert_eq!(SampleRatio::parse(bad), None, "{bad:?}");
        }
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
