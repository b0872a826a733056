//! The month to close.

use std::path::PathBuf;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::report::calendar::Calendar;
use crate::report::error::ReportError;
use crate::report::focus::FocusOptions;
use crate::report::tally::ReportOptions;
use crate::report::verify::VerifyOptions;

/// A month of a calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseMonth {
    /// Such as `2026-11`.
    pub name: String,
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant that is no part of it.
    pub to: Timestamp,
}

/// The month to close, and where to.
#[derive(Clone, Debug)]
pub struct CloseOptions {
    /// The month.
    pub month: CloseMonth,
    /// The usage, with its inputs, its calendar and the files that cost comes from. Its keys and its time are those of the
    /// close.
    pub usage: ReportOptions,
    /// How the events are proven. Their time is that of the close.
    pub proof: VerifyOptions,
    /// The bill as FOCUS names it.
    pub focus: FocusOptions,
    /// The folder of the close.
    pub out: PathBuf,
    /// A month that is not complete is closed all the same, and says so.
    pub allow_incomplete: bool,
}

impl CloseMonth {
    /// A month by its name, such as `2026-11`.
    ///
    /// # Errors
    /// If it is none.
    pub fn of(name: &str, calendar: &Calendar) -> Result<CloseMonth, ReportError> {
        let wrong = || ReportError::Month(name.to_owned());
        let is_shaped = name.len() == 7 && name.as_bytes().get(4) == Some(&b'-');
        let first: Option<Date> = format!("{name}-01").parse().ok().filter(|_| is_shaped);
        let next = first.and_then(|first| first.checked_add(1.month()).ok()).ok_or_else(wrong)?;
        Ok(CloseMonth {
            name: name.to_owned(),
            from: calendar.instant(name).map_err(|_| wrong())?,
            to: calendar.instant(&next.to_string()).map_err(|_| wrong())?,
        })
    }
}
