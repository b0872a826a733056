//! Threads that count, so that no network thread waits for a tokenizer.
//!
//! A task that wants to be run stands in the queue at most once, and does all its work when its
//! turn comes. Beside it there are errands, for when there is nothing else to do: one at a time, so
//! that another thread is always free for a task. Those that are wanted soon go first, the others can
//! be called off. The pool knows nothing of calls.

mod gather;

pub use self::gather::Gather;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Tasks that may wait. A task is one call with bytes or a prompt to count, so this is above the
/// number of calls that one process can carry; over it the call settles without.
const QUEUE_TASKS_MAX: usize = 65_536;

/// Errands that may wait. They are a sample of something: of a burst, this much is enough.
const ERRANDS_MAX: usize = 64;

/// Errands that are wanted soon and may wait: as many as tasks, since each is for one call. They hold
/// nothing while they wait.
const SOON_MAX: usize = QUEUE_TASKS_MAX;

/// Work for the pool.
pub trait Task: Send + Sync {
    /// Does what there is to do.
    fn run(self: Arc<Self>);
}

/// Work that nobody waits for. It may be dropped instead of being run.
pub type Errand = Box<dyn FnOnce() + Send>;

/// The queue is full or closed: the task was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the counting pool takes no more work")]
pub struct Full;

/// A fixed number of counting threads with one bounded queue.
pub struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    tasks: VecDeque<Arc<dyn Task>>,
    /// Errands that are wanted soon.
    soon: VecDeque<Errand>,
    errands: VecDeque<Errand>,
    /// A thread is on one.
    errand_runs: bool,
    closed: bool,
}

/// What a thread does next.
enum Work {
    Task(Arc<dyn Task>),
    Errand(Errand),
}

impl Pool {
    /// Starts threads named `tw-count-0`, `tw-count-1`, ...
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(threads: usize) -> io::Result<Pool> {
        let state = State {
            tasks: VecDeque::new(),
            soon: VecDeque::new(),
            errands: VecDeque::new(),
            errand_runs: false,
            closed: false,
        };
        let pool = Pool {
            queue: Arc::new(Queue { state: Mutex::new(state), wake: Condvar::new() }),
            threads: Mutex::new(Vec::with_capacity(threads)),
        };
        for n in 0..threads {
            let queue = Arc::clone(&pool.queue);
            let thread =
                std::thread::Builder::new().name(format!("tw-count-{n}")).spawn(move || queue.work())?;
            pool.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(pool)
    }

    /// Puts a task in the queue. Never waits.
    ///
    /// # Errors
    ///
    /// [`Full`]: the task was not taken, the caller must do without.
    pub fn submit(&self, task: Arc<dyn Task>) -> Result<(), Full> {
        let mut state = self.queue.lock();
        if state.closed || state.tasks.len() >= QUEUE_TASKS_MAX {
            return Err(Full);
        }
        state.tasks.push_back(task);
        drop(state);
        self.queue.wake.notify_one();
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
        f.debug_struct("Pool").field("queued", &self.queue.lock().tasks.len()).finish_non_exhaustive()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Some(Work::Task(task));
            }
            if state.closed {
                return None;
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

    fn work(&self) {
        while let Some(work) = self.next() {
            // The work guards its own state; the thread must outlive whatever it does.
            match work {
                Work::Task(task) => drop(catch_unwind(AssertUnwindSafe(|| task.run()))),
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
        fn run(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "a task that fails");
        }
    }

    #[test]
    fn closing_finishes_what_is_queued_and_takes_nothing_more() {
        let done = Arc::new(AtomicUsize::new(0));
        let pool = Pool::start(2).unwrap();
        for n in 0..1000 {
            pool.submit(Arc::new(Add(Arc::clone(&done), n % 100 == 0))).unwrap();
        }
        pool.close();
        assert_eq!(done.load(Ordering::SeqCst), 1000);
        assert_eq!(pool.submit(Arc::new(Add(Arc::clone(&done), false))), Err(Full));
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
            pool.submit(Arc::new(Add(Arc::clone(&done), false))).unwrap();
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
        pool.submit(Arc::new(Add(Arc::clone(&done), false))).unwrap();
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
            pool.submit(Arc::new(Add(Arc::clone(&done), false))).unwrap();
        }
        assert_eq!(pool.submit(Arc::new(Add(done, false))), Err(Full));
    }
}
