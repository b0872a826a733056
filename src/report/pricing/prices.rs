//! Prices of tokens and units, by files. [`PRICES_HELP`](super::PRICES_HELP) says how a file looks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use jiff::Timestamp;
use smol_str::SmolStr;
use strum::VariantArray;

use super::billed_parts::PriceClass;
use super::currency::Currency;
use super::price_file::{PriceFile, WrongFile};
use super::price_naming;
use super::price_row::{Closeness, NamePattern, PriceRow, PricedCall};
use crate::report::error::ReportError;

/// Every price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    currency: Currency,
    version: String,
    rows: Vec<PriceRow>,
    /// Where the rows of each class are, by their model.
    by_class: BTreeMap<PriceClass, ClassRows>,
    notes: Vec<String>,
}

/// A price while it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PricePeriod {
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    pub(super) unit: u128,
}

/// The rows of a class, the closest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ClassRows {
    /// Places in `Prices::rows`.
    closest_first: Vec<usize>,
    /// Places in `closest_first` of those that name a whole model.
    by_model: HashMap<SmolStr, Vec<usize>>,
    /// Places in `closest_first` of the others.
    patterns: Vec<usize>,
}

impl Prices {
    /// Reads files of prices, which count as one: where rows of two files name equally much, the later file's goes before.
    ///
    /// # Errors
    /// If one cannot be read, or lines are wrong: then with their numbers.
    pub fn read(paths: &[PathBuf]) -> Result<Prices, ReportError> {
        let mut files = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            let named = |error| ReportError::File { path: path.clone(), error };
            let text = std::fs::read_to_string(path).map_err(named)?;
            let wrong = |wrong| ReportError::Prices { path: path.clone(), wrong };
            files.push(PriceFile::parse(&text, at).map_err(wrong)?);
        }
        Prices::of(files).map_err(|WrongFile { file, wrong }| {
            let path = paths.get(file).cloned().unwrap_or_default();
            ReportError::Prices { path, wrong }
        })
    }

    pub(super) fn of(files: Vec<PriceFile>) -> Result<Prices, WrongFile> {
        let currency = PriceFile::one_currency(&files)?;
        let version = files.iter().map(|file| file.version.as_str()).collect::<Vec<_>>().join("+");
        let notes = files.iter().flat_map(|file| file.notes.clone()).collect();
        let mut rows: Vec<PriceRow> = files.into_iter().flat_map(|file| file.rows).collect();
        price_naming::name_all(&mut rows);
        let by_class =
            PriceClass::VARIANTS.iter().map(|class| (*class, ClassRows::of(*class, &rows))).collect();
        Ok(Prices { currency, version, rows, by_class, notes })
    }

    /// The currency of all prices.
    pub(crate) fn currency(&self) -> Currency {
        self.currency
    }

    /// The beginning of the SHA-256 of each file, in hex, as `sha256sum` prints it; several are joined by `+`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns notes for whoever keeps the files; each is one sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The row that is the price of a class for a call: of those that fit the closest.
    pub(super) fn row(&self, class: PriceClass, call: &PricedCall<'_>) -> Option<&PriceRow> {
        let rows = self.by_class.get(&class)?;
        let of_model = rows.by_model.get(call.model).map_or(&[][..], Vec::as_slice);
        let first = |places: &[usize]| {
            places.iter().copied().find(|place| self.at(rows, *place).is_some_and(|row| row.fits(call)))
        };
        let place = match (first(of_model), first(&rows.patterns)) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        self.at(rows, place)
    }

    /// The prices of a class for a call whenever it is, in order of time. They do not overlap, and neighbours differ.
    pub(super) fn periods(&self, class: PriceClass, call: &PricedCall<'_>) -> Vec<PricePeriod> {
        let Some(rows) = self.by_class.get(&class) else { return Vec::new() };
        let fitting = rows.closest_first.iter().filter_map(|at| self.rows.get(*at));
        let fitting: Vec<&PriceRow> = fitting.filter(|row| row.fits.fits(call)).collect();
        let mut cuts: Vec<Timestamp> = fitting.iter().flat_map(|row| [row.from, row.to]).flatten().collect();
        cuts.sort_unstable();
        cuts.dedup();
        let begins = [None].into_iter().chain(cuts.iter().copied().map(Some));
        let ends = cuts.iter().copied().map(Some).chain([None]);
        let mut periods: Vec<PricePeriod> = Vec::new();
        for (from, to) in begins.zip(ends) {
            let time = from.unwrap_or(Timestamp::MIN);
            // The closest comes first.
            let Some(row) = fitting.iter().find(|row| row.fits(&PricedCall { time, ..*call })) else {
                continue;
            };
            match periods.last_mut() {
                Some(last) if last.to == from && last.unit == row.unit => last.to = to,
                _ => periods.push(PricePeriod { from, to, unit: row.unit }),
            }
        }
        periods
    }

    fn at(&self, rows: &ClassRows, place: usize) -> Option<&PriceRow> {
        self.rows.get(*rows.closest_first.get(place)?)
    }
}

impl ClassRows {
    fn of(class: PriceClass, rows: &[PriceRow]) -> ClassRows {
        let fitting = rows.iter().enumerate().filter_map(|(at, row)| Some((row.closeness(class)?, at)));
        let mut fitting: Vec<(Closeness, usize)> = fitting.collect();
        fitting.sort_by_key(|(closeness, _)| Reverse(*closeness));
        let mut found = ClassRows::default();
        for (_, at) in fitting {
            let place = found.closest_first.len();
            found.closest_first.push(at);
            match rows.get(at).map(|row| &row.fits.model) {
                Some(NamePattern::Exact(model)) => {
                    found.by_model.entry(model.clone()).or_default().push(place)
                }
                _ => found.patterns.push(place),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
