//! What this program was built from: told by `--version`, by the first line of the log and by a metric, so that two
//! builds of one version can be told apart.

use std::sync::OnceLock;

use jiff::Timestamp;

/// What stands where nothing is known, as in a build from an archive.
const UNKNOWN: &str = "unknown";

/// The commit and the compiler of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The commit, with `-dirty` if the sources were changed since.
    pub commit: Option<&'static str>,
    /// When it was committed, in seconds since 1970.
    pub committed_s: Option<i64>,
    /// The compiler, as it says itself.
    pub compiler: &'static str,
}

/// Of this process; the binary knows it, the library is told.
static OF_PROCESS: OnceLock<BuildInfo> = OnceLock::new();

impl BuildInfo {
    /// The version of the program.
    pub const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    /// Says what this process was built from; the first word counts.
    pub fn set(self) {
        let _ = OF_PROCESS.set(self);
    }

    /// What this process was built from.
    pub fn get() -> BuildInfo {
        OF_PROCESS.get().copied().unwrap_or_default()
    }

    /// The commit, or a word for none.
    pub fn commit(&self) -> &'static str {
        self.commit.unwrap_or(UNKNOWN)
    }

    /// When it was committed, in RFC 3339, or a word for not known.
    pub fn committed_at(&self) -> String {
        let at = self.committed_s.and_then(|seconds| Timestamp::from_second(seconds).ok());
        at.map_or_else(|| UNKNOWN.to_owned(), |at| at.to_string())
    }

    /// The compiler's version alone, such as `1.95.0`.
    pub fn rustc(&self) -> &'static str {
        self.compiler.split(' ').nth(1).unwrap_or(UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said_to_be() {
        let none = BuildInfo::default();
        assert_eq!((none.commit(), &*none.committed_at(), none.rustc()), (UNKNOWN, UNKNOWN, UNKNOWN));
        let known = BuildInfo {
            commit: Some("d309cf4-dirty"),
            committed_s: Some(1_764_530_000),
            compiler: "rustc 1.95.0 (59807616e 2026-04-14)",
        };
        assert_eq!((known.commit(), known.rustc()), ("d309cf4-dirty", "1.95.0"));
        assert_eq!(known.committed_at(), "2025-11-30T19:13:20Z");
    }
}
