//! A `tokenweir serve` process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::schema::misfits;
pub(crate) use super::wait::{PATIENCE, wait_for};

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_tokenweir")
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.unwrap().success(), "{name} to {pid}");
}

/// A running sidecar; killed when dropped.
pub(crate) struct Sidecar {
    child: Mutex<Child>,
    pid: u32,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

fn command(upstream: SocketAddr, ledger: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    serve_arguments(&mut command, upstream, ledger, arguments);
    command
}

/// Makes a command run `serve` on free ports.
pub(crate) fn serve_arguments(
    command: &mut Command,
    upstream: SocketAddr,
    ledger: &Path,
    arguments: &[&str],
) {
    command
        .args(["serve", "--upstream", &format!("http://{upstream}")])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .arg("--ledger")
        .arg(ledger)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
}

/// Starts `serve` and kills it after so long, wherever it is by then.
pub(crate) fn stillborn(upstream: SocketAddr, ledger: &Path, arguments: &[&str], life: Duration) {
    let mut child = command(upstream, ledger, arguments).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
}

impl Sidecar {
    /// Starts `serve` on free ports and waits for its start line.
    pub(crate) fn start(upstream: SocketAddr, ledger: &Path, arguments: &[&str]) -> Sidecar {
        Sidecar::start_with(upstream, ledger, arguments, &[] as &[(&str, &str)])
    }

    /// The same, in an environment.
    pub(crate) fn start_with(
        upstream: SocketAddr,
        ledger: &Path,
        arguments: &[&str],
        environment: &[(&str, impl AsRef<OsStr>)],
    ) -> Sidecar {
        let mut command = command(upstream, ledger, arguments);
        Sidecar::run(command.envs(environment.iter().map(|(name, value)| (name, value))))
    }

    /// Runs a command that is, or becomes, `serve`.
    pub(crate) fn run(command: &mut Command) -> Sidecar {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reader = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            })
        };
        let start = wait_for("the start line", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("serve ended at once ({status}): {:?}", log.lock().unwrap());
            }
            let log = log.lock().unwrap();
            let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.into_iter().find(|line| line["message"] == "listening")
        });
        let address = |key: &str| start[key].as_str().unwrap().parse().unwrap();
        let (addr, admin) = (address("listen"), address("admin_listen"));
        let pid = child.id();
        Sidecar { child: Mutex::new(child), pid, addr, admin, log, reader: Some(reader) }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// kill -9. Returns the moments between which it died.
    pub(crate) fn kill(&self) -> (Instant, Instant) {
        let mut child = self.child.lock().unwrap();
        let before = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        (before, Instant::now())
    }

    /// SIGTERM; does not wait.
    pub(crate) fn terminate(&self) {
        signal(self.pid, "TERM");
    }

    /// SIGHUP: files are read again.
    pub(crate) fn hang_up(&self) {
        signal(self.pid, "HUP");
    }

    /// Its exit status, once it has ended.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits for the end and returns the exit code and every log line.
    pub(crate) fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let status = wait_for("serve to end", || self.ended());
        self.reader.take().unwrap().join().unwrap();
        (status.code(), self.log())
    }

    /// SIGTERM; waits for the end and returns the exit code and every log line.
    pub(crate) fn stop(self) -> (Option<i32>, Vec<String>) {
        self.terminate();
        self.wait()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(|error| error.into_inner());
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The number of events that the exit says are left in this ledger.
pub(crate) fn left(log: &[String], ledger: &Path) -> u64 {
    let dir = ledger.display().to_string();
    let line = log.iter().find(|line| line.contains("are not delivered") && line.contains(&dir));
    let line = line.unwrap_or_else(|| panic!("nothing is said of {dir}: {:?}", log.last()));
    let words: Vec<&str> = line.split_whitespace().collect();
    let events = words.iter().position(|&word| word == "events").unwrap();
    words[events - 1].parse().unwrap()
}

/// `tokenweir events`: every stored event, a line each.
pub(crate) fn event_lines(ledger: &Path) -> Vec<String> {
    let output = Command::new(binary()).arg("events").arg("--ledger").arg(ledger).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The same, parsed; each fits the schema that `tokenweir schema` prints.
pub(crate) fn events(ledger: &Path) -> Vec<Value> {
    let events: Vec<Value> =
        event_lines(ledger).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        assert_eq!(misfits(event), [""; 0], "{event}");
    }
    events
}

/// Only the usage events.
pub(crate) fn usage_events(ledger: &Path) -> Vec<Value> {
    let mut events = events(ledger);
    events.retain(|event| event["type"] == "dev.tokenweir.usage.v1");
    events
}

/// `tokenweir verify` finds nothing wrong.
pub(crate) fn verified(ledger: &Path) {
    let output = Command::new(binary()).arg("verify").arg("--ledger").arg(ledger).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}
