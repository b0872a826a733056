//! Threads that count, so that no network thread waits for a tokenizer.
//!
//! Work stands in one of three queues: the work for a response goes before any prompt, and prompts of calls that
//! were refused come last of all ([`Lane`]). A prompt can take a third of a second, so of two threads and
//! more the first is for responses alone: no number of prompts, however long, holds up a response. A single
//! thread does both, and takes responses first.
//!
//! A task stands in the queue of a lane at most once, and does all its work there when its turn comes. Beside
//! the tasks there are background jobs, for when there is nothing else to do: they run one at a time, and never
//! on the thread that is for responses. Some of them go first, the others can be cancelled. The pool knows
//! nothing of calls.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Tasks that may wait in a lane. A task is one call with bytes or a prompt to count, so this is above the
/// number of calls that one process can carry; over it the call settles without.
const QUEUE_TASKS_MAX: usize = 65_536;

/// Background jobs that may wait. They are a sample of something: of a burst, this much is enough.
const BACKGROUND_JOBS_MAX: usize = 64;

/// Background jobs that go first and may wait: as many as tasks, since each is for one call. They hold
/// nothing while they wait.
const FIRST_JOBS_MAX: usize = QUEUE_TASKS_MAX;

/// Work for the pool.
pub trait Task: Send + Sync {
    /// Does what there is to do of the kind that its lane is for.
    fn run(self: Arc<Self>, lane: Lane);
}

/// The kinds of work that tasks stand in a queue for, in the order in which queues are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A response, or the end of a call: its event waits for the number.
    Response,
    /// A prompt, or a request that has to be read.
    Prompt,
    /// The prompt of a call that the service refused: it is most likely not billed.
    Refused,
}

/// Work that no call waits for. It may be dropped instead of being run.
pub type BackgroundJob = Box<dyn FnOnce() + Send>;

/// The queue is full or closed: the task was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the counting pool takes no more work")]
pub struct Full;

/// A fixed number of counting threads with bounded queues.
pub struct Pool {
    shared: Arc<PoolShared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The queues, as the threads share them with those who hand them work.
struct PoolShared {
    queues: Mutex<Queues>,
    /// Notified for the thread that is for responses alone.
    wake_responses: Condvar,
    /// Notified for the others.
    wake: Condvar,
}

struct Queues {
    /// In the order of [`Lane`].
    lanes: [VecDeque<Arc<dyn Task>>; 3],
    /// Background jobs that go before the others.
    first_jobs: VecDeque<BackgroundJob>,
    jobs: VecDeque<BackgroundJob>,
    /// A thread is on one.
    job_runs: bool,
    /// The thread that is for responses alone sleeps, and was not woken yet.
    responses_idle: bool,
    closed: bool,
}

/// The next work of a thread.
enum Work {
    Task(Arc<dyn Task>, Lane),
    Job(BackgroundJob),
}

impl Pool {
    /// Starts threads named `tw-count-0`, `tw-count-1`, ... If there is more than one, the first is for
    /// responses alone.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(threads: usize) -> io::Result<Pool> {
        let queues = Queues {
            lanes: Default::default(),
            first_jobs: VecDeque::new(),
            jobs: VecDeque::new(),
            job_runs: false,
            responses_idle: false,
            closed: false,
        };
        let pool = Pool {
            shared: Arc::new(PoolShared {
                queues: Mutex::new(queues),
                wake_responses: Condvar::new(),
                wake: Condvar::new(),
            }),
            threads: Mutex::new(Vec::with_capacity(threads)),
        };
        for n in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let responses_only = threads > 1 && n == 0;
            let thread = std::thread::Builder::new()
                .name(format!("tw-count-{n}"))
                .spawn(move || shared.work(responses_only))?;
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
        let mut queues = self.shared.lock();
        if queues.closed || queues.lanes[lane as usize].len() >= QUEUE_TASKS_MAX {
            return Err(Full);
        }
        queues.lanes[lane as usize].push_back(task);
        let idle = lane == Lane::Response && queues.responses_idle;
        queues.responses_idle &= !idle; // it is woken already: the next response wakes another thread
        drop(queues);
        if idle {
            self.shared.wake_responses.notify_one()
        } else {
            self.shared.wake.notify_one()
        }
        Ok(())
    }

