//! Many large prompts at once: what is kept of them stays within `--prompt-memory`, what is not kept
//! is said, and every call has its event.
//!
//! `TOKENWEIR_LONG=1` also runs the long form: 500 calls of 1 MB.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metering::meter::count_prompt;
use metering::usage::Api;
use serde_json::Value;

use super::super::http::{connect, exchange, get, post, read_head};
use super::super::sidecar::{PATIENCE, Sidecar, usage_events, wait_for};
use super::super::upstream::{self, STREAM_HEAD, delta, small_thread, stop, write_chunk, write_end};
use super::status_bytes;

const PATH: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

/// Bytes of each prompt.
const PROMPT_BYTES: usize = 1_000_000;

/// What a call costs besides its prompt: a read buffer of 64 KiB on either side, and its state.
const CALL_BYTES: usize = 192 << 10;

/// What the process may grow by whatever the number of calls: two threads that read and count a
/// prompt, the ledger, and what the allocator does not give back.
const PROCESS_BYTES: usize = 24 << 20;

/// A service that lets no answer begin before all requests have arrived.
struct Gate {
    arrived: AtomicUsize,
    open: Mutex<bool>,
    news: Condvar,
}

impl Gate {
    fn start() -> (Arc<Gate>, SocketAddr) {
        let gate =
            Arc::new(Gate { arrived: AtomicUsize::new(0), open: Mutex::new(true), news: Condvar::new() });
        let service = Arc::clone(&gate);
        let addr = upstream::serve(move |socket| drop(service.serve(socket)));
        (gate, addr)
    }

    /// Reads requests and throws them away; this process must not become the large one.
    fn serve(&self, socket: TcpStream) -> io::Result<()> {
        let (mut writer, mut reader) = (socket.try_clone()?, BufReader::new(socket));
        while let Some(head) = read_head(&mut reader)? {
            let length: u64 = head.field("content-length").unwrap().parse().unwrap();
            io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            self.arrived.fetch_add(1, Ordering::SeqCst);
            drop(self.news.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
            writer.write_all(STREAM_HEAD.as_bytes())?;
            write_chunk(&mut writer, delta("Hello, world").as_bytes())?;
            write_chunk(&mut writer, stop().as_bytes())?;
            write_end(&mut writer)?;
        }
        Ok(())
    }

    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.news.notify_all();
    }
}

fn body() -> String {
    let content =
        "A weir measures a stream without stopping it, 12 345 times a day. ".repeat(PROMPT_BYTES / 66);
    format!(r#"{{"messages":[{{"role":"user","content":"{content}"}}],"stream":true}}"#)
}

/// Prompt bytes that the sidecar keeps now.
fn prompt_memory(sidecar: &Sidecar) -> usize {
    let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("tokenweir_prompt_memory_bytes ")).unwrap();
    line.parse::<f64>().unwrap() as usize
}

/// As many calls at once, under this budget for their prompts.
fn flood(calls: usize, budget_mib: usize) {
    let budget_bytes = budget_mib << 20;
    let (gate, service) = Gate::start();
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let budget = format!("{budget_mib}MiB");
    let sidecar = Sidecar::start(service, &ledger, &["--prompt-memory", &budget, "--end-of-turn", "1"]);
    let request: Arc<[u8]> = post(PATH, &[], &body()).into();
    // One call alone: the tables are loaded, and a prompt has been counted once.
    assert_eq!(exchange(&mut connect(sidecar.addr), &request).status(), 200);
    wait_for("the first call's event", || (usage_events(&ledger).len() == 1).then_some(()));
    let before = status_bytes(sidecar.pid(), "VmRSS");
    gate.set(false);
    gate.arrived.store(0, Ordering::SeqCst);
    let callers: Vec<_> = (0..calls)
        .map(|_| {
            let (request, addr) = (Arc::clone(&request), sidecar.addr);
            small_thread(move || {
                let mut connection = connect(addr);
                connection.get_mut().set_read_timeout(Some(PATIENCE * 5)).unwrap();
                let answer = exchange(&mut connection, &request);
                assert!(answer.status() == 200 && answer.body.ends_with(b"data: [DONE]\n\n"));
            })
        })
        .collect();
    let began = Instant::now();
    while gate.arrived.load(Ordering::SeqCst) < calls {
        assert!(began.elapsed() < PATIENCE * 5, "{} requests arrived", gate.arrived.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(10));
    }
    let kept = prompt_memory(&sidecar);
    assert!(kept <= budget_bytes && kept > budget_bytes / 2, "{kept} bytes of {budget_bytes} are kept");
    gate.set(true);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let began = Instant::now();
    while prompt_memory(&sidecar) > 0 {
        assert!(began.elapsed() < PATIENCE * 5, "prompts are still kept");
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = status_bytes(sidecar.pid(), "VmHWM").saturating_sub(before);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    println!("{calls} calls, {budget_bytes} bytes of prompts allowed, {kept} kept, grown by {grown}");
    assert!(grown <= budget_bytes + calls * CALL_BYTES + PROCESS_BYTES, "grown by {grown}");
    check(&usage_events(&ledger)[1..], calls, budget_bytes);
}

/// Every call has its event, with the whole answer and with all of its prompt or none.
fn check(events: &[Value], calls: usize, budget_bytes: usize) {
    let prompt = count_prompt(Api::ChatCompletions, &[Bytes::from(body())], "gpt-4o-2024-11-20");
    assert_eq!(events.len(), calls);
    let mut counted = 0;
    for event in events {
        let data = &event["data"];
        assert_eq!(data["stream"]["outcome"], "complete");
        assert_eq!(data["tokens"]["output"], 4);
        let reasons = data["accounting"]["reasons"].as_array().map_or(&[][..], Vec::as_slice);
        let not_kept = reasons.iter().any(|reason| reason == "input:prompt_not_kept");
        let input = data["tokens"]["input"].as_u64();
        assert_eq!(input, prompt.tokens.filter(|_| !not_kept), "{data}");
        counted += usize::from(!not_kept);
    }
    assert!(counted >= budget_bytes / 2 / PROMPT_BYTES, "only {counted} prompts were counted");
    assert!(counted <= budget_bytes / PROMPT_BYTES, "{counted} prompts were counted");
}

#[test]
fn sixty_large_prompts_at_once() {
    flood(60, 8);
}

#[test]
fn five_hundred_large_prompts_at_once() {
    if !crate::skip::long_test() {
        return;
    }
    flood(500, 128);
}
