//! The trunk in ARCHITECTURE.md is what happens: each of its files runs in one streamed call, and each is called by
//! one above it, but for those with which a thread begins.
//!
//! The call goes through `serve` under callgrind, which notes every function that runs, the file of each of its
//! lines (inlined ones too), and who calls whom. Needs `valgrind`; without, only the names are checked.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::support::fake_service::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};
use crate::support::files::root;
use crate::support::http::{connect, post, read_chunk, read_head};
use crate::support::sidecar::{Sidecar, binary, serve_arguments, usage_events, wait_for};
use crate::support::skip;

/// Lines without tests: an afternoon of reading, and a third of all there are.
const LINES_MAX: usize = 14_000;

/// Apart enough that each delta arrives by itself.
const PACE: Duration = Duration::from_millis(50);

/// Words of one token and of several, and one that is cut.
const TEXTS: [&str; 5] = ["A weir", " measures", " unmeasurab", "leness:", " 12345 tokens."];

/// A file of the trunk, by its path from the root.
struct TrunkFile {
    path: String,
    /// A thread begins in it, so nothing calls it.
    is_first: bool,
}

/// The files in the block below the heading: a line has a thread's name or nothing, a folder, and names without `.rs`.
fn trunk() -> Vec<TrunkFile> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## The trunk\n").nth(1).expect("there is a trunk");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut files = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("    ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let folder = words.iter().position(|word| word.ends_with('/')).expect("a line has a folder");
        for (place, name) in words[folder + 1..].iter().enumerate() {
            let path = format!("{}{name}.rs", words[folder]);
            files.push(TrunkFile { path, is_first: folder > 0 && place == 0 });
        }
    }
    files
}

#[test]
fn the_trunk_is_read_in_an_afternoon() {
    let trunk = trunk();
    assert!(trunk.len() > 30, "only {} files: the search is broken", trunk.len());
    let lines = |file: &TrunkFile| {
        let text = fs::read_to_string(root().join(&file.path));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.path));
        text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count()
    };
    let lines: usize = trunk.iter().map(lines).sum();
    println!("{} files, {lines} lines", trunk.len());
    assert!(lines <= LINES_MAX, "{lines} lines: what is not on the way of every call belongs elsewhere");
}

#[test]
fn a_streamed_call_goes_along_the_trunk() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip::test("valgrind is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(profile) = profile_of_a_call(dir.path()) else {
        return skip::test("callgrind may not be told what to do");
    };
    let calls = Calls::read(&profile);
    let trunk = trunk();
    for (place, file) in trunk.iter().enumerate() {
        assert!(calls.in_file(&file.path).next().is_some(), "{} does not run in a streamed call", file.path);
        let called = || trunk[..place].iter().any(|above| calls.reach(&above.path, &file.path));
        assert!(file.is_first || called(), "no file above {} calls it", file.path);
    }
}

/// Sends one streamed call through `serve`, and returns what callgrind saw of it. `None`: it could not be told.
fn profile_of_a_call(dir: &Path) -> Option<String> {
    let service = fake_service::start(Arc::new(|_, to| {
        to.write_all(STREAM_HEAD.as_bytes())?;
        for text in TEXTS {
            std::thread::sleep(PACE);
            write_chunk(to, delta(text).as_bytes())?;
        }
        write_chunk(to, stop().as_bytes())?;
        write_end(to)
    }));
    let (profile, ledger) = (dir.join("profile"), dir.join("ledger"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--demangle=no"]);
    valgrind.arg(format!("--callgrind-out-file={}", profile.display())).arg(binary());
    serve_arguments(&mut valgrind, service, &ledger, &[]);
    let sidecar = Sidecar::run(&mut valgrind);
    let tell = |what: &str| {
        let told = Command::new("callgrind_control").args([what, &sidecar.pid().to_string()]).output();
        told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains("OK."))
    };
    if !tell("--zero") {
        return None;
    }
    let mut connection = connect(sidecar.addr);
    let body = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let request = post("/openai/deployments/d/chat/completions", &[], body);
    connection.get_mut().write_all(&request).unwrap();
    assert_eq!(read_head(&mut connection).unwrap().unwrap().status(), 200);
    while read_chunk(&mut connection).unwrap().is_some() {}
    wait_for("the event", || usage_events(&ledger).pop());
    if !tell("--dump") {
        return None;
    }
    let dumped = PathBuf::from(format!("{}.1", profile.display()));
    Some(fs::read_to_string(dumped).unwrap())
}

/// A function, by the numbers of its file and its name in the profile.
type Function = (u32, u32);

/// Which functions ran, in which of our files their lines lie, and whom they called.
#[derive(Default)]
struct Calls {
    files: HashMap<Function, HashSet<String>>,
    called: HashMap<Function, HashSet<Function>>,
}

impl Calls {
    /// Reads a profile ("Callgrind Format Specification" in valgrind's manual). A name stands in full where it comes
    /// first, and by its number from then on.
    fn read(profile: &str) -> Calls {
        let mut calls = Calls::default();
        let mut paths: HashMap<u32, String> = HashMap::new();
        // A callee's file is named where it is another than that of the line before, which may be an inlined one.
        let (mut file, mut line_file, mut callee_file, mut function) = (0, 0, None, (0, 0));
        for line in profile.lines() {
            let Some((key, value)) = line.split_once("=(") else { continue };
            let Some((number, name)) = value.split_once(')') else { continue };
            let Ok(number) = number.parse() else { continue };
            if let Some(path) = name.strip_prefix(' ').filter(|_| !key.ends_with("fn")) {
                paths.insert(number, path.to_owned());
            }
            match key {
                "fl" => (file, line_file) = (number, number),
                "fn" => {
                    function = (file, number);
                    calls.note(function, paths.get(&file));
                }
                "fi" | "fe" => {
                    line_file = number;
                    calls.note(function, paths.get(&number));
                }
                "cfi" | "cfl" => callee_file = Some(number),
                "cfn" => {
                    let callee = (callee_file.take().unwrap_or(line_file), number);
                    calls.called.entry(function).or_default().insert(callee);
                }
                _ => {}
            }
        }
        calls
    }

    /// A function has lines in a file, which counts if it is ours.
    fn note(&mut self, function: Function, path: Option<&String>) {
        let ours = path.and_then(|path| Path::new(path).strip_prefix(root()).ok());
        let files = self.files.entry(function).or_default();
        files.extend(ours.map(|path| path.display().to_string()));
    }

    fn in_file(&self, path: &str) -> impl Iterator<Item = Function> {
        self.files.iter().filter(move |(_, files)| files.contains(path)).map(|(function, _)| *function)
    }

    /// A function with lines in one file calls one with lines in another, itself or through libraries.
    fn reach(&self, from: &str, to: &str) -> bool {
        let mut next: Vec<Function> = self.in_file(from).collect();
        let mut seen: HashSet<Function> = next.iter().copied().collect();
        if next.iter().any(|function| self.files[function].contains(to)) {
            return true; // inlined
        }
        while let Some(function) = next.pop() {
            for callee in self.called.get(&function).into_iter().flatten() {
                let files = self.files.get(callee);
                if files.is_some_and(|files| files.contains(to)) {
                    return true;
                }
                let in_a_library = files.is_none_or(HashSet::is_empty);
                if in_a_library && seen.insert(*callee) {
                    next.push(*callee);
                }
            }
        }
        false
    }
}
