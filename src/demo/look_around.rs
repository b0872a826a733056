//! Commands that show what the demo has left, to be copied.

use std::path::{Path, PathBuf};

use super::bill::BY;
use super::last_run::LastRunFolder;
use super::options::shell_word;

/// Continued lines begin here.
const INDENT: &str = "      ";

/// The commands, each in a line, or in lines of at most so many columns where it can be.
pub(super) fn look_around(typed: &Path, folder: &LastRunFolder, columns: Option<usize>) -> Vec<String> {
    let [first, second] = folder.ledgers();
    let ledger = |dir: &PathBuf| format!("--ledger {}", shell_word(dir));
    let both = || vec![ledger(&first), ledger(&second)];
    let cost = [
        format!("--by {BY}"),
        format!("--prices {}", shell_word(&folder.prices())),
        format!("--rates {}", shell_word(&folder.rates())),
    ];
    let commands =
        [("events", vec![ledger(&first)]), ("verify", both()), ("report", [both(), cost.to_vec()].concat())];
    let command = |(name, parts): (&str, Vec<String>)| {
        folded(&format!("  {} {name}", shell_word(typed)), &parts, columns)
    };
    commands.into_iter().map(command).collect()
}

/// A command whose parts go over as many lines as they need.
fn folded(command: &str, parts: &[String], columns: Option<usize>) -> String {
    let (mut text, mut used) = (command.to_owned(), command.chars().count());
    for part in parts {
        let width = part.chars().count();
        // The sign that a line goes on needs a place as well.
        if columns.is_some_and(|columns| used + 1 + width + 2 > columns) {
            text.push_str(&format!(" \\\n{INDENT}{part}"));
            used = INDENT.len() + width;
        } else {
            text.push_str(&format!(" {part}"));
            used += 1 + width;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_unless_a_terminal_is_too_narrow() {
        let parts = ["--ledger /tmp/one".to_owned(), "--ledger /tmp/two".to_owned()];
        assert_eq!(folded("  x verify", &parts, None), "  x verify --ledger /tmp/one --ledger /tmp/two");
        assert_eq!(
            folded("  x verify", &parts, Some(32)),
            "  x verify --ledger /tmp/one \\\n      --ledger /tmp/two"
        );
    }
}
