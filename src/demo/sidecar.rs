//! The two sidecars: one in this process, and one in a process of its own, which can be killed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::departments::Departments;
use crate::admin::AdminPage;
use crate::proxy::{self, Removals, Upstream};
use crate::tee::SampleRatio;
use crate::telemetry::PerCaller;
use crate::telemetry::log::LogCalls;
use crate::{ledger, publish, serve};
use metering::caller::{CallerSource, HopTest, Reload, UserIds};
use metering::meter::Rules;

/// Any free loopback port.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// More than the callers ever have open.
const CALLS_MAX: usize = 1_024;

/// Prompts of the fixtures are a few kB each.
const PROMPT_MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// Some of them in a demo, so that the topic has control events too.
const CONTROL_INTERVAL: Duration = Duration::from_secs(5);

/// The longest demo stores some 50 MB of events. What a ledger keeps in reserve is in proportion.
const LEDGER_BYTES_MAX: u64 = 128 << 20;

/// For streams to end, and again for events to be delivered, when the sidecar stops. The show has
/// waited for both before.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A sidecar says where it listens within this; recovery of a small ledger takes milliseconds.
const START_MAX: Duration = Duration::from_secs(30);

/// A sidecar that is told to stop has ended within this: it waits for streams and for deliveries, each at most so long by
/// default.
const END_MAX: Duration = Duration::from_secs(60);

/// It is looked so often whether it has.
const END_POLL: Duration = Duration::from_millis(20);

/// Lines of a sidecar's log that are kept to explain a failure.
const LOG_LINES_MAX: usize = 20;

/// A line longer than this is not one of our log lines; it is cut.
const LOG_LINE_BYTES_MAX: u64 = 64 * 1024;

/// The settings of every sidecar of the demo.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) upstream: String,
    pub(super) ledger: PathBuf,
    pub(super) brokers: String,
    pub(super) topic: &'static str,
    pub(super) shared_secret: &'static str,
    pub(super) departments: Departments,
    /// The file that they come from.
    pub(super) caller_map: PathBuf,
    /// Whether it serves the live page.
    pub(super) page: bool,
}

impl Settings {
    /// The settings of the command line, for [`serve::start`].
    fn config(&self) -> anyhow::Result<serve::Config> {
        let secrets = Reload::fixed(self.shared_secret).map_err(anyhow::Error::msg)?;
        Ok(serve::Config {
            proxy: proxy::Config {
                listen: LOOPBACK,
                threads: 1,
                upstreams: vec![Upstream::new(None, &self.upstream, Rules { end_of_turn: true })?],
                listen_tls: None,
                tls: None,
                removals: Removals::default(),
                drain_timeout: STOP_MAX,
                reject_when_full: false,
                limits: proxy::Limits::default(),
                policy: proxy::Policy::default(),
            },
            admin_listen: LOOPBACK,
            admin_page: if self.page { AdminPage::On } else { AdminPage::Off },
            ledger: ledger::LedgerOptions {
                slots: CALLS_MAX,
                control_interval: CONTROL_INTERVAL,
                publishes: true,
                max_bytes: LEDGER_BYTES_MAX,
                ..ledger::LedgerOptions::new(&self.ledger)
            },
            capture: None,
            publish_capture: None,
            publish: Some(publish::KafkaConfig {
                brokers: self.brokers.clone(),
                topic: self.topic.to_owned(),
                auth: publish::Auth::None,
                properties: Vec::new(),
            }),
            caller: serve::CallerConfig {
                sources: vec![CallerSource::ApimSubscription],
                tags: Vec::new(),
                trust: HopTest::SharedSecret(Arc::new(secrets)),
                gateway_app_ids: Vec::new(),
                user_ids: UserIds::Hash,
                hash_key: None,
                map: self.departments.map(),
            },
            metrics_per_caller: PerCaller::Off,
            log_calls: LogCalls::On,
            drift_sample: SampleRatio::default(),
            prompt_memory_bytes: PROMPT_MEMORY_BYTES,
            answer_memory_bytes: PROMPT_MEMORY_BYTES,
            flush_timeout: STOP_MAX,
        })
    }

    /// The command line of `tokenweir serve`.
    fn arguments(&self) -> Vec<String> {
        let flags = [
            ("--upstream", self.upstream.clone()),
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--admin-listen", "127.0.0.1:0".to_owned()),
            ("--admin-page", if self.page { "on" } else { "off" }.to_owned()),
            ("--ledger", self.ledger.display().to_string()),
            ("--ledger-max-bytes", format!("{}MiB", LEDGER_BYTES_MAX >> 20)),
            ("--kafka-brokers", self.brokers.clone()),
            ("--kafka-topic", self.topic.to_owned()),
            ("--control-interval", format!("{}s", CONTROL_INTERVAL.as_secs())),
            ("--caller-trust", "shared-secret".to_owned()),
            ("--caller-map-file", self.caller_map.display().to_string()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        std::iter::once("serve".to_owned()).chain(flags).collect()
    }
}

/// A sidecar in this process, put together as `serve` does it.
#[derive(Debug)]
pub(super) struct InProcessSidecar(serve::RunningSidecar);

impl InProcessSidecar {
    /// Starts it; returns when it listens.
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<InProcessSidecar> {
        let config = settings.config()?;
        // It makes runtimes of its own, which must not be done on a thread that drives one.
        Ok(InProcessSidecar(spawn_blocking(move || serve::start(config)).await??))
    }

    /// Where it accepts calls.
    pub(super) fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// The address of its live page, if it has one.
    pub(super) fn page_url(&self) -> Option<&str> {
        self.0.page_url()
    }

    /// As `serve` does on SIGTERM: an error if anything is left to deliver.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        spawn_blocking(move || self.0.stop()).await?
    }
}

/// The line with which `serve` says that it accepts calls.
#[derive(Deserialize)]
struct Listening {
    message: String,
    listen: SocketAddr,
}

/// A running sidecar process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct SidecarProcess {
    child: Child,
    addr: SocketAddr,
}

