//! What only a real broker shows: a process that is stopped, and one that has lost its state.
//!
//! `tests/kafka/run` says where Apache Kafka's jars are, or the broker of the Python wheel. These
//! tests start brokers of their own from them, and stop, kill and empty those.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokenweir::ledger::LedgerReader;
use uuid::Uuid;

use super::rig::{Rig, either};
use crate::support::follower::{PARTITIONS, Topic};
use crate::support::forwarder::Mode;
use crate::support::kafka::create;
use crate::support::turn;
use crate::support::within;

const PER_SECOND: u32 = 300;
const RECOVERY: Duration = Duration::from_secs(3);
/// The mark is handed to the ledger every 100 ms.
const MARKED: Duration = Duration::from_millis(500);

/// Which broker.
#[derive(Clone, Debug)]
enum Kind {
    /// The folder of Apache Kafka's jars.
    Kafka(String),
    /// The program of the wheel. It keeps everything in memory.
    Wheel(String),
}

/// A broker of this test.
struct Broker {
    kind: Kind,
    dir: tempfile::TempDir,
    port: u16,
    controller: u16,
    child: Child,
}

impl Broker {
    /// `None`, and says so, where there is none to start.
    fn start() -> Option<Broker> {
        let of = |name: &str| std::env::var(name).ok();
        let kind = of("TOKENWEIR_TEST_KAFKA_JARS").map(Kind::Kafka);
        let Some(kind) = kind.or_else(|| of("TOKENWEIR_TEST_KAFKA_WHEEL").map(Kind::Wheel)) else {
            crate::skip::test("a real broker to start and stop; tests/kafka/run brings one");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let (port, controller) = (free_port(), free_port());
        let child = run(&kind, dir.path().to_owned(), port, controller);
        let broker = Broker { kind, dir, port, controller, child };
        broker.up();
        Some(broker)
    }

    fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn up(&self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(120), "the broker does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// kill -9; everything it had is gone.
    fn wipe(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.dir = tempfile::tempdir().unwrap();
    }

    /// The same broker again, on the same port.
    fn again(&mut self) {
        self.child = run(&self.kind, self.dir.path().to_owned(), self.port, self.controller);
        self.up();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, below those that the system hands out by itself.
fn free_port() -> u16 {
    let from = 10_000 + (Uuid::new_v4().as_u128() % 9_000) as u16;
    (from..20_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn run(kind: &Kind, dir: PathBuf, port: u16, controller: u16) -> Child {
    let mut command = match kind {
        Kind::Wheel(program) => {
            let url = format!("tcp://127.0.0.1:{port}");
            let mut command = Command::new(program);
            command.args(["broker", "--storage-engine", "memory://tokenweir/"]);
            command.args(["--listener-url", &url, "--advertised-listener-url", &url]);
            command
        }
        Kind::Kafka(jars) => {
            let properties = dir.join("server.properties");
            std::fs::write(&properties, kafka_properties(&dir, port, controller)).unwrap();
            let mut format = java(jars);
            format.args(["kafka.tools.StorageTool", "format", "-t", "tokenweirTestBroker001", "-c"]);
            assert!(format.arg(&properties).status().unwrap().success(), "the log cannot be formatted");
            let mut command = java(jars);
            command.arg("kafka.Kafka").arg(properties);
            command
        }
    };
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn java(jars: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
    command.arg(format!("{jars}/*")).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn kafka_properties(dir: &std::path::Path, port: u16, controller: u16) -> String {
    let log = dir.join("log");
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\nauto.create.topics.enable=false\n",
        log.display()
    )
}

/// The broker freezes and goes on, again and again, and finds what waited for it in its sockets.
#[test]
fn a_broker_that_freezes_again_and_again_gets_nothing_twice() {
    let _turn = turn::alone();
    let Some(broker) = Broker::start() else { return };
    let rig = Rig::running(Topic::on(&broker.servers(), &[]));
    let load = rig.load(PER_SECOND);
    let (times, frozen) = either((2, Duration::from_secs(2)), (20, Duration::from_secs(5)));
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        slowest = slowest.max(within(RECOVERY, "frozen", || {
            broker.signal("-STOP");
            std::thread::sleep(frozen);
            broker.signal("-CONT");
            rig.recovery()
        }));
        std::thread::sleep(Duration::from_millis(700));
    }
    let calls = load.end();
    rig.caught_up();
    let stats = rig.stats();
    let held = rig.end();
    println!(
        "{:?} frozen {times} x {frozen:?}: {calls} calls, slowest recovery {slowest:?}, {stats:?}, {held:?}",
        broker.kind
    );
    assert_eq!(held.repeats, 0, "the broker knows what it has");
}

/// kill -9, an empty directory, the same port: what it had confirmed is its own loss; everything else
/// arrives, without a restart.
#[test]
fn a_broker_that_lost_its_state_gets_all_that_it_had_not_confirmed() {
    let _turn = turn::alone();
    let Some(mut broker) = Broker::start() else { return };
    if matches!(broker.kind, Kind::Wheel(_)) {
        return crate::skip::test("the wheel's broker, emptied, leaves some requests in a retry for minutes");
    }
    let mut rig = Rig::running(Topic::on(&broker.servers(), &[]));
    let mut calls = 0;
    for _ in 0..either(1, 5) {
        within(RECOVERY, "emptied", || {
            let load = rig.load(PER_SECOND);
            std::thread::sleep(Duration::from_secs(1));
            calls += load.end();
            // What is confirmed behind a hole would be the broker's loss too.
            rig.caught_up();
            let before = rig.stats().replaced;
            // Until its topic is there again, it is away: a client that finds no topic waits for one.
            rig.forwarder.set(Mode::Refuse);
            let load = rig.load(PER_SECOND);
            broker.wipe();
            std::thread::sleep(MARKED);
            let mark = LedgerReader::open(rig.dir.path()).unwrap().delivered().unwrap();
            broker.again();
            create(&broker.servers(), &rig.topic.name, PARTITIONS, &[]);
            rig.topic.read_again();
            rig.forwarder.set(Mode::Pass);
            let recovery = rig.recovery();
            calls += load.end();
            rig.caught_up();
            println!(
                "{:?} lost its state after event {mark}: recovery {recovery:?}, {} new producers",
                broker.kind,
                rig.stats().replaced - before
            );
            rig.after = mark;
            recovery
        });
    }
    println!("{calls} calls, {:?}, {:?}", rig.stats(), rig.end());
}
