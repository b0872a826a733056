//! Standard output: a picture that is redrawn in place on a terminal, else lines of a log.

use std::io::{self, Write};
use std::time::Duration;

use super::options::Options;
use super::picture::Picture;
use super::style::Styles;
use crate::report::{terminal_columns, terminal_rows};

/// What is no terminal has the room of a usual one.
const COLUMNS: usize = 80;

/// A terminal that does not say how high it is.
const ROWS: usize = 24;

/// Writes to standard output.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    styles: Styles,
    /// Lines of the last picture, to be drawn over.
    drawn: usize,
}

impl Screen {
    pub(super) fn new(options: &Options) -> Screen {
        Screen { terminal: options.terminal, styles: Styles { colours: options.colours }, drawn: 0 }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(super) fn styles(&self) -> Styles {
        self.styles
    }

    /// The columns that there are.
    pub(super) fn columns(&self) -> usize {
        terminal_columns().unwrap_or(COLUMNS)
    }

    /// The columns that a line to copy must fit, if any: in a log it stays whole.
    pub(super) fn line_columns(&self) -> Option<usize> {
        self.terminal.then(|| self.columns())
    }

    /// Time between two pictures, or between two lines of figures.
    pub(super) fn interval(&self) -> Duration {
        if self.terminal { Duration::from_millis(250) } else { Duration::from_secs(5) }
    }

    /// Shows one moment on a terminal.
    pub(super) fn draw(&mut self, picture: &Picture<'_>) -> io::Result<()> {
        let rows = terminal_rows().unwrap_or(ROWS).saturating_sub(1);
        let lines = picture.lines(rows, self.styles);
        // Without line wrap (DECAWM), so that a narrow terminal has as many lines as we count.
        let text = format!("\x1b[?7l{}\x1b[?7h", self.over_the_last(&lines.join("\n")));
        self.drawn = lines.len();
        write(&text)
    }

    /// A line of the log, where there is no terminal.
    pub(super) fn log(&mut self, elapsed: Duration, text: &str) -> io::Result<()> {
        match self.terminal {
            true => Ok(()),
            false => self.say(&format!("{:5.1} s  {text}", elapsed.as_secs_f64())),
        }
    }

    /// Writes lines that stay. On a terminal they replace the last picture.
    pub(super) fn say(&mut self, lines: &str) -> io::Result<()> {
        match self.terminal {
            true => {
                let text = self.over_the_last(lines);
                self.drawn = 0;
                write(&text)
            }
            false => write(&format!("{lines}\n")),
        }
    }

    /// Lines that are written over the last picture, each to its end, and nothing left below (ECMA-48 CPL, EL, ED). The
    /// screen is never cleared as a whole: some terminals would keep each picture to be scrolled back to.
    fn over_the_last(&self, lines: &str) -> String {
        let back = if self.drawn > 0 { format!("\x1b[{}F", self.drawn) } else { String::new() };
        let lines = lines.replace('\n', "\x1b[K\n");
        format!("{back}{lines}\x1b[J\n")
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_written_over_the_last_one() {
        let mut screen = Screen { terminal: true, styles: Styles { colours: false }, drawn: 0 };
        assert_eq!(screen.over_the_last("a\nb"), "a\x1b[K\nb\x1b[J\n");
        screen.drawn = 2;
        assert!(screen.over_the_last("c").starts_with("\x1b[2Fc"));
    }
}
