//! The screen of the demo: a table of callers, and one line on what is going on.

use std::io::{self, Write};
use std::time::Duration;

use strum::VariantArray;

use super::tally::{CallerRow, TopicTally};
use crate::report::{Importance, TextColumn, TextTable, terminal_columns};
use metering::names;
use metering::usage::{Quality, Side};

/// The figures of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Calls that the callers began, responses that they asked for in sessions, and bills that they were shown.
    pub(super) sent: u64,
    /// Usage events in both ledgers.
    pub(super) stored: u64,
    /// Distinct usage events read from the topic.
    pub(super) delivered: u64,
    /// Events in the table.
    pub(super) counted: u64,
    /// Calls whose client is still reading.
    pub(super) open: u64,
}

impl Figures {
    /// The four numbers are one.
    pub(super) fn agree(&self) -> bool {
        [self.stored, self.delivered, self.counted].iter().all(|&number| number == self.sent)
    }

    /// `sent N = stored N = delivered N = counted N`, with `!=` where two neighbours differ.
    pub(super) fn proof(&self) -> String {
        let mut line = format!("sent {}", self.sent);
        let mut before = self.sent;
        for (name, number) in
            [("stored", self.stored), ("delivered", self.delivered), ("counted", self.counted)]
        {
            let sign = if number == before { "=" } else { "!=" };
            line.push_str(&format!(" {sign} {name} {number}"));
            before = number;
        }
        line
    }
}

/// Writes to standard output: redrawn in place on a terminal, else a line now and then.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    /// Lines of the last picture, to be drawn over.
    drawn: usize,
}

impl Screen {
    pub(super) fn new(terminal: bool) -> Screen {
        Screen { terminal, drawn: 0 }
    }

    /// Time between two pictures.
    pub(super) fn interval(&self) -> Duration {
        if self.terminal { Duration::from_millis(250) } else { Duration::from_secs(2) }
    }

    /// Shows one moment.
    pub(super) fn draw(
        &mut self,
        elapsed: Duration,
        now: &str,
        figures: &Figures,
        tally: &TopicTally,
    ) -> io::Result<()> {
        let Figures { sent, stored, delivered, open, .. } = figures;
        let waiting = stored.saturating_sub(*delivered);
        let counts =
            format!("sent {sent}  open {open}  stored {stored}  delivered {delivered}  waiting {waiting}");
        let seconds = elapsed.as_secs_f64();
        if !self.terminal {
            return self.say(&format!("{seconds:5.1} s  {counts}  {now}"));
        }
        // Without line wrap (DECAWM), so that a narrow terminal has as many lines as we count.
        let picture = format!("\x1b[?7l{}{counts}\n{seconds:5.1} s  {now}\n\x1b[?7h", table(tally));
        let mut out = io::stdout().lock();
        self.clear(&mut out)?;
        out.write_all(picture.as_bytes())?;
        self.drawn = picture.matches('\n').count();
        out.flush()
    }

    /// Writes lines that stay. On a terminal they replace the last picture.
    pub(super) fn say(&mut self, lines: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.clear(&mut out)?;
        writeln!(out, "{lines}")?;
        out.flush()
    }

    /// Goes back to where the last picture began and clears the screen from there (ECMA-48 CPL, ED).
    fn clear(&mut self, out: &mut impl Write) -> io::Result<()> {
        match std::mem::take(&mut self.drawn) {
            0 => Ok(()),
            lines => write!(out, "\x1b[{lines}F\x1b[J"),
        }
    }
}

/// The chargeback table, whose columns are named as those of `report` are.
pub(super) fn table(tally: &TopicTally) -> String {
    let mut total = CallerRow::default();
    for (_, row) in tally.rows() {
        total.calls += row.calls;
        total.input += row.input;
        total.output += row.output;
        for (sum, calls) in total.qualities.iter_mut().zip(row.qualities) {
            *sum += calls;
        }
    }
    let rows: Vec<(String, CallerRow)> =
        tally.rows().map(|(caller, row)| (names::shown(caller).into_owned(), *row)).collect();
    let names = rows.iter().map(|(caller, _)| caller.clone()).chain(["total".to_owned()]).collect();
    let column =
        |header: String, numbers, cells| TextColumn { header, numbers, importance: Importance::Kept, cells };
    let mut columns = vec![column("caller".to_owned(), false, names)];
    let mut number = |header: String, of: &dyn Fn(&CallerRow) -> u64| {
        let cells = rows.iter().map(|(_, row)| row).chain([&total]).map(|row| of(row).to_string());
        columns.push(column(header, true, cells.collect()));
    };
    number("calls".to_owned(), &|row| row.calls);
    number(Side::Input.as_str().to_owned(), &|row| row.input);
    number(Side::Output.as_str().to_owned(), &|row| row.output);
    for (at, quality) in Quality::VARIANTS.iter().enumerate() {
        number(format!("calls_{}", quality.as_str()), &|row| row.qualities[at]);
    }
    TextTable { columns }.text(terminal_columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_shows_where_numbers_part() {
        let figures = Figures { sent: 7, stored: 7, delivered: 7, counted: 7, open: 1 };
        assert!(figures.agree());
        assert_eq!(figures.proof(), "sent 7 = stored 7 = delivered 7 = counted 7");
        let figures = Figures { delivered: 6, counted: 6, ..figures };
        assert!(!figures.agree());
        assert_eq!(figures.proof(), "sent 7 = stored 7 != delivered 6 = counted 6");
    }
}
