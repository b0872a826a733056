//! How a command ends that did not do its work: what it says, where, and with which exit code.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use strum::VariantNames;

use super::subcommand::{Subcommand, examples_of};
use crate::config::{self, ConfigError};
use metering::names;

/// Failed while running.
pub(super) const FAILED: u8 = 1;
/// The command line was wrong.
pub(super) const USAGE: u8 = 2;
/// `verify`, `reconcile`, `close` or `open` found something.
pub(super) const FOUND: u8 = 3;
/// Something of the input was left out, or the range is not wholly there.
pub(super) const INCOMPLETE: u8 = 4;
/// The configuration was wrong (`EX_CONFIG` of sysexits.h).
pub(super) const BAD_CONFIG: u8 = 78;

/// Columns that a line of an error begins with where it goes on from the one above.
const HANGING: &str = "      ";

/// A terminal narrower than this is not written for.
const COLUMNS_MIN: usize = 40;

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// One error, or a head and one a line.
    pub(super) message: String,
    /// Whether a line follows that can be copied.
    example: bool,
}

pub(super) type Done = Result<ExitCode, Failure>;

impl Failure {
    /// It failed while running.
    pub(super) fn run(message: impl Into<String>) -> Failure {
        Failure { code: FAILED, message: message.into(), example: false }
    }

    /// The command line is wrong, or does not say enough.
    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure { code: USAGE, message: message.into(), example: true }
    }

    /// The same failure without a line to copy: the message is enough.
    pub(super) fn alone(self) -> Failure {
        Failure { example: false, ..self }
    }

    /// The configuration is wrong.
    pub(super) fn config(errors: &[ConfigError]) -> Failure {
        let lines: Vec<String> = errors.iter().map(|error| format!("\n  {}", indented(error))).collect();
        let message = format!("the configuration has {}{}", plural(errors.len(), "error"), lines.concat());
        // Of something that is missing altogether an example helps; else the errors say what is allowed.
        let example = errors.iter().all(|error| error.problem.starts_with("is not set"));
        Failure { code: BAD_CONFIG, message, example }
    }

    /// The configuration file cannot be read.
    pub(super) fn config_file(message: String) -> Failure {
        Failure { code: BAD_CONFIG, message, example: false }
    }

    /// The same failure, as an error of a setting.
    pub(super) fn of(self, thing: &str) -> Failure {
        Failure { message: format!("{thing}: {}", self.message), ..self }
    }

    /// Says it on standard error, for the command of that name.
    pub(super) fn tell(&self, command: Subcommand) -> ExitCode {
        let command = command.name();
        let mut text = format!("tokenweir {command}: {}\n", names::shown_lines(&self.message));
        if self.example {
            text.push_str(&example_text(command));
        }
        let _ = io::stderr().write_all(wrapped(&text, columns()).as_bytes());
        ExitCode::from(self.code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        let advice = advice(&error).map_or(String::new(), |advice| format!("; {advice}"));
        Failure::run(format!("{error:#}{advice}"))
    }
}

/// The remedy for an error of the ledger's directory.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    use crate::ledger::OpenError;
    use crate::report::ReportError;
    use metering::caller::SecretError;
    error.chain().find_map(|cause| {
        let open = cause.downcast_ref::<OpenError>().or_else(|| match cause.downcast_ref::<ReportError>() {
            Some(ReportError::Open(error)) => Some(error),
            _ => None,
        });
        let of_key = || match cause.downcast_ref::<SecretError>() {
            Some(SecretError::File { source, .. }) => Some(config::advice(source.raw_os_error())),
            _ => None,
        };
        match open {
            Some(error @ (OpenError::Io { .. } | OpenError::Database { .. })) => {
                Some(config::advice(error.errno()))
            }
            Some(_) => None,
            None => of_key(),
        }
    })
}

