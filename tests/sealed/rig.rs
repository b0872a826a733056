//! A sidecar that captures, and who may read what it keeps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::auditor::{Auditor, Contents, spooled};
use super::support::sidecar::{Sidecar, usage_events};

/// A folder with a ledger, a spool and a key.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) auditor: Auditor,
    pub(crate) service: SocketAddr,
}

impl Rig {
    pub(crate) fn new(service: SocketAddr) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let auditor = Auditor::new(dir.path(), "auditor");
        Rig { dir, auditor, service }
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    /// Starts a sidecar that captures both sides, with further flags.
    pub(crate) fn start(&self, more: &[&str]) -> Sidecar {
        self.start_in(more, &[])
    }

    /// The same, in an environment.
    pub(crate) fn start_in(&self, more: &[&str], environment: &[(&str, &Path)]) -> Sidecar {
        let key = self.auditor.public_file.to_str().unwrap();
        let capture = ["--capture", "both", "--capture-key-file", key, "--control-interval", "1s"];
        Sidecar::start_with(self.service, &self.ledger(), &[&capture, more].concat(), environment)
    }

    /// The content of the spool, opened.
    pub(crate) fn contents(&self) -> Contents {
        Contents::open(&[&self.auditor], spooled(&self.ledger()))
    }

    /// The usage events of the ledger.
    pub(crate) fn usage_events(&self) -> Vec<Value> {
        usage_events(&self.ledger())
    }
}
