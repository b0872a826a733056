//! The broker is gone under load and comes back; a dead instance's rest is drained.

use std::io::{self, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use serde_json::Value;

use super::http::{Message, connect, exchange, post};
use super::sidecar::{Sidecar, binary, usage_events, wait_for};
use super::upstream;

const TOPIC: &str = "ai-usage";
const CLIENTS: usize = 4;
/// The embedded broker keeps 5 MiB a partition and drops the oldest: few calls, many partitions.
const PACE: Duration = Duration::from_millis(20);
const PARTITIONS: i32 = 16;
/// Of the broker, in the run of every day; 20 s with `TOKENWEIR_LONG=1`.
const AWAY: Duration = Duration::from_secs(4);
const AWAY_LONG: Duration = Duration::from_secs(20);
/// A call takes some milliseconds: one slower than this has waited for something.
const NOTICED: Duration = Duration::from_secs(5);

fn answer(_: &Message, to: &mut TcpStream) -> io::Result<()> {
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    for text in ["One", " two", " three"] {
        upstream::write_chunk(to, upstream::delta(text).as_bytes())?;
    }
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

/// Calls for a while; how many there were. Panics if one fails or waits.
fn load(sidecar: &Sidecar, time: Duration) -> usize {
    let end = Instant::now() + time;
    let body = r#"{"stream":true,"messages":[{"role":"user","content":"Count."}]}"#;
    let client = |n: usize| {
        let caller = format!("team-{n}");
        let fields = [("x-apim-subscription-id", caller.as_str())];
        let request = post("/openai/deployments/d/chat/completions", &fields, body);
        let mut connection = connect(sidecar.addr);
        let mut calls = 0;
        while Instant::now() < end {
            let began = Instant::now();
            assert_eq!(exchange(&mut connection, &request).status(), 200);
            assert!(began.elapsed() < NOTICED, "a client noticed: {:?}", began.elapsed());
            calls += 1;
            std::thread::sleep(PACE);
        }
        calls
    };
    std::thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || client(n))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

fn tokenweir(arguments: &[&str], ledger: Option<&Path>) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments);
    if let Some(ledger) = ledger {
        command.arg("--ledger").arg(ledger);
    }
    command.output().unwrap()
}

/// Calls in the topic, after repeats are dropped.
fn calls_in_topic(brokers: &str) -> u64 {
    let output =
        tokenweir(&["report", "--kafka-brokers", brokers, "--kafka-topic", TOPIC, "--format", "json"], None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    report["total"]["calls"].as_u64().unwrap()
}

#[test]
fn nobody_notices_that_the_broker_is_away_and_nothing_is_lost() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let upstream = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let kafka = ["--kafka-brokers", brokers.as_str(), "--kafka-topic", TOPIC];
    let sidecar = Sidecar::start(upstream, &ledger, &kafka);

    let mut calls = load(&sidecar, Duration::from_secs(1));
    cluster.broker_down(1).unwrap();
    let away = if std::env::var_os("TOKENWEIR_LONG").is_some() { AWAY_LONG } else { AWAY };
    calls += load(&sidecar, away);
    cluster.broker_up(1).unwrap();
    calls += load(&sidecar, Duration::from_secs(1));
    wait_for("every event to arrive", || (calls_in_topic(&brokers) == calls as u64).then_some(()));

    // An instance dies with events that no broker has seen; somebody else drains them.
    cluster.broker_down(1).unwrap();
    calls += load(&sidecar, Duration::from_secs(1));
    wait_for("the ledger to hold every call", || (usage_events(&ledger).len() == calls).then_some(()));
    drop(sidecar);
    cluster.broker_up(1).unwrap();
    let arguments =
        ["drain", "--kafka-brokers", brokers.as_str(), "--kafka-topic", TOPIC, "--flush-timeout", "60s"];
    let output = tokenweir(&arguments, Some(&ledger));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(calls_in_topic(&brokers), calls as u64);
    println!("{calls} calls, broker away {away:?}");
}
