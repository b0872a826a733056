//! The commit and the compiler of a build, as constants of the one crate that asks: `main.rs`.
//!
//! A build script would say the same, but whatever hangs on it is compiled anew with each commit, the library first. A
//! macro is expanded when its crate is compiled for another reason: daily work costs nothing, and what is said is
//! the state that the binary was linked from.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro::TokenStream;

/// The commit that is built, where there is no git: set by who builds from an archive, such as the image.
const COMMIT: &str = "TOKENWEIR_COMMIT";
/// When it was committed, in seconds since 1970: the variable that reproducible builds agree on.
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Characters of a commit's name that is given: SHA-256 has 64, and a word may follow.
const COMMIT_CHARS_MAX: usize = 80;

/// `(commit, committed_s, compiler)`: two options, a text and an `i64`, and a text.
#[proc_macro]
pub fn build_stamp(_: TokenStream) -> TokenStream {
    let code = match stamp() {
        // The variables are named, so that the crate is compiled again when they change.
        Ok(stamp) => format!("{{ let _ = (option_env!({COMMIT:?}), option_env!({EPOCH:?})); {stamp} }}"),
        Err(problem) => format!("compile_error!({problem:?})"),
    };
    code.parse().unwrap_or_default()
}

fn stamp() -> Result<String, String> {
    let git = std::env::var_os("CARGO_MANIFEST_DIR").and_then(|dir| of_git(&PathBuf::from(dir)));
    let (commit, committed_s) = chosen(|name| std::env::var(name).ok(), git)?;
    Ok(format!("({commit:?}, {committed_s:?}, {:?})", compiler()))
}

/// The environment is believed first, then git.
fn chosen(
    env: impl Fn(&str) -> Option<String>,
    git: Option<(String, String)>,
) -> Result<(Option<String>, Option<i64>), String> {
    let (commit, committed) = git.unzip();
    let commit = plain(COMMIT, env(COMMIT))?.or(commit);
    let committed = plain(EPOCH, env(EPOCH))?.or(committed);
    let committed_s = committed.map(|text| text.parse()).transpose();
    Ok((commit, committed_s.map_err(|_| format!("{EPOCH} is no number of seconds"))?))
}

/// The value of a variable; one that is empty counts as not set.
fn plain(name: &str, value: Option<String>) -> Result<Option<String>, String> {
    let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok(None) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
    if text.len() > COMMIT_CHARS_MAX || !text.bytes().all(plain) {
        return Err(format!("{name} is not allowed: up to {COMMIT_CHARS_MAX} letters, digits, - . _ and +"));
    }
    Ok(Some(text))
}

/// The commit of the checkout whose root this is, and when it was made. A folder within another repository, such as an
/// archive that was unpacked there, has none.
fn of_git(root: &Path) -> Option<(String, String)> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).arg("--no-optional-locks").args(arguments);
        said(git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE"))
    };
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let last = git(&["log", "-1", "--format=%H %ct"])?;
    let (commit, committed) = last.split_once(' ')?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let commit = if is_clean { commit.to_owned() } else { format!("{commit}-dirty") };
    Some((commit, committed.to_owned()))
}

/// The compiler is the process that expands this.
fn compiler() -> String {
    let version = std::env::current_exe().ok().and_then(|rustc| said(Command::new(rustc).arg("--version")));
    version.filter(|version| version.starts_with("rustc ")).unwrap_or_else(|| "rustc unknown".to_owned())
}

/// Runs a program and returns what it prints; `None`: it is not there, or failed.
fn said(program: &mut Command) -> Option<String> {
    let output = program.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may stop and say why
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_asked_before_git() {
        let git = || Some(("abc-dirty".to_owned(), "7".to_owned()));
        let of = |commit: &str, epoch: &str, git| {
            let env = |name: &str| Some(if name == COMMIT { commit } else { epoch }.to_owned());
            chosen(env, git)
        };
        assert_eq!(of("", "", git()), Ok((Some("abc-dirty".to_owned()), Some(7))));
        assert_eq!(of("v1-g12", "9", git()), Ok((Some("v1-g12".to_owned()), Some(9))));
        assert_eq!(chosen(|_| None, None), Ok((None, None)));
        for (commit, epoch) in
            [("a b", ""), ("\"", ""), ("", "soon"), (&*"a".repeat(COMMIT_CHARS_MAX + 1), "")]
        {
            assert!(of(commit, epoch, None).is_err(), "{commit} {epoch}");
        }
    }

    #[test]
    fn a_checkout_has_a_commit_and_a_folder_within_it_has_none() {
        let root = std::env::temp_dir().join(format!("build-stamp-{}", std::process::id()));
        std::fs::create_dir_all(root.join("within")).unwrap();
        let git = |arguments: &str| {
            let mut git = Command::new("git");
            git.arg("-C").arg(&root).args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "commit.gpgsign=false",
            ]);
            said(git.args(arguments.split(' ')).env("GIT_COMMITTER_DATE", "@1764530000 +0100"))
        };
        std::fs::write(root.join("file"), "1").unwrap();
        // Without git there is nothing to ask.
        if git("init -q").is_some() && git("add file").is_some() && git("commit -q -m one").is_some() {
            let (commit, committed) = of_git(&root).unwrap();
            assert!(commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
            assert_eq!(committed, "1764530000");
            assert_eq!(of_git(&root.join("within")), None, "it belongs to what lies around it");
            std::fs::write(root.join("new"), "not known to git").unwrap();
            assert_eq!(of_git(&root).unwrap().0, commit);
            std::fs::write(root.join("file"), "2").unwrap();
            assert_eq!(of_git(&root).unwrap().0, format!("{commit}-dirty"));
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
