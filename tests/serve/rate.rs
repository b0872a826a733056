//! Two thousand short streams a second into ledger and topic: nothing grows, every call has one
//! event, and what the topic costs a call is printed.
//!
//! The run of every day takes seconds at a lower rate; `TOKENWEIR_LONG=1` runs the rate of the goal
//! for half a minute, without and with a broker.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::crowd::{chunk, read_answer, read_request, request};
use super::http::get;
use super::memory::Memory;
use super::sidecar::{Sidecar, verified, wait_for};
use super::skip::long;
use super::topic::Topic;
use super::upstream::{STREAM_HEAD, delta, stop};

/// How many calls, how fast.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) per_second: u32,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
}

const SHORT: Form = Form { per_second: 300, warm_up: Duration::from_secs(1), time: Duration::from_secs(3) };
const LONG: Form =
    Form { per_second: 2_000, warm_up: Duration::from_secs(10), time: Duration::from_secs(40) };

/// Connections that are kept; each makes its calls at fixed times.
const CONNECTIONS: u32 = 100;
/// Words of an answer, all in one write.
const WORDS: usize = 5;

/// What the process may grow by: see [`super::soak`], whose rate is a sixtieth.
const GROWTH_BYTES_MAX: usize = 8 << 20;
/// The ledger at 80 % of which delivered events go.
const LEDGER_BYTES_MAX: u64 = 64 << 20;
const LEDGER_MAX: &str = "64MiB";

/// Starts the service, on a thread of its own.
pub(super) fn service() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let words: Vec<u8> = (0..WORDS).flat_map(|_| chunk(&delta(" word"))).collect();
    let answer = [STREAM_HEAD.as_bytes(), &words, &chunk(&stop()), b"0\r\n\r\n"].concat();
    let answer: Arc<[u8]> = answer.into();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut socket, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    socket.set_nodelay(true)?;
                    while read_request(&mut socket).await? {
                        socket.write_all(&answer).await?;
                    }
                    io::Result::Ok(())
                });
            }
        });
    });
    addr
}

/// Makes calls at this rate; returns how long each took, from the time at which it was due.
pub(super) fn calls(to: SocketAddr, form: &Form, time: Duration) -> Vec<Duration> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let every = Duration::from_secs(1) * CONNECTIONS / form.per_second;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begin = Instant::now() + Duration::from_millis(200);
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let (seen, first) = (Arc::clone(&seen), begin + every * number / CONNECTIONS);
                tokio::spawn(caller(to, first, every, begin + time, seen))
            })
            .collect();
        for caller in callers {
            caller.await.unwrap().expect("every answer is whole");
        }
    });
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

async fn caller(
    to: SocketAddr,
    first: Instant,
    every: Duration,
    until: Instant,
    seen: Arc<Mutex<Vec<Duration>>>,
) -> io::Result<()> {
    let (mut socket, request) = (TcpStream::connect(to).await?, request());
    socket.set_nodelay(true)?;
    let mut due = first;
    while due < until {
        tokio::time::sleep_until(due.into()).await;
        let began = Instant::now();
        socket.write_all(&request).await?;
        read_answer(&mut socket, |_| ()).await?;
        seen.lock().unwrap().push(began.elapsed());
        due += every;
    }
    Ok(())
}

fn percentiles(mut all: Vec<Duration>) -> [Duration; 2] {
    all.sort_unstable();
    [50, 99].map(|percent| all[(all.len() - 1) * percent / 100])
}

pub(super) fn metric(sidecar: &Sidecar, name: &str) -> u64 {
    let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let of_name = |line: &&str| line.split([' ', '{']).next() == Some(name);
    let values = page.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap());
    values.map(|value| value.parse::<f64>().unwrap()).sum::<f64>() as u64
}

/// Waits until no call runs, and none of `waiting` is left.
fn rest(sidecar: &Sidecar, waiting: &[&str]) {
    wait_for("rest", || waiting.iter().all(|name| metric(sidecar, name) == 0).then_some(()));
}

fn fds(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A run through a sidecar: its latencies. With a topic, all events must be in it at the end.
fn through(service: SocketAddr, topic: Option<&Topic>, form: &Form) -> [Duration; 2] {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let mut flags = vec!["--ledger-keep", "1m", "--ledger-max-bytes", LEDGER_MAX];
    flags.extend(topic.iter().flat_map(|topic| topic.flags()));
    let sidecar = Sidecar::start(service, &ledger, &flags);
    let pid = sidecar.pid();
    let mut waiting = vec!["tokenweir_calls_open"];
    if topic.is_some() {
        waiting.extend(["tokenweir_ledger_events", "tokenweir_events_in_flight"]);
    }
    let warm = calls(sidecar.addr, form, form.warm_up).len();
    rest(&sidecar, &waiting);
    let (fds_before, before) = (fds(pid), Memory::of(pid));
    let seen = calls(sidecar.addr, form, form.time);
    let ends = Instant::now();
    rest(&sidecar, &waiting);
    let (drained, after) = (ends.elapsed(), Memory::of(pid));
    let (made, bytes) = (warm + seen.len(), metric(&sidecar, "tokenweir_ledger_bytes"));
    println!("{} calls; {before}, then {after}; ledger {bytes} bytes; at rest after {drained:?}", seen.len());

    let settled = metric(&sidecar, "tokenweir_calls_settled_total");
    let summed = metric(&sidecar, "tokenweir_calls_summed_total");
    assert_eq!((settled, summed), (made as u64, 0), "every call is recorded");
    assert!(fds(pid) <= fds_before + CONNECTIONS as usize, "{} fds, before {fds_before}", fds(pid));
    let grown = after.anonymous_bytes.saturating_sub(before.anonymous_bytes);
    assert!(grown <= GROWTH_BYTES_MAX, "grown by {grown} bytes in {} calls", seen.len());
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    verified(&ledger);
    if let Some(topic) = topic {
        assert!(bytes <= LEDGER_BYTES_MAX, "the ledger takes {bytes} bytes");
        let is_usage = |event: &&String| event.contains(r#""dev.tokenweir.usage.v1""#);
        wait_for("one event of every call in the topic, and no more", || {
            (topic.all(made).iter().filter(is_usage).count() == made).then_some(())
        });
    }
    percentiles(seen)
}

#[test]
fn short_streams_at_a_high_rate_leave_nothing_but_their_events() {
    let form = if long() { LONG } else { SHORT };
    let service = service();
    let direct = percentiles(calls(service, &form, form.warm_up));
    let topic = Topic::start();
    let delivered = through(service, Some(&topic), &form);
    println!(
        "{} calls/s, p50 and p99: direct {direct:?}, with ledger and topic {delivered:?}",
        form.per_second
    );
    if long() {
        let stored = through(service, None, &form);
        println!("with the ledger alone: {stored:?}");
    }
}
