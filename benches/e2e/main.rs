//! tokenweir from end to end: callers and a fake service of our own, the built program between them
//! with accounting and a ledger, and other proxies in its place.
//!
//! ```text
//! cargo bench --bench e2e                                        # direct and tokenweir, under a minute
//! cargo bench --bench e2e -- --beside nginx,haproxy --rounds 3   # the whole table, 15 minutes
//! cargo bench --bench e2e -- --beside nginx --tls --rounds 3     # with TLS to the service
//! cargo bench --bench e2e -- --beside nginx --scenario S2,S2H    # some of it
//! cargo bench --bench e2e -- --beside capture --scenario S2 --rounds 5   # what capturing content costs
//! cargo bench --bench e2e -- --before /path/to/tokenweir --rounds 3   # beside another build
//! cargo test --release --bench e2e                               # every check, no times: a few seconds
//! ```
//!
//! How to read it. The speed of a machine changes from minute to minute: a number alone says little,
//! a ratio of two peers in the same round much. So peers take turns (A B C A B C), ratios and
//! differences are made within a round, and the table shows the medians.
//!
//! - *CPU us/chunk*: time on the CPU of all threads of the proxy and its children, for each event that
//!   a caller received. Hardly changed by what else runs, and the one to look at first. On loopback it
//!   holds the receiver's TCP too, which the kernel does within the sender's call.
//! - *network threads*: that part of it which tokenweir's network threads take; the rest is the
//!   ledger, the pool and the log, which no byte waits for.
//! - *chunks/s*: says something in S1, S4 and S5, where callers are as fast as they can. All of them share
//!   the machine with the bench.
//! - *p50, p99*: from the moment of sending, which stands in each event, to the caller. *added*: less
//!   the same of `direct`. Other load on the machine shows here first; as root, `chrt -r 1 cargo bench ..`
//!   keeps it away in S2, S2H and S3, which leave the machine free time.
//! - *kB/connection*: resident memory over that before the first connection; S3 is made for it.
//! - *others' cores*: CPU that neither proxy nor bench used. High: the round was disturbed.
//!
//! Every answer of every peer is compared with the service's, byte for byte; one that differs fails
//! the run. S3 needs 10,500 open files (`ulimit -Hn`).
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "in what is borrowed from the tests")]

mod accounts;
mod answer;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/support/certs.rs"]
mod certs;
mod cpu;
mod load;
mod options;
mod peer;
mod poll;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/support/random.rs"]
mod random;
mod reader;
mod scenario;
mod service;
mod table;
mod tls;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use load::{Measured, Plan};
use options::{Form, Options};
use peer::{Kind, Upstream};
use scenario::Scenario;
use service::{Script, Service};
use tls::Tls;

/// Files that are open beside connections.
const FILES_BESIDE: u64 = 500;

fn main() -> Result<ExitCode> {
    let mut options = options::read();
    options.peers.retain(|peer| {
        let installed = peer.installed();
        if !installed {
            println!("{} is not installed: left out", peer.name());
        }
        installed
    });
    let files = raise_files()?;
    reader::check_itself();
    let tls = Tls::new()?;
    let mut right = true;
    for (scenario, encrypted) in &options.loads {
        // The bench itself has both ends of every connection without a proxy.
        if files < 2 * scenario.connections as u64 + FILES_BESIDE {
            println!("{}: left out, {files} open files are too few (ulimit -Hn)", scenario.name);
            continue;
        }
        right &= measure(&options, scenario, encrypted.then_some(&tls))?;
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As many files as we may open; peers inherit it.
fn raise_files() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// All rounds of a scenario. Returns whether every answer was right.
fn measure(options: &Options, scenario: &Scenario, tls: Option<&Tls>) -> Result<bool> {
    let mut rounds: table::Rounds = options.peers.iter().map(|&kind| (kind, Vec::new())).collect();
    let mut right = true;
    for _ in 0..options.rounds {
        for (kind, measured) in &mut rounds {
            let seen = once(*kind, scenario, tls, options.form)
                .with_context(|| format!("{} of {}", scenario.name, kind.name()))?;
            println!(
                "{}{} {}: {} right answers",
                scenario.name,
                tls.map_or("", |_| " TLS"),
                kind.name(),
                seen.calls_ever
            );
            for (what, times) in &seen.wrong {
                println!("  WRONG, {times} times: {what}");
            }
            right &= seen.wrong.is_empty();
            measured.push(seen);
        }
    }
    if options.form != Form::Tiny {
        table::print(scenario, tls.is_some(), &rounds);
    }
    Ok(right)
}

/// A service, a peer and callers, all of them fresh.
fn once(kind: Kind, scenario: &Scenario, tls: Option<&Tls>, form: Form) -> Result<Measured> {
    let question = Arc::new(scenario.question());
    let answer = Arc::new(scenario.answer(&question));
    let service = Service::start(Script {
        answer: Arc::clone(&answer),
        question: Arc::clone(&question),
        pace: scenario.pace,
        tls: tls.map(|tls| Arc::clone(&tls.server)),
    })?;
    let dir = tempfile::TempDir::with_prefix("tokenweir-e2e-")?;
    let authority = tls.map(|tls| tls.authority.as_path());
    let upstream = Upstream { addr: service.addr, authority, connections: scenario.connections };
    let mut peer = kind.start(&upstream, dir.path())?;
    let plan = Plan {
        scenario,
        to: peer.addr,
        tls: tls.filter(|_| kind == Kind::Direct).map(|tls| Arc::clone(&tls.client)),
        request: &answer::request(&question.body),
        answer: &answer,
        process: &peer.process,
    };
    // Not on this thread: timers as exact as the callers' would be the peers' too, which we start.
    let measured = std::thread::scope(|scope| {
        let callers = std::thread::Builder::new().name("callers".to_owned());
        let running = callers.spawn_scoped(scope, || load::run(plan))?;
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    peer.stop()?;
    ensure!(measured.calls_ever > 0, "no answer at all: {:?}", measured.wrong);
    if form == Form::Tiny && kind == Kind::Tokenweir {
        accounts::check(dir.path(), &question, &answer, scenario.connections, &measured)?;
    }
    Ok(measured)
}
