//! The configuration file: flat TOML. Its whole lines are read even where another line is broken, so
//! that one run tells all that is wrong.

use toml::de::{DeTable, DeValue, Error};

/// Broken places that are told; one quote that is missing can break every line below it.
const BROKEN_MAX: usize = 10;

/// The contents of a file.
#[derive(Debug, Default)]
pub(super) struct FileText {
    /// Keys and their values; of a file that is broken only those above the first broken place.
    pub(super) entries: Vec<(String, FileEntry)>,
    /// The places that are not TOML, each with its line and column.
    pub(super) broken: Vec<String>,
}

/// The value of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileEntry {
    /// The texts that a flag would have had: numbers are written out.
    Texts(Vec<String>),
    /// A table, with the names in it.
    Table(Vec<String>),
    /// A value that no setting takes, in words.
    Other(&'static str),
}

/// Reads a file.
pub(super) fn read(text: &str) -> FileText {
    // Editors of another system may begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let whole = errors.iter().filter_map(|error| Some(error.span()?.start)).min();
    // Half a line is not to be trusted, and neither is anything below it.
    let whole = whole.map_or(text.len(), |at| text[..at].rfind('\n').map_or(0, |end| end + 1));
    let above = table
        .get_ref()
        .iter()
        .filter(|(key, value)| errors.is_empty() || (key.span().end <= whole && value.span().end <= whole));
    let mut above: Vec<_> = above.collect();
    above.sort_by_key(|(key, _)| key.span().start);
    let entries = above.into_iter().map(|(key, value)| (key.get_ref().to_string(), entry(value.get_ref())));
    let entries = entries.collect();
    FileText { entries, broken: broken(text, &errors) }
}

fn broken(text: &str, errors: &[Error]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut last_line = 0;
    for error in errors {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let (line, column) = place(text, at);
        // The first error of a line is its cause.
        if line != last_line {
            let shown = said(error.message(), text.lines().nth(line - 1).unwrap_or_default());
            told.push(format!("line {line}, column {column}: is not TOML: {shown}"));
        }
        last_line = line;
    }
    let more = told.len().saturating_sub(BROKEN_MAX);
    told.truncate(BROKEN_MAX);
    if more > 0 {
        told.push(format!("and {more} more lines that are not TOML"));
    }
    told
}

/// The parser's message, with the usual mistake in such a line. The line itself is not repeated:
/// it may hold what should have been in a file of its own. Its key is no secret.
fn said(message: &str, line: &str) -> String {
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    let short = message.split(", expected").next().unwrap_or(message);
    let bare = !line.contains(['"', '\'']) && !value.trim().is_empty();
    match message {
        "duplicate key" => {
            format!("duplicate key {}; several values are one array, [\"..\", \"..\"]", key.trim())
        }
        _ if bare => format!("{short}; a text stands in quotes, such as log_level = \"info\""),
        _ if value.matches('"').count() % 2 == 1 => {
            format!("{short}; there is a quote without its other one")
        }
        _ => message.to_owned(),
    }
}

/// Line and column of a byte, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before: Vec<&str> = text.get(..at).unwrap_or(text).split('\n').collect();
    (before.len(), before.last().map_or(0, |line| line.chars().count()) + 1)
}

fn entry(value: &DeValue<'_>) -> FileEntry {
    match value {
        DeValue::String(text) => FileEntry::Texts(vec![text.to_string()]),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => FileEntry::Texts(vec![number.to_string()]),
            Err(_) => FileEntry::Texts(vec![number.as_str().to_owned()]),
        },
        DeValue::Float(number) => FileEntry::Texts(vec![number.as_str().to_owned()]),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            match texts.collect::<Option<Vec<_>>>() {
                Some(texts) if texts.is_empty() => FileEntry::Other("an empty array"),
                Some(texts) => FileEntry::Texts(texts),
                None => FileEntry::Other("an array of other things than texts"),
            }
        }
        DeValue::Table(table) => {
            FileEntry::Table(table.iter().map(|(key, _)| key.get_ref().to_string()).collect())
        }
        DeValue::Boolean(_) => FileEntry::Other("a boolean"),
        DeValue::Datetime(_) => FileEntry::Other("a date"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_line_is_told_once_with_its_place() {
        let text = "threads = 2\nlisten = 127.0.0.1:80 # no quotes\n\nledger = \"l\nthreads = 3\n";
        let read = read(text);
        assert_eq!(read.entries, [("threads".to_owned(), FileEntry::Texts(vec!["2".to_owned()]))]);
        let places: Vec<_> = read.broken.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(
            places,
            ["line 2, column 15", "line 4, column 12", "line 5, column 1"],
            "{:?}",
            read.broken
        );
        assert!(
            read.broken[0].ends_with("a text stands in quotes, such as log_level = \"info\""),
            "{:?}",
            read.broken
        );
    }

    #[test]
    fn a_file_that_is_broken_throughout_is_told_with_a_bound() {
        let read = read(&"a = b c\n".repeat(1_000));
        assert_eq!(read.broken.len(), BROKEN_MAX + 1, "{:?}", read.broken);
        assert!(read.broken[BROKEN_MAX].starts_with("and "), "{:?}", read.broken);
        assert_eq!(read.entries, []);
    }

    #[test]
    fn values_are_what_a_flag_would_have_had() {
        let read = read(
            "\u{feff}a = 0x10\r\nb = [\"x\", \"y\"]\r\nc = 1_000\r\nd = 0.5\ne = [1]\nf = true\n[g]\nh = 1",
        );
        assert_eq!(read.broken, Vec::<String>::new());
        let texts = |texts: &[&str]| FileEntry::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
        let expected = [
            ("a", texts(&["16"])),
            ("b", texts(&["x", "y"])),
            ("c", texts(&["1000"])),
            ("d", texts(&["0.5"])),
            ("e", FileEntry::Other("an array of other things than texts")),
            ("f", FileEntry::Other("a boolean")),
            ("g", FileEntry::Table(vec!["h".to_owned()])),
        ];
        assert_eq!(read.entries, expected.map(|(key, entry)| (key.to_owned(), entry)));
    }
}
