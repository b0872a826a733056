//! A test program that can ignore a test for what it finds out when it runs. libtest cannot: it would count
//! the test as passed. Says what libtest says, and takes those of its arguments that choose tests.
//! (libtest-mimic does this too, but brings other features of clap, and with them a second build of all.)

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test: its name, and why it is ignored if it is. `Err` says what is missing.
pub(crate) struct Test<'a> {
    pub(crate) name: &'a str,
    pub(crate) ignored: Option<&'a str>,
    pub(crate) run: fn() -> Result<(), String>,
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    /// `--ignored`: these alone; `--include-ignored`: these too.
    ignored: bool,
    included: bool,
}

impl Chosen {
    pub(crate) fn by(arguments: impl IntoIterator<Item = String>) -> Chosen {
        let mut chosen = Chosen::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => chosen.exact = true,
                "--list" => chosen.list = true,
                "--ignored" => chosen.ignored = true,
                "--include-ignored" => chosen.included = true,
                "--skip" => chosen.skipped.extend(arguments.next()),
                // They have a value, and choose nothing.
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => chosen.filters.push(argument),
            }
        }
        chosen
    }

    fn names(&self, test: &Test<'_>) -> bool {
        let fits =
            |filter: &String| if self.exact { test.name == filter } else { test.name.contains(filter) };
        (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skipped.iter().any(fits)
            && (!self.ignored || test.ignored.is_some())
    }
}

/// Runs the tests that are chosen, one after the other.
pub(crate) fn run(tests: &[Test<'_>], chosen: &Chosen, out: &mut impl Write) -> ExitCode {
    let (named, rest): (Vec<_>, Vec<_>) = tests.iter().partition(|test| chosen.names(test));
    if chosen.list {
        named.iter().for_each(|test| writeln!(out, "{}: test", test.name).unwrap());
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    writeln!(out, "\nrunning {} test{}", named.len(), if named.len() == 1 { "" } else { "s" }).unwrap();
    let (mut passed, mut ignored, mut failures) = (0, 0, Vec::new());
    for test in named {
        if let Some(why) = test.ignored.filter(|_| !chosen.ignored && !chosen.included) {
            writeln!(out, "test {} ... ignored, {why}", test.name).unwrap();
            ignored += 1;
            continue;
        }
        match catch_unwind(AssertUnwindSafe(test.run)).unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(()) => {
                writeln!(out, "test {} ... ok", test.name).unwrap();
                passed += 1;
            }
            Err(why) => {
                writeln!(out, "test {} ... FAILED\n{why}", test.name).unwrap();
                failures.push(test.name);
            }
        }
    }
    let result = if failures.is_empty() { "ok" } else { "FAILED" };
    writeln!(
        out,
        "\ntest result: {result}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        failures.len(),
        rest.len(),
        begun.elapsed().as_secs_f64()
    )
    .unwrap();
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
