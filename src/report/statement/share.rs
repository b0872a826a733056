//! Shares of a whole, in whole numbers.

/// A whole, in which shares are told.
const WHOLE: u128 = 1_000;

/// Thousandths of a whole, rounded half up; 0 of nothing.
pub(super) fn thousandths(part: u128, whole: u128) -> u128 {
    // Wholes of more than 2^117 lose digits that no share shows.
    let shift = (u128::BITS - whole.leading_zeros()).saturating_sub(117);
    let (part, whole) = (part >> shift, whole >> shift);
    (part * WHOLE * 2 + whole).checked_div(whole * 2).unwrap_or(0)
}

/// `12.3 %`; what is more than nothing or less than all never looks like it.
pub(super) fn percent(part: u128, whole: u128) -> String {
    let share = thousandths(part, whole);
    match share {
        0 if part > 0 => "< 0.1 %".to_owned(),
        WHOLE.. if part < whole => "> 99.9 %".to_owned(),
        WHOLE => "100 %".to_owned(),
        0 => "0 %".to_owned(),
        _ => format!("{}.{} %", share / 10, share % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_numbers() {
        for (part, whole, text) in [
            (1, 3, "33.3 %"),
            (2, 3, "66.7 %"),
            (0, 3, "0 %"),
            (3, 3, "100 %"),
            (1, 1_000_000, "< 0.1 %"),
            (999_999, 1_000_000, "> 99.9 %"),
            (0, 0, "0 %"),
            (u128::MAX / 4, u128::MAX, "25.0 %"),
        ] {
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
        }
    }
}
