//! Says which tests did not run, or not wholly, and why.
//!
//! libtest knows no test that finds out while it runs that it cannot, counts it as passed, and shows nothing
//! of what it prints. So each test program lists them under its result, and `tests/zz_skipped.rs`, which
//! cargo runs last, lists those of the whole run. Only this file says SKIPPED; `zz_skipped` holds that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::parent_id;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

/// Names a file to which every test program of a run adds; else cargo's process id does.
const FILE: &str = "TOKENWEIR_TEST_SKIPPED";

/// Why the long form of a test did not run.
const LONG: &str = "the long form; TOKENWEIR_LONG=1 runs it";

/// What a test lacks that no broker but a real one can do.
pub(crate) const NO_BROKER: &str = "a real broker; tests/kafka/run starts one";

/// How much of a test did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Whole,
    Part,
}

/// A test that did not run, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Skipped {
    extent: Extent,
    why: String,
    /// The program and the test in it.
    test: String,
}

/// The test that calls this did not run.
#[track_caller]
pub(crate) fn test(why: impl Display) {
    note(Extent::Whole, &why, Location::caller());
}

/// A part of the test that calls this did not run.
#[track_caller]
pub(crate) fn part(why: impl Display) {
    note(Extent::Part, &why, Location::caller());
}

/// Whether long forms run too.
pub(crate) fn is_long() -> bool {
    std::env::var_os("TOKENWEIR_LONG").is_some_and(|value| value == "1")
}

/// [`is_long`] of a test that has a short form as well, which is noted where only that runs.
#[track_caller]
pub(crate) fn long() -> bool {
    if !is_long() {
        note(Extent::Part, &LONG, Location::caller());
    }
    is_long()
}

/// [`is_long`] of a test that has no short form, which is noted where it does not run.
#[track_caller]
pub(crate) fn long_test() -> bool {
    if !is_long() {
        note(Extent::Whole, &LONG, Location::caller());
    }
    is_long()
}

/// What a test lacks that wants a file system of its own.
pub(crate) const NO_MOUNT: &str = "nothing can be mounted here (it takes root and unshare)";

/// This test ran on a broker that is only played.
#[track_caller]
pub(crate) fn no_broker() {
    part(NO_BROKER);
}

/// This test needs the recordings of the service's own bill, which are not public.
#[track_caller]
pub(crate) fn no_recordings() {
    test("the recordings are absent; TOKENWEIR_SHARED names their folder");
}

/// What this program has noted so far.
static NOTED: Mutex<BTreeSet<Skipped>> = Mutex::new(BTreeSet::new());

fn note(extent: Extent, why: &dyn Display, caller: &Location<'_>) {
    static AT_EXIT: Once = Once::new();
    let thread = std::thread::current();
    // libtest names its threads after the tests, but for `--test-threads=1`.
    let test = thread.name().filter(|name| *name != "main");
    let test = test.map_or_else(|| format!("{}:{}", caller.file(), caller.line()), str::to_owned);
    println!("SKIPPED: {why}");
    let skipped =
        Skipped { extent, why: why.to_string(), test: format!("{} {test}", env!("CARGO_CRATE_NAME")) };
    if NOTED.lock().unwrap_or_else(PoisonError::into_inner).insert(skipped.clone()) {
        add(&skipped);
    }
    AT_EXIT.call_once(|| at_exit(print_noted));
}

extern "C" fn print_noted() {
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    print(&list(&noted));
}

/// What the whole run has noted is printed when this program ends, instead of what it has noted itself.
pub(crate) fn list_the_run_at_exit() {
    extern "C" fn print_run() {
        let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let run = noted.into_iter().chain(of_the_run()).collect();
        let said = list(&run);
        print(if said.is_empty() { "No test says that it did not run, or not wholly.\n" } else { &said });
    }
    at_exit(print_run);
}

/// libtest captures what its macros print, and ends the program itself: only what is written past them,
/// and by the C library's leave, stands under the result.
fn at_exit(then: extern "C" fn()) {
    // SAFETY: `then` lives as long as the program and unwinds into nothing: it only formats and writes.
    assert_eq!(unsafe { libc::atexit(then) }, 0);
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The list, as people read it: what did not run at all, then what did not run wholly, each by its reason.
fn list(skipped: &BTreeSet<Skipped>) -> String {
    let mut text = String::new();
    let whole = "did not run, and count as passed";
    for (extent, what) in [(Extent::Whole, whole), (Extent::Part, "ran in part")] {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for one in skipped.iter().filter(|one| one.extent == extent) {
            reasons.entry(&one.why).or_default().push(&one.test);
        }
        // A test may have several reasons.
        let tests = reasons.values().flatten().collect::<BTreeSet<_>>().len();
        if tests > 0 {
            text += &format!("{tests} {what}:\n");
        }
        for (why, tests) in reasons {
            text += &format!("  {why}\n");
            tests.iter().for_each(|test| text += &format!("      {test}\n"));
        }
    }
    if text.is_empty() { text } else { format!("{text}\n") }
}

/// The file that the programs of this run share: the environment's, or one that carries the name of the cargo
/// that started them. `None` for a program that somebody else started.
fn file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os(FILE) {
        return Some(file.into());
    }
    let parent = parent_id();
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(") ")?;
    // Field 22 is when it started: a number that comes again belongs to another process.
    let started = rest.split(' ').nth(19)?;
    let cargo = name.rsplit_once('(')?.1.starts_with("cargo");
    cargo.then(|| folder().join(format!("{parent}-{started}")))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped")
}

/// Adds a line to the run's file, in one write: other programs may do the same.
fn add(skipped: &Skipped) {
    let Some(file) = file() else { return };
    let Skipped { extent, why, test } = skipped;
    let line = format!("{}\t{why}\t{test}\n", if *extent == Extent::Whole { "whole" } else { "part" });
    let added = fs::create_dir_all(folder()).and_then(|()| {
        let mut file = fs::File::options().append(true).create(true).open(&file)?;
        file.write_all(line.as_bytes())
    });
    added.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// What the run has noted, and lets go of what older runs have left.
fn of_the_run() -> BTreeSet<Skipped> {
    let Some(file) = file() else { return BTreeSet::new() };
    let text = fs::read_to_string(&file).unwrap_or_default();
    if std::env::var_os(FILE).is_none() {
        let _ = fs::remove_dir_all(folder());
    }
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            let extent = if fields.next()? == "whole" { Extent::Whole } else { Extent::Part };
            Some(Skipped { extent, why: fields.next()?, test: fields.next()? })
        })
        .collect()
}