impl SidecarProcess {
    /// Starts `program serve` and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not listen in time; then with the end of its log.
    pub(super) async fn start(program: &Path, settings: &Settings) -> anyhow::Result<SidecarProcess> {
        let mut child = Command::new(program)
            .args(settings.arguments())
            .env("TOKENWEIR_CALLER_SHARED_SECRET", settings.shared_secret)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let (found, listening) = oneshot::channel();
        let log = Arc::new(Mutex::new(VecDeque::with_capacity(LOG_LINES_MAX)));
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            // Ends when the process does: nothing else holds the other end of the pipe.
            std::thread::Builder::new()
                .name("demo-log".into())
                .spawn(move || read_log(stderr, &log, found))?;
        }
        // From here on an early return kills the child.
        let mut process = SidecarProcess { child, addr: SocketAddr::from(([0, 0, 0, 0], 0)) };
        match tokio::time::timeout(START_MAX, listening).await {
            Ok(Ok(addr)) => process.addr = addr,
            _ => {
                let lines = log.lock().unwrap_or_else(PoisonError::into_inner);
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                bail!("the second sidecar did not listen; its log ends:\n{}", lines.join(""));
            }
        }
        Ok(process)
    }

    /// Where it accepts calls.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// It does not end in time, or says that something went wrong.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = tokio::time::Instant::now() + END_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{status}");
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < deadline, "it did not end");
            tokio::time::sleep(END_POLL).await;
        }
    }

    /// `kill -9`: no destructor of the sidecar runs, nothing is flushed.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill -9 of the second sidecar")?;
        self.child.wait().context("waiting for the second sidecar")?;
        Ok(())
    }
}

impl Drop for SidecarProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a sidecar's log to its end, so that it never waits for us: reports its address once, and
/// keeps the last lines.
fn read_log(stderr: ChildStderr, log: &Mutex<VecDeque<String>>, found: oneshot::Sender<SocketAddr>) {
    let mut reader = BufReader::new(stderr);
    let mut found = Some(found);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LOG_LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return,
        }
        if found.is_some()
            && let Ok(Listening { message, listen }) = serde_json::from_slice(&line)
            && message == "listening"
            && let Some(found) = found.take()
        {
            let _ = found.send(listen);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES_MAX {
            log.pop_front();
        }
        log.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings() -> Settings {
        Settings {
            upstream: "http://127.0.0.1:9".into(),
            ledger: "/nowhere".into(),
            brokers: "127.0.0.1:9".into(),
            topic: "t",
            shared_secret: "s",
            departments: Departments::default(),
            caller_map: "/nowhere.csv".into(),
            page: false,
        }
    }

    /// A shell script in place of the program.
    async fn start(script: &str) -> anyhow::Result<SidecarProcess> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        SidecarProcess::start(&program, &settings()).await
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn the_address_is_read_from_the_log_and_kill_kills() {
        let process = block_on(start(
            r#"echo 'starting' >&2
            echo "{\"message\":\"listening\",\"listen\":\"127.0.0.1:81\",\"boot\":\"$1\"}" >&2
            exec sleep 60"#,
        ));
        let process = process.unwrap();
        assert_eq!(process.addr(), SocketAddr::from(([127, 0, 0, 1], 81)));
        let proc = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(proc.exists());
        process.kill().unwrap();
        assert!(!proc.exists());
    }

    #[test]
    fn a_sidecar_that_is_told_to_stop_ends_by_itself() {
        let listening = r#"echo "{\"message\":\"listening\",\"listen\":\"127.0.0.1:81\"}" >&2"#;
        let stop = |script: &str| {
            let script = format!("trap '{script}' TERM\n{listening}\nwhile :; do sleep 0.01; done");
            block_on(async { start(&script).await.unwrap().stop().await })
        };
        stop("exit 0").unwrap();
        assert!(stop("exit 3").unwrap_err().to_string().contains('3'));
    }

    #[test]
    fn a_sidecar_that_ends_is_explained() {
        let error = block_on(start("echo \"no such flag: $2\" >&2; exit 2")).unwrap_err();
        assert!(error.to_string().contains("no such flag: --upstream"), "{error}");
    }
}
