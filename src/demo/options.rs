//! How the demo runs.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shorter, there is no time to take the broker away, kill a sidecar and bring both back.
pub const DURATION_MIN: Duration = Duration::from_secs(5);

/// Longer, the demo would keep more in memory than a demo should: it remembers every call.
pub const DURATION_MAX: Duration = Duration::from_secs(600);

/// How long callers begin calls, unless somebody says otherwise.
pub const DURATION: Duration = Duration::from_secs(20);

/// The same where somebody looks at a page meanwhile.
pub const DURATION_WITH_PAGE: Duration = Duration::from_secs(120);

/// How the demo runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long callers begin calls; [`DURATION_MIN`] to [`DURATION_MAX`].
    pub duration: Duration,
    /// The program whose `serve` is started and killed.
    pub program: PathBuf,
    /// The program as one types it, in lines that can be copied.
    pub typed: PathBuf,
    /// Standard output is a terminal that can move its cursor: the picture is redrawn in place.
    pub terminal: bool,
    /// That terminal shows colours, and nobody asked for none.
    pub colours: bool,
    /// The first sidecar serves its live page.
    pub page: bool,
}

impl Options {
    /// This program, shown on standard output as that allows.
    ///
    /// # Errors
    /// The path of this program is not known.
    pub fn new(duration: Duration) -> std::io::Result<Options> {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        let terminal = std::io::stdout().is_terminal() && is_capable(&variable("TERM"));
        let colours = terminal && variable("NO_COLOR").is_empty();
        let program = std::env::current_exe()?;
        let word = std::env::args_os().next().unwrap_or_default();
        let typed = typed(word, &variable("PATH")).unwrap_or_else(|| program.clone());
        Ok(Options { duration, program, typed, terminal, colours, page: false })
    }
}

/// The terminal can move its cursor and show colours.
fn is_capable(term: &OsString) -> bool {
    !term.is_empty() && term != "dumb"
}

/// The first word of the command line, if a shell finds a program by it.
fn typed(word: OsString, path: &OsString) -> Option<PathBuf> {
    let word = PathBuf::from(word);
    let is_name = word.components().count() == 1 && word.file_name() == Some(word.as_os_str());
    let found = match is_name {
        true => std::env::split_paths(path).any(|folder| folder.join(&word).is_file()),
        false => word.is_file(),
    };
    found.then_some(word)
}

/// A path as a word of a shell.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_to_copy_names_the_program_as_it_was_typed() {
        let found = |word: &str, path: &str| typed(word.into(), &path.into());
        assert_eq!(found("/bin/sh", ""), Some("/bin/sh".into()));
        assert_eq!(found("sh", "/nowhere:/bin"), Some("sh".into()));
        assert_eq!(found("sh", "/nowhere"), None, "the shell would not find it");
        assert_eq!(found("./no-such-program", "/bin"), None);
        assert_eq!(found("", "/bin"), None);
    }

    #[test]
    fn a_terminal_that_cannot_draw_is_given_lines() {
        assert!(is_capable(&"xterm-256color".into()));
        assert!(!is_capable(&"dumb".into()) && !is_capable(&OsString::new()));
    }

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        for (path, word) in
            [("/tmp/a-1", "/tmp/a-1"), ("/tmp/a b", "'/tmp/a b'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
