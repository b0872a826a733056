//! A value that is read from a file, and read again while calls use it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::reload::{Fingerprint, Reloaded};

/// Something that is made from the text of a file.
pub trait FromFile: Sized {
    /// Longer files are refused.
    const BYTES_MAX: u64;

    /// Makes it.
    ///
    /// # Errors
    /// Says what is wrong with the text; the file is named by who asks.
    fn parse(text: &str) -> Result<Self, String>;

    /// Whether it may take the place of what was in force before.
    ///
    /// # Errors
    /// Says why not; the file is named by who asks.
    fn may_follow(&self, _before: &Self) -> Result<(), String> {
        Ok(())
    }
}

/// A value, and the file that it comes from.
#[derive(Debug)]
pub struct Reload<T> {
    path: Option<PathBuf>,
    value: Reloaded<T>,
}

impl<T: FromFile> Reload<T> {
    /// A value that stays as it is.
    ///
    /// # Errors
    /// As [`FromFile::parse`].
    pub fn fixed(text: &str) -> Result<Reload<T>, String> {
        Ok(Reload { path: None, value: Reloaded::new(fingerprint(text), T::parse(text)?) })
    }

    /// The value in a file.
    ///
    /// # Errors
    /// If the file cannot be read, is too long, or makes no sense; names the file.
    pub fn file(path: &Path) -> Result<Reload<T>, String> {
        let text = read(path, T::BYTES_MAX).map_err(|problem| named(path, &problem))?;
        let fixed = Reload::fixed(&text).map_err(|problem| named(path, &problem))?;
        Ok(Reload { path: Some(path.to_owned()), ..fixed })
    }

    /// The value now.
    pub fn current(&self) -> Arc<T> {
        self.value.current()
    }

    /// Reads the file again. True if it says something else than before.
    ///
    /// # Errors
    /// As [`Reload::file`]; the value stays what it was.
    pub fn read_again(&self) -> Result<bool, String> {
        let Some(path) = &self.path else { return Ok(false) };
        let make = |text: &str, before: &T| {
            let value = T::parse(text)?;
            value.may_follow(before).map(|()| value)
        };
        let text = read(path, T::BYTES_MAX).map_err(|problem| named(path, &problem))?;
        let replaced = self.value.replace(fingerprint(&text), |before| make(&text, before));
        replaced.map_err(|problem| named(path, &problem))
    }
}

fn named(path: &Path, problem: &str) -> String {
    format!("{} {problem}", path.display())
}

fn fingerprint(text: &str) -> Fingerprint {
    Fingerprint::of([text.as_bytes()])
}

fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > bytes_max {
        return Err(format!("is longer than {bytes_max} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Number(u32);

    impl FromFile for Number {
        const BYTES_MAX: u64 = 8;

        fn parse(text: &str) -> Result<Number, String> {
            text.trim().parse().map(Number).map_err(|_| format!("{text:?} is no number"))
        }

        fn may_follow(&self, before: &Number) -> Result<(), String> {
            if self.0 < before.0 { Err(format!("is less than {}", before.0)) } else { Ok(()) }
        }
    }

    #[test]
    fn what_makes_no_sense_leaves_the_old_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let error = Reload::<Number>::file(&path).unwrap_err();
        assert!(error.contains("number cannot be read"), "{error}");
        std::fs::write(&path, "1").unwrap();
        let number = Reload::<Number>::file(&path).unwrap();
        assert_eq!(number.read_again(), Ok(false));
        std::fs::write(&path, "2\n").unwrap();
        assert_eq!((number.read_again(), number.current().0), (Ok(true), 2));
        for (bad, needle) in [
            ("x", "no number"),
            ("1", "number is less than 2"),
            ("123456789", "longer than 8 bytes"),
            ("\0\u{e9}\u{e9}\u{e9}\u{e9}", "longer"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = number.read_again().unwrap_err();
            assert!(error.contains(needle) && error.contains("number"), "{error}");
            assert_eq!(number.current().0, 2);
        }
        std::fs::write(&path, b"\xff").unwrap();
        assert!(number.read_again().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(number.read_again().is_err());
        assert_eq!(number.current().0, 2);
        std::fs::write(&path, "3").unwrap();
        assert_eq!((number.read_again(), number.current().0), (Ok(true), 3));
        assert_eq!(Reload::<Number>::fixed("4").unwrap().read_again(), Ok(false));
    }
}
