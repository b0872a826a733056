//! Work that may wait for a moment is gathered and done by a thread of its own, many items at a time: handing one
//! over costs a lock and a place in a list.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long items are gathered, once there is one: a hundredth of the wake-ups at 20,000 a second,
/// and less than a commit of the ledger waits.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// Items that may wait: those of some 50 ms at 20,000 a second.
const ITEMS_MAX: usize = 1_024;

/// A thread and the items that wait for it.
pub struct Batcher<T> {
    queue: Arc<BatchQueue<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct BatchQueue<T> {
    items: Mutex<BatchItems<T>>,
    wake: Condvar,
}

struct BatchItems<T> {
    waiting: Vec<T>,
    closed: bool,
}

impl<T: Send + 'static> Batcher<T> {
    /// Starts a thread of this name that does `work` with each item.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(name: &str, work: fn(T)) -> io::Result<Batcher<T>> {
        let queue = BatchQueue::new(false);
        let own = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || own.work(work))?;
        Ok(Batcher { queue, thread: Mutex::new(Some(thread)) })
    }
}

impl<T> Batcher<T> {
    /// A batch without a thread, which takes nothing.
    pub fn idle() -> Batcher<T> {
        Batcher { queue: BatchQueue::new(true), thread: Mutex::new(None) }
    }

    /// Hands an item over. Never waits.
    ///
    /// # Errors
    ///
    /// The item: it was not taken, the caller must do the work itself.
    pub fn submit(&self, item: T) -> Result<(), T> {
        let mut items = self.queue.lock();
        if items.closed || items.waiting.len() >= ITEMS_MAX {
            return Err(item);
        }
        items.waiting.push(item);
        let first = items.waiting.len() == 1;
        drop(items);
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

impl<T> Drop for Batcher<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> std::fmt::Debug for Batcher<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("waiting", &self.queue.lock().waiting.len()).finish_non_exhaustive()
    }
}

impl<T> BatchQueue<T> {
    fn new(closed: bool) -> Arc<BatchQueue<T>> {
        let items = BatchItems { waiting: Vec::new(), closed };
        Arc::new(BatchQueue { items: Mutex::new(items), wake: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, BatchItems<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, work: fn(T)) {
        let mut taken = Vec::new();
        while self.gather(&mut taken) {
            for item in taken.drain(..) {
                // The work guards its own state; the thread must outlive whatever it does.
                let _ = catch_unwind(AssertUnwindSafe(|| work(item)));
            }
        }
    }

    /// Waits for a first item, lets others come, and takes them all. False: there will be none.
    fn gather(&self, taken: &mut Vec<T>) -> bool {
        let items = self.lock();
        let idle = |items: &mut BatchItems<T>| items.waiting.is_empty() && !items.closed;
        let items = self.wake.wait_while(items, idle).unwrap_or_else(PoisonError::into_inner);
        // Woken early only by the end, or by nothing.
        let open = |items: &mut BatchItems<T>| !items.closed;
        let (mut items, _) =
            self.wake.wait_timeout_while(items, BATCH_TIME, open).unwrap_or_else(PoisonError::into_inner);
        debug_assert!(taken.is_empty(), "what was taken is done");
        debug_assert!(items.waiting.len() <= ITEMS_MAX, "no queue is without a bound");
        std::mem::swap(&mut items.waiting, taken);
        !taken.is_empty()
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
        let batch = Batcher::start("test", |fails: bool| {
            DONE.fetch_add(1, Ordering::SeqCst);
            assert!(!fails, "work that fails");
        })
        .unwrap();
        let taken = (0..ITEMS_MAX * 2).filter(|n| batch.submit(n % 100 == 0).is_ok()).count();
        batch.close();
        assert!(taken >= ITEMS_MAX);
        assert_eq!(DONE.load(Ordering::SeqCst), taken);
        assert_eq!(batch.submit(false), Err(false));
    }

    #[test]
    fn it_is_bounded_while_its_thread_is_held_up() {
        let batch = Batcher::start("test", |held: Arc<Mutex<mpsc::Receiver<()>>>| {
            let _ = held.lock().unwrap().recv();
        })
        .unwrap();
        let (go, held) = mpsc::channel();
        let held = Arc::new(Mutex::new(held));
        batch.submit(Arc::clone(&held)).unwrap();
        while !batch.queue.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..ITEMS_MAX {
            batch.submit(Arc::clone(&held)).unwrap();
        }
        assert!(batch.submit(held).is_err());
        drop(go);
    }

    #[test]
    fn an_idle_one_takes_nothing() {
        assert_eq!(Batcher::idle().submit(()), Err(()));
    }
}
