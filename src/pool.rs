//! Threads that count, so that no network thread waits for a tokenizer.
//!
//! A task that wants to be run stands in the queue at most once, and does all its work when its
//! turn comes. The pool knows nothing of calls.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Tasks that may wait. A task is one call with bytes or a prompt to count, so this is above the
/// number of calls that one process can carry; over it the call settles without.
const QUEUE_TASKS_MAX: usize = 65_536;

/// Work for the pool.
pub trait Task: Send + Sync {
    /// Does what there is to do.
    fn run(self: Arc<Self>);
}

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
    closed: bool,
}

impl Pool {
    /// Starts threads named `tw-count-0`, `tw-count-1`, ...
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(threads: usize) -> io::Result<Pool> {
        let state = State { tasks: VecDeque::new(), closed: false };
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

    /// Finishes what is queued, takes nothing more, and ends the threads. Waits for them.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
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

    fn next(&self) -> Option<Arc<dyn Task>> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            if state.closed {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            // The task guards its own state; the thread must outlive whatever it does.
            let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
