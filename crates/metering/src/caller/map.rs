//! The caller map: which department and cost centre a caller belongs to, from when on.
//!
//! A row is in force from `from` on, until `to`, for ever if that is empty; two rows of one caller must not be in
//! force at once. Which one counts is a matter of when the call began, so a change of today does not move what was
//! used yesterday.

use std::collections::{BTreeMap, HashMap};

use csv::StringRecord;
use jiff::Timestamp;
use smol_str::SmolStr;

use super::identity::Caller;
use super::lines::{WrongLines, records, version};
use super::reload::FromFile;

/// How the file looks, in one line.
pub const MAP_COLUMNS: [&str; 5] = ["caller", "from", "to", "cost_center", "department"];

/// A bank has some ten thousand applications; this bounds what a wrong file can take.
const ROWS_MAX: usize = 500_000;
/// Characters of a caller, as in events.
const CALLER_BYTES_MAX: usize = super::fields::ID_BYTES_MAX;
/// Characters of a cost centre or department; an event has both, and has to stay small.
const NAME_CHARS_MAX: usize = 64;

/// Departments and cost centres by caller.
#[derive(Debug)]
pub struct CallerMap {
    version: SmolStr,
    /// By caller, each in order of time.
    rows: HashMap<SmolStr, Vec<MapRow>>,
}

/// Where a caller belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerPlace {
    /// The cost centre; `None`: the map names none.
    pub cost_center: Option<SmolStr>,
    /// The department; `None`: the map names none.
    pub department: Option<SmolStr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct MapRow {
    from: Option<Timestamp>,
    /// Exclusive; `None`: for ever.
    to: Option<Timestamp>,
    cost_center: Option<SmolStr>,
    department: Option<SmolStr>,
    line: u64,
}

impl CallerMap {
    /// Adds what is known of the caller, as of then, and which map says so.
    pub(super) fn place(&self, caller: &mut Caller, at: Timestamp) {
        caller.map_version = Some(self.version.clone());
        if let Some(row) = self.row(&caller.id, at) {
            caller.cost_center.clone_from(&row.cost_center);
            caller.department.clone_from(&row.department);
        }
    }

    /// Where a caller belonged then; `at` is when the call began.
    pub fn place_of(&self, caller: &str, at: Timestamp) -> CallerPlace {
        let row = self.row(caller, at);
        let of = |column: fn(&MapRow) -> &Option<SmolStr>| row.and_then(|row| column(row).clone());
        CallerPlace { cost_center: of(|row| &row.cost_center), department: of(|row| &row.department) }
    }

    fn row(&self, caller: &str, at: Timestamp) -> Option<&MapRow> {
        let rows = self.rows.get(caller)?;
        let begun = rows.partition_point(|row| row.from.is_none_or(|from| from <= at));
        let row = rows.get(begun.checked_sub(1)?)?;
        row.to.is_none_or(|to| at < to).then_some(row)
    }

    /// The beginning of the SHA-256 of the file, in hex: `sha256sum FILE`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many callers are in it.
    pub fn callers(&self) -> usize {
        self.rows.len()
    }

    fn read(text: &str) -> Result<CallerMap, WrongLines> {
        let version = version(text);
        let mut wrong = WrongLines::default();
        let mut records = records(text);
        let (line, header) = records
            .next()
            .unwrap_or_else(|| Ok((1, StringRecord::new())))
            .map_err(|(line, problem)| WrongLines::one(line, problem))?;
        let columns = columns(&header).map_err(|problem| WrongLines::one(line, problem))?;
        let mut rows: HashMap<SmolStr, Vec<MapRow>> = HashMap::new();
        for (count, record) in records.enumerate() {
            if count >= ROWS_MAX {
                let line = record.map_or_else(|(line, _)| line, |(line, _)| line);
                wrong.add(line, format!("there are more than {ROWS_MAX} rows"));
                break;
            }
            let read = record.and_then(|(line, record)| {
                let row = whole(&record, &header).and_then(|()| row(line, &record, &columns));
                row.map_err(|problem| (line, problem))
            });
            match read {
                Ok((caller, row)) => rows.entry(caller).or_default().push(row),
                Err((line, problem)) => wrong.add(line, problem),
            }
        }
        for (caller, rows) in &mut rows {
            rows.sort_by_key(|row| row.from);
            for pair in rows.windows(2) {
                if let Err((line, problem)) = check_order(caller, &pair[0], &pair[1]) {
                    wrong.add(line, problem);
                }
            }
        }
        wrong.or(CallerMap { version, rows })
    }
}

