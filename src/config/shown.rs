//! The part of a refused value that an error may repeat.
//!
//! An error names the value where that helps. But what is refused may be a secret in the wrong place: a password in
//! a URL, the secret itself where the path of its file belongs, a connection string anywhere. So a value is repeated
//! only as far as it has the shape of what belongs there, and what is left out is said.

use std::path::{Path, PathBuf};

/// Stands for a value that is not repeated.
pub(super) const HIDDEN: &str = "the value";

/// A number, a word or an address that is longer than this is none.
const WORD_CHARS_MAX: usize = 40;

/// Characters of connection strings, URLs with a password, and keys in PEM.
const OF_SECRETS: [&str; 6] = ["@", ";", "=", "?", "-----", "\n"];

/// Texts that credentials begin with: tokens (a JWT), and keys of OpenAI.
const BEGIN_SECRETS: [&str; 3] = ["eyJ", "sk-", "Bearer "];

/// Paths that people give with the host of a service.
const USUAL_PATHS: [&str; 4] = ["", "/openai", "/openai/v1", "/v1"];

/// A word of a list that is no secret.
pub(super) fn word(text: &str) -> String {
    quoted(text, harmless(text))
}

/// `NAME=WORD`, or less of it, that is no secret.
pub(super) fn pair(text: &str) -> String {
    quoted(text, text.split_once('=').map_or(harmless(text), |(name, word)| harmless(name) && harmless(word)))
}

/// The text in quotes if it may be told.
pub(super) fn quoted(text: &str, told: bool) -> String {
    if told { format!("{text:?}") } else { HIDDEN.to_owned() }
}

/// It is as short as a word, and has nothing in it that credentials have.
pub(super) fn harmless(text: &str) -> bool {
    text.chars().count() <= WORD_CHARS_MAX
        && !OF_SECRETS.iter().any(|part| text.contains(part))
        && !BEGIN_SECRETS.iter().any(|start| text.starts_with(start))
}

/// `[NAME=]scheme://host[:port]`, as much as there is of it. User, password, path and query are not repeated.
pub(super) fn upstream(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let Some((start, rest)) = text.split_once("://") else {
        return quoted(text, text.parse::<u16>().is_ok());
    };
    let (authority, more) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (userinfo, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("..@", host));
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~=".contains(&byte);
    let fits = start.len() <= 2 * WORD_CHARS_MAX
        && start.bytes().all(plain)
        && name.bytes().all(in_host)
        && (port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 6 || host.ends_with(']'));
    if !fits {
        return HIDDEN.to_owned();
    }
    let more = if USUAL_PATHS.contains(&more.trim_end_matches('/')) { more } else { "/.." };
    format!("\"{start}://{userinfo}{host}{more}\"")
}

/// An error's text without the value that it is about, unless that is harmless.
pub(super) fn without(problem: &str, text: &str) -> String {
    if harmless(text) { problem.to_owned() } else { problem.replace(&format!("{text:?}"), HIDDEN) }
}

/// The path of a file that holds no secret; `None`: the text is none, and looks like a secret itself.
pub(super) fn file_path(text: &str) -> Option<PathBuf> {
    let rooted = text.starts_with('/') && !OF_SECRETS.iter().any(|part| text.contains(part));
    if rooted || harmless(text) { Some(PathBuf::from(text)) } else { secret_path(text) }
}

/// The path of a file that holds a secret; `None`: the text is none, and may be the secret itself.
pub(super) fn secret_path(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    // Even the path of a file that does not exist leads through a folder that does, if it was meant as a path.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let is_path = path.exists() || path.is_symlink() || folder.is_some_and(Path::is_dir);
    is_path.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_shown_without_what_may_be_a_secret() {
        for (text, shown) in [
            ("ftp://h", "\"ftp://h\""),
            ("https://h/openai", "\"https://h/openai\""),
            ("https://h/hush", "\"https://h/..\""),
            ("5", "\"5\""),
            ("eu=https://h:443/", "\"eu=https://h:443/\""),
            ("https://[::1]:80/x", "\"https://[::1]:80/..\""),
            ("https://user:hush@h:1/x?k=hush#hush", "\"https://..@h:1/..\""),
            ("https://hush@h", "\"https://..@h\""),
            ("https://h?hush", "\"https://h/..\""),
            ("https://u:hush", "the value"),
            ("hush", "the value"),
            ("hush=", "the value"),
            ("key:hush://h", "the value"),
            ("hush hush://h", "the value"),
            ("", "\"\""),
        ] {
            assert_eq!(upstream(text), shown, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told_unless_its_name_looks_like_a_secret() {
        for fine in
            ["ca.pem", "certs/absent/ca.pem", "/etc/tokenweir/certificates/that/are/not/mounted/ca.pem"]
        {
            assert_eq!(file_path(fine), Some(PathBuf::from(fine)));
        }
        for secret in ["password=hush", "sk-hush", "/nowhere/hush;key=hush", &"hush".repeat(20)] {
            assert_eq!(file_path(secret), None, "{secret}");
        }
    }

    #[test]
    fn a_secret_where_its_file_belongs_is_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        assert!(secret_path(&text(&file)).is_some(), "its folder is there");
        assert!(secret_path("/none").is_some() && secret_path("./none").is_some());
        for secret in ["hunter2", "c2VjcmV0/c2VjcmV0==", "-----BEGIN PRIVATE KEY-----\nMII/x\n"] {
            assert_eq!(secret_path(secret), None);
        }
    }
}
