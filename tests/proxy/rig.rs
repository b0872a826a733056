//! A proxy between raw sockets: every byte on either side is the test's.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use metering::caller::{Caller, Peer, Resolved, Trust};
use metering::meter::Rules;
use metering::usage::Settled;
use tokenweir::ledger::{Bill, Ledger, LedgerOptions};
use tokenweir::pool::Pool;
use tokenweir::proxy::{
    self, Config, Limit, Limits, ListenTls, Policy, Removals, Running, Shared, Upstream, UpstreamTls,
};
use tokenweir::tee::{Accounts, Compared, Observer};

pub(crate) use crate::support::fake_service::{STREAM_HEAD as CHUNKED, Script};
pub(crate) use crate::support::http::{Message, Wire};
pub(crate) use crate::support::{PATIENCE, eventually};

/// What the observer heard.
#[derive(Default)]
pub(crate) struct Heard {
    settled: Mutex<(Vec<Settled>, Vec<Settled>)>,
    bills: Mutex<Vec<Bill>>,
    news: Condvar,
}

impl Heard {
    /// Waits until this many calls have settled or been summed; no more may come.
    pub(crate) fn calls(&self, count: usize) -> Vec<Settled> {
        let guard = self.settled.lock().unwrap();
        let (guard, _) = self
            .news
            .wait_timeout_while(guard, PATIENCE, |(settled, summed)| settled.len() + summed.len() < count)
            .unwrap();
        let all: Vec<Settled> = guard.0.iter().chain(&guard.1).cloned().collect();
        assert_eq!(all.len(), count, "calls settled");
        all
    }

    pub(crate) fn bills(&self) -> Vec<Bill> {
        self.bills.lock().unwrap().clone()
    }

    pub(crate) fn summed(&self) -> usize {
        self.settled.lock().unwrap().1.len()
    }
}

impl Observer for Heard {
    fn settled(&self, settled: &Settled) {
        self.settled.lock().unwrap().0.push(settled.clone());
        self.news.notify_all();
    }
    fn summed(&self, settled: &Settled) {
        self.settled.lock().unwrap().1.push(settled.clone());
        self.news.notify_all();
    }
    fn bill(&self, bill: Bill) {
        self.bills.lock().unwrap().push(bill);
    }
    fn compared(&self, _: &Compared) {}
}

/// A running proxy.
pub(crate) struct Rig {
    pub(crate) addr: SocketAddr,
    pub(crate) running: Option<Running>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) ledger: Ledger,
    /// The hop of each call.
    pub(crate) peers: Arc<Mutex<Vec<Peer>>>,
    _dir: tempfile::TempDir,
}

/// What a rig may differ in.
pub(crate) struct Setup {
    pub(crate) upstreams: Vec<(Option<&'static str>, String)>,
    pub(crate) tls: Option<UpstreamTls>,
    pub(crate) listen_tls: Option<ListenTls>,
    pub(crate) slots: usize,
    pub(crate) reject_when_full: bool,
    pub(crate) drain_timeout: Duration,
    pub(crate) threads: usize,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
}

impl Setup {
    pub(crate) fn to(upstream: SocketAddr) -> Setup {
        Setup::urls(vec![(None, format!("http://{upstream}"))])
    }

    pub(crate) fn urls(upstreams: Vec<(Option<&'static str>, String)>) -> Setup {
        Setup {
            upstreams,
            tls: None,
            listen_tls: None,
            slots: 10_000,
            reject_when_full: false,
            drain_timeout: PATIENCE,
            threads: 1,
            policy: Policy::default(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn start(self) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(LedgerOptions {
            slots: self.slots,
            ..LedgerOptions::new(dir.path().join("ledger"))
        })
        .unwrap();
        let heard = Arc::new(Heard::default());
        let observer = Arc::clone(&heard) as Arc<dyn Observer>;
        let accounts = Accounts::new(Pool::start(1).unwrap(), observer, 1 << 20);
        let accounts = Arc::new(accounts.settling_apart().unwrap());
        let rules = Rules { end_of_turn: true };
        let upstreams = self.upstreams.iter();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            listen_tls: self.listen_tls,
            threads: self.threads,
            upstreams: upstreams
                .map(|(name, url)| Upstream::new(name.map(str::to_owned), url, rules).unwrap())
                .collect(),
            tls: self.tls,
            removals: Removals {
                headers: vec!["x-apim-subscription-id".parse().unwrap()],
                query: vec!["subscription-key".to_owned()],
            },
            drain_timeout: self.drain_timeout,
            reject_when_full: self.reject_when_full,
            limits: self.limits,
            policy: self.policy,
        };
        let peers = Arc::new(Mutex::new(Vec::<Peer>::new()));
        let seen = Arc::clone(&peers);
        let shared = Shared {
            accounts: Arc::clone(&accounts),
            ledger: ledger.clone(),
            resolver: Arc::new(move |headers, peer, _| {
                seen.lock().unwrap().push(peer.clone());
                let mut caller = Caller::unattributed(Trust::None);
                if let Some(id) = headers.get("x-apim-subscription-id") {
                    caller.id = id.to_str().unwrap().into();
                }
                Resolved { caller, trusted: true, unattributed: None, unproven: None }
            }),
            boot: "boot".into(),
            capturer: None,
        };
        let running = proxy::start(config, shared).unwrap();
        Rig { addr: running.addr(), running: Some(running), heard, accounts, ledger, peers, _dir: dir }
    }
}

impl Rig {
    pub(crate) fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.addr).unwrap())
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Wire {
        let mut wire = self.connect();
        wire.send(request);
        wire
    }

    /// How often a limit was met.
    pub(crate) fn met(&self, limit: Limit) -> u64 {
        self.running().counts().limits().find(|(name, _)| *name == limit.as_str()).unwrap().1
    }

    /// TLS failures of this side and cause.
    pub(crate) fn failures(&self, side: &str, cause: &str) -> u64 {
        let mut failures = self.running().counts().tls_failures().collect::<Vec<_>>().into_iter();
        failures.find(|(s, c, _)| (*s, *c) == (side, cause)).map_or(0, |(_, _, count)| count)
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
            running.join();
        }
    }
}

/// A POST of this body to the chat API.
pub(crate) fn post(body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An answer of this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
