//! Packages of other languages, installed once into a folder under `target/`, and scripts that run there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// pip and npm may have to fetch some 100 MB, for a browser.
const INSTALL_MAX: Duration = Duration::from_secs(300);

/// What is installed, and how.
pub(crate) struct Packages<'a> {
    /// The folder of the repository that has the scripts and the pins.
    pub(crate) sources: &'a str,
    /// Its folder under `target/`.
    pub(crate) folder: &'a str,
    pub(crate) scripts: Vec<&'a str>,
    /// Files that say what is installed.
    pub(crate) pins: &'a [&'a str],
    /// Commands in that folder, which has the scripts and the pins.
    pub(crate) install: &'a [&'a [&'a str]],
}

/// A JOSE library of Python, and the script that reads captured content with it.
pub(crate) fn jose_reader() -> Packages<'static> {
    Packages {
        sources: "tests/sealed",
        folder: "content-jose",
        scripts: vec!["read.py"],
        pins: &["requirements.txt"],
        install: &[
            &["python3", "-m", "venv", "."],
            &["./bin/python", "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"],
        ],
    }
}

impl Packages<'_> {
    /// The folder, with everything in it; `None`, and why on standard output, if something cannot be had.
    pub(crate) fn installed(&self) -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.folder);
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.sources);
        std::fs::create_dir_all(&folder).expect("a folder under target");
        for name in self.pins.iter().chain(&self.scripts) {
            std::fs::copy(sources.join(name), folder.join(name)).expect("a copy");
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

/// Runs a command to its end, or kills it when `limit` is over.
pub(crate) fn run(mut command: Command, limit: Duration) -> std::io::Result<Output> {
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
