//! Waiting for sockets and for moments finer than a millisecond, and the one clock of both ends.
//!
//! Both ends are a loop over epoll on one thread each, not a runtime: they have to cost little beside
//! the proxy on a machine that they share with it, and a stream's pace needs timers as exact as the
//! kernel's.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Sockets that one wait may name.
const READY_MAX: usize = 512;

/// Waits that are longer may be a millisecond longer.
const COARSE_NS: u64 = 20_000_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the bench began.
pub(crate) fn now() -> u64 {
    START.elapsed().as_nanos() as u64
}

/// The socket of this number can be read from, or may be written to again.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) number: usize,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// For the thread that calls this; its timers become as exact as they can be.
    pub(crate) fn new() -> io::Result<Poller> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(READY_MAX) })
    }

    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Says whether it matters that the socket can be written to.
    pub(crate) fn want_write(&self, socket: impl AsFd, number: usize, wanted: bool) -> io::Result<()> {
        let flags = if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(number as u64), flags)?)
    }

    /// Waits until a socket is ready, at most so many nanoseconds.
    pub(crate) fn wait(&mut self, at_most: u64, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let mut timeout = Timespec::try_from(Duration::from_nanos(at_most)).map_err(io::Error::other)?;
        if (1..COARSE_NS).contains(&at_most) {
            // What epoll would round up to a millisecond, poll keeps.
            let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
            interrupted(poll(&mut epoll, Some(&timeout)))?;
            timeout = Timespec::default();
        }
        let events = rustix::buffer::spare_capacity(&mut self.events);
        interrupted(epoll::wait(&self.epoll, events, Some(&timeout)))?;
        ready.extend(self.events.iter().map(|event| {
            let (data, flags) = (event.data, event.flags);
            let number = data.u64() as usize;
            Ready { number, read: flags.intersects(!EventFlags::OUT), write: flags.contains(EventFlags::OUT) }
        }));
        Ok(())
    }
}

/// A signal ends a wait early, and nothing else.
fn interrupted(waited: rustix::io::Result<usize>) -> io::Result<()> {
    match waited {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
