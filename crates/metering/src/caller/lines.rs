//! The lines of a CSV file that people keep, and those of them that are wrong: all of these are counted, and the
//! first are told.

use std::fmt;

use csv::{ReaderBuilder, StringRecord, Trim};
use ring::digest::{SHA256, digest};
use smol_str::SmolStr;

use super::hash::hex;

/// Lines that are told; a file with the wrong separator is wrong in every line.
const TOLD_MAX: usize = 20;

/// Bytes of a version: enough to tell files apart.
const VERSION_BYTES: usize = 6;

/// The version of a file: the beginning of the SHA-256 of its text, in hex, as `sha256sum FILE` prints it.
pub fn version(text: &str) -> SmolStr {
    hex(&digest(&SHA256, text.as_bytes()).as_ref()[..VERSION_BYTES]).collect()
}

/// Every line that is neither empty nor a comment, with its number; one line is one record, or the reason why it is
/// none.
pub fn records(text: &str) -> impl Iterator<Item = Result<(u64, StringRecord), (u64, String)>> + '_ {
    // Spreadsheets begin their files with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let mut reader = ReaderBuilder::new().has_headers(false).trim(Trim::All).from_reader(line.as_bytes());
        let mut record = StringRecord::new();
        reader.read_record(&mut record).map_err(|error| (number, error.to_string()))?;
        Ok((number, record))
    })
}

/// Collects the errors of a file's lines, so that one run tells them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrongLines {
    told: Vec<(u64, String)>,
    /// Those that are not told included.
    count: usize,
}

impl WrongLines {
    /// One wrong line, counted from 1.
    pub fn one(line: u64, problem: String) -> WrongLines {
        WrongLines { told: vec![(line, problem)], count: 1 }
    }

    /// Adds one.
    pub fn add(&mut self, line: u64, problem: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push((line, problem));
        }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value, if no line is wrong.
    ///
    /// # Errors
    /// The lines that are, in their order.
    pub fn or<T>(mut self, value: T) -> Result<T, WrongLines> {
        if self.is_empty() {
            return Ok(value);
        }
        self.told.sort_by_key(|(line, _)| *line);
        Err(self)
    }
}

/// `line 3: what is wrong`, or a head and such a line for each. It is the end of a sentence that begins
/// with the file's name.
impl fmt::Display for WrongLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([(line, problem)], 1) = (self.told.as_slice(), self.count) {
            return write!(f, "line {line}: {problem}");
        }
        write!(f, "has {} wrong lines:", self.count)?;
        for (line, problem) in &self.told {
            write!(f, "\nline {line}: {problem}")?;
        }
        match self.count - self.told.len() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_told() {
        let mut wrong = WrongLines::default();
        assert_eq!(wrong.clone().or(7), Ok(7));
        wrong.add(3, "x".to_owned());
        assert_eq!(wrong.to_string(), "line 3: x");
        wrong.add(2, "y".to_owned());
        assert_eq!(wrong.clone().or(()).unwrap_err().to_string(), "has 2 wrong lines:\nline 2: y\nline 3: x");
        for line in 4..1_000 {
            wrong.add(line, "z".to_owned());
        }
        let text = wrong.or(()).unwrap_err().to_string();
        assert!(text.starts_with("has 998 wrong lines:\n") && text.ends_with("\nand 978 more"), "{text}");
        assert_eq!(text.lines().count(), TOLD_MAX + 2);
    }
}
