//! The callers, on a thread of their own: so many connections, each with one call after the other,
//! and every answer checked. What is measured of the proxy is measured here, at the edges of one
//! window of time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use rustls::{ClientConfig, ClientConnection, Connection};

use super::answer::Answer;
use super::cpu::{Machine, Process, RunTime};
use super::poll::{Poller, Ready, now};
use super::reader::Reader;
use super::scenario::Scenario;
use super::wire::{Brought, Wire};

const BUFFER_BYTES: usize = 256 << 10;

/// How often memory is looked at, and calls that got stuck are.
const LOOK_NS: u64 = 200_000_000;

/// A call that takes longer is wrong. A machine that is busy with other things takes long.
const CALL_NS_MAX: u64 = 60_000_000_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// With so many wrong answers there is nothing to measure.
const WRONG_MAX: u64 = 1_000;

/// Latencies that are kept: more than the longest window brings.
const LATENCIES_MAX: usize = 8 << 20;

/// Whom to call, and with what.
pub(crate) struct Plan<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) to: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) request: &'a [u8],
    pub(crate) answer: &'a Answer,
    /// The proxy that is measured.
    pub(crate) process: &'a Process,
}

/// What was seen within the window.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// Answers that were whole and right.
    pub(crate) calls: u64,
    /// Events of streams.
    pub(crate) chunks: u64,
    /// Reads of ours that brought something.
    pub(crate) reads: u64,
    /// From an event's sending to its arrival; of a plain call, from the request to the whole answer.
    /// In ns, sorted.
    pub(crate) latencies: Vec<u32>,
    /// Answers that were not right, by what was wrong, from the first call on.
    pub(crate) wrong: BTreeMap<String, u64>,
    /// Answers that were right, from the first call on.
    pub(crate) calls_ever: u64,
    /// Time on the CPU, of the proxy.
    pub(crate) cpu: RunTime,
    /// Cores that neither the proxy nor the bench used.
    pub(crate) others: f64,
    /// Resident memory of the proxy before the first connection, and the most after it.
    pub(crate) idle_bytes: u64,
    pub(crate) peak_bytes: u64,
}

/// Runs the callers until the window is over.
pub(crate) fn run(plan: Plan<'_>) -> Result<Measured> {
    let measured = Measured { idle_bytes: plan.process.resident_bytes(), ..Measured::default() };
    let callers = (0..plan.scenario.connections).map(|_| Caller::default()).collect();
    let load = Load {
        plan,
        poller: Poller::new()?,
        callers,
        idle: VecDeque::new(),
        next_call: 0,
        window: None,
        measured,
    };
    load.run()
}

#[derive(Default)]
struct Caller {
    wire: Option<Wire>,
    reader: Reader,
    /// When the running call began.
    asked: Option<u64>,
}

struct Load<'a> {
    plan: Plan<'a>,
    poller: Poller,
    callers: Vec<Caller>,
    /// Callers whose next call may begin.
    idle: VecDeque<usize>,
    /// When it may, if there is a time between calls.
    next_call: u64,
    window: Option<Window>,
    measured: Measured,
}

/// What stood where when the window began.
struct Window {
    begun: u64,
    cpu: RunTime,
    own: RunTime,
    machine: Machine,
}

