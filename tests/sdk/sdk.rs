//! The `openai` packages of two languages and the `anthropic` package of one: how each is installed, and the script that calls with its clients.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// pip and npm may have to fetch some 15 MB.
const INSTALL_MAX: Duration = Duration::from_secs(300);

/// About 170 calls, on a loaded machine.
const CHECK_MAX: Duration = Duration::from_secs(240);

/// Calls that each script makes at the same time, at least.
const AT_ONCE: usize = 50;

/// One call, as the scripts report it.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) caller: String,
    client: String,
    pub(crate) fixture: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) ending: String,
}

/// One language's.
pub(crate) struct Sdk {
    script: &'static str,
    /// Other scripts.
    steps: &'static [&'static str],
    /// Files that say what is installed.
    pins: &'static [&'static str],
    /// Its folder under `target/`.
    folder: &'static str,
    /// What runs the script: in that folder, or from the path.
    program: &'static str,
    /// Commands in that folder, which has the script and the pins.
    install: &'static [&'static [&'static str]],
    /// Where it is, once that is known.
    installed: OnceLock<Option<PathBuf>>,
}

pub(crate) static PYTHON: Sdk = Sdk {
    script: "check.py",
    steps: &["background.py", "media.py", "sessions.py"],
    pins: &["requirements.txt"],
    folder: "sdk-python",
    program: "./bin/python",
    install: &[
        &["python3", "-m", "venv", "."],
        &["./bin/python", "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"],
    ],
    installed: OnceLock::new(),
};

pub(crate) static NODE: Sdk = Sdk {
    script: "check.mjs",
    steps: &["sessions.mjs"],
    pins: &["package.json", "package-lock.json"],
    folder: "sdk-node",
    program: "node",
    install: &[&["npm", "ci", "--no-audit", "--no-fund"]],
    installed: OnceLock::new(),
};

pub(crate) static ANTHROPIC: Sdk = Sdk {
    steps: &[],
    script: "messages.py",
    pins: &["requirements-anthropic.txt"],
    folder: "sdk-anthropic",
    program: "./bin/python",
    install: &[
        &["python3", "-m", "venv", "."],
        &["./bin/python", "-m", "pip", "install", "--quiet", "--requirement", "requirements-anthropic.txt"],
    ],
    installed: OnceLock::new(),
};

impl Sdk {
    /// `None`, noted for the test that asks, if it cannot be had.
    pub(crate) fn ready(&self) -> Option<Ready<'_>> {
        let folder = self.installed.get_or_init(|| self.install()).as_deref();
        if folder.is_none() {
            crate::skip::test(format_args!("the SDK that {} calls with could not be installed", self.script));
        }
        folder.map(|folder| Ready { sdk: self, folder })
    }

    /// Installs it where that was not done before.
    fn install(&self) -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.folder);
        std::fs::create_dir_all(&folder).expect("a folder under target");
        for name in self.pins.iter().chain([&self.script]).chain(self.steps) {
            std::fs::copy(sources().join(name), folder.join(name)).expect("a copy");
        }
        // Making an environment again takes seconds of CPU time, each time.
        let pinned = self.pins.iter().map(|name| std::fs::read_to_string(folder.join(name)).expect("a pin"));
        let (pinned, installed) = (pinned.collect::<String>(), folder.join("installed"));
        if std::fs::read_to_string(&installed).is_ok_and(|text| text == pinned) {
            return Some(folder);
        }
        for words in self.install {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).current_dir(&folder);
            match run(command, INSTALL_MAX) {
                Ok(output) if output.status.success() => {}
                failed => {
                    println!("`{}` failed: {failed:?}", words.join(" "));
                    return None;
                }
            }
        }
        std::fs::write(installed, pinned).expect("a note");
        Some(folder)
    }
}

/// `tests/sdk`.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// One that is installed.
pub(crate) struct Ready<'a> {
    sdk: &'a Sdk,
    folder: &'a Path,
}

impl Ready<'_> {
    /// Runs the script against a base URL and returns the calls that it made. Panics if a client
    /// received anything else than it should.
    pub(crate) fn check(&self, base_url: &str, secret: &str) -> Vec<Call> {
        let calls = self.call_openai(base_url, secret, None);
        let at_once = calls.iter().filter(|call| call.client == "many at once").count();
        assert!(at_once >= AT_ONCE, "it ran to its end");
        calls
    }

    /// The same of embeddings, each of which must be this vector, a JSON list.
    pub(crate) fn embed(&self, base_url: &str, secret: &str, vector: &str) -> Vec<Call> {
        self.call_openai(base_url, secret, Some(vector))
    }

    /// Runs one step of another script, and returns what it prints: one JSON object.
    pub(crate) fn step(&self, script: &str, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.printed(script, arguments)).expect("an object")
    }

    /// Runs another script, and returns what it prints: one JSON object a line.
    pub(crate) fn lines<T: DeserializeOwned>(&self, script: &str, arguments: &[&str]) -> Vec<T> {
        let printed = self.printed(script, arguments);
        printed.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }

    fn call_openai(&self, base_url: &str, secret: &str, vector: Option<&str>) -> Vec<Call> {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/demo");
        let arguments = [base_url, fixtures, secret].into_iter().chain(vector);
        self.call(&arguments.collect::<Vec<_>>())
    }

    /// Runs the script with these arguments and returns the calls that it reports. Panics if it fails.
    pub(crate) fn call<T: DeserializeOwned>(&self, arguments: &[&str]) -> Vec<T> {
        self.lines(self.sdk.script, arguments)
    }

    fn printed(&self, script: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.sdk.program);
        command.arg(script).args(arguments).current_dir(self.folder).env("NO_PROXY", "*");
        // The clients take it from there, if no other is given.
        command.env_remove("ANTHROPIC_API_KEY").env_remove("ANTHROPIC_AUTH_TOKEN");
        let output = run(command, CHECK_MAX).expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} {arguments:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Runs a command to its end, or kills it when `limit` is over.
fn run(mut command: Command, limit: Duration) -> std::io::Result<Output> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = child.id().to_string();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output();
    drop(done);
    let _ = watchdog.join();
    output
}
