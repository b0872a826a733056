//! The broker is away under load, in each of the ways in which brokers are: no caller notices, and
//! everything arrives. Between sidecar and broker is a forwarder; callers are streams and whole
//! answers, at a pace.
//!
//! On librdkafka's embedded broker, or on the one that `TOKENWEIR_TEST_BROKERS` names.
//! `TOKENWEIR_LONG=1`: 20 s for each outage, in three rounds beside undisturbed ones.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::http::{Message, connect, exchange, get, post, read_chunk, read_head};
use super::shim::{Control, Shim};
use super::sidecar::{Sidecar, binary, left, usage_events, wait_for};
use super::skip::{self, long};
use super::support::follower::{Held, Topic};
use super::support::forwarder::{Forwarder, Mode};
use super::support::process::status_bytes;
use super::support::within;
use super::upstream;

const STREAMS: usize = 4;
const WHOLE: usize = 2;
/// Between two calls of one caller.
const PACE: Duration = Duration::from_millis(15);
/// Between two words of a stream.
const WORD: Duration = Duration::from_millis(5);
/// A round without a fault is long enough then.
const CALM: Duration = Duration::from_secs(8);
/// After the broker's return.
const RECOVERY: Duration = Duration::from_secs(3);
/// What the median of a call may take longer while the broker is away.
const ADDED: Duration = Duration::from_millis(1);
/// Calls that the sidecar has in its client's queue, what its allocator keeps, its tables.
const MEMORY_MIB: u64 = 64;
/// What an end may take beyond what it waits for, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    if !request.body.starts_with(br#"{"stream":true"#) {
        let body = r#"{"id":"chatcmpl-test","object":"chat.completion","created":1,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"message":{"role":"assistant","content":"One two three"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#;
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        return to.write_all(format!("{head}{body}").as_bytes());
    }
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    for text in ["One", " two", " three"] {
        upstream::write_chunk(to, upstream::delta(text).as_bytes())?;
        std::thread::sleep(WORD);
    }
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

/// What callers saw: of each call, how long its whole answer or its first piece took.
#[derive(Debug, Default)]
struct Seen {
    times: Vec<Duration>,
}

impl Seen {
    fn percentile(&mut self, percent: usize) -> Duration {
        self.times.sort_unstable();
        self.times[(self.times.len() - 1) * percent / 100]
    }
}

