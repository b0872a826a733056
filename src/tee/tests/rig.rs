//! All that a call needs to run: accounts, an observer, and bodies that follow a script.

use super::scripted_meter::ScriptedMeter;
use uuid::Uuid;

use super::*;

pub(super) type Call = super::super::call::Call<ScriptedMeter>;
pub(super) type CallGuard = super::super::call::CallGuard<ScriptedMeter>;

#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<Settled>>, Condvar, pub(super) Mutex<Vec<(NumberKind, i64)>>);

impl Heard {
    pub(super) fn now(&self) -> Vec<Settled> {
        self.0.lock().unwrap().clone()
    }
    /// Of the only call.
    pub(super) fn wait(&self) -> Usage {
        self.last_of(1)
    }
    /// Of the last of so many calls.
    pub(super) fn last_of(&self, n: usize) -> Usage {
        let calls = self.0.lock().unwrap();
        let (calls, _) = self.1.wait_timeout_while(calls, PATIENCE, |calls| calls.len() < n).unwrap();
        assert_eq!(calls.len(), n, "settled once");
        calls[n - 1].usage.clone()
    }
}

impl Observer for Heard {
    fn settled(&self, settled: &Settled) {
        self.summed(settled);
    }
    fn summed(&self, settled: &Settled) {
        self.0.lock().unwrap().push(settled.clone());
        self.1.notify_all();
    }
    fn compared(&self, compared: &Compared) {
        self.2.lock().unwrap().push((compared.kind.clone(), compared.residual));
    }
}

pub(super) struct Rig {
    pub(super) accounts: Arc<Accounts>,
    pub(super) running_calls: Arc<RunningCalls>,
    pub(super) heard: Arc<Heard>,
}

/// With so many counting threads. Without any, nothing leaves the thread that a call runs on; else
/// calls settle apart from it.
pub(super) fn rig(threads: usize) -> Rig {
    let heard = Arc::new(Heard::default());
    let observer = Arc::clone(&heard) as Arc<dyn Observer>;
    let accounts = Accounts::new(Pool::start(threads).unwrap(), observer, 1 << 20);
    let accounts = if threads == 0 { accounts } else { accounts.settling_apart().unwrap() };
    Rig { accounts: Arc::new(accounts), running_calls: Arc::new(RunningCalls::default()), heard }
}

impl Rig {
    /// A call whose prompt is needed as `need` says.
    pub(super) fn call(&self, need: &str) -> Arc<Call> {
        self.call_of(draft(need), None)
    }

    pub(super) fn call_of(&self, draft: Usage, slot: Option<crate::ledger::Slot>) -> Arc<Call> {
        let rules = Rules { end_of_turn: true };
        let begin = Begin {
            id: Uuid::now_v7(),
            draft,
            rules,
            slot,
            keep_prompt: true,
            treatment: Treatment::Metered,
            representation: Representation::default(),
            began: Instant::now(),
            capture: None,
        };
        Call::begin_with_meter(begin, Arc::clone(&self.accounts), Arc::clone(&self.running_calls))
    }

    pub(super) fn memory(&self) -> (usize, usize) {
        (self.accounts.prompt_memory_bytes(), self.accounts.backlog_bytes())
    }

    pub(super) fn panics(&self) -> u64 {
        self.accounts.counters.meter_panics.load(Ordering::SeqCst)
    }
}

pub(super) fn draft(need: &str) -> Usage {
    let target = Target {
        model_requested: Some(need.into()),
        deployment: Some("deployment".into()),
        ..Target::default()
    };
    Usage::draft(Caller::unattributed(Trust::None), target)
}

/// A body that follows a script; `None` is a poll that finds nothing.
pub(super) struct Scripted(pub(super) VecDeque<Option<Result<Bytes, &'static str>>>);

impl Scripted {
    pub(super) fn of(frames: &[&str]) -> Scripted {
        Scripted(frames.iter().map(|frame| Some(Ok(Bytes::copy_from_slice(frame.as_bytes())))).collect())
    }
}

impl BodyError for &'static str {
    fn ending(&self) -> Ending {
        Ending::UpstreamError
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(frame)) => Poll::Ready(Some(frame.map(Frame::data))),
        }
    }
}

pub(super) fn poll<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Polls to the end; gives what came out.
pub(super) fn drain<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        match poll(body) {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => out.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Poll::Ready(_) => return out,
        }
    }
}

pub(super) fn answer(call: &Arc<Call>, frames: &[&str]) -> ResponseTap<Scripted, ScriptedMeter> {
    ResponseTap::new(Scripted::of(frames), Some(CallGuard::new(Arc::clone(call))))
}

pub(super) fn ask(call: &Arc<Call>, frames: &[&str]) {
    drain(&mut RequestTap::new(Scripted::of(frames), Some(Arc::clone(call))));
}

pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(super) fn told(usage: &Usage, what: &str) -> usize {
    usage.accounting.reasons.iter().filter(|reason| *reason == what).count()
}
