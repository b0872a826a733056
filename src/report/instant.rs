//! Instants as people give them where no time zone is named.

use jiff::Timestamp;

use super::calendar::Calendar;
use super::error::ReportError;

/// The instant that a text means: RFC 3339, or a day or a month, which begin at midnight UTC.
///
/// # Errors
/// If it is none of these.
pub fn parse_time(text: &str) -> Result<Timestamp, ReportError> {
    Calendar::default().instant(text)
}