impl FromFile for CallerMap {
    const BYTES_MAX: u64 = 64 << 20;

    fn parse(text: &str) -> Result<CallerMap, String> {
        CallerMap::read(text).map_err(|wrong| wrong.to_string())
    }

    /// A file that is caught half-way through being written may hold its header only; an operator who
    /// removes all departments on purpose restarts the sidecar.
    fn may_follow(&self, before: &CallerMap) -> Result<(), String> {
        match before.callers() {
            callers if callers > 0 && self.rows.is_empty() => Err(format!(
                "names no caller any more, and before it named {callers}: such a file is taken at a start only"
            )),
            _ => Ok(()),
        }
    }
}

/// `1 field`, `2 fields`.
fn fields(count: usize) -> String {
    format!("{count} field{}", if count == 1 { "" } else { "s" })
}

fn whole(record: &StringRecord, header: &StringRecord) -> Result<(), String> {
    let (has, wanted) = (record.len(), header.len());
    if has == wanted { Ok(()) } else { Err(format!("has {}, the header has {wanted}", fields(has))) }
}

/// Two neighbours of one caller must not be in force at once. The problem is that of the later line.
fn check_order(caller: &str, one: &MapRow, next: &MapRow) -> Result<(), (u64, String)> {
    let (first, later) = (one.line.min(next.line), one.line.max(next.line));
    if one.from == next.from {
        return Err((later, format!("has the caller {caller:?} and the from of line {first}")));
    }
    if one.to.is_none_or(|to| next.from.is_none_or(|from| to > from)) {
        return Err((later, format!("overlaps line {first} of caller {caller:?}; an empty to is for ever")));
    }
    Ok(())
}

fn columns(header: &StringRecord) -> Result<BTreeMap<&str, usize>, String> {
    let mut columns = BTreeMap::new();
    for (at, name) in header.iter().enumerate() {
        if !MAP_COLUMNS.contains(&name) {
            return Err(format!("{name:?} is no column; allowed: {}", MAP_COLUMNS.join(", ")));
        }
        if columns.insert(name, at).is_some() {
            return Err(format!("there are two columns {name:?}"));
        }
    }
    if !columns.contains_key("caller") {
        return Err("there is no column \"caller\"; the first line names the columns".to_owned());
    }
    if !columns.contains_key("cost_center") && !columns.contains_key("department") {
        return Err("there is neither a column \"cost_center\" nor \"department\"".to_owned());
    }
    Ok(columns)
}

fn row(
    line: u64,
    record: &StringRecord,
    columns: &BTreeMap<&str, usize>,
) -> Result<(SmolStr, MapRow), String> {
    let get = |name: &str| columns.get(name).and_then(|at| record.get(*at)).filter(|text| !text.is_empty());
    let time = |name: &str| get(name).map(|text| instant(name, text)).transpose();
    let named = |name: &str| get(name).map(|text| checked(name, text)).transpose();
    let caller = get("caller").ok_or("caller is empty")?;
    if caller.len() > CALLER_BYTES_MAX {
        return Err(format!("caller has {} bytes; allowed: up to {CALLER_BYTES_MAX}", caller.len()));
    }
    let row = MapRow {
        from: time("from")?,
        to: time("to")?,
        cost_center: named("cost_center")?,
        department: named("department")?,
        line,
    };
    if row.from.zip(row.to).is_some_and(|(from, to)| from >= to) {
        return Err("to is not after from".to_owned());
    }
    if row.cost_center.is_none() && row.department.is_none() {
        return Err("says neither cost_center nor department".to_owned());
    }
    Ok((caller.into(), row))
}

/// Reads a UTC day, which begins at midnight, or an instant.
///
/// # Errors
/// If it is neither; `name` says of which column it is.
pub fn instant(name: &str, text: &str) -> Result<Timestamp, String> {
    let instant = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
    instant.map_err(|_| {
        format!("{name} is {text:?}; allowed: a UTC day such as 2026-11-01, or an instant such as 2026-11-01T12:00:00Z")
    })
}

