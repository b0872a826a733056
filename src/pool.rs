//! Threads that count, so that no network thread waits for a tokenizer.
//!
//! Work stands in one of three queues: what an answer needs goes before any prompt, and prompts of calls that
//! were refused come last of all ([`Lane`]). A prompt can take a third of a second, so of two threads and
//! more the first is for answers alone: no number of prompts, however long, holds up an answer. A single
//! thread does both, and takes answers first.
//!
//! A task stands in the queue of a lane at most once, and does all its work there when its turn comes. Beside
//! them there are errands, for when there is nothing else to do: one at a time, and never by the thread
//! that is for answers. Those that are wanted soon go first, the others can be called off. The pool knows
//! nothing of calls.

mod gather;

pub use self::gather::Gather;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Tasks that may wait in a lane. A task is one call with bytes or a prompt to count, so this is above the
/// number of calls that one process can carry; over it the call settles without.
const QUEUE_TASKS_MAX: usize = 65_536;

/// Errands that may wait. They are a sample of something: of a burst, this much is enough.
const ERRANDS_MAX: usize = 64;

/// Errands that are wanted soon and may wait: as many as tasks, since each is for one call. They hold
/// nothing while they wait.
const SOON_MAX: usize = QUEUE_TASKS_MAX;

/// Work for the pool.
pub trait Task: Send + Sync {
    /// Does what there is to do of the kind that its lane is for.
    fn run(self: Arc<Self>, lane: Lane);
}

/// What a task stands in a queue for, in the order in which queues are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// An answer, or the end of a call: somebody waits for the number.
    Answer,
    /// A prompt, or a request that has to be read.
    Prompt,
    /// The prompt of a call that the service refused: it is most likely not billed.
    Refused,
}

/// Work that nobody waits for. It may be dropped instead of being run.
pub type Errand = Box<dyn FnOnce() + Send>;

/// The queue is full or closed: the task was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the counting pool takes no more work")]
pub struct Full;

/// A fixed number of counting threads with bounded queues.
pub struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    state: Mutex<State>,
    /// Rung for the thread that is for answers alone.
    answers: Condvar,
    /// Rung for the others.
    wake: Condvar,
}

struct State {
    /// In the order of [`Lane`].
    lanes: [VecDeque<Arc<dyn Task>>; 3],
    /// Errands that are wanted soon.
    soon: VecDeque<Errand>,
    errands: VecDeque<Errand>,
    /// A thread is on one.
    errand_runs: bool,
    /// The thread that is for answers alone sleeps, and nobody has called it.
    answers_idle: bool,
    closed: bool,
}

/// What a thread does next.
enum Work {
    Task(Arc<dyn Task>, Lane),
    Errand(Errand),
}

impl Pool {
    /// Starts threads named `tw-count-0`, `tw-count-1`, ... If there is more than one, the first is for
    /// answers alone.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(threads: usize) -> io::Result<Pool> {
        let state = State {
            lanes: Default::default(),
            soon: VecDeque::new(),
            errands: VecDeque::new(),
            errand_runs: false,
            answers_idle: false,
            closed: false,
        };
        let pool = Pool {
            queue: Arc::new(Queue {
                state: Mutex::new(state),
                answers: Condvar::new(),
                wake: Condvar::new(),
            }),
            threads: Mutex::new(Vec::with_capacity(threads)),
        };
        for n in 0..threads {
            let queue = Arc::clone(&pool.queue);
            let answers_only = threads > 1 && n == 0;
            let thread = std::thread::Builder::new()
                .name(format!("tw-count-{n}"))
                .spawn(move || queue.work(answers_only))?;
            pool.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(pool)
    }

    /// Puts a task in the queue of a lane. Never waits.
    ///
    /// # Errors
    ///
    /// [`Full`]: the task was not taken, the caller must do without.
    pub fn submit(&self, task: Arc<dyn Task>, lane: Lane) -> Result<(), Full> {
        let mut state = self.queue.lock();
        if state.closed || state.lanes[lane as usize].len() >= QUEUE_TASKS_MAX {
            return Err(Full);
        }
        state.lanes[lane as usize].push_back(task);
        let idle = lane == Lane::Answer && state.answers_idle;
        state.answers_idle &= !idle; // it is called already: the next answer calls another thread
        drop(state);
        if idle {
            self.queue.answers.notify_one()
        } else {
            self.queue.wake.notify_one()
        }
        Ok(())
    }

    /// Puts an errand in its queue, or drops it if that is full or closed. Never waits.
    pub fn submit_errand(&self, errand: Errand) {
        let mut state = self.queue.lock();
        if state.closed || state.errands.len() >= ERRANDS_MAX {
            drop(state); // what the errand holds is let go of without the lock
            return drop(errand);
        }
        state.errands.push_back(errand);
        drop(state);
        self.queue.wake.notify_one();
    }

