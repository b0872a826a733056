//! A verdict for people, and as JSON.

use std::io::Write;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::findings::{BootLine, Finding, FindingKind, Verdict, plural};
use super::sequences::run_text;
use crate::report::error::ReportError;
use crate::report::render::text_table::{CellKind, Importance, TextColumn, TextTable};
use metering::names;

/// Findings of one kind that people are shown.
const SHOWN_MAX: usize = 20;

/// How a verdict is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum VerdictFormat {
    /// For people: a line for each boot, then what was found.
    #[default]
    Table,
    /// Everything, as one document.
    Json,
}

impl Verdict {
    /// Writes the verdict. A table is as wide as it wants to be; [`Verdict::write_table`] makes it fit a terminal.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&self, format: VerdictFormat, out: &mut impl Write) -> Result<(), ReportError> {
        match format {
            VerdictFormat::Table => self.write_table(None, out),
            VerdictFormat::Json => {
                let json = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
                Ok(writeln!(out, "{}", names::json(&json))?)
            }
        }
    }

    /// Writes the verdict for people; with `columns` its tables fit a terminal of so many.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_table(&self, columns: Option<usize>, out: &mut impl Write) -> Result<(), ReportError> {
        for lines in self.boots.chunk_by(|a, b| a.source == b.source) {
            write!(out, "{}\n{}\n", names::shown(&lines[0].source), table(lines).text(columns))?;
        }
        for kind in FindingKind::ALL {
            let found: Vec<&Finding> = self.findings.iter().filter(|finding| finding.kind == kind).collect();
            if found.is_empty() {
                continue;
            }
            writeln!(out, "{}: {}", kind.as_str(), amount(kind, &found))?;
            for finding in found.iter().take(SHOWN_MAX) {
                writeln!(out, "  {}", names::shown(&sentence(finding)))?;
            }
            if found.len() > SHOWN_MAX {
                writeln!(out, "  and {} more: --format json names them", found.len() - SHOWN_MAX)?;
            }
        }
        for note in &self.notes {
            writeln!(out, "note: {}", names::shown(note))?;
        }
        writeln!(out, "{}", self.result())?;
        self.content.as_ref().map_or(Ok(()), |content| content.write_lines(out))
    }

    /// The time that was judged: as it was asked for, else that of the events.
    fn time(&self) -> String {
        let text = |time: Option<Timestamp>| time.map_or("?".to_owned(), |time| format!("{time:.3}"));
        if self.from.or(self.to).or(self.first).is_none() {
            return String::new();
        }
        format!(", {} to {}", text(self.from.or(self.first)), text(self.to.or(self.last)))
    }

    /// The last line.
    fn result(&self) -> String {
        let boots = plural(self.boots.len() as u64, "boot");
        let repeats = match self.repeats {
            0 => String::new(),
            repeats => format!(", {}", plural(repeats, "repeat")),
        };
        let sources = plural(self.sources.len() as u64, "source");
        let read =
            format!("{} of {boots} of {sources}{}{repeats}", plural(self.events, "event"), self.time());
        if self.events == 0 && self.findings.is_empty() {
            return format!("nothing to verify: there are no events{}", self.time());
        }
        if self.findings.is_empty() {
            return format!("complete: {read}; none is missing, doubled, altered, refused or open");
        }
        let kinds: Vec<&str> = FindingKind::ALL
            .into_iter()
            .filter(|kind| self.findings.iter().any(|f| f.kind == *kind))
            .map(FindingKind::as_str)
            .collect();
        format!("NOT complete ({}): {read}", kinds.join(", "))
    }
}

