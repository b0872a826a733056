//! What the demo says at its end: what happened, the table, what holds, the bill, where to look, and the line of numbers.

use super::bill::Bill;
use super::checks::{billed, checks, verified};
use super::departments::Departments;
use super::figures::Figures;
use super::key_record::KeyRecord;
use super::last_run::LastRunFolder;
use super::look_around::look_around;
use super::options::Options;
use super::picture::table_lines;
use super::screen::Screen;
use super::stage::Stage;
use super::style::Emphasis;
use super::table::{legend, table};

/// What the end is told with.
pub(super) struct Ending<'a> {
    pub(super) options: &'a Options,
    pub(super) folder: &'a LastRunFolder,
    pub(super) departments: &'a Departments,
    pub(super) screen: &'a Screen,
    pub(super) record: &'a KeyRecord,
    /// The acts as they went, where they do not stand above already.
    pub(super) acts: &'a [String],
}

impl Ending<'_> {
    /// Whether all is accounted for, and the lines that say it.
    pub(super) fn tell(&self, stage: &Stage, figures: &Figures) -> anyhow::Result<(bool, String)> {
        let (columns, styles) = (self.screen.columns(), self.screen.styles());
        let tally = stage.finance.tally();
        let bill = Bill::make(self.folder)?;
        let mut found = checks(stage.witnesses(), figures, &tally).to_vec();
        found.extend([verified(&stage.verdict()?), billed(&bill, figures)]);
        found.extend(self.record.checks(&tally));
        let holds = figures.agree() && found.iter().all(|check| check.holds);

        let callers = table_lines(&table(&tally, self.departments, columns), styles);
        let legend = legend().into_iter().map(|line| styles.paint(Emphasis::Quiet, &line)).collect();
        let checks = found.iter().map(|check| check.line(styles)).collect();
        let bill = [table_lines(&bill.table(columns)?, styles), bill.notes()].concat();
        let commands = look_around(&self.options.typed, self.folder, self.screen.line_columns());
        let sections = [
            ("What happened", self.acts.to_vec()),
            ("Who used what", [callers, legend].concat()),
            ("What holds", checks),
            ("The bill, with a price list of the demo's own", bill),
            ("Look around: the ledgers are kept until the next demo", commands),
        ];
        let sections = sections.into_iter().filter(|(_, lines)| !lines.is_empty()).map(|(heading, lines)| {
            format!("{}\n{}\n\n", styles.paint(Emphasis::Heading, heading), lines.join("\n"))
        });
        let emphasis = if holds { Emphasis::Holds } else { Emphasis::Fails };
        let begin = if self.acts.is_empty() { "\n" } else { "" };
        Ok((
            holds,
            format!("{begin}{}{}", sections.collect::<String>(), styles.paint(emphasis, &figures.proof())),
        ))
    }
}