/// Prints a warning on standard error.
pub(super) fn warn(command: Subcommand, text: &str) {
    let line = format!("tokenweir {}: {}\n", command.name(), names::shown_lines(text));
    let line = wrapped(&line, columns());
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Prints the message of clap: help and version on standard output, everything else on standard error, with a line
/// that can be copied.
pub(super) fn parsing(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.kind() == ErrorKind::InvalidUtf8 {
        return not_utf8(arguments);
    }
    // A word that belongs to no flag may be a secret whose flag does not exist: secrets have none.
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && !argument.starts_with('-')
    {
        let command = arguments.get(1).and_then(|name| name.to_str()).unwrap_or_default();
        let text = format!(
            "error: an argument that belongs to no flag, and is not repeated: it may be a secret\n\n\
             For more information, try 'tokenweir {command} --help'.\n{}",
            example_text(command)
        );
        let _ = io::stderr().write_all(text.as_bytes());
        return ExitCode::from(USAGE);
    }
    // Help and version are errors to clap too, with exit code 0. A closed pipe is no news.
    let _ = error.print();
    let command = arguments.get(1).and_then(|name| name.to_str()).unwrap_or_default();
    let more = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => String::new(),
        ErrorKind::InvalidSubcommand => format!("\nCommands: {}\n", Subcommand::VARIANTS.join(", ")),
        _ if error.use_stderr() => example_text(command),
        _ => String::new(),
    };
    let _ = io::stderr().write_all(more.as_bytes());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
}

fn not_utf8(arguments: &[OsString]) -> ExitCode {
    let before = arguments.iter().take_while(|argument| argument.to_str().is_some()).last();
    let flag = before.and_then(|flag| flag.to_str()).filter(|flag| flag.starts_with("--"));
    let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
    let of = flag.map_or(String::new(), |flag| format!(", the value of {},", name(flag)));
    let _ = writeln!(io::stderr(), "error: an argument{of} is not UTF-8");
    ExitCode::from(USAGE)
}

fn example_text(command: &str) -> String {
    examples_of(command).first().map_or(String::new(), |line| format!("\nFor example:\n  {line}\n"))
}

/// `1 error`, `2 errors`.
pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// An error of more than one line.
fn indented(error: &ConfigError) -> String {
    error.to_string().replace('\n', &format!("\n{HANGING}"))
}

/// Columns of the terminal that standard error is; `None` if it is none.
fn columns() -> Option<usize> {
    let size = io::stderr().is_terminal().then(|| terminal_size::terminal_size_of(io::stderr())).flatten();
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width >= COLUMNS_MIN)
}

/// Lines that end where the terminal does, between words; what goes on is set in. Without a terminal a
/// line stays whole, so that it can be searched. So do lines that are there to be copied.
fn wrapped(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let mut out = String::new();
    let (mut width, mut copied) = (0, false);
    for line in text.split_inclusive('\n') {
        copied = copied || line.starts_with("For example:");
        if copied {
            out.push_str(line);
            continue;
        }
        for word in line.split_inclusive(' ') {
            let shown = word.trim_end().chars().count();
            if width > HANGING.len() && width + shown > columns {
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
                out.push_str(HANGING);
                width = HANGING.len();
            }
            out.push_str(word);
            width += word.chars().count();
        }
        width = 0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_the_terminal_does_and_words_stay_whole() {
        let text = "tokenweir serve: the configuration has 1 error\n  --ledger: \"x\" is not allowed; allowed: a path\n\nFor example:\n  a line that is as long as it wants to be, since somebody copies it\n";
        let narrow = wrapped(text, Some(40));
        assert_eq!(
            narrow,
            "tokenweir serve: the configuration has 1\n      error\n  --ledger: \"x\" is not allowed; allowed:\n      a path\n\nFor example:\n  a line that is as long as it wants to be, since somebody copies it\n"
        );
        assert_eq!((wrapped(text, Some(200)), wrapped(text, None)), (text.to_owned(), text.to_owned()));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for columns in 40..100 {
            assert_eq!(words(&wrapped(text, Some(columns))), words(text), "{columns}");
        }
    }

    #[test]
    fn errors_are_counted_as_people_count() {
        let error = |problem: &str| ConfigError { thing: "x".to_owned(), problem: problem.to_owned() };
        assert_eq!(
            Failure::config(&[error("a\nb")]).message,
            "the configuration has 1 error\n  x: a\n      b"
        );
        assert!(
            Failure::config(&[error("a"), error("b")])
                .message
                .starts_with("the configuration has 2 errors\n")
        );
    }
}
