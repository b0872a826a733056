//! How long each chunk is on its way: the service writes the time into it, the caller reads it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::http::{Message, connect, post, read_chunk, read_head};
use super::upstream;

const CHUNKS: usize = 40;
const PACE: Duration = Duration::from_millis(10);

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// A service whose chunks say when they were sent.
pub(crate) fn service() -> SocketAddr {
    epoch();
    upstream::start(Arc::new(answer))
}

fn answer(_: &Message, to: &mut TcpStream) -> io::Result<()> {
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    for _ in 0..CHUNKS {
        let text = format!(" <{}>", epoch().elapsed().as_micros());
        upstream::write_chunk(to, upstream::delta(&text).as_bytes())?;
        std::thread::sleep(PACE);
    }
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

/// What callers saw for a while.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    pub(crate) calls: usize,
    /// From the request to the first chunk.
    first: Vec<Duration>,
    /// From the service to the caller, each chunk.
    chunks: Vec<Duration>,
}

impl Latency {
    pub(crate) fn first(&mut self, percent: usize) -> Duration {
        percentile(&mut self.first, percent)
    }

    pub(crate) fn chunk(&mut self, percent: usize) -> Duration {
        percentile(&mut self.chunks, percent)
    }
}

fn percentile(all: &mut [Duration], percent: usize) -> Duration {
    all.sort_unstable();
    all[(all.len() - 1) * percent / 100]
}

/// The one in the middle.
pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Runs streams for a while, each to its end. Panics if one breaks.
pub(crate) fn measure(addr: SocketAddr, streams: usize, time: Duration) -> Latency {
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..streams).map(|n| scope.spawn(move || caller(addr, n, until))).collect();
        let mut all = Latency::default();
        for caller in callers {
            let mine = caller.join().unwrap();
            all.calls += mine.calls;
            all.first.extend(mine.first);
            all.chunks.extend(mine.chunks);
        }
        all
    })
}

fn caller(addr: SocketAddr, n: usize, until: Instant) -> Latency {
    let caller = format!("team-{n}");
    let fields = [("x-apim-subscription-id", caller.as_str())];
    let body = r#"{"stream":true,"messages":[{"role":"user","content":"What time is it?"}]}"#;
    let request = post("/openai/deployments/d/chat/completions", &fields, body);
    let mut connection = connect(addr);
    let mut seen = Latency::default();
    while Instant::now() < until {
        let began = Instant::now();
        connection.get_mut().write_all(&request).unwrap();
        assert_eq!(read_head(&mut connection).unwrap().unwrap().status(), 200);
        let mut first = None;
        while let Some(chunk) = read_chunk(&mut connection).expect("the whole answer") {
            let now = epoch().elapsed();
            first.get_or_insert_with(|| began.elapsed());
            seen.chunks.extend(sent(&chunk).into_iter().map(|sent| now.saturating_sub(sent)));
        }
        seen.first.push(first.unwrap());
        seen.calls += 1;
    }
    seen
}

/// When what stands in a chunk was sent.
fn sent(chunk: &[u8]) -> Vec<Duration> {
    let text = std::str::from_utf8(chunk).unwrap();
    let times = text.split('<').skip(1).map(|rest| rest.split('>').next().unwrap().parse().unwrap());
    times.map(Duration::from_micros).collect()
}