fn checked(name: &str, text: &str) -> Result<SmolStr, String> {
    let fits = text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    if fits {
        Ok(text.into())
    } else {
        Err(format!("{name} is {text:?}; allowed: up to {NAME_CHARS_MAX} printable characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::Trust;
    use super::*;
    use proptest::prelude::*;
    use smol_str::format_smolstr;

    const HEADER: &str = "caller,from,to,cost_center,department";

    fn map(rows: &str) -> CallerMap {
        CallerMap::parse(&format!("{HEADER}\n{rows}")).unwrap()
    }

    fn placed(map: &CallerMap, id: &str, at: &str) -> (Option<SmolStr>, Option<SmolStr>) {
        let mut caller = Caller { id: id.into(), ..Caller::unattributed(Trust::None) };
        map.place(&mut caller, at.parse().unwrap());
        assert_eq!(caller.map_version.as_deref(), Some(map.version()));
        (caller.cost_center, caller.department)
    }

    fn center(map: &CallerMap, id: &str, at: &str) -> SmolStr {
        placed(map, id, at).0.unwrap_or_default()
    }

    #[test]
    fn the_row_that_was_in_force_when_the_call_began_counts() {
        let map = map("a,,2026-02-01,CC-0,Retail\n\
             a,2026-03-01,,CC-1,Retail\n\
             # a comment\n\
             a,2026-02-01,2026-02-10,CC-2,\n\
             b,2026-01-01T12:00:00+02:00,2026-01-02,\"CC, 3\",F\u{f6}rderung\n");
        for (id, at, expected) in [
            ("a", "2025-01-01T00:00:00Z", "CC-0"),
            ("a", "2026-01-31T23:59:59.999999999Z", "CC-0"),
            ("a", "2026-02-01T00:00:00Z", "CC-2"),
            ("a", "2026-02-09T23:59:59Z", "CC-2"),
            ("a", "2026-02-10T00:00:00Z", ""),
            ("a", "2026-03-01T00:00:00Z", "CC-1"),
            ("a", "2026-03-01T00:59:59+01:00", ""), // UTC, whatever the zone it is written in
            ("a", "2099-01-01T00:00:00Z", "CC-1"),
            ("b", "2026-01-01T09:59:59Z", ""),
            ("b", "2026-01-01T10:00:00Z", "CC, 3"),
            ("b", "2026-01-02T00:00:00Z", ""),
            ("A", "2026-03-01T00:00:00Z", ""),
            ("c", "2026-03-01T00:00:00Z", ""),
        ] {
            assert_eq!(center(&map, id, at), expected, "{id} {at}");
        }
        assert_eq!(placed(&map, "b", "2026-01-01T10:00:00Z").1.as_deref(), Some("F\u{f6}rderung"));
        assert_eq!(placed(&map, "a", "2026-02-01T00:00:00Z").1, None);
    }

    #[test]
    fn columns_go_by_their_names_and_a_spreadsheet_may_write_the_file() {
        let map = CallerMap::parse("\u{feff}# by hand\r\ndepartment, caller\r\nRetail, a\r\n\r\n").unwrap();
        assert_eq!(placed(&map, "a", "2026-01-01T00:00:00Z"), (None, Some("Retail".into())));
        // printf 'caller,department\na,x\n' | sha256sum
        assert_eq!(CallerMap::parse("caller,department\na,x\n").unwrap().version(), "6e3dd0bccac6");
        assert_eq!(CallerMap::parse("caller,department\n").unwrap().rows.len(), 0, "nobody is in it");
    }

    #[test]
    fn all_wrong_lines_are_told_at_once_in_their_order() {
        let error =
            CallerMap::parse(&format!("{HEADER}\na,,,CC,\nb,soon,,CC,\n,,,CC,\nc\na,,,CC,\n")).unwrap_err();
        let expected = "has 4 wrong lines:\n\
             line 3: from is \"soon\"; allowed: a UTC day such as 2026-11-01, or an instant such as 2026-11-01T12:00:00Z\n\
             line 4: caller is empty\n\
             line 5: has 1 field, the header has 5\n\
             line 6: has the caller \"a\" and the from of line 2";
        assert_eq!(error, expected);
        let semicolons = "a;;;CC;\n".repeat(100_000);
        let error = CallerMap::parse(&format!("{HEADER}\n{semicolons}")).unwrap_err();
        assert!(error.starts_with("has 100000 wrong lines:") && error.len() < 2_000, "{error}");
    }

    #[test]
    fn a_map_of_nobody_does_not_follow_one_of_somebody() {
        let parse = |text: &str| CallerMap::parse(text).unwrap();
        let (nobody, somebody) = (parse("caller,department\n"), parse("caller,department\na,x\n"));
        assert!(nobody.may_follow(&somebody).unwrap_err().contains("before it named 1"));
        assert_eq!((nobody.may_follow(&nobody), somebody.may_follow(&nobody)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number_and_what_is_allowed() {
        let long = "x".repeat(65);
        for (rows, line, needle) in [
            ("a,,,CC,\na,,,CC,", 3, "the from of line 2"),
            ("a,2026-01-01,,CC,\n\na,2026-01-01T00:00:00Z,,CC,", 4, "the from of line 2"),
            ("a,2026-01-01,2026-03-01,CC,\na,2026-02-01,,CC,", 3, "overlaps line 2"),
            ("a,2026-02-01,,CC,\na,2026-01-01,2026-02-02,CC,", 3, "overlaps line 2"),
            ("a,,2026-02-02,CC,\na,2026-02-01,,CC,", 3, "overlaps line 2"),
            ("a,2026-01-01,,CC,D\na,2026-06-01,,CC2,D", 3, "an empty to is for ever"),
            ("a,2026-06-01,,CC,D\na,,,CC2,D", 3, "overlaps line 2"),
            ("a,2026-02-30,,CC,", 2, "from is \"2026-02-30\"; allowed: a UTC day"),
            ("a,,tomorrow,CC,", 2, "to is \"tomorrow\""),
            ("a,2026-02-01,2026-02-01,CC,", 2, "to is not after from"),
            (",,,CC,", 2, "caller is empty"),
            ("a,,,,", 2, "neither cost_center nor department"),
            ("# x\na,,,CC", 3, "4 fields, the header has 5"),
            (&format!("a,,,{long},"), 2, "up to 64 printable"),
            (&format!("{},,,CC,", "x".repeat(129)), 2, "129 bytes"),
            ("a,,,C\u{7}C,", 2, "printable"),
        ] {
            let error = CallerMap::parse(&format!("{HEADER}\n{rows}")).unwrap_err();
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(needle),
                "{rows}: {error}"
            );
        }
        for (text, needle) in [
            ("", "no column \"caller\""),
            ("caller,team\na,b", "\"team\" is no column; allowed: caller, from, to"),
            ("caller,caller,department", "two columns"),
            ("department\nx", "no column \"caller\""),
            ("caller,from\na,", "neither a column"),
        ] {
            let error = CallerMap::parse(text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }

    proptest! {
        /// Against the plain reading: the row that has begun and has not ended.
        #[test]
        fn it_is_the_row_that_is_in_force(
            starts in prop::collection::btree_set(0_i64..50, 1..8),
            lengths in prop::collection::vec(prop::option::of(1_i64..20), 8),
            at in -5_i64..80,
        ) {
            let starts: Vec<i64> = starts.into_iter().collect();
            let second = |n: i64| Timestamp::from_second(n).unwrap();
            let mut text = HEADER.to_owned();
            let mut expected = None;
            for (n, start) in starts.iter().enumerate() {
                let next = starts.get(n + 1).copied();
                let end = lengths[n].map(|length| start + length).filter(|end| next.is_none_or(|next| *end <= next)).or(next);
                text += &format!("\na,{},{},CC-{n},", second(*start), end.map(|end| second(end).to_string()).unwrap_or_default());
                if (*start..end.unwrap_or(i64::MAX)).contains(&at) {
                    expected = Some(format_smolstr!("CC-{n}"));
                }
            }
            let mut lines: Vec<&str> = text.lines().collect();
            lines[1..].reverse(); // their order in the file does not matter
            let map = CallerMap::parse(&lines.join("\n")).unwrap();
            prop_assert_eq!(placed(&map, "a", &second(at).to_string()).0, expected.clone());
            let place = CallerPlace { cost_center: expected, department: None };
            prop_assert_eq!(map.place_of("a", second(at)), place);
        }
    }
}
