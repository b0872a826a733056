//! What may wait for a moment is gathered and done by a thread of its own, many at a time: whoever
//! hands it over pays for a lock and a place in a list.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Full;

/// How long things are gathered, once there is one: a hundredth of the wake-ups at 20,000 a second,
/// and less than a commit of the ledger waits.
const GATHER_TIME: Duration = Duration::from_millis(5);

/// Things that may wait: those of some 50 ms at 20,000 a second.
const WAITING_MAX: usize = 1_024;

/// A thread and what waits for it.
pub struct Gather<T> {
    queue: Arc<Queue<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    closed: bool,
}

impl<T: Send + 'static> Gather<T> {
    /// Starts a thread of this name that does `work` with each thing.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(name: &str, work: fn(T)) -> io::Result<Gather<T>> {
        let queue = Queue::new(false);
        let own = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || own.work(work))?;
        Ok(Gather { queue, thread: Mutex::new(Some(thread)) })
    }
}

impl<T> Gather<T> {
    /// Takes nothing: whoever has something does it at once.
    pub fn idle() -> Gather<T> {
        Gather { queue: Queue::new(true), thread: Mutex::new(None) }
    }

    /// Hands a thing over. Never waits.
    ///
    /// # Errors
    ///
    /// [`Full`]: it was not taken, the caller must do the work itself.
    pub fn submit(&self, thing: T) -> Result<(), Full> {
        let mut state = self.queue.lock();
        if state.closed || state.waiting.len() >= WAITING_MAX {
            return Err(Full);
        }
        state.waiting.push(thing);
        let first = state.waiting.len() == 1;
        drop(state);
        if first {
            self.queue.wake.notify_one();
        }
        Ok(())
    }

    /// Does what waits, takes nothing more, and ends the thread. Waits for it.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last to let go may be the thread itself, which then ends by itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join(); // it catches the panics of its work
        }
    }
}

impl<T> Drop for Gather<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> std::fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gather").field("waiting", &self.queue.lock().waiting.len()).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    fn new(closed: bool) -> Arc<Queue<T>> {
        let state = State { waiting: Vec::new(), closed };
        Arc::new(Queue { state: Mutex::new(state), wake: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, work: fn(T)) {
        let mut things = Vec::new();
        while self.gathered(&mut things) {
            for thing in things.drain(..) {
                // The work guards its own state; the thread must outlive whatever it does.
                let _ = catch_unwind(AssertUnwindSafe(|| work(thing)));
            }
        }
    }

    /// Waits for a first thing, lets others come, and takes them all. False: there will be none.
    fn gathered(&self, things: &mut Vec<T>) -> bool {
        let state = self.lock();
        let idle = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        let state = self.wake.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        // Woken early only by the end, or by nothing.
        let open = |state: &mut State<T>| !state.closed;
        let (mut state, _) =
            self.wake.wait_timeout_while(state, GATHER_TIME, open).unwrap_or_else(PoisonError::into_inner);
        debug_assert!(things.is_empty(), "what was taken is done");
        std::mem::swap(&mut state.waiting, things);
        !things.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[test]
    fn closing_does_what_waits_and_takes_nothing_more() {
        static DONE: AtomicUsize = AtomicUsize::new(0);
        let gather = Gather::start("test", |fails: bool| {
            DONE.fetch_add(1, Ordering::SeqCst);
            assert!(!fails, "work that fails");
        })
        .unwrap();
        let taken = (0..WAITING_MAX * 2).filter(|n| gather.submit(n % 100 == 0).is_ok()).count();
        gather.close();
        assert!(taken >= WAITING_MAX);
        assert_eq!(DONE.load(Ordering::SeqCst), taken);
        assert_eq!(gather.submit(false), Err(Full));
    }

    #[test]
    fn it_is_bounded_while_its_thread_is_held_up() {
        let gather = Gather::start("test", |held: Arc<Mutex<mpsc::Receiver<()>>>| {
            let _ = held.lock().unwrap().recv();
        })
        .unwrap();
        let (go, held) = mpsc::channel();
        let held = Arc::new(Mutex::new(held));
        gather.submit(Arc::clone(&held)).unwrap();
        while !gather.queue.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..WAITING_MAX {
            gather.submit(Arc::clone(&held)).unwrap();
        }
        assert_eq!(gather.submit(held), Err(Full));
        drop(go);
    }

    #[test]
    fn an_idle_one_takes_nothing() {
        assert_eq!(Gather::idle().submit(()), Err(Full));
    }
}
