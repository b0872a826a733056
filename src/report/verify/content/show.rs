//! A verdict on content for people.

use std::io::Write;

use metering::names;
use strum::VariantArray;

use super::content_findings::{ContentFinding, ContentFindingKind, ContentVerdict};
use crate::report::error::ReportError;

/// Findings of one kind that people are shown.
const SHOWN_MAX: usize = 20;

impl ContentVerdict {
    /// Writes the findings, the remarks and the states, each on a line.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub(in super::super) fn write_lines(&self, out: &mut impl Write) -> Result<(), ReportError> {
        for kind in ContentFindingKind::VARIANTS {
            let found: Vec<&ContentFinding> =
                self.findings.iter().filter(|finding| finding.kind == *kind).collect();
            if found.is_empty() {
                continue;
            }
            writeln!(out, "content {}: {} found", kind.as_str(), found.len())?;
            for finding in found.iter().take(SHOWN_MAX) {
                let text = format!("{} {}: {}", finding.source, finding.about, finding.detail);
                writeln!(out, "  {}", names::shown(&text))?;
            }
            if found.len() > SHOWN_MAX {
                writeln!(out, "  and {} more: --format json names them", found.len() - SHOWN_MAX)?;
            }
        }
        for note in &self.notes {
            writeln!(out, "content note: {}", names::shown(note))?;
        }
        for (side, states) in [("requests", &self.requests), ("responses", &self.responses)] {
            let states: Vec<String> =
                states.iter().map(|(state, calls)| format!("{calls} {state}")).collect();
            if !states.is_empty() {
                writeln!(out, "content of {side}: {}", states.join(", "))?;
            }
        }
        Ok(writeln!(out, "{}", self.result())?)
    }

    /// The last line.
    fn result(&self) -> String {
        let read = format!(
            "{} parts with {} bytes, {} opened, of {} calls; {} repeats",
            self.parts, self.bytes, self.opened, self.calls, self.repeats
        );
        if self.complete {
            return format!("content complete: {read}");
        }
        let is_there =
            |kind: &&ContentFindingKind| self.findings.iter().any(|finding| finding.kind == **kind);
        let kinds: Vec<&str> =
            ContentFindingKind::VARIANTS.iter().filter(is_there).map(|kind| kind.as_str()).collect();
        format!("content NOT complete ({}): {read}", kinds.join(", "))
    }
}