/// Calls for a while. Panics if one fails.
fn load(sidecar: SocketAddr, time: Duration) -> Seen {
    let end = Instant::now() + time;
    let times = std::thread::scope(|scope| {
        let callers: Vec<_> =
            (0..STREAMS + WHOLE).map(|n| scope.spawn(move || caller(sidecar, n, end))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    Seen { times }
}

fn caller(sidecar: SocketAddr, n: usize, end: Instant) -> Vec<Duration> {
    let stream = n < STREAMS;
    let body = format!(r#"{{"stream":{stream},"messages":[{{"role":"user","content":"Count."}}]}}"#);
    let team = format!("team-{n}");
    let request = post("/openai/deployments/d/chat/completions", &[("x-apim-subscription-id", &team)], &body);
    let mut connection = connect(sidecar);
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        if stream {
            connection.get_mut().write_all(&request).unwrap();
            let head = read_head(&mut connection).unwrap().expect("an answer");
            assert_eq!(head.status(), 200);
            let mut pieces = 0;
            while read_chunk(&mut connection).unwrap().is_some() {
                if pieces == 0 {
                    times.push(began.elapsed());
                }
                pieces += 1;
            }
            assert!(pieces > 0, "a stream without content");
        } else {
            let whole = exchange(&mut connection, &request);
            times.push(began.elapsed());
            assert!(whole.status() == 200 && whole.body.ends_with(b"}"));
        }
        std::thread::sleep(PACE);
    }
    times
}

/// A sidecar that reaches its broker through the forwarder only.
struct Rig {
    topic: Topic,
    forwarder: Forwarder,
    service: SocketAddr,
    dir: tempfile::TempDir,
    calls: usize,
}

impl Rig {
    fn new() -> Rig {
        let topic = Topic::any();
        let forwarder = Forwarder::new(&topic.servers);
        let service = upstream::start(Arc::new(answer));
        Rig { topic, forwarder, service, dir: tempfile::tempdir().unwrap(), calls: 0 }
    }

    fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    fn serve(&self, arguments: &[&str]) -> Sidecar {
        self.serve_with(arguments, &[])
    }

    fn serve_with(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> Sidecar {
        let brokers = self.forwarder.addr();
        let mut flags = vec!["--kafka-brokers", &brokers, "--kafka-topic", &self.topic.name];
        flags.extend(arguments);
        Sidecar::start_with(self.service, &self.ledger(), &flags, environment)
    }

    fn load(&mut self, sidecar: &Sidecar, time: Duration) -> Seen {
        let seen = load(sidecar.addr, time);
        self.calls += seen.times.len();
        seen
    }

    /// Every call has its event, and the topic has every event.
    fn holds(&self) -> Held {
        assert_eq!(usage_events(&self.ledger()).len(), self.calls, "a call without its event, or two");
        self.topic.holds(&self.ledger(), 0)
    }

    /// Ends the sidecar, which delivers the rest.
    fn end(&self, sidecar: Sidecar) -> Held {
        let (code, log) = sidecar.stop();
        assert_eq!(code, Some(0), "{:?}", log.last());
        self.holds()
    }
}

fn metric(sidecar: &Sidecar, name: &str) -> u64 {
    let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no metric {name}")).parse::<f64>().unwrap() as u64
}

fn delivered(sidecar: &Sidecar) -> u64 {
    metric(sidecar, "tokenweir_events_delivered_total")
}

/// How long until something is delivered that waited.
fn recovery(sidecar: &Sidecar) -> Duration {
    let (began, before) = (Instant::now(), delivered(sidecar));
    wait_for("deliveries to begin again", || (delivered(sidecar) > before).then_some(()));
    began.elapsed()
}

fn caught_up(sidecar: &Sidecar) {
    wait_for("everything to be delivered", || {
        (metric(sidecar, "tokenweir_ledger_events") == 0).then_some(())
    });
}

fn memory_mib(sidecar: &Sidecar) -> u64 {
    status_bytes(sidecar.pid(), "VmRSS") as u64 >> 20
}

fn median<T: Ord + Copy>(mut of: Vec<T>) -> T {
    of.sort_unstable();
    of[of.len() / 2]
}

/// Rounds with and without a fault in turn, and what callers saw in each.
fn outage(mode: Mode, rounds: usize, time: Duration) {
    let mut rig = Rig::new();
    let sidecar = rig.serve(&[]);
    rig.load(&sidecar, Duration::from_secs(1));
    caught_up(&sidecar);
    let memory = memory_mib(&sidecar);
    let (mut p50, mut p99, mut recoveries) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut calm = rig.load(&sidecar, time.min(CALM));
        caught_up(&sidecar);
        rig.forwarder.set(mode);
        let mut seen = rig.load(&sidecar, time);
        let waiting = metric(&sidecar, "tokenweir_ledger_events");
        assert!(waiting > 0, "{mode:?}: nothing waited");
        rig.forwarder.set(Mode::Pass);
        recoveries.push(recovery(&sidecar));
        caught_up(&sidecar);
        let micros = |seen: &mut Seen, percent| seen.percentile(percent).as_micros() as i64;
        p50.push(micros(&mut seen, 50) - micros(&mut calm, 50));
        p99.push(micros(&mut seen, 99) - micros(&mut calm, 99));
    }
    let grown = memory_mib(&sidecar).saturating_sub(memory);
    let replaced = metric(&sidecar, "tokenweir_producer_replaced_total");
    let (added, tail) = (median(p50), median(p99));
    let held = rig.end(sidecar);
    // Each of them in the long run; in that of every day the machine may stand still in one.
    let recovery = if long() { recoveries.into_iter().max().unwrap() } else { median(recoveries) };
    println!(
        "{mode:?}, {rounds} x {time:?}: {} calls, no errors, added p50 {added} us, p99 {tail} us, recovery {recovery:?}, {replaced} new producers, {memory} MiB grown by {grown}, {held:?}",
        rig.calls
    );
    assert!(added < ADDED.as_micros() as i64, "{mode:?}: {added} us");
    assert!(recovery < RECOVERY, "{mode:?}: {recovery:?}");
    assert!(grown < MEMORY_MIB, "{mode:?}: grown by {grown} MiB");
}

#[test]
fn case_52_nobody_notices_that_the_broker_is_away() {
    outage(Mode::Refuse, 3, Duration::from_millis(1_500));
}

/// What a sync takes longer on a slow disk.
const SLOW_SYNC_MS: i32 = 500;

/// Events wait for their sync and for the broker, and come in order once both are there.
#[test]
fn a_broker_that_is_away_while_the_disk_is_slow_costs_nothing() {
    let mut rig = Rig::new();
    let Some(shim) = Shim::new(rig.dir.path(), &rig.ledger()) else { return };
    let sidecar = rig.serve_with(&[], &shim.environment());
    let second = Duration::from_secs(1);
    rig.load(&sidecar, second);
    caught_up(&sidecar);
    shim.set(Control::SyncDelayMs, SLOW_SYNC_MS);
    rig.load(&sidecar, second);
    rig.forwarder.set(Mode::Refuse);
    rig.load(&sidecar, second);
    rig.forwarder.set(Mode::Pass);
    rig.load(&sidecar, second);
    // Half a second after the last call all of it is synced, and soon after on the topic.
    caught_up(&sidecar);
    let held = rig.end(sidecar);
    println!("{} calls, syncs {SLOW_SYNC_MS} ms slower, {held:?}", rig.calls);
}

#[test]
fn nobody_notices_any_outage_however_long() {
    if !skip::long_test() {
        return;
    }
    let slow = Mode::Delay(Duration::from_secs(2));
    for mode in [Mode::Refuse, Mode::Freeze, Mode::BlackHole, slow, Mode::Limit(100_000)] {
        outage(mode, 3, Duration::from_secs(20));
    }
}

/// The sidecar serves at once, whatever its broker does.
#[test]
fn a_broker_that_is_away_at_start_is_found_when_it_comes() {
    let (modes, time): (&[Mode], _) = if long() {
        (&[Mode::Refuse, Mode::Freeze, Mode::BlackHole], Duration::from_secs(20))
    } else {
        (&[Mode::Freeze], Duration::from_secs(2))
    };
    for &mode in modes {
        within(RECOVERY, &format!("{mode:?} at start"), || {
            let mut rig = Rig::new();
            rig.forwarder.set(mode);
            let began = Instant::now();
            let sidecar = rig.serve(&[]);
            let up = began.elapsed();
            let mut seen = rig.load(&sidecar, time);
            assert_eq!(delivered(&sidecar), 0);
            rig.forwarder.set(Mode::Pass);
            let recovery = recovery(&sidecar);
            caught_up(&sidecar);
            let held = rig.end(sidecar);
            println!(
                "{mode:?} at start for {time:?}: up in {up:?}, {} calls, p50 {:?}, p99 {:?}, recovery {recovery:?}, {held:?}",
                rig.calls,
                seen.percentile(50),
                seen.percentile(99)
            );
            assert!(up < Duration::from_secs(2) + PROMPT, "{up:?}");
            recovery
        });
    }
}

/// 5 s away and 1 s there, twenty times, under load.
#[test]
fn a_broker_that_freezes_again_and_again_costs_nothing() {
    if !skip::long_test() {
        return;
    }
    let mut rig = Rig::new();
    let sidecar = rig.serve(&[]);
    let mut calm = rig.load(&sidecar, Duration::from_secs(10));
    let (memory, address) = (memory_mib(&sidecar), sidecar.addr);
    let time = Duration::from_secs(6) * 20;
    let (mut seen, slowest) = std::thread::scope(|scope| {
        let callers = scope.spawn(move || load(address, time));
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            rig.forwarder.set(Mode::Freeze);
            std::thread::sleep(Duration::from_secs(5));
            rig.forwarder.set(Mode::Pass);
            slowest = slowest.max(recovery(&sidecar));
            std::thread::sleep(Duration::from_secs(1).saturating_sub(slowest));
        }
        (callers.join().unwrap(), slowest)
    });
    rig.calls += seen.times.len();
    caught_up(&sidecar);
    let grown = memory_mib(&sidecar).saturating_sub(memory);
    let held = rig.end(sidecar);
    println!(
        "frozen 20 x 5 s: {} calls, p50 {:?} ({:?} before), p99 {:?} ({:?}), slowest recovery {slowest:?}, grown by {grown} MiB, {held:?}",
        rig.calls,
        seen.percentile(50),
        calm.percentile(50),
        seen.percentile(99),
        calm.percentile(99)
    );
    assert!(slowest < RECOVERY && grown < MEMORY_MIB, "{slowest:?}, {grown} MiB");
}

/// With events under way that nobody answers: an end within its time, and what is left is named.
#[test]
fn an_end_in_a_black_hole_says_what_is_left_and_the_next_start_delivers_it() {
    let mut rig = Rig::new();
    let flush = Duration::from_secs(1);
    let sidecar = rig.serve(&["--flush-timeout", "1s"]);
    rig.load(&sidecar, Duration::from_secs(1));
    caught_up(&sidecar);
    rig.forwarder.set(Mode::BlackHole);
    rig.load(&sidecar, Duration::from_secs(2));
    let began = Instant::now();
    let (code, log) = sidecar.stop();
    let ended = began.elapsed();
    let left = left(&log, &rig.ledger());
    assert_eq!(code, Some(1), "{:?}", log.last());
    assert!(ended < flush + PROMPT, "{ended:?}");
    let stored = super::sidecar::event_lines(&rig.ledger()).len() as u64;
    assert!(left > 0 && left < stored, "{left} of {stored}");
    rig.forwarder.set(Mode::Pass);
    let next = rig.serve(&[]);
    let held = rig.end(next);
    println!("ended in {ended:?} with {left} events left; then {} calls, {held:?}", rig.calls);
}

/// An instance dies with events that no broker has seen; somebody else drains them.
#[test]
fn what_a_dead_instance_left_is_drained() {
    let mut rig = Rig::new();
    let sidecar = rig.serve(&[]);
    rig.load(&sidecar, Duration::from_secs(1));
    rig.forwarder.set(Mode::Refuse);
    rig.load(&sidecar, Duration::from_secs(1));
    let (calls, ledger) = (rig.calls, rig.ledger());
    wait_for("the ledger to hold every call", || (usage_events(&ledger).len() == calls).then_some(()));
    drop(sidecar);
    rig.forwarder.set(Mode::Pass);
    let output = drain(&rig);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{calls} calls, {:?}", rig.holds());
}

fn drain(rig: &Rig) -> Output {
    let mut command = Command::new(binary());
    command.args(["drain", "--kafka-brokers", &rig.forwarder.addr(), "--kafka-topic", &rig.topic.name]);
    command.args(["--flush-timeout", "60s", "--ledger"]).arg(rig.ledger()).output().unwrap()
}
