//! How many of a caller's calls are captured, from when on: the file of the exceptions (`--capture-callers-file`).
//!
//! A row is in force from `from` on, until `to`, for ever if that is empty. What counts is when the call began. Callers
//! that the file does not name have the share of all others.

use std::collections::HashMap;

use csv::StringRecord;
use jiff::Timestamp;
use metering::caller::{FromFile, WrongLines, instant, records};
use smol_str::SmolStr;

use crate::tee::SampleRatio;

/// The columns, in this order: the first line names them.
const COLUMNS: [&str; 4] = ["caller", "share", "from", "to"];

/// As in the caller map, which has ten thousand callers in a bank; this bounds what a wrong file can take.
const ROWS_MAX: usize = 500_000;

/// Shares by caller.
#[derive(Debug)]
pub struct CallerShares {
    /// By caller, each in order of time.
    rows: HashMap<SmolStr, Vec<ShareRow>>,
}

#[derive(Clone, Copy, Debug)]
struct ShareRow {
    share: SampleRatio,
    from: Option<Timestamp>,
    /// Exclusive; `None`: for ever.
    to: Option<Timestamp>,
    line: u64,
}

impl CallerShares {
    /// The share of a caller whose call began then; `None`: the file says nothing of it.
    pub fn share_of(&self, caller: &str, at: Timestamp) -> Option<SampleRatio> {
        let rows = self.rows.get(caller)?;
        let begun = rows.partition_point(|row| row.from.is_none_or(|from| from <= at));
        let row = rows.get(begun.checked_sub(1)?)?;
        row.to.is_none_or(|to| at < to).then_some(row.share)
    }

    /// How many callers are in it.
    pub fn callers(&self) -> usize {
        self.rows.len()
    }

    fn read(text: &str) -> Result<CallerShares, WrongLines> {
        let mut wrong = WrongLines::default();
        let mut records = records(text);
        let header = records.next().unwrap_or_else(|| Ok((1, StringRecord::new())));
        let (line, header) = header.map_err(|(line, problem)| WrongLines::one(line, problem))?;
        if header != COLUMNS[..] {
            let problem = format!("the first line must be {}", COLUMNS.join(","));
            return Err(WrongLines::one(line, problem));
        }
        let mut rows: HashMap<SmolStr, Vec<ShareRow>> = HashMap::new();
        for (count, record) in records.enumerate() {
            let line = record.as_ref().map_or_else(|(line, _)| *line, |(line, _)| *line);
            if count >= ROWS_MAX {
                wrong.add(line, format!("there are more than {ROWS_MAX} rows"));
                break;
            }
            let read = record.map_err(|(_, problem)| problem).and_then(|(line, record)| row(line, &record));
            match read {
                Ok((caller, row)) => rows.entry(caller).or_default().push(row),
                Err(problem) => wrong.add(line, problem),
            }
        }
        for (caller, rows) in &mut rows {
            rows.sort_by_key(|row| row.from);
            rows.windows(2).for_each(|pair| check_order(caller, pair[0], pair[1], &mut wrong));
        }
        wrong.or(CallerShares { rows })
    }
}

impl FromFile for CallerShares {
    const BYTES_MAX: u64 = 64 << 20;

    fn parse(text: &str) -> Result<CallerShares, String> {
        CallerShares::read(text).map_err(|wrong| wrong.to_string())
    }

    /// A file that is caught half-way through being written may hold its header only, and would have those captured
    /// who must not be.
    fn may_follow(&self, before: &CallerShares) -> Result<(), String> {
        match before.callers() {
            callers if callers > 0 && self.rows.is_empty() => Err(format!(
                "names no caller any more, and before it named {callers}: such a file is taken at a start only"
            )),
            _ => Ok(()),
        }
    }
}

fn row(line: u64, record: &StringRecord) -> Result<(SmolStr, ShareRow), String> {
    let (has, wanted) = (record.len(), COLUMNS.len());
    if has != wanted {
        return Err(format!("has {has} fields, and the header has {wanted}"));
    }
    let caller = SmolStr::new(&record[0]);
    if caller.is_empty() {
        return Err("caller is empty".to_owned());
    }
    let share = SampleRatio::parse(&record[1])
        .ok_or_else(|| format!("share is {:?}; allowed: 0% to 100%", &record[1]))?;
    let time =
        |at: usize| Some(&record[at]).filter(|text| !text.is_empty()).map(|text| instant(COLUMNS[at], text));
    let (from, to) = (time(2).transpose()?, time(3).transpose()?);
    if from.zip(to).is_some_and(|(from, to)| to <= from) {
        return Err("to is not after from".to_owned());
    }
    Ok((caller, ShareRow { share, from, to, line }))
}

/// Two rows of one caller must not be in force at once.
fn check_order(caller: &str, one: ShareRow, next: ShareRow, wrong: &mut WrongLines) {
    let (first, later) = (one.line.min(next.line), one.line.max(next.line));
    let overlaps = one.from == next.from || one.to.is_none_or(|to| next.from.is_none_or(|from| to > from));
    if overlaps {
        wrong.add(later, format!("overlaps line {first} of caller {caller:?}; an empty to is for ever"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_when_a_call_began() {
        let shares = CallerShares::parse(
            "caller,share,from,to\n# the works council\nteam-a,0%,2026-11-01,2026-12-01\nteam-a,50%,2026-12-01,\nteam-b,0%,,\n",
        )
        .unwrap();
        for (caller, at, ppm) in [
            ("team-a", "2026-10-31T23:59:59.999Z", None),
            ("team-a", "2026-11-01T00:00:00Z", Some(0)),
            ("team-a", "2026-11-30T23:59:59.999Z", Some(0)),
            ("team-a", "2026-12-01T00:00:00Z", Some(500_000)),
            ("team-b", "1999-01-01T00:00:00Z", Some(0)),
            ("team-c", "2026-12-01T00:00:00Z", None),
        ] {
            let share = shares.share_of(caller, at.parse().unwrap());
            assert_eq!(share, ppm.map(SampleRatio::from_ppm), "{caller} {at}");
        }
        assert_eq!(shares.callers(), 2);
        let empty = CallerShares::parse("caller,share,from,to").unwrap();
        assert!(empty.may_follow(&shares).unwrap_err().contains("named 2"));
        assert!(shares.may_follow(&empty).is_ok());
    }

    #[test]
    fn a_wrong_file_says_which_line_and_what_is_allowed() {
        for (text, needle) in [
            ("", "line 1: the first line must be caller,share,from,to"),
            ("caller,share\na,0%", "the first line must be"),
            ("caller,share,from,to\n,0%,,", "line 2: caller is empty"),
            ("caller,share,from,to\na,0,,", "allowed: 0% to 100%"),
            ("caller,share,from,to\na,101%,,", "allowed: 0% to 100%"),
            ("caller,share,from,to\na,0%,yesterday,", "from is \"yesterday\"; allowed"),
            ("caller,share,from,to\na,0%,2026-11-02,2026-11-01", "to is not after from"),
            ("caller,share,from,to\na,0%", "has 2 fields"),
            ("caller,share,from,to\na,0%,,\na,1%,,", "line 3: overlaps line 2"),
            ("caller,share,from,to\na,0%,2026-11-01,\na,1%,2026-12-01,", "an empty to is for ever"),
        ] {
            let problem = CallerShares::parse(text).unwrap_err();
            assert!(problem.contains(needle), "{text:?}: {problem}");
        }
    }
}
