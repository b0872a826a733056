//! Values with units: `300s`, `7d`, `256MiB`, `1%`.

use std::time::Duration;

/// Units of time, longest name first so that `ms` is not taken for `s`.
const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size. Powers of two only: `MB` would leave open which is meant.
const SIZE_UNITS: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads a duration such as `300s`; `None` if it has no unit, or one that is not known.
pub fn duration(text: &str) -> Option<Duration> {
    with_unit(text, DURATION_UNITS).map(Duration::from_millis)
}

/// Reads a size in bytes such as `256MiB`; `None` if it has no unit, or one that is not known. Nothing
/// is `0`, which needs no unit.
pub fn size_bytes(text: &str) -> Option<u64> {
    if text == "0" { Some(0) } else { with_unit(text, SIZE_UNITS) }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// Writes a duration the way [`duration`] reads it, in the largest unit that divides it.
pub fn format_duration(value: Duration) -> String {
    let ms = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    largest_unit(ms, DURATION_UNITS)
}

/// Writes a size the way [`size_bytes`] reads it, in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { largest_unit(bytes, SIZE_UNITS) }
}

fn largest_unit(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, scale): &&(&str, u64)| value.is_multiple_of(*scale);
    match units.iter().rev().find(fits) {
        Some((unit, scale)) if value > 0 => format!("{}{unit}", value / scale),
        _ => format!("{value}{}", units.first().map_or("", |(unit, _)| unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_its_unit() {
        assert_eq!(duration("300s"), Some(Duration::from_secs(300)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(size_bytes("256MiB"), Some(256 << 20));
        assert_eq!((size_bytes("0"), format_size(0)), (Some(0), "0".to_owned()));
        for bad in
            ["", "300", "s", "3 s", "-1s", "1.5s", "10MB", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(duration(bad), None, "{bad:?}");
            assert_eq!(size_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["1ms", "300s", "5m", "36h", "7d"] {
            let value = duration(text).unwrap();
            assert_eq!(duration(&format_duration(value)), Some(value), "{text}");
        }
        assert_eq!(format_duration(Duration::from_secs(300)), "5m");
        assert_eq!(format_size(256 << 20), "256MiB");
    }
}