/// The boots of a source.
fn table(lines: &[BootLine]) -> TextTable {
    let time = |time: Option<Timestamp>| time.map_or("none".to_owned(), |time| format!("{time:.0}"));
    let run = |line: &BootLine| {
        let run = line.first_sequence.zip(line.last_sequence);
        run.map_or("none".to_owned(), |(first, last)| run_text(first, last))
    };
    let column = |header: &str, kind, importance, cell: &dyn Fn(&BootLine) -> String| TextColumn {
        header: header.to_owned(),
        kind,
        importance,
        cells: lines.iter().map(cell).collect(),
    };
    let (kept, out_at) = (Importance::Kept, Importance::LeftOutAt);
    let columns = vec![
        column("boot", CellKind::Name, kept, &|line| names::shown(&line.boot).into_owned()),
        column("state", CellKind::Words, kept, &|line| line.state.as_str().to_owned()),
        column("first", CellKind::Words, out_at(1), &|line| time(line.first)),
        column("last control", CellKind::Words, out_at(2), &|line| time(line.last_control)),
        column("events", CellKind::Number, kept, &|line| line.events.to_string()),
        column("sequences", CellKind::Words, out_at(3), &run),
        column("settled", CellKind::Number, kept, &|line| line.settled.to_string()),
        column("summed", CellKind::Number, kept, &|line| line.summed.to_string()),
        column("open", CellKind::Number, kept, &|line| line.open.to_string()),
        column("refused", CellKind::Number, kept, &|line| line.refused.to_string()),
    ];
    TextTable { columns, has_total: false }
}

fn amount(kind: FindingKind, found: &[&Finding]) -> String {
    let events: u64 = found.iter().map(|finding| finding.events).sum();
    match kind {
        FindingKind::Missing | FindingKind::Doubled | FindingKind::Refused => plural(events, "event"),
        FindingKind::ReRendered => plural(events, "event"),
        FindingKind::Altered | FindingKind::Forged => plural(found.len() as u64, "contradiction"),
        FindingKind::Unsigned => plural(events, "control event"),
        FindingKind::Open | FindingKind::NeverClosed => plural(found.len() as u64, "boot"),
        FindingKind::Silent => plural(found.len() as u64, "boot or source"),
    }
}

fn sentence(finding: &Finding) -> String {
    let mut parts = Vec::new();
    if !finding.boot.is_empty() {
        parts.push(format!("{} boot {}", finding.source, finding.boot));
    }
    if let Some((first, last)) = finding.first_sequence.zip(finding.last_sequence) {
        parts.push(format!("sequence {}", run_text(first, last)));
    }
    if !finding.detail.is_empty() {
        parts.push(finding.detail.clone());
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::super::findings::BootState;
    use super::*;

    /// Whoever may write to the topic chooses these.
    #[test]
    fn what_a_topic_says_of_itself_is_shown_as_text() {
        const TEXT: &str = "\x1b[2J\u{202e}a\ncomplete: \u{9b}";
        let boot = BootLine {
            source: TEXT.to_owned(),
            boot: TEXT.to_owned(),
            state: BootState::Open,
            events: 1,
            first_sequence: Some(1),
            last_sequence: Some(1),
            first: None,
            last_control: None,
            last_digest: None,
            settled: 1,
            summed: 0,
            open: 0,
            refused: 0,
            degraded: false,
            uncovered: 0,
        };
        let finding = Finding {
            kind: FindingKind::Altered,
            source: TEXT.to_owned(),
            boot: TEXT.to_owned(),
            first_sequence: None,
            last_sequence: None,
            events: 1,
            detail: TEXT.to_owned(),
        };
        let verdict = Verdict {
            boots: vec![boot],
            findings: vec![finding],
            notes: vec![TEXT.to_owned()],
            ..Verdict::default()
        };
        let text = |format| {
            let mut out = Vec::new();
            verdict.write(format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let table = text(VerdictFormat::Table);
        let hidden = |c: &char| *c != '\n' && names::shown(&format!("a{c}")).contains("u{");
        assert_eq!(table.chars().find(hidden), None, "{table}");
        assert!(!table.lines().any(|line| line.starts_with("complete")), "{table}");
        let json = text(VerdictFormat::Json);
        assert_eq!(json.chars().find(hidden), None, "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["notes"][0], TEXT);
    }
}
