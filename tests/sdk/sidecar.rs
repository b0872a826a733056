//! A `tokenweir serve` process without a broker, and the events that it leaves.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokenweir::usage::{CloudEvent, EventType, Usage};

/// Far more than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The process; killed when dropped.
pub(crate) struct Sidecar {
    child: Child,
    pub(crate) url: String,
}

impl Sidecar {
    pub(crate) fn start(service: SocketAddr, ledger: &Path, secret: &str, more: &[&str]) -> Sidecar {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--caller-trust", "shared-secret"])
            .args(more)
            .args(["--upstream", &format!("http://{}", service)])
            .arg("--ledger")
            .arg(ledger)
            .env("TOKENWEIR_CALLER_SHARED_SECRET", secret)
            .stderr(Stdio::piped())
            .spawn()
            .expect("serve");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            (line["message"] == "listening").then(|| line["listen"].as_str().map(str::to_owned))?
        });
        // The log must go on being read, or serve would wait for us.
        std::thread::spawn(move || log.for_each(drop));
        let url = format!("http://{}", address.expect("serve says where it listens"));
        Sidecar { child, url }
    }

    /// SIGTERM: it settles what is open and ends with 0.
    pub(crate) fn terminate(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        let ended = wait(&mut self.child, PATIENCE);
        assert!(ended.is_some_and(|status| status.success()), "serve ended with {ended:?}");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ledger's usage events by caller, as `tokenweir events` prints them.
pub(crate) fn usage_events(ledger: &Path) -> HashMap<String, Vec<Usage>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenweir"));
    let output = command.arg("events").arg("--ledger").arg(ledger).output().expect("events");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut events: HashMap<String, Vec<Usage>> = HashMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let event: CloudEvent<serde_json::Value> = serde_json::from_str(line).expect("an event a line");
        if event.kind == EventType::Usage {
            let usage: Usage = serde_json::from_value(event.data).expect("usage");
            events.entry(usage.caller.id.to_string()).or_default().push(usage);
        }
    }
    events
}

/// Waits for a process at most so long.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
