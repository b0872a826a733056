//! Instants as people give them.

use jiff::Timestamp;

use super::error::ReportError;

/// The instant that a `--from` or `--to` means: RFC 3339, or a day, which begins at midnight UTC.
///
/// # Errors
/// If it is neither.
pub fn parse_time(text: &str) -> Result<Timestamp, ReportError> {
    let instant = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
    instant.map_err(|_| ReportError::Time(text.to_owned()))
}