impl Load<'_> {
    fn run(mut self) -> Result<Measured> {
        let scenario = self.plan.scenario;
        let begun = now();
        let opens = begun + scenario.warmup.as_nanos() as u64;
        let (mut closes, mut look, mut started) = (u64::MAX, begun + LOOK_NS, 0);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut ready = Vec::new();
        loop {
            let moment = now();
            if self.window.is_none() && moment >= opens {
                self.window = Some(self.stand());
                closes = now() + scenario.window.as_nanos() as u64;
            }
            let enough = self.measured.calls_ever >= scenario.answers_min as u64
                || moment >= closes.saturating_add(CALL_NS_MAX);
            if moment >= closes && enough {
                return Ok(self.close());
            }
            if moment >= look {
                look = moment + LOOK_NS;
                self.look(moment)?;
            }
            let share = (moment - begun) as f64 / scenario.ramp.as_nanos().max(1) as f64;
            let due = self.callers.len().min((self.callers.len() as f64 * share) as usize + 1);
            self.idle.extend(started..due);
            started = due;
            while let Some(number) = self.next_caller() {
                self.ask(number);
            }
            let gap = scenario.ramp.as_nanos() as u64 / self.callers.len() as u64;
            let begins = if started < self.callers.len() { moment + gap } else { u64::MAX };
            let edge = if self.window.is_none() { opens } else { closes };
            let call = if self.idle.is_empty() { u64::MAX } else { self.next_call };
            let next = begins.min(look).min(call).min(if edge > moment { edge } else { look });
            self.poller.wait(next.saturating_sub(now()), &mut ready)?;
            for &Ready { number, read, write } in &ready {
                self.woken(number, read, write, &mut buffer);
            }
        }
    }

    /// Whose call begins now: each caller's in turn, at the pace of the scenario. What a machine that
    /// stood still has left out is not made up for.
    fn next_caller(&mut self) -> Option<usize> {
        if let Some(between) = self.plan.scenario.between_calls {
            let (moment, between) = (now(), between.as_nanos() as u64);
            if self.idle.is_empty() || moment < self.next_call {
                return None;
            }
            self.next_call = (self.next_call + between).max(moment.saturating_sub(10 * between));
        }
        self.idle.pop_front()
    }

    fn stand(&self) -> Window {
        let (cpu, own, machine) = (self.plan.process.run_time(), Process::own().run_time(), Machine::now());
        Window { begun: now(), cpu, own, machine }
    }

    fn close(mut self) -> Measured {
        let (end, mut measured) = (self.stand(), std::mem::take(&mut self.measured));
        let Some(begin) = self.window else { return measured };
        measured.seconds = (end.begun - begin.begun) as f64 / 1e9;
        measured.cpu = end.cpu - begin.cpu;
        let known = (measured.cpu.all_ns + (end.own - begin.own).all_ns) as f64 / 1e9;
        measured.others = (end.machine.busy_s - begin.machine.busy_s - known).max(0.0) / measured.seconds;
        measured.latencies.sort_unstable();
        measured
    }

    /// Memory, and calls that take too long.
    fn look(&mut self, moment: u64) -> Result<()> {
        self.measured.peak_bytes = self.measured.peak_bytes.max(self.plan.process.resident_bytes());
        for number in 0..self.callers.len() {
            if self.callers[number].asked.is_some_and(|asked| moment.saturating_sub(asked) > CALL_NS_MAX) {
                self.wrong(number, format!("not whole after {} s", CALL_NS_MAX / 1_000_000_000));
            }
        }
        if self.measured.wrong.values().sum::<u64>() > WRONG_MAX {
            bail!("too many answers are wrong: {:?}", self.measured.wrong);
        }
        Ok(())
    }

    /// Sends a request, on the caller's connection or on a new one.
    fn ask(&mut self, number: usize) {
        let caller = &mut self.callers[number];
        caller.reader = Reader::default();
        caller.asked = Some(now());
        let wire = match caller.wire.take() {
            Some(wire) => Ok(wire),
            None => connect(&self.plan, &self.poller, number),
        };
        let sent = wire.and_then(|mut wire| {
            wire.write(&self.poller, self.plan.request)?;
            Ok(wire)
        });
        match sent {
            Ok(wire) => self.callers[number].wire = Some(wire),
            Err(error) => self.give_up(number, format!("request: {}", error.kind())),
        }
    }

    fn woken(&mut self, number: usize, read: bool, write: bool, buffer: &mut [u8]) {
        let Some(wire) = &mut self.callers[number].wire else { return };
        if write && let Err(error) = wire.flush(&self.poller) {
            return self.wrong(number, format!("request: {}", error.kind()));
        }
        if !read {
            return;
        }
        match wire.read(&self.poller, buffer) {
            Ok(Brought::Nothing) => {}
            Ok(Brought::Bytes(length)) => self.received(number, &buffer[..length]),
            // A connection without a call may be closed.
            Ok(Brought::End) if self.callers[number].asked.is_none() => self.callers[number].wire = None,
            Ok(Brought::End) => self.wrong(number, "cut off".to_owned()),
            Err(error) => self.wrong(number, format!("answer: {}", error.kind())),
        }
    }

    fn received(&mut self, number: usize, bytes: &[u8]) {
        let moment = now();
        let Load { plan, callers, window, measured, .. } = self;
        let Some(asked) = callers[number].asked else {
            return self.wrong(number, "bytes without a call".to_owned());
        };
        let counts = window.is_some();
        let keep = |latencies: &mut Vec<u32>, since: u64| {
            if latencies.len() < LATENCIES_MAX {
                latencies.push(u32::try_from(moment.saturating_sub(since)).unwrap_or(u32::MAX));
            }
        };
        measured.reads += u64::from(counts);
        let whole = callers[number].reader.read(bytes, plan.answer, &mut |sent| {
            if counts {
                measured.chunks += u64::from(plan.answer.stream);
                sent.into_iter().for_each(|sent| keep(&mut measured.latencies, sent));
            }
        });
        match whole {
            Ok(false) => {}
            Ok(true) => {
                measured.calls_ever += 1;
                if counts {
                    measured.calls += 1;
                    if !plan.answer.stream {
                        keep(&mut measured.latencies, asked);
                    }
                }
                callers[number].asked = None;
                self.idle.push_back(number);
            }
            Err(what) => self.wrong(number, what),
        }
    }

    /// The call is over; the caller tries again on a new connection.
    fn wrong(&mut self, number: usize, what: String) {
        self.give_up(number, what);
        self.idle.push_back(number);
    }

    /// The caller calls no more: what cannot be reached would be tried for ever.
    fn give_up(&mut self, number: usize, what: String) {
        *self.measured.wrong.entry(what).or_default() += 1;
        self.callers[number] = Caller::default();
    }
}

fn connect(plan: &Plan<'_>, poller: &Poller, number: usize) -> io::Result<Wire> {
    let tcp = TcpStream::connect_timeout(&plan.to, CONNECT_TIMEOUT)?;
    let session = match &plan.tls {
        None => None,
        Some(tls) => {
            let name = "localhost".try_into().map_err(io::Error::other)?;
            Some(ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?)
        }
    };
    Wire::new(tcp, session.map(Connection::Client), poller, number)
}
