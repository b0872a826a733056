//! The live page, and `top` and `tail`, on a real `serve`.
//!
//! - this file: who may read it, and that its numbers are those of `/metrics` and of `events`
//! - `browser`: in Chromium: what people see
//! - `terminal`: `top` and `tail`
//! - `cost`: ten open pages under load

mod browser;
mod cost;
mod terminal;

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Message, connect, exchange, get, post, read_chunk, read_head};
use super::sidecar::{PATIENCE, Sidecar, binary, usage_events, wait_for};
use super::upstream::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};

/// Callers whose names are markup, a script, an escape and what looks like our own words.
const HOSTILE: [&str; 5] = [
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "total",
    "other callers",
    "a&amp;b\"'`",
];

/// A service whose streams say so many words as the request's `max_tokens`, and break off after some of them if it is
/// even.
fn service() -> SocketAddr {
    upstream::start(Arc::new(|request: &Message, to: &mut TcpStream| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let words = body["max_tokens"].as_u64().unwrap();
        to.write_all(STREAM_HEAD.as_bytes())?;
        for _ in 0..words {
            write_chunk(to, delta(" word").as_bytes())?;
        }
        if words.is_multiple_of(2) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        write_chunk(to, stop().as_bytes())?;
        write_end(to)
    }))
}

/// A call of a caller, whose stream has so many words.
fn call(addr: SocketAddr, caller: &str, words: u64) {
    let body = serde_json::json!({
        "stream": true, "max_tokens": words, "messages": [{"role": "user", "content": "Say it again and again."}],
    });
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=1";
    let request = post(path, &[("x-caller", caller), ("Connection", "close")], &body.to_string());
    let mut connection = connect(addr);
    connection.get_mut().write_all(&request).unwrap();
    read_head(&mut connection).unwrap().unwrap();
    while let Ok(Some(_)) = read_chunk(&mut connection) {}
}

/// A sidecar that takes the caller's name from a header.
fn sidecar(ledger: &Path, more: &[&str]) -> Sidecar {
    Sidecar::start(service(), ledger, &[&["--caller-sources", "header:x-caller:whole"], more].concat())
}

/// Calls of everybody, some of which break off.
fn call_all(addr: SocketAddr) -> usize {
    for (at, caller) in HOSTILE.iter().enumerate() {
        for words in 1..=at as u64 + 2 {
            call(addr, caller, words);
        }
    }
    HOSTILE.len() * (HOSTILE.len() + 3) / 2
}

/// The events that the admin port tells.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(admin: SocketAddr, path: &str) -> Events {
        let mut connection = connect(admin);
        connection
            .get_mut()
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .unwrap();
        let head = read_head(&mut connection).unwrap().unwrap();
        assert_eq!((head.status(), head.field("content-type")), (200, Some("text/event-stream")));
        Events(connection)
    }

    /// The data of the events of the next chunk, each with its name.
    fn next(&mut self) -> Vec<(String, Value)> {
        let chunk = String::from_utf8(read_chunk(&mut self.0).unwrap().unwrap()).unwrap();
        let events = chunk.split("\n\n").filter_map(|event| event.strip_prefix("event: "));
        events
            .map(|event| {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                (name.to_owned(), serde_json::from_str(data).unwrap())
            })
            .collect()
    }

    /// The first view for which something holds.
    fn view(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let view = self.next().pop().unwrap().1;
            if holds(&view) {
                return view;
            }
            assert!(began.elapsed() < PATIENCE, "it never holds: {view}");
        }
    }
}

/// The sum of a metric by the value of one label.
fn by_label(metrics: &str, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
        let (labels, value) = line.rsplit_once("} ").unwrap();
        let of = labels.split_once(&format!("{label}=\"")).unwrap().1;
        let of = of.split_once("\",").map_or(of.trim_end_matches('"'), |(of, _)| of);
        *sums.entry(of.replace("\\\"", "\"")).or_default() += value.parse::<f64>().unwrap() as u64;
    }
    sums
}

fn metrics(admin: SocketAddr) -> String {
    String::from_utf8(get(admin, "/metrics").body).unwrap()
}

