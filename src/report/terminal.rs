//! The terminal that standard output is.

use std::io::{IsTerminal, stdout};

/// Columns of the terminal that standard output is, or that `COLUMNS` says it is; `None`: it is none.
pub fn terminal_columns() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let size = terminal_size::terminal_size_of(stdout()).filter(|_| stdout().is_terminal());
        size.map(|(width, _)| usize::from(width.0))
    };
    said.or_else(terminal).filter(|columns| *columns > 0)
}

/// Rows of the terminal that standard output is; `None`: it is none.
pub fn terminal_rows() -> Option<usize> {
    let size = terminal_size::terminal_size_of(stdout()).filter(|_| stdout().is_terminal());
    size.map(|(_, height)| usize::from(height.0)).filter(|rows| *rows > 0)
}
