//! The `openai` packages of two languages and the `anthropic` package of one: how each is installed, and the script that calls with its clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::support::packages::{Packages, run};

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
        let folder = self.installed.get_or_init(|| self.packages().installed()).as_deref();
        if folder.is_none() {
            crate::skip::test(format_args!("the SDK that {} calls with could not be installed", self.script));
        }
        folder.map(|folder| Ready { sdk: self, folder })
    }

    fn packages(&self) -> Packages<'_> {
        let scripts = [self.script].into_iter().chain(self.steps.iter().copied()).collect();
        Packages {
            sources: "tests/sdk",
            folder: self.folder,
            scripts,
            pins: self.pins,
            install: self.install,
        }
    }
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
