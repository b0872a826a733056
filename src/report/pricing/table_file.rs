//! The CSV files of finance: a header that names columns, and lines of which all that is wrong is told at once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use csv::StringRecord;
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::report::instant::parse_time;
use metering::caller::{WrongLines, records};

/// Where the columns of a file are.
pub(super) type Columns<C> = BTreeMap<C, usize>;

/// The fields of one line, and what is wrong with them.
pub(super) struct Fields<'a, C> {
    pub(super) line: u64,
    record: &'a StringRecord,
    columns: &'a Columns<C>,
    problems: Vec<String>,
}

/// Reads a file line by line. `allowed` are the columns' names, for people; `check` looks at the header, and `each` takes
/// a line, or says that something is wrong with it.
pub(super) fn read_table<C: Copy + Ord + FromStr>(
    text: &str,
    allowed: &str,
    check: impl FnOnce(&Columns<C>) -> Result<(), String>,
    mut each: impl FnMut(&mut Fields<'_, C>) -> Option<()>,
) -> Result<(), WrongLines> {
    let mut records = records(text);
    let one = |(line, problem)| WrongLines::one(line, problem);
    let (line, header) = records.next().unwrap_or_else(|| Ok((1, StringRecord::new()))).map_err(one)?;
    let columns = columns(&header, allowed).map_err(|problem| WrongLines::one(line, problem))?;
    check(&columns).map_err(|problem| WrongLines::one(line, problem))?;
    let (mut wrong, mut is_empty) = (WrongLines::default(), true);
    for record in records {
        is_empty = false;
        match record.and_then(|(line, record)| take_line(line, &record, &header, &columns, &mut each)) {
            Ok(()) => {}
            Err((line, problem)) => wrong.add(line, problem),
        }
    }
    if is_empty {
        wrong.add(line, "there is no line below the header".to_owned());
    }
    wrong.or(())
}

fn take_line<C: Copy + Ord>(
    line: u64,
    record: &StringRecord,
    header: &StringRecord,
    columns: &Columns<C>,
    each: &mut impl FnMut(&mut Fields<'_, C>) -> Option<()>,
) -> Result<(), (u64, String)> {
    if record.len() != header.len() {
        let fields = if record.len() == 1 { "field" } else { "fields" };
        return Err((line, format!("has {} {fields}, the header has {}", record.len(), header.len())));
    }
    let mut fields = Fields { line, record, columns, problems: Vec::new() };
    let taken = each(&mut fields);
    match (taken, fields.problems.is_empty()) {
        (Some(()), true) => Ok(()),
        _ => Err((line, fields.problems.join("; "))),
    }
}

fn columns<C: Copy + Ord + FromStr>(header: &StringRecord, allowed: &str) -> Result<Columns<C>, String> {
    let mut columns = BTreeMap::new();
    for (at, name) in header.iter().enumerate() {
        let column = name.parse().map_err(|_| format!("`{name}` is no column; allowed: {allowed}"))?;
        if columns.insert(column, at).is_some() {
            return Err(format!("there are two columns `{name}`"));
        }
    }
    Ok(columns)
}

/// Each of these columns is there.
pub(super) fn require<C: Copy + Ord + Display>(columns: &Columns<C>, required: &[C]) -> Result<(), String> {
    match required.iter().find(|column| !columns.contains_key(column)) {
        Some(column) => Err(format!("there is no column `{column}`; the first line names the columns")),
        None => Ok(()),
    }
}

impl<'a, C: Copy + Ord + Display> Fields<'a, C> {
    /// The file has this column.
    pub(super) fn has(&self, column: C) -> bool {
        self.columns.contains_key(&column)
    }

    pub(super) fn get(&self, column: C) -> Option<&'a str> {
        let text = self.record.get(*self.columns.get(&column)?)?;
        (!text.is_empty()).then_some(text)
    }

    pub(super) fn text(&self, column: C) -> Option<SmolStr> {
        self.get(column).map(SmolStr::new)
    }

    /// Notes what is wrong with the line.
    pub(super) fn wrong(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Returns what was read; otherwise its problem is noted.
    pub(super) fn take<T>(&mut self, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| self.wrong(problem)).ok()
    }

    pub(super) fn required(&mut self, column: C) -> Option<&'a str> {
        let found = self.get(column).ok_or_else(|| format!("{column} is empty"));
        self.take(found)
    }

    /// A field that must be there, as `read` understands it.
    pub(super) fn read<T>(
        &mut self,
        column: C,
        read: impl FnOnce(&'a str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.required(column)?;
        self.take(read(text))
    }

    /// The two ends of a period; `None`: one is wrong.
    pub(super) fn period(&mut self, from: C, to: C) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
        let (from, to) = (self.time(from), self.time(to));
        let (from, to) = (from?, to?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            self.wrong("to is not after from".to_owned());
            return None;
        }
        Some((from, to))
    }

    fn time(&mut self, column: C) -> Option<Option<Timestamp>> {
        let time =
            self.get(column).map(|text| parse_time(text).map_err(|error| format!("{column}: {error}")));
        self.take(time.transpose())
    }
}

/// Lines whose periods overlap those of another; they are given in order of time.
pub(super) fn overlapping(
    periods: impl Iterator<Item = (Option<Timestamp>, Option<Timestamp>, u64)>,
) -> WrongLines {
    let mut wrong = WrongLines::default();
    let mut before: Option<(Option<Timestamp>, u64)> = None;
    for (from, to, line) in periods {
        if let Some((end, other)) = before
            && end.is_none_or(|end| from.is_none_or(|from| from < end))
        {
            let (first, later) = (line.min(other), line.max(other));
            wrong.add(later, format!("overlaps line {first}; an empty to is for ever"));
        }
        let ends_later = before.is_none_or(|(end, _)| end.is_some_and(|end| to.is_none_or(|to| to > end)));
        if ends_later {
            before = Some((to, line));
        }
    }
    wrong
}
