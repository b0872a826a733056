//! How much of what Azure has may stay open.

use std::fmt;
use std::str::FromStr;

use super::quantity::Quantity;

/// Places of a percentage.
const PLACES: u32 = 6;

/// So many of these are the whole.
const WHOLE: u64 = 100 * 10_u64.pow(PLACES);

/// A part of the whole, given in percent with up to six places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance(u64);

impl Default for Tolerance {
    /// 0.5 %: what a busy deployment does in the seven minutes around midnight.
    fn default() -> Tolerance {
        Tolerance(WHOLE / 200)
    }
}

impl Tolerance {
    /// The open part of a line is more than it may be. Where Azure has nothing, it is held against what we have.
    pub(super) fn is_exceeded(self, open: Quantity, billed: Quantity, tracked: Quantity) -> bool {
        let whole = if billed.is_positive() { billed } else { tracked };
        open.exceeds(self.0, WHOLE, whole)
    }
}

impl FromStr for Tolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Tolerance, String> {
        let wrong = || format!("`{text}` is no tolerance: give percent from 0% to 100%, such as 0.5%");
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > 3
            || places.len() > PLACES as usize
            || !digits(whole)
            || !digits(places)
        {
            return Err(wrong());
        }
        let parts = format!("{whole}{places:0<6}").parse().map_err(|_| wrong())?;
        if parts > WHOLE { Err(wrong()) } else { Ok(Tolerance(parts)) }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u64.pow(PLACES);
        let places = format!("{:06}", self.0 % one);
        let places = places.trim_end_matches('0');
        let point = if places.is_empty() { "" } else { "." };
        write!(f, "{}{point}{places}%", self.0 / one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_read_and_shown() {
        for text in ["0%", "0.5%", "100%", "3.000001%"] {
            assert_eq!(text.parse::<Tolerance>().unwrap().to_string(), text);
        }
        assert_eq!(Tolerance::default().to_string(), "0.5%");
        for text in ["0.5", "%", "-1%", "101%", "1.0000001%", "1e1%", "0,5%", "1000%", ".5%"] {
            assert!(text.parse::<Tolerance>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_a_part_of_what_azure_has() {
        let (of, tolerance) = (Quantity::of, Tolerance::default());
        assert!(!tolerance.is_exceeded(of(5), of(1000), of(995)));
        assert!(tolerance.is_exceeded(of(6), of(1000), of(994)));
        assert!(tolerance.is_exceeded(of(1), of(0), of(1)));
        assert!(!tolerance.is_exceeded(of(0), of(0), of(0)));
    }
}
