//! A copy of the sources that may be broken, and a target directory of its own in which only this
//! crate is compiled: what others have compiled is linked in.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What may take long: a compilation from nothing, or a test.
const COMPILED_WITHIN: Duration = Duration::from_secs(1_200);
const TESTED_WITHIN: Duration = Duration::from_secs(240);

/// What a test says of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Hung,
    /// It proves nothing.
    DoesNotCompile,
}

pub(crate) struct Copy {
    pub(crate) sources: PathBuf,
    target: PathBuf,
}

impl Copy {
    pub(crate) fn make(root: &Path) -> Copy {
        let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
        let (sources, target) = (own.join("crate"), own.join("target"));
        let _ = fs::remove_dir_all(&sources);
        copy(root, &sources, &|name| name == "target" || name == ".git", &|from, to| {
            fs::copy(from, to).unwrap();
        });
        if !target.exists() {
            let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("release");
            for part in ["build", "deps", ".fingerprint"] {
                let to = target.join("release").join(part);
                copy(
                    &built.join(part),
                    &to,
                    &|name| name.contains("tokenweir") || name.contains("metering"),
                    &|from, to| {
                        fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).unwrap();
                    },
                );
            }
        }
        Copy { sources, target }
    }

    /// Writes a file of the sources; returns what it was.
    pub(crate) fn write(&self, file: &str, text: &str) -> String {
        let path = self.sources.join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, text).unwrap();
        before
    }

    /// Compiles, and runs these tests of a target, one after the other. Returns what they said, too.
    pub(crate) fn run(&self, target: &str, tests: &[&str]) -> (Verdict, String) {
        let mut compile = self.cargo(target);
        match output(compile.arg("--no-run"), COMPILED_WITHIN) {
            Some((true, _)) => {}
            Some((false, text)) => return (Verdict::DoesNotCompile, text),
            None => return (Verdict::DoesNotCompile, "compiling takes too long".to_owned()),
        }
        let mut test = self.cargo(target);
        match output(test.args(["--", "--exact", "--test-threads=1"]).args(tests), TESTED_WITHIN) {
            None => (Verdict::Hung, String::new()),
            Some((true, text)) => {
                let passed = format!("{} passed", tests.len());
                assert!(text.contains(&passed), "{target} has not all of {tests:?}: {text}");
                (Verdict::Passed, text)
            }
            Some((false, text)) => {
                assert!(text.contains("test result: FAILED") || text.contains("signal:"), "{text}");
                (Verdict::Failed, text)
            }
        }
    }

    fn cargo(&self, target: &str) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(&self.sources)
            .args(["test", "--release", "--offline", "--target-dir"])
            .arg(&self.target);
        // Quick to compile is all that counts here; what is slow in a call is C, and stays optimised.
        for fast in ["opt-level=0", "codegen-units=16", "debug=0"] {
            for package in ["metering", "tokenweir"] {
                cargo.arg("--config").arg(format!("profile.release.package.{package}.{fast}"));
            }
        }
        match target {
            "lib" => cargo.args(["--package", "tokenweir", "--lib"]),
            "metering" => cargo.args(["--package", "metering", "--lib"]),
            program => cargo.args(["--test", program]),
        };
        cargo.env("CARGO_INCREMENTAL", "1").env_remove("TOKENWEIR_LONG").env_remove("CARGO_TARGET_DIR");
        cargo
    }
}

/// Gives every file but those to skip, and what is below those, to `one`.
fn copy(from: &Path, to: &Path, skip: &impl Fn(&str) -> bool, one: &impl Fn(&Path, &Path)) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name();
        if skip(&name.to_string_lossy()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(&name), skip, one);
        } else {
            one(&entry.path(), &to.join(&name));
        }
    }
}

/// Whether a command succeeded, and what it said; `None` if it had to be killed.
fn output(command: &mut Command, within: Duration) -> Option<(bool, String)> {
    let said = tempfile::tempfile().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said.try_clone().unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > within {
            // The test runs in a process of its own, in cargo's group.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut text = String::new();
    std::io::Seek::rewind(&mut &said).unwrap();
    std::io::Read::read_to_string(&mut &said, &mut text).unwrap();
    status.map(|status| (status.success(), text))
}
