//! The formats, and what is written of a report.

use std::io::Write;

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::report::error::ReportError;
use crate::report::focus::{FOCUS_KEYS, FocusOptions};
use crate::report::group_by::GroupBy;
use crate::report::statement::Statement;
use crate::report::tally::Report;
use metering::names;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Format {
    /// For people: aligned columns, and the total.
    #[default]
    Table,
    /// A header, and the lines.
    Csv,
    /// `{"lines": [{..}], "total": {..}}`
    Json,
    /// A flat table of names, whole numbers and decimals.
    #[cfg(feature = "parquet")]
    Parquet,
    /// CSV of FOCUS, the FinOps Open Cost and Usage Specification.
    Focus,
    /// A page of its own, to be looked at or printed.
    Html,
}

impl Format {
    /// It is no text that a terminal could show.
    pub fn is_for_files(self) -> bool {
        !matches!(self, Format::Table | Format::Csv | Format::Json | Format::Focus)
    }

    /// The keys that its rows have, whatever was asked for.
    pub fn keys(self) -> Option<Vec<GroupBy>> {
        (self == Format::Focus).then(|| FOCUS_KEYS.to_vec())
    }

    /// The keys that it needs besides those that were asked for.
    pub fn views(self) -> Vec<Vec<GroupBy>> {
        if self == Format::Html { Statement::views() } else { Vec::new() }
    }
}

/// How a report is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The format.
    pub format: Format,
    /// CSV and Parquet end with the total as well.
    pub total: bool,
    /// A table has every column, whether there is anything in it and room for it or not.
    pub wide: bool,
    /// The columns of the terminal that a table has to fit.
    pub columns: Option<usize>,
    /// The bill that rows of FOCUS are of.
    pub focus: FocusOptions,
}

impl Report {
    /// Writes the report.
    ///
    /// # Errors
    /// If `out` cannot be written, or a number is too large for the format.
    pub fn write(&self, rendering: &Rendering, out: &mut impl Write) -> Result<(), ReportError> {
        match rendering.format {
            Format::Table => write!(out, "{}", self.table(rendering.wide, rendering.columns))?,
            Format::Csv => self.csv(rendering.total, out)?,
            Format::Json => writeln!(out, "{}", names::json(&format!("{:#}", self.json())))?,
            #[cfg(feature = "parquet")]
            Format::Parquet => out.write_all(&self.parquet(rendering.total)?)?,
            Format::Focus => self.focus(&rendering.focus, out)?,
            Format::Html => out.write_all(Statement::of(self).html().as_bytes())?,
        }
        Ok(())
    }
}
