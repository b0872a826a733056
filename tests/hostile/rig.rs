//! One call through both taps, with the clock of the thread and the allocator's peak in view.

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};

use metering::caller::{Caller, Trust};
use metering::meter::Rules;
use metering::tokens;
use metering::usage::{Api, Target, Usage};
use tokenweir::pool::Pool;
use tokenweir::tee::{Accounts, Begin, Call, CallGuard, RequestTap, ResponseTap, RunningCalls};

use super::support::PATIENCE;
use super::support::tap::{Hear, begin};

/// The most that one read of a socket gives.
const FRAME_BYTES: usize = 64 << 10;

/// Frames that are ready at once: a socket's buffer holds no more.
const FRAMES_PER_TURN: usize = 4;

const PROMPT_MEMORY_BYTES: usize = 256 << 20;

/// One hostile exchange.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) api: Api,
    pub(crate) request: Bytes,
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) answer: Bytes,
    pub(crate) frame_bytes: usize,
    /// The service waits for nobody: see [`Turns::rest`].
    pub(crate) unpaced: bool,
    /// Beside request and answer themselves, which the test holds.
    pub(crate) peak_bytes_max: usize,
}

impl Case {
    /// A stream of chat chunks.
    pub(crate) fn stream(name: &'static str, answer: impl Into<Vec<u8>>) -> Case {
        let request = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
        Case {
            name,
            api: Api::ChatCompletions,
            request: Bytes::from_static(request.as_bytes()),
            status: StatusCode::OK,
            headers: vec![("content-type", "text/event-stream".to_owned())],
            answer: Bytes::from(answer.into()),
            frame_bytes: FRAME_BYTES,
            unpaced: false,
            // A line of 4 MiB in a buffer that has doubled, and some.
            peak_bytes_max: 9 << 20,
        }
    }

    pub(crate) fn json(name: &'static str, answer: impl Into<Vec<u8>>) -> Case {
        let headers = vec![("content-type", "application/json".to_owned())];
        Case { headers, ..Case::stream(name, answer) }
    }

    pub(crate) fn of(self, api: Api) -> Case {
        Case { api, ..self }
    }

    pub(crate) fn coded(mut self, coding: &str) -> Case {
        if coding.is_empty() {
            return self;
        }
        self.headers.push(("content-encoding", coding.to_owned()));
        self
    }

    pub(crate) fn asking(self, request: impl Into<Vec<u8>>) -> Case {
        Case { request: Bytes::from(request.into()), ..self }
    }

    pub(crate) fn unpaced(self) -> Case {
        Case { unpaced: true, ..self }
    }

    pub(crate) fn in_frames_of(self, frame_bytes: usize) -> Case {
        Case { frame_bytes, ..self }
    }

    pub(crate) fn within(self, peak_bytes_max: usize) -> Case {
        Case { peak_bytes_max, ..self }
    }
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) usage: Usage,
    /// CPU time of the thread that polls, from one wait to the next.
    pub(crate) longest_turn: Duration,
    /// Allocated at once, by all threads, beyond what was before.
    pub(crate) peak_bytes: usize,
    pub(crate) elapsed: Duration,
}

/// Drives one exchange.
pub(crate) fn run(case: &Case) -> Outcome {
    warm_up();
    let (hear, settled) = Hear::new();
    let pool = Pool::start(1).unwrap();
    let accounts = Accounts::new(pool, Arc::new(hear), PROMPT_MEMORY_BYTES);
    let accounts = Arc::new(accounts.settling_apart().unwrap());
    let live = Arc::new(RunningCalls::default());
    let headers = HeaderMap::from_iter(
        case.headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())),
    );
    let began = Instant::now();
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let target = Target { api: case.api, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    let begin = Begin { began, ..begin(draft, Rules { end_of_turn: true }) };
    let mut turns = Turns { longest: Duration::ZERO, unpaced: case.unpaced, accounts: Arc::clone(&accounts) };
    let call = turns.time(|| Call::begin(begin, accounts, live));
    let request = Frames::of(&case.request, case.frame_bytes);
    turns.drive(RequestTap::new(request, Some(Arc::clone(&call))), &case.request);
    turns.time(|| call.response_head(case.status, &headers));
    let answer = Frames::of(&case.answer, case.frame_bytes);
    let body = turns.time(|| ResponseTap::new(answer, Some(CallGuard::new(call))));
    turns.drive(body, &case.answer);
    let usage = settled.recv_timeout(PATIENCE * 2).unwrap_or_else(|_| panic!("{}: no end", case.name));
    let peak_bytes = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    Outcome { usage, longest_turn: turns.longest, peak_bytes, elapsed: began.elapsed() }
}

/// The first touch of a table is not any call's doing: `serve` loads them before it listens.
fn warm_up() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tokens::load();
        let text = super::answers::words(1 << 20);
        for encoding in [tokens::Encoding::O200kBase, tokens::Encoding::Cl100kBase] {
            tokens::count(encoding, &text);
        }
    });
}

/// The longest turn so far.
struct Turns {
    longest: Duration,
    unpaced: bool,
    accounts: Arc<Accounts>,
}

impl Turns {
    fn time<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let began = thread_cpu_time();
        let done = what();
        self.longest = self.longest.max(thread_cpu_time() - began);
        done
    }

    /// The service sends no faster than the counting thread reads, unless the case is about that.
    fn rest(&self) {
        while !self.unpaced && self.accounts.backlog_bytes() > 0 {
            std::thread::yield_now();
        }
    }

    /// Polls a body to its end and drops it; what it yields must be `expected`.
    fn drive(&mut self, mut body: impl Body<Data = Bytes, Error = Infallible> + Unpin, expected: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut at, mut ended) = (0, false);
        while !ended {
            self.time(|| {
                while let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(&mut context) {
                    let Some(Ok(frame)) = frame else {
                        ended = true;
                        return;
                    };
                    // The same memory, not only the same bytes: nothing was copied.
                    let data = frame.into_data().unwrap();
                    assert!(data.as_ptr() == expected[at..].as_ptr(), "other bytes");
                    at += data.len();
                }
            });
            self.rest();
        }
        assert_eq!(at, expected.len(), "not all bytes");
        self.time(|| drop(body));
    }
}

/// A body of equal frames, some of which are ready at a time.
struct Frames {
    rest: Bytes,
    frame_bytes: usize,
    ready: usize,
}

impl Frames {
    fn of(bytes: &Bytes, frame_bytes: usize) -> Frames {
        Frames { rest: bytes.clone(), frame_bytes, ready: FRAMES_PER_TURN }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if self.ready == 0 {
            self.ready = FRAMES_PER_TURN;
            return Poll::Pending;
        }
        self.ready -= 1;
        let size = self.frame_bytes.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }
}

/// CPU time that this thread has used.
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, keeping account of what is allocated.
struct Measured;

fn grown(by: usize) {
    let now = NOW.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: all work is the system allocator's; counting does not allocate.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        grown(size);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(old, layout, size) }
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measured = Measured;
