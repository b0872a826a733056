//! Events on a topic: repeats, a beginning that is gone, a million of them, and drains that are killed.
//!
//! On the broker that `TOKENWEIR_TEST_BROKERS` names, else on librdkafka's mock cluster, which keeps
//! 5 MiB per partition and cannot let go of a beginning.

use std::collections::{BTreeSet, HashMap};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metering::usage::{EventType, Settled};
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader};
use tokenweir::publish::{Auth, KafkaConfig};
use tokenweir::report::{DrainOptions, FindingKind, Input, drain, verify};
use uuid::Uuid;

use crate::support::kafka::{self, Cluster, admin, block_on};
use crate::support::process::status_bytes_of;
use crate::support::sidecar::binary;
use crate::support::{PATIENCE, boot_of, call, eventually, options, stored, usage};
use crate::truth::{ALL_DELIVERED, a_truth, all, copy_of, found, parsed, sequence, set, tamper};

const PARTITIONS: i32 = 8;

struct Broker {
    servers: String,
    topic: String,
    mock: Option<Cluster>,
}

impl Broker {
    fn mock() -> Broker {
        let topic = "ai-usage".to_owned();
        let mock = kafka::embedded(&topic, PARTITIONS);
        Broker { servers: mock.bootstrap_servers(), topic, mock: Some(mock) }
    }

    /// The one that the environment names.
    fn real() -> Option<Broker> {
        let servers = kafka::real_broker()?;
        let topic = kafka::create_new(&servers, PARTITIONS, &[]);
        Some(Broker { servers, topic, mock: None })
    }

    fn config(&self) -> KafkaConfig {
        let (brokers, topic) = (self.servers.clone(), self.topic.clone());
        KafkaConfig { brokers, topic, auth: Auth::None, properties: Vec::new() }
    }

    /// Every message from the beginning to now.
    fn messages(&self) -> Vec<String> {
        let consumer = kafka::consumer(&self.servers, &self.topic, PARTITIONS);
        let ends = (0..PARTITIONS)
            .map(|partition| consumer.fetch_watermarks(&self.topic, partition, PATIENCE).unwrap());
        let wanted: i64 = ends.map(|(low, high)| high - low).sum();
        let (mut bodies, began) = (Vec::new(), Instant::now());
        while (bodies.len() as i64) < wanted {
            assert!(began.elapsed() < PATIENCE, "{} of {wanted} messages", bodies.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                bodies.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
        }
        bodies
    }
}

fn drain_to(dir: &std::path::Path, broker: &Broker) {
    let options =
        DrainOptions { ledger: options(dir, true), config: broker.config(), patience: PATIENCE, spool: None };
    let drained = drain(&options, |_| {}).unwrap();
    assert_eq!((drained.left, drained.refused), (0, 0), "{drained:?}");
}

#[test]
fn a_topic_is_believed_and_its_repeats_are_told() {
    let broker = Broker::real().unwrap_or_else(|| {
        crate::skip::no_broker();
        Broker::mock()
    });
    let (dir, lines) = a_truth();
    drain_to(dir.path(), &broker);
    let mut options = all(Input::Topic(broker.config()));
    let verdict = verify(&options).unwrap();
    assert!(verdict.complete, "{verdict:#?}");
    assert_eq!((verdict.events, verdict.repeats), (lines.len() as u64 + 1, 0), "with the drain's own");
    // Everything once more, as after a crash before the mark was stored.
    let copy = copy_of(dir.path());
    tamper(copy.path(), "UPDATE state SET value = json_set(value, '$.mark', 0) WHERE name = 'log'");
    drain_to(copy.path(), &broker);
    let verdict = verify(&options).unwrap();
    assert_eq!(found(&verdict), set(&[FindingKind::Doubled]), "{verdict:#?}");
    let doubled: u64 = verdict.findings.iter().map(|finding| finding.events).sum();
    assert_eq!((doubled, verdict.repeats), (lines.len() as u64 + 1, lines.len() as u64 + 1));
    options.allow_repeats = true;
    assert!(verify(&options).unwrap().complete);
}

#[test]
fn a_beginning_that_a_topic_let_go_is_not_missing() {
    let Some(broker) = Broker::real() else {
        return crate::skip::test(crate::skip::NO_BROKER); // the mock cluster cannot let go of a beginning
    };
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        for n in 0..200 {
            call(&ledger, &format!("caller-{}", n % 20), n, n);
        }
        ledger.close().unwrap();
    }
    drain_to(dir.path(), &broker);
    let mut before = TopicPartitionList::new();
    for (partition, offset) in [(1, 7), (2, 30), (5, 1)] {
        before.add_partition_offset(&broker.topic, partition, Offset::Offset(offset)).unwrap();
    }
    block_on(admin(&broker.servers).delete_records(&before, &AdminOptions::new())).unwrap();
    let verdict = verify(&all(Input::Topic(broker.config()))).unwrap();
    assert!(verdict.complete, "{verdict:#?}");
    assert!(verdict.notes[0].contains("partition "), "{:?}", verdict.notes);
}

