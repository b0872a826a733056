//! A small file system of its own for a ledger: a tmpfs in a mount namespace, which only processes
//! started here see, and which goes with them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::sidecar::{Sidecar, binary, serve_arguments};

/// The volume, as long as this lives.
pub(crate) struct Volume {
    /// Holds the namespace; ends when its input does.
    holder: Child,
    input: Option<ChildStdin>,
    mount: tempfile::TempDir,
}

impl Volume {
    /// `None`, said aloud, if this user may not mount.
    pub(crate) fn new(mib: u64) -> Option<Volume> {
        let mount = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m tmpfs \"$1\" && echo mounted && exec cat");
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(mount.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut holder) = holder else {
            crate::skip::test("unshare is not installed");
            return None;
        };
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "mounted\n" {
            holder.wait().unwrap();
            crate::skip::test(crate::skip::NO_MOUNT);
            return None;
        }
        let input = holder.stdin.take();
        Some(Volume { holder, input, mount })
    }

    /// A command that sees the volume.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string(), "--", binary()]);
        command
    }

    fn ledger(&self) -> PathBuf {
        self.mount.path().join("ledger")
    }

    /// A sidecar whose ledger is on the volume.
    pub(crate) fn serve(&self, upstream: SocketAddr, arguments: &[&str]) -> Sidecar {
        let mut command = self.command();
        serve_arguments(&mut command, upstream, &self.ledger(), arguments);
        Sidecar::run(&mut command)
    }

    /// `tokenweir events` of that ledger.
    pub(crate) fn event_lines(&self) -> Vec<String> {
        let output = self.command().arg("events").arg("--ledger").arg(self.ledger()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// The other file on the volume, as this process sees it.
    fn filler(&self) -> PathBuf {
        let mount = self.mount.path().strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(mount).join("filler")
    }

    /// Writes another file until nothing more fits. Returns how many bytes did.
    pub(crate) fn fill(&self) -> u64 {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        let (mut bytes, mut piece) = (0, 1 << 20);
        while piece > 0 {
            match filler.write(&vec![b'x'; piece]) {
                Ok(written) if written > 0 => bytes += written as u64,
                _ => piece /= 2,
            }
        }
        bytes
    }

    /// Deletes that file.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.holder.wait();
    }
}
