//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use clap::{Arg, ArgAction, Command};

use super::peer::Kind;
use super::scenario::{self, Scenario};

/// Rounds that somebody can wait for.
const ROUNDS_MAX: u64 = 100;

/// What is to be run.
pub(crate) struct Options {
    pub(crate) form: Form,
    pub(crate) peers: Vec<Kind>,
    pub(crate) rounds: usize,
    /// Scenarios, and whether the service speaks TLS in them.
    pub(crate) loads: Vec<(Scenario, bool)>,
}

/// How much of it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// Under `cargo test`: counts and checks only, no time is judged or printed.
    Tiny,
    /// `cargo bench` alone.
    Short,
    /// Whatever was asked for.
    Table,
}

fn command() -> Command {
    let names: Vec<&str> = scenario::all().iter().map(|scenario| scenario.name).collect();
    let list = |name: &'static str, values: Vec<&'static str>| {
        Arg::new(name)
            .long(name)
            .value_name("NAMES")
            .value_delimiter(',')
            .value_parser(PossibleValuesParser::new(values))
    };
    Command::new("e2e")
        .about("tokenweir from end to end, beside other proxies. Without options: a short form")
        .override_usage(
            "cargo bench --bench e2e -- [--beside nginx,haproxy,capture] [--before PROGRAM] [--scenario S1,S2,..] \
             [--rounds N] [--tls]",
        )
        .arg(list("beside", vec!["nginx", "haproxy", "capture"]).help("Peers to measure in the same rounds; capture is tokenweir with --capture both"))
        .arg(
            Arg::new("before")
                .long("before")
                .value_name("PROGRAM")
                .value_parser(existing_file)
                .help("Another build of tokenweir, to measure in the same rounds and to compare with"),
        )
        .arg(list("scenario", names).help("What to measure; by default all, with --tls S1 and S2"))
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_name("N")
                .value_parser(RangedU64ValueParser::<usize>::new().range(1..=ROUNDS_MAX))
                .help("How often each is measured, one after the other; by default 1"),
        )
        .arg(Arg::new("tls").long("tls").action(ArgAction::SetTrue).help("The service speaks TLS"))
        // Cargo says whether it is a bench or a test that runs; the words of other benches are theirs.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("nocapture").long("nocapture").action(ArgAction::SetTrue).hide(true))
}

fn existing_file(path: &str) -> Result<PathBuf, String> {
    let program = PathBuf::from(path);
    if program.is_file() { Ok(program) } else { Err("there is no such file".to_owned()) }
}

/// Reads the command line; ends the program with a message where it is wrong.
pub(crate) fn read() -> Options {
    let matches = command().get_matches();
    let words = |name: &str| -> Vec<String> {
        matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
    };
    let (beside, named, tls) = (words("beside"), words("scenario"), matches.get_flag("tls"));
    let rounds = matches.get_one::<usize>("rounds").copied();
    let before = matches.get_one::<PathBuf>("before");
    let anything = !beside.is_empty() || !named.is_empty() || before.is_some();
    let form = match (matches.get_flag("bench"), !anything) {
        (_, false) => Form::Table,
        (_, true) if tls || rounds.is_some() => Form::Table,
        (true, true) => Form::Short,
        (false, true) => Form::Tiny,
    };
    let mut peers = vec![Kind::Direct];
    peers.extend(beside.iter().map(|name| match name.as_str() {
        "nginx" => Kind::Nginx,
        "haproxy" => Kind::Haproxy,
        _ => Kind::Capturing,
    }));
    // The path lives as long as the bench, which ends with the program.
    peers.extend(before.map(|program| Kind::Before(Box::leak(program.clone().into_boxed_path()))));
    peers.push(Kind::Tokenweir);
    let scenarios = match form {
        Form::Tiny => scenario::tiny(),
        Form::Short => scenario::short(),
        Form::Table => scenario::all(),
    };
    // Of a test, streams with TLS too: the rest is the same path.
    let encrypted = scenarios.clone().into_iter().filter(|_| tls || form == Form::Tiny);
    let encrypted = encrypted.filter(|scenario| scenario.streams() || form != Form::Tiny);
    let plain = scenarios.into_iter().filter(|_| !tls);
    let mut loads: Vec<(Scenario, bool)> =
        plain.map(|scenario| (scenario, false)).chain(encrypted.map(|scenario| (scenario, true))).collect();
    let with_tls = ["S1".to_owned(), "S2".to_owned()];
    let wanted = if named.is_empty() && tls { &with_tls[..] } else { &named };
    loads.retain(|(scenario, _)| wanted.is_empty() || wanted.iter().any(|name| name == scenario.name));
    Options { form, peers, rounds: rounds.unwrap_or(1), loads }
}