    /// Puts an errand in a queue that goes before that of [`Pool::submit_errand`] and cannot be called
    /// off. False: it was dropped, since that is full or closed. Never waits.
    pub fn submit_soon(&self, errand: Errand) -> bool {
        let mut state = self.queue.lock();
        if state.closed || state.soon.len() >= SOON_MAX {
            drop(state); // as above
            drop(errand);
            return false;
        }
        state.soon.push_back(errand);
        drop(state);
        self.queue.wake.notify_one();
        true
    }

    /// It takes nothing more.
    pub fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Drops the errands that wait. False: there was none.
    pub fn call_off_errands(&self) -> bool {
        let errands = std::mem::take(&mut self.queue.lock().errands);
        !errands.is_empty()
    }

    /// Finishes the tasks that are queued, drops the errands, takes nothing more, and ends the
    /// threads. Waits for them.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.call_off_errands();
        let soon = std::mem::take(&mut self.queue.lock().soon);
        drop(soon); // without the lock
        self.queue.answers.notify_all();
        self.queue.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // The last to let go of the pool may be one of its own threads, which then ends by itself.
        let others = threads.into_iter().filter(|thread| thread.thread().id() != std::thread::current().id());
        for thread in others {
            let _ = thread.join(); // a thread catches its tasks' panics
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queued = self.queue.lock().lanes.each_ref().map(VecDeque::len);
        f.debug_struct("Pool").field("queued", &queued).finish_non_exhaustive()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does next; `None`: the pool is closed, and nothing is left of what the thread is for.
    fn next(&self, answers_only: bool) -> Option<Work> {
        const LANES: [Lane; 3] = [Lane::Answer, Lane::Prompt, Lane::Refused];
        let lanes = if answers_only { &LANES[..1] } else { &LANES };
        let mut state = self.lock();
        loop {
            for &lane in lanes {
                if let Some(task) = state.lanes[lane as usize].pop_front() {
                    return Some(Work::Task(task, lane));
                }
            }
            if state.closed {
                return None;
            }
            if answers_only {
                state.answers_idle = true;
                state = self.answers.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.answers_idle = false;
                continue;
            }
            if !state.errand_runs {
                let soonest = state.soon.pop_front();
                if let Some(errand) = soonest.or_else(|| state.errands.pop_front()) {
                    state.errand_runs = true;
                    return Some(Work::Errand(errand));
                }
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, answers_only: bool) {
        while let Some(work) = self.next(answers_only) {
            // The work guards its own state; the thread must outlive whatever it does.
            match work {
                Work::Task(task, lane) => drop(catch_unwind(AssertUnwindSafe(|| task.run(lane)))),
                Work::Errand(errand) => {
                    let _ = catch_unwind(AssertUnwindSafe(errand));
                    self.lock().errand_runs = false;
                    // This thread may get a task next, while another sleeps over the next errand.
                    self.wake.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    struct Add(Arc<AtomicUsize>, bool);

    impl Task for Add {
        fn run(self: Arc<Self>, _: Lane) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "a task that fails");
        }
    }

    fn lane(n: usize) -> Lane {
        [Lane::Answer, Lane::Prompt, Lane::Refused][n % 3]
    }

    #[test]
    fn closing_finishes_what_is_queued_and_takes_nothing_more() {
        let done = Arc::new(AtomicUsize::new(0));
        let pool = Pool::start(2).unwrap();
        for n in 0..1000 {
            pool.submit(Arc::new(Add(Arc::clone(&done), n % 100 == 0)), lane(n)).unwrap();
        }
        pool.close();
        assert_eq!(done.load(Ordering::SeqCst), 1000);
        assert_eq!(pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Answer), Err(Full));
    }

    /// Runs an errand that says that it has begun and then waits to be let go on.
    fn held(pool: &Pool) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((begun, has_begun), (go, let_go)) = (mpsc::channel(), mpsc::channel());
        pool.submit_errand(Box::new(move || {
            begun.send(()).unwrap();
            let_go.recv().unwrap();
        }));
        (has_begun, go)
    }

    #[test]
    fn errands_run_one_at_a_time_and_hold_up_no_task() {
        let pool = Pool::start(2).unwrap();
        let (first, go_first) = held(&pool);
        first.recv().unwrap();
        let (second, go_second) = held(&pool);
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Answer).unwrap();
        }
        while done.load(Ordering::SeqCst) < 100 {
            std::thread::yield_now();
        }
        assert!(second.try_recv().is_err(), "two errands at a time");
        go_first.send(()).unwrap();
        second.recv().unwrap();
        go_second.send(()).unwrap();
    }

    #[test]
    fn errands_are_bounded_and_can_be_called_off() {
        let pool = Pool::start(0).unwrap();
        let held = Arc::new(());
        for _ in 0..2 * ERRANDS_MAX {
            let held = Arc::clone(&held);
            pool.submit_errand(Box::new(move || drop(held)));
        }
        assert_eq!(Arc::strong_count(&held), 1 + ERRANDS_MAX);
        assert!(pool.call_off_errands() && !pool.call_off_errands());
        assert_eq!(Arc::strong_count(&held), 1);
        let last = Arc::clone(&held);
        pool.submit_errand(Box::new(move || drop(last)));
        pool.close();
        assert_eq!(Arc::strong_count(&held), 1, "closing drops what waits");
    }

    #[test]
    fn what_is_wanted_soon_goes_after_tasks_and_before_other_errands_and_is_not_called_off() {
        let pool = Pool::start(1).unwrap();
        let (begun, go) = held(&pool);
        begun.recv().unwrap();
        let (said, order) = mpsc::channel();
        let say = |what: &'static str| {
            let said = said.clone();
            Box::new(move || said.send(what).unwrap())
        };
        pool.submit_errand(say("called off"));
        assert!(pool.submit_soon(say("soon")));
        assert!(pool.call_off_errands());
        pool.submit_errand(say("errand"));
        assert!(pool.submit_soon(say("soon, too")));
        let done = Arc::new(AtomicUsize::new(0));
        pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Answer).unwrap();
        go.send(()).unwrap();
        let three: Vec<_> = order.iter().take(3).collect();
        assert_eq!((three, done.load(Ordering::SeqCst)), (vec!["soon", "soon, too", "errand"], 1));
        pool.close();
        assert!(!pool.submit_soon(say("too late")));
        assert!(order.try_recv().is_err());
    }

    #[test]
    fn a_thread_outlives_an_errand_that_fails() {
        let pool = Pool::start(1).unwrap();
        pool.submit_errand(Box::new(|| panic!("an errand that fails")));
        let (begun, go) = held(&pool);
        begun.recv().unwrap();
        go.send(()).unwrap();
    }

    #[test]
    fn the_queue_is_bounded() {
        let done = Arc::new(AtomicUsize::new(0));
        let pool = Pool::start(0).unwrap();
        for _ in 0..QUEUE_TASKS_MAX {
            pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Answer).unwrap();
        }
        assert_eq!(pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Answer), Err(Full));
        for _ in 0..QUEUE_TASKS_MAX {
            pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Prompt).unwrap();
        }
        assert_eq!(pool.submit(Arc::new(Add(done, false)), Lane::Prompt), Err(Full), "each by itself");
    }

    /// Says its name when its turn comes; some wait then to be let go on.
    struct Say(&'static str, mpsc::Sender<&'static str>, Option<Mutex<mpsc::Receiver<()>>>);

    impl Task for Say {
        fn run(self: Arc<Self>, _: Lane) {
            self.1.send(self.0).unwrap();
            if let Some(go) = &self.2 {
                go.lock().unwrap().recv().unwrap();
            }
        }
    }

    #[test]
    fn however_many_prompts_there_are_an_answer_finds_a_thread() {
        for threads in [2, 3, 5] {
            let pool = Pool::start(threads).unwrap();
            let (said, hear) = mpsc::channel();
            // As many prompts as hold up every thread that takes one, and more that wait.
            let gates: Vec<_> = (0..2 * threads)
                .map(|n| {
                    let (gate, held) = mpsc::channel();
                    let lane = if n % 2 == 0 { Lane::Prompt } else { Lane::Refused };
                    pool.submit(Arc::new(Say("prompt", said.clone(), Some(Mutex::new(held)))), lane).unwrap();
                    gate
                })
                .collect();
            for _ in 1..threads {
                assert_eq!(hear.recv().unwrap(), "prompt");
            }
            for _ in 0..100 {
                pool.submit(Arc::new(Say("answer", said.clone(), None)), Lane::Answer).unwrap();
                assert_eq!(hear.recv().unwrap(), "answer");
            }
            gates.iter().for_each(|gate| gate.send(()).unwrap());
            pool.close();
        }
    }

    #[test]
    fn a_single_thread_takes_answers_first_and_what_was_refused_last() {
        let pool = Pool::start(1).unwrap();
        let (said, hear) = mpsc::channel();
        let (gate, held) = mpsc::channel();
        pool.submit(Arc::new(Say("held", said.clone(), Some(Mutex::new(held)))), Lane::Prompt).unwrap();
        assert_eq!(hear.recv().unwrap(), "held");
        for (name, lane) in [
            ("refused", Lane::Refused),
            ("prompt", Lane::Prompt),
            ("answer", Lane::Answer),
            ("refused", Lane::Refused),
            ("prompt", Lane::Prompt),
            ("answer", Lane::Answer),
        ] {
            pool.submit(Arc::new(Say(name, said.clone(), None)), lane).unwrap();
        }
        gate.send(()).unwrap();
        let order: Vec<_> = hear.iter().take(6).collect();
        assert_eq!(order, ["answer", "answer", "prompt", "prompt", "refused", "refused"]);
    }
}