    /// Puts a background job in its queue, or drops it if that is full or closed. Never waits.
    pub fn submit_background(&self, job: BackgroundJob) {
        let mut queues = self.shared.lock();
        if queues.closed || queues.jobs.len() >= BACKGROUND_JOBS_MAX {
            drop(queues); // what the job holds is dropped without the lock
            return drop(job);
        }
        queues.jobs.push_back(job);
        drop(queues);
        self.shared.wake.notify_one();
    }

    /// Puts a background job in a queue that goes before that of [`Pool::submit_background`] and cannot be
    /// cancelled. False: it was dropped, since that is full or closed. Never waits.
    pub fn submit_background_first(&self, job: BackgroundJob) -> bool {
        let mut queues = self.shared.lock();
        if queues.closed || queues.first_jobs.len() >= FIRST_JOBS_MAX {
            drop(queues); // as above
            drop(job);
            return false;
        }
        queues.first_jobs.push_back(job);
        drop(queues);
        self.shared.wake.notify_one();
        true
    }

    /// It takes nothing more.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Drops the background jobs that wait, but for those that go first. False: there was none.
    pub fn cancel_background(&self) -> bool {
        let jobs = std::mem::take(&mut self.shared.lock().jobs);
        !jobs.is_empty()
    }

    /// Finishes the tasks that are queued, drops the background jobs, takes nothing more, and ends the
    /// threads. Waits for them.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.cancel_background();
        let first_jobs = std::mem::take(&mut self.shared.lock().first_jobs);
        drop(first_jobs); // without the lock
        self.shared.wake_responses.notify_all();
        self.shared.wake.notify_all();
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
        let queued = self.shared.lock().lanes.each_ref().map(VecDeque::len);
        f.debug_struct("Pool").field("queued", &queued).finish_non_exhaustive()
    }
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next work of a thread; `None`: the pool is closed, and nothing is left of what the thread is for.
    fn next(&self, responses_only: bool) -> Option<Work> {
        const LANES: [Lane; 3] = [Lane::Response, Lane::Prompt, Lane::Refused];
        let lanes = if responses_only { &LANES[..1] } else { &LANES };
        let mut queues = self.lock();
        loop {
            for &lane in lanes {
                if let Some(task) = queues.lanes[lane as usize].pop_front() {
                    return Some(Work::Task(task, lane));
                }
            }
            if queues.closed {
                return None;
            }
            if responses_only {
                queues.responses_idle = true;
                queues = self.wake_responses.wait(queues).unwrap_or_else(PoisonError::into_inner);
                queues.responses_idle = false;
                continue;
            }
            if !queues.job_runs {
                let first = queues.first_jobs.pop_front();
                if let Some(job) = first.or_else(|| queues.jobs.pop_front()) {
                    queues.job_runs = true;
                    return Some(Work::Job(job));
                }
            }
            queues = self.wake.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, responses_only: bool) {
        while let Some(work) = self.next(responses_only) {
            // The work guards its own state; the thread must outlive whatever it does.
            match work {
                Work::Task(task, lane) => drop(catch_unwind(AssertUnwindSafe(|| task.run(lane)))),
                Work::Job(job) => {
                    let _ = catch_unwind(AssertUnwindSafe(job));
                    let was = std::mem::replace(&mut self.lock().job_runs, false);
                    debug_assert!(was, "background jobs run one at a time");
                    // This thread may get a task next, while another sleeps over the next job.
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
        [Lane::Response, Lane::Prompt, Lane::Refused][n % 3]
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
        assert_eq!(pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Response), Err(Full));
    }

    /// Runs a background job that says that it has begun and then waits to be let go on.
    fn held(pool: &Pool) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((begun, has_begun), (go, let_go)) = (mpsc::channel(), mpsc::channel());
        pool.submit_background(Box::new(move || {
            begun.send(()).unwrap();
            let_go.recv().unwrap();
        }));
        (has_begun, go)
    }

    #[test]
    fn background_jobs_run_one_at_a_time_and_hold_up_no_task() {
        let pool = Pool::start(2).unwrap();
        let (first, go_first) = held(&pool);
        first.recv().unwrap();
        let (second, go_second) = held(&pool);
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Response).unwrap();
        }
        while done.load(Ordering::SeqCst) < 100 {
            std::thread::yield_now();
        }
        assert!(second.try_recv().is_err(), "two jobs at a time");
        go_first.send(()).unwrap();
        second.recv().unwrap();
        go_second.send(()).unwrap();
    }

    #[test]
    fn background_jobs_are_bounded_and_can_be_cancelled() {
        let pool = Pool::start(0).unwrap();
        let held = Arc::new(());
        for _ in 0..2 * BACKGROUND_JOBS_MAX {
            let held = Arc::clone(&held);
            pool.submit_background(Box::new(move || drop(held)));
        }
        assert_eq!(Arc::strong_count(&held), 1 + BACKGROUND_JOBS_MAX);
        assert!(pool.cancel_background() && !pool.cancel_background());
        assert_eq!(Arc::strong_count(&held), 1);
        let last = Arc::clone(&held);
        pool.submit_background(Box::new(move || drop(last)));
        pool.close();
        assert_eq!(Arc::strong_count(&held), 1, "closing drops what waits");
    }

    #[test]
    fn jobs_that_go_first_go_after_tasks_and_before_other_jobs_and_are_not_cancelled() {
        let pool = Pool::start(1).unwrap();
        let (begun, go) = held(&pool);
        begun.recv().unwrap();
        let (said, order) = mpsc::channel();
        let say = |what: &'static str| {
            let said = said.clone();
            Box::new(move || said.send(what).unwrap())
        };
        pool.submit_background(say("cancelled"));
        assert!(pool.submit_background_first(say("first")));
        assert!(pool.cancel_background());
        pool.submit_background(say("job"));
        assert!(pool.submit_background_first(say("first, too")));
        let done = Arc::new(AtomicUsize::new(0));
        pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Response).unwrap();
        go.send(()).unwrap();
        let three: Vec<_> = order.iter().take(3).collect();
        assert_eq!((three, done.load(Ordering::SeqCst)), (vec!["first", "first, too", "job"], 1));
        pool.close();
        assert!(!pool.submit_background_first(say("too late")));
        assert!(order.try_recv().is_err());
    }

    #[test]
    fn a_thread_outlives_a_job_that_fails() {
        let pool = Pool::start(1).unwrap();
        pool.submit_background(Box::new(|| panic!("a job that fails")));
        let (begun, go) = held(&pool);
        begun.recv().unwrap();
        go.send(()).unwrap();
    }

    #[test]
    fn the_queue_is_bounded() {
        let done = Arc::new(AtomicUsize::new(0));
        let pool = Pool::start(0).unwrap();
        for _ in 0..QUEUE_TASKS_MAX {
            pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Response).unwrap();
        }
        assert_eq!(pool.submit(Arc::new(Add(Arc::clone(&done), false)), Lane::Response), Err(Full));
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
                pool.submit(Arc::new(Say("answer", said.clone(), None)), Lane::Response).unwrap();
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
            ("answer", Lane::Response),
            ("refused", Lane::Refused),
            ("prompt", Lane::Prompt),
            ("answer", Lane::Response),
        ] {
            pool.submit(Arc::new(Say(name, said.clone(), None)), lane).unwrap();
        }
        gate.send(()).unwrap();
        let order: Vec<_> = hear.iter().take(6).collect();
        assert_eq!(order, ["answer", "answer", "prompt", "prompt", "refused", "refused"]);
    }
}