#[test]
fn its_numbers_are_those_of_the_metrics_and_of_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(&ledger, &["--metrics-per-caller", "caller"]);
    let mut events = Events::open(sidecar.admin, "/events");
    assert_eq!(events.view(|_| true)["totals"]["calls"], 0);
    let calls = call_all(sidecar.addr);
    let view = events.view(|view| view["totals"]["calls"] == calls);
    let stored =
        wait_for("the events", || Some(usage_events(&ledger)).filter(|events| events.len() == calls));
    let metrics = metrics(sidecar.admin);

    let of_callers: BTreeMap<&str, &Value> = view["callers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["caller"].as_str().unwrap(), row))
        .collect();
    assert_eq!(of_callers.len(), HOSTILE.len());
    for caller in HOSTILE {
        let own: Vec<&Value> =
            stored.iter().filter(|event| event["data"]["caller"]["id"] == caller).collect();
        let sum = |side: &str| {
            own.iter().map(|event| event["data"]["tokens"][side].as_u64().unwrap_or(0)).sum::<u64>()
        };
        let row = of_callers[caller];
        assert_eq!(row["calls"], own.len(), "{caller}");
        assert_eq!(
            (row["input"].as_u64().unwrap(), row["output"].as_u64().unwrap()),
            (sum("input"), sum("output"))
        );
        for side in ["input", "output"] {
            let line = metrics.lines().find(|line| {
                let name = caller.replace('"', "\\\"");
                line.starts_with(&format!(
                    "tokenweir_caller_tokens_total{{caller=\"{name}\",class=\"{side}\"}} "
                ))
            });
            let value: f64 = line.expect(caller).rsplit(' ').next().unwrap().parse().unwrap();
            assert_eq!(row[side].as_f64(), Some(value), "{caller} {side}");
        }
    }
    let of_class = by_label(&metrics, "tokenweir_tokens_total", "class");
    assert_eq!(view["totals"]["input"], of_class["input"]);
    assert_eq!(view["totals"]["output"], of_class["output"]);
    let of_outcome = by_label(&metrics, "tokenweir_requests_total", "outcome");
    let names = view["outcome_names"].as_array().unwrap();
    assert!(of_outcome.len() > 1, "some broke off: {of_outcome:?}");
    for (at, name) in names.iter().enumerate() {
        let counted = of_outcome.get(name.as_str().unwrap()).copied().unwrap_or(0);
        assert_eq!(view["outcomes"][at], counted, "{name}");
    }
    let cut = calls as u64 - of_outcome["complete"];
    assert_eq!(view["interrupted"].as_array().unwrap().len() as u64, cut.min(20));
    let qualities: u64 =
        view["totals"]["qualities"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(qualities, calls as u64);
    let stored_total = by_name(&metrics, "tokenweir_events_stored_total");
    let view = events.view(|view| view["health"]["ledger"]["stored"] == stored_total);
    assert_eq!(view["health"]["ledger"]["bytes_max"], by_name(&metrics, "tokenweir_ledger_max_bytes"));
    assert_eq!((&view["health"]["streams"], &view["health"]["kafka"]), (&Value::from(0), &Value::Null));
    let seconds: Vec<u64> =
        view["points"].as_array().unwrap().iter().map(|point| point[0].as_u64().unwrap()).collect();
    assert!(seconds.windows(2).all(|two| two[0] + 1 == two[1]), "{seconds:?}");
    assert_eq!(sidecar.stop().0, Some(0), "an open page holds up no end");
}

fn by_name(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse::<f64>().unwrap() as u64
}

/// `serve` with its admin port at this address.
fn at(admin: &str, ledger: &Path, more: &[&str]) -> Sidecar {
    let mut command = Command::new(binary());
    command.args(["serve", "--upstream", &format!("http://{}", service()), "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", admin, "--ledger"]).arg(ledger).args(more);
    Sidecar::run(&mut command)
}

#[test]
fn it_is_there_by_default_only_where_this_machine_alone_can_ask() {
    let dir = tempfile::tempdir().unwrap();
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let ask = |admin: SocketAddr, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        exchange(&mut connect(admin), request.as_bytes())
    };
    for (admin, flags, there) in [
        ("127.0.0.1:0", &[][..], true),
        ("0.0.0.0:0", &[], false),
        ("0.0.0.0:0", &["--admin-page", "on"], true),
        ("127.0.0.1:0", &["--admin-page", "off"], false),
    ] {
        let sidecar = at(admin, &dir.path().join("ledger"), flags);
        let port = loopback(sidecar.admin.port());
        for path in ["/", "/events", "/calls"] {
            if there && path != "/" {
                continue; // they do not end
            }
            let answer = ask(port, path);
            let said = String::from_utf8(answer.body.clone()).unwrap();
            assert_eq!(
                (answer.status() == 200, answer.status() == 404),
                (there, !there),
                "{admin} {flags:?} {path}: {said}"
            );
            assert!(there || said.contains("--admin-page"), "it says which setting: {said}");
        }
        let start = sidecar.log().iter().find(|line| line.contains("\"listening\"")).cloned().unwrap();
        let start: Value = serde_json::from_str(&start).unwrap();
        let url = there.then(|| format!("http://{port}/"));
        assert_eq!(start["page"].as_str(), url.as_deref());
        assert_eq!(ask(port, "/metrics").status(), 200);
        assert_eq!(sidecar.stop().0, Some(0));
    }
}

#[test]
fn its_document_may_do_nothing_but_draw() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = sidecar(&dir.path().join("ledger"), &[]);
    let request = b"GET / HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n";
    let page = exchange(&mut connect(sidecar.admin), request);
    assert_eq!(page.status(), 200);
    let policy = page.field("content-security-policy").unwrap();
    for directive in [
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|part| part == directive), "{directive}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.field(name), Some(value));
    }
    assert!(page.body.len() < 64 << 10, "{} bytes", page.body.len());
    for host in ["evil.example", "rebound.example:9464"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(exchange(&mut connect(sidecar.admin), request.as_bytes()).status(), 403, "{host}");
    }
}

/// A page that reads nothing is left, and neither calls nor probes notice.
#[test]
fn a_page_that_reads_nothing_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = sidecar(&dir.path().join("ledger"), &[]);
    let asked = |path: &str| {
        let mut tcp = TcpStream::connect(sidecar.admin).unwrap();
        tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        tcp
    };
    let _idle: Vec<TcpStream> = (0..32).map(|number| asked(["/events", "/calls"][number % 2])).collect();
    for _ in 0..20 {
        call(sidecar.addr, "a", 3);
        let began = Instant::now();
        assert_eq!(get(sidecar.admin, "/livez").status(), 200);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