/// `tokenweir drain` as a process.
fn drain_process(dir: &std::path::Path, broker: &Broker, properties: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.args(["drain", "--kafka-brokers", &broker.servers, "--kafka-topic", &broker.topic, "--ledger"]);
    command.arg(dir).args(["--flush-timeout", "60s"]);
    for property in properties {
        command.args(["--kafka-property", property]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// F26 of the list of faults: SIGKILL during a drain, then again, then to the end, twice.
#[test]
fn a_drain_that_is_killed_twice_loses_nothing_and_repeats_only_equal_bytes() {
    const EVENTS: u64 = 1_500;
    let (broker, dir) = (Broker::mock(), tempfile::tempdir().unwrap());
    let mock = broker.mock.as_ref().unwrap();
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    for n in 0..EVENTS {
        call(&ledger, &format!("caller-{}", n % 40), n, n);
    }
    ledger.close().unwrap();
    mock.broker_round_trip_time(1, Duration::from_millis(50)).unwrap();
    let slow = ["batch.num.messages=20", "max.in.flight.requests.per.connection=1"];
    for kill in 0..2 {
        let before = broker.messages().len();
        let mut child = drain_process(dir.path(), &broker, &slow);
        eventually("the drain delivers", || broker.messages().len() > before + 40);
        assert!(child.try_wait().unwrap().is_none(), "the drain is in the middle");
        child.kill().unwrap();
        child.wait().unwrap();
        println!("kill {kill}: {} messages", broker.messages().len());
    }
    mock.broker_round_trip_time(1, Duration::ZERO).unwrap();
    for _ in 0..2 {
        let output = drain_process(dir.path(), &broker, &[]).wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text} {:?}", String::from_utf8_lossy(&output.stderr));
        assert!(text.lines().count() == 1 && text.contains(" 0 refused, 0 left in "), "{text}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(" to deliver, "), "{said}");
    }
    let mut bodies: HashMap<String, String> = HashMap::new();
    let messages = broker.messages();
    for body in &messages {
        let first = bodies.entry(parsed(body).id).or_insert_with(|| body.clone());
        assert_eq!(first, body, "one id, two bodies");
    }
    let ids: BTreeSet<String> = stored(dir.path()).into_iter().map(|event| event.id).collect();
    assert!(ids.iter().all(|id| bodies.contains_key(id)), "every stored event has arrived");
    println!("{} events, {} repeats", ids.len(), messages.len() - ids.len());
    let mut options = all(Input::Topic(broker.config()));
    options.allow_repeats = true;
    let verdict = verify(&options).unwrap();
    assert!(verdict.complete, "{verdict:#?}");
    assert_eq!(verdict.repeats, (messages.len() - ids.len()) as u64);
}

#[test]
fn a_drain_that_nobody_answers_says_so_gives_up_and_fails() {
    let (dir, _) = a_truth();
    let output = Command::new(binary())
        .args(["drain", "--kafka-brokers", "127.0.0.1:1", "--flush-timeout", "7s", "--ledger"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing delivered for 5 s, giving up at 7 s"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("0 delivered, 0 refused, ") && !text.contains(" 0 left"), "{text}");
}

#[test]
fn refused_events_stand_on_standard_output_and_their_reasons_beside() {
    let (dir, lines) = a_truth();
    tamper(dir.path(), &format!("{ALL_DELIVERED} INSERT INTO refused VALUES (3, 'MSG_SIZE_TOO_LARGE')"));
    let output =
        Command::new(binary()).args(["events", "--refused", "--ledger"]).arg(dir.path()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", lines[2]));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "position 3: MSG_SIZE_TOO_LARGE\n");
}

/// Runs a command to its end; its exit code, its output and the most memory it ever had, in bytes.
fn measured(arguments: &[&str]) -> (Option<i32>, String, u64) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(binary()).args(arguments).stdout(out.reopen().unwrap()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(status_bytes_of(child.id(), "VmHWM").unwrap_or(0) as u64);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    (status.code(), std::fs::read_to_string(out.path()).unwrap(), peak)
}

/// The limit that the issue sets.
const RSS_BYTES_MAX: u64 = 300 << 20;

#[test]
fn a_million_events_are_verified_in_little_memory_and_each_fault_is_found() {
    const CALLS: u64 = 1_000_000;
    if !crate::skip::long_test() {
        return;
    }
    let Some(broker) = Broker::real() else { return crate::skip::test(crate::skip::NO_BROKER) };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for _ in 0..2 {
        let control_interval = Duration::from_secs(1);
        let ledger = Ledger::open(LedgerOptions { control_interval, ..options(dir.path(), true) }).unwrap();
        for n in 0..CALLS / 2 {
            let settled = Settled {
                id: Uuid::now_v7(),
                time: jiff::Timestamp::now(),
                usage: usage(&format!("caller-{}", n % 500), n, 1),
            };
            let slot = loop {
                match ledger.reserve() {
                    Some(slot) => break slot,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            slot.open(settled.id, &settled.usage).settle(settled);
        }
        ledger.close().unwrap();
    }
    let began = Instant::now();
    let (code, text, rss) = measured(&["verify", "--ledger", path]);
    println!(
        "ledger: {} MiB, {:.1} s: {}",
        rss >> 20,
        began.elapsed().as_secs_f64(),
        text.lines().last().unwrap()
    );
    assert!(code == Some(0) && rss < RSS_BYTES_MAX, "{text}");

    let expected = publish_with_faults(dir.path(), &broker);
    let began = Instant::now();
    let arguments = [
        "verify",
        "--kafka-brokers",
        &broker.servers,
        "--kafka-topic",
        &broker.topic,
        "--control-interval",
        "1s",
        "--format",
        "json",
    ];
    let (code, text, rss) = measured(&arguments);
    let json: Value = serde_json::from_str(&text).unwrap();
    println!("topic: {} MiB, {:.1} s, {} events", rss >> 20, began.elapsed().as_secs_f64(), json["events"]);
    assert!(code == Some(3) && rss < RSS_BYTES_MAX, "{:#}", json["findings"]);
    let of = |finding: &Value, name: &str| finding[name].as_u64().unwrap_or(0);
    let findings: Vec<_> = json["findings"].as_array().unwrap().iter().collect();
    let kinds: Vec<&str> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["missing", "doubled", "altered", "never_closed"], "{findings:#?}");
    for (finding, (boot, sequence)) in findings.iter().zip(&expected) {
        assert_eq!(finding["boot"].as_str(), Some(boot.as_str()), "{finding:#}");
        let covered = of(finding, "first_sequence")..=of(finding, "last_sequence");
        assert!(*sequence == 0 || covered.contains(sequence), "{finding:#}");
    }
}

/// Publishes a ledger's events: one is left out, one doubled, of one a count is altered, and the last
/// control event of the first boot is left out. Returns the boot and the sequence of each.
fn publish_with_faults(dir: &std::path::Path, broker: &Broker) -> Vec<(String, u64)> {
    const DELETED: u64 = 123_456;
    const DOUBLED: u64 = 234_567;
    const ALTERED: u64 = 345_678;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &broker.servers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .unwrap();
    let send = |key: &str, body: &str| loop {
        match producer.send(BaseRecord::<str, str>::to(&broker.topic).key(key).payload(body)) {
            Ok(()) => break,
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((error, _)) => panic!("{error}"),
        }
    };
    let (reader, mut after, mut faults) = (LedgerReader::open(dir).unwrap(), 0, Vec::new());
    let (mut calls, mut first_boot) = (0, None);
    loop {
        let rows = reader.after(after, 512).unwrap();
        let Some(last) = rows.last() else { break };
        after = last.position;
        for row in rows {
            let event = parsed(&row.body);
            let (boot, at) = (boot_of(&event), sequence(&event));
            let first = first_boot.get_or_insert_with(|| boot.clone());
            if boot == *first && event.data["final"] == true {
                faults.push((boot, 0));
                continue;
            }
            calls += u64::from(event.kind == EventType::Usage);
            let mut body = row.body;
            if event.kind == EventType::Usage {
                match calls {
                    DELETED => {
                        faults.push((boot, at));
                        continue;
                    }
                    DOUBLED => {
                        faults.push((boot, at));
                        send(&event.partitionkey, &body);
                    }
                    ALTERED => {
                        faults.push((boot, at));
                        let mut changed: Value = serde_json::from_str(&body).unwrap();
                        changed["data"]["tokens"]["output"] = 2.into();
                        body = changed.to_string();
                    }
                    _ => {}
                }
            }
            send(&event.partitionkey, &body);
        }
    }
    producer.flush(PATIENCE).unwrap();
    faults
}
