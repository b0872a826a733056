//! A secret, and where it came from: one from a file is read again, so that it can be replaced
//! while the process runs.

use std::fmt;
use std::path::{Path, PathBuf};

/// Files of secrets are small; a longer one is a mistake.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A password or connection string. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    file: Option<PathBuf>,
}

impl Secret {
    /// Wraps a secret that stays as it is.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret { value: secret.into(), file: None }
    }

    /// Reads a secret from a file, without white space at its ends.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or is no text of at most 64 KiB. The error names the file.
    pub fn from_file(path: &Path) -> Result<Secret, String> {
        Ok(Secret { value: read(path)?, file: Some(path.to_owned()) })
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// The file it came from, if it did.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads the file again, if there is one. Returns whether the secret has changed. `problem` says
    /// what is wrong with a new one.
    ///
    /// # Errors
    /// As [`Secret::from_file`], or if there is a problem; the secret stays as it was.
    pub(super) fn reload(&mut self, problem: impl Fn(&str) -> Option<String>) -> Result<bool, String> {
        let Some(path) = &self.file else { return Ok(false) };
        let value = read(path)?;
        if let Some(problem) = problem(&value) {
            return Err(format!("{} {problem}", path.display()));
        }
        let changed = value != self.value;
        self.value = value;
        Ok(changed)
    }
}

/// The text of a small file without white space at its ends.
pub(super) fn read(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        value => Ok(value.to_owned()),
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Secret {
        Secret::new(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(f, "Secret({})", path.display()),
            None => f.write_str("Secret(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(Secret::from_file(&path).unwrap_err().contains("secret cannot be read"));
        std::fs::write(&path, " one\n").unwrap();
        let mut secret = Secret::from_file(&path).unwrap();
        let reload = |secret: &mut Secret| secret.reload(|new| (new == "three").then(|| "is odd".to_owned()));
        assert_eq!((reload(&mut secret), secret.value()), (Ok(false), "one"));
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!((reload(&mut secret), secret.value()), (Ok(true), "two"));
        std::fs::write(&path, "three").unwrap();
        assert!(reload(&mut secret).unwrap_err().ends_with("secret is odd"));
        for bad in [String::new(), "\n".to_owned(), "x".repeat(FILE_BYTES_MAX as usize + 1)] {
            std::fs::write(&path, bad).unwrap();
            assert!(reload(&mut secret).is_err());
            assert_eq!(secret.value(), "two");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(reload(&mut secret).is_err());
        assert!(!format!("{secret:?} {:?}", Secret::new("hush")).contains("two"));
        assert_eq!(reload(&mut Secret::new("same")), Ok(false));
    }
}
