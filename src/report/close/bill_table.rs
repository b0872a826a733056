//! A table of a bill as it lies in a file: which columns say what a row is of, and which are added up.
//!
//! So two closes of a month can be compared by what they have said, whatever made them say it.

use std::collections::BTreeMap;

use super::signed::SignedDecimal;
use crate::report::error::ReportError;

/// Rows that a table has at most, some 1 KiB each while a close is made. A month of 5,000 callers, each with 5
/// deployments and 4 classes on every day, has 3 million.
const ROWS_MAX: usize = 4_000_000;

/// A column does one of these for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BillColumn {
    /// It says what the row is of.
    Key,
    /// It is added up. Its numbers have so many decimal places at least.
    Sum { places_min: usize },
    /// It says how the row came about.
    Origin,
}

/// A table; an empty cell is null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BillTable {
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<BillColumn>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A row of a difference.
#[derive(Debug)]
struct Difference {
    /// The row whose keys and origin are told.
    row: Vec<String>,
    /// `None`: null in both.
    sums: Vec<Option<SignedDecimal>>,
}

impl BillTable {
    /// Reads a table from CSV; `column` says what a column of that name does.
    ///
    /// # Errors
    /// If it is no table, or a number is none.
    pub(super) fn read(csv: &[u8], column: impl Fn(&str) -> BillColumn) -> Result<BillTable, String> {
        let mut reader = csv::Reader::from_reader(csv);
        let names: Vec<String> =
            reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
        let columns: Vec<BillColumn> = names.iter().map(|name| column(name)).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            rows.push(record.iter().map(str::to_owned).collect());
        }
        let table = BillTable { names, columns, rows };
        table.rows.iter().try_for_each(|row| table.sums(row).map(drop))?;
        Ok(table)
    }

    /// The table as CSV.
    pub(super) fn csv(&self) -> Result<Vec<u8>, ReportError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = writer
            .write_record(&self.names)
            .and_then(|()| self.rows.iter().try_for_each(|row| writer.write_record(row)));
        written.map_err(std::io::Error::from)?;
        Ok(writer.into_inner().map_err(|error| error.into_error())?)
    }

    /// It has no more rows than a close takes.
    pub(super) fn fits(&self) -> Result<(), ReportError> {
        match self.rows.len() {
            rows if rows > ROWS_MAX => {
                Err(ReportError::TooLarge(format!("the month has {rows} rows: a close takes {ROWS_MAX}")))
            }
            _ => Ok(()),
        }
    }

    /// The place of a column.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    /// The same table with other rows.
    pub(super) fn with(&self, rows: Vec<Vec<String>>) -> BillTable {
        BillTable { names: self.names.clone(), columns: self.columns.clone(), rows }
    }

    /// Returns what this table has more than those before, row by row; rows in which nothing is more are left out.
    ///
    /// # Errors
    /// If they have other columns.
    pub(super) fn less(&self, before: &[BillTable]) -> Result<BillTable, String> {
        let mut rows: BTreeMap<Vec<String>, Difference> = BTreeMap::new();
        for table in before {
            if table.names != self.names {
                return Err("the columns are others".to_owned());
            }
            table.add_to(&mut rows, true)?;
        }
        self.add_to(&mut rows, false)?;
        let changed = rows.into_values().filter(|row| row.sums.iter().flatten().any(|sum| !sum.is_zero()));
        Ok(self.with(changed.map(|row| self.rendered(row)).collect()))
    }

    fn add_to(&self, rows: &mut BTreeMap<Vec<String>, Difference>, is_before: bool) -> Result<(), String> {
        for row in &self.rows {
            let sums = self.sums(row)?;
            let entry = rows
                .entry(self.keys(row))
                .or_insert_with(|| Difference { row: row.clone(), sums: vec![None; sums.len()] });
            if !is_before {
                row.clone_into(&mut entry.row);
            }
            for (sum, more) in entry.sums.iter_mut().zip(sums) {
                let more = more.map(|more| if is_before { -more } else { more });
                *sum = match (*sum, more) {
                    (Some(sum), Some(more)) => Some(sum + more),
                    (one, other) => one.or(other),
                };
            }
        }
        Ok(())
    }

    fn keys(&self, row: &[String]) -> Vec<String> {
        let keys = row.iter().zip(&self.columns).filter(|(_, column)| **column == BillColumn::Key);
        keys.map(|(cell, _)| cell.clone()).collect()
    }

    fn sums(&self, row: &[String]) -> Result<Vec<Option<SignedDecimal>>, String> {
        let sums =
            row.iter().zip(&self.columns).filter(|(_, column)| matches!(column, BillColumn::Sum { .. }));
        sums.map(|(cell, _)| if cell.is_empty() { Ok(None) } else { cell.parse().map(Some) }).collect()
    }

    fn rendered(&self, row: Difference) -> Vec<String> {
        let mut sums = row.sums.into_iter();
        let cells = row.row.into_iter().zip(&self.columns);
        let cell = |(cell, column): (String, &BillColumn)| match column {
            BillColumn::Sum { places_min } => {
                sums.next().flatten().map(|sum| sum.text(*places_min)).unwrap_or_default()
            }
            _ => cell,
        };
        cells.map(cell).collect()
    }
}
