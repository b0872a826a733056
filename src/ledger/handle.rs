//! The ledger as its process sees it: a handle that any thread may use, the places in its queue, and the calls
//! that it knows to be open. Nothing here waits for the disk but [`Ledger::open`], [`Ledger::finish`] and
//! [`Ledger::close`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::bill::{Bill, DeferredNote};
use super::error::{CloseError, OpenError};
use super::lock::DirLock;
use super::options::{DATABASE, LedgerOptions};
use super::queue::OpQueue;
use super::quota::Quota;
use super::stats::LedgerStats;
use super::syncer::Syncer;
use super::writer::{self, Writer};
use super::{filesystem, quarantine};
use metering::usage::{Deferral, Progress, Settled, Usage};

/// A ledger that this process owns. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    dir: PathBuf,
    source: String,
    boot: Uuid,
    queue: Arc<OpQueue>,
    syncer: Arc<Syncer>,
    threads: Mutex<Option<(JoinHandle<()>, JoinHandle<()>)>>,
    lock: Mutex<Option<DirLock>>,
}

/// A reserved place in the ledger's queue: room for one call's whole life.
#[derive(Debug)]
pub struct Slot {
    ledger: Ledger,
    used: bool,
}

/// A call that the ledger knows to be open.
///
/// One that is dropped without [`OpenCall::settle`] stays open, keeps its slot, and becomes a
/// `crashed` event at the next start: wrong code loses no call.
#[derive(Debug)]
pub struct OpenCall {
    ledger: Ledger,
    id: Uuid,
    settled: bool,
}

impl Ledger {
    /// Takes the directory, recovers what an earlier process left, and starts the writer.
    /// Blocks until recovery is committed. A database that is damaged, or is none of ours, is moved
    /// aside within the directory and a new ledger begun.
    ///
    /// # Errors
    /// If another process owns the directory, it lies on a network file system, a newer version
    /// made the ledger, or the directory or the disk cannot be used.
    pub fn open(options: LedgerOptions) -> Result<Ledger, OpenError> {
        filesystem::check(&options.dir, options.network_fs)?;
        let lock = DirLock::take(&options.dir)?;
        let quota = writer::quota(&options);
        let queue = Arc::new(OpQueue::new(options.slots, &quota));
        let writer = open_writer(&options, quota, &queue, &lock)?;
        let (source, boot, syncer) = (writer.source().to_owned(), writer.boot(), writer.syncer());
        let threads = start(writer).map_err(|error| OpenError::Io { path: options.dir.clone(), error })?;
        let (threads, lock) = (Mutex::new(Some(threads)), Mutex::new(Some(lock)));
        let inner = Handle { dir: options.dir, source, boot, queue, syncer, threads, lock };
        Ok(Ledger { inner: Arc::new(inner) })
    }

    /// Reserves a place for one call, or `None` if all are taken or nothing can be stored. Never
    /// waits.
    pub fn reserve(&self) -> Option<Slot> {
        self.inner.queue.reserve().then(|| Slot { ledger: self.clone(), used: false })
    }

    /// Stores what is known of open calls, all in one transaction. Never waits; the batch is
    /// skipped if the queue is full, the next one makes up for it.
    pub fn checkpoint(&self, batch: Vec<(Uuid, Progress)>) {
        self.inner.queue.checkpoint(batch);
    }

    /// Counts a finished call that got no slot. It becomes part of a summary event within half a
    /// second, or when the ledger can store again; until then it is in memory only. Never waits.
    pub fn sum(&self, settled: &Settled) {
        self.inner.queue.sum(settled);
    }

    /// Stores the bill of work that goes on after its call, if no other bill of that work was stored: in one
    /// transaction with the mark that says so. So the same bill may be handed over any number of times, by any
    /// thread, before and after a crash. Such an event counts as a call that was accepted and settled at once.
    ///
    /// Never waits. Returns false if there was no place for it: nothing was stored, and whoever sees the bill next
    /// hands it over again. True says that the writer has it, not that it was news; [`Ledger::on_billed`] tells that.
    ///
    /// Work is told apart by its resource (`usage.target.resource`), kind and id. It is remembered for thirty days,
    /// a response of a realtime session for an hour. A call that has a place of its own, and whose event is such a
    /// bill, ends by [`OpenCall::settle_deferral`].
    pub fn settle_deferred(&self, bill: Bill) -> bool {
        self.inner.queue.bill(bill)
    }

    /// Remembers the work that a call has begun or billed which was handed to [`Ledger::sum`].
    pub fn note_deferral(&self, settled: &Settled, deferral: &Deferral) {
        self.inner.queue.note_deferral(DeferredNote::of(settled, deferral));
    }

    /// Calls `observe` on the writer's thread with each event that [`Ledger::settle_deferred`] has brought. The first
    /// observer wins; a second one is ignored.
    pub fn on_billed(&self, observe: impl Fn(&Settled) + Send + Sync + 'static) {
        self.inner.queue.on_billed(Box::new(observe));
    }

    /// CloudEvents `source` of every event of this ledger: `//tokenweir/<ledger uuid>`.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// This start of the ledger.
    pub fn boot(&self) -> Uuid {
        self.inner.boot
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The counters.
    pub fn stats(&self) -> LedgerStats {
        self.inner.queue.stats()
    }

    /// Calls `observe` on the writer's thread with the duration of every transaction that wrote
    /// calls or events. The first observer wins; a second one is ignored.
    pub fn on_commit(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        self.inner.queue.on_commit(Box::new(observe));
    }

    /// Calls `observe` on the syncer's thread with the duration of every sync. The first observer wins; a second
    /// one is ignored.
    pub fn on_sync(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        self.inner.queue.on_sync(Box::new(observe));
    }

    /// Position of the last event that is stored: it survives the death of this process. Blocks until it is beyond
    /// `after`, the writer has ended, or `timeout` is over.
    pub fn wait_stored(&self, after: u64, timeout: Duration) -> u64 {
        self.inner.queue.wait_stored(after, timeout)
    }

    /// Position of the last event that is durable: it survives a loss of power, and may be published. Blocks as
    /// [`Ledger::wait_stored`] does.
    pub fn wait_synced(&self, after: u64, timeout: Duration) -> u64 {
        self.inner.queue.wait_synced(after, timeout)
    }

    /// How often the writer has called off the readers within this process: those opened before are to let go of the
    /// ledger.
    pub(super) fn readers_called_off(&self) -> u64 {
        self.inner.syncer.readers_called_off()
    }

    /// Every event up to this position is delivered or refused.
    pub fn delivered(&self) -> u64 {
        self.inner.queue.delivered()
    }

    /// Every event up to `position` is delivered or refused. Stored with the next transaction, at
    /// the latest after 200 ms. Never waits; a position behind the mark changes nothing.
    pub fn mark_delivered(&self, position: u64) {
        self.inner.queue.mark_delivered(position);
    }

    /// The broker refuses this event for good: it is kept and counted, and the mark may move past
    /// it. Call before [`Ledger::mark_delivered`] passes `position`. Never waits.
    pub fn mark_refused(&self, position: u64, reason: &str) {
        self.inner.queue.mark_refused(position, reason);
    }

    /// Stores everything handed over so far and the boot's last control event. Blocks until that
    /// is durable or has failed for good. No call is accepted from here on; marks still are.
    ///
    /// If a call is still open, no last control event is written: the next start settles the
    /// call and writes it.
    ///
    /// # Errors
    /// If something could not be stored.
    pub fn finish(&self) -> Result<(), CloseError> {
        self.inner.queue.finish()
    }

    /// [`Ledger::finish`], then stores the last marks, ends the writer and releases the
    /// directory. May be repeated.
    ///
    /// # Errors
    /// If something could not be stored.
    pub fn close(&self) -> Result<(), CloseError> {
        self.inner.close()
    }
}

/// Starts the writer and the syncer.
fn start(writer: Writer) -> std::io::Result<(JoinHandle<()>, JoinHandle<()>)> {
    let (syncer, thread) = (writer.syncer(), |name: &str| std::thread::Builder::new().name(name.to_owned()));
    let syncs = thread("tw-sync").spawn(move || syncer.run())?;
    Ok((thread("tw-ledger").spawn(move || writer.run())?, syncs))
}

/// Opens the database, or begins a new one if the one that is there cannot be used.
fn open_writer(
    options: &LedgerOptions,
    quota: Quota,
    queue: &Arc<OpQueue>,
    lock: &DirLock,
) -> Result<Writer, OpenError> {
    let open = || Writer::open(options, quota, Arc::clone(queue), lock.marker()?);
    // Twice, so that one bad read costs no ledger.
    let damage = match open().or_else(|error| if error.is_damage() { open() } else { Err(error) }) {
        Err(error) if error.is_damage() => error,
        other => return other,
    };
    let moved = quarantine::move_aside(&options.dir.join(DATABASE), Timestamp::now())?;
    tracing::error!(
        error = %damage,
        moved_to = %moved.display(),
        "the ledger is damaged: it was moved aside and a new one is begun; events in it that were not delivered \
         will not be, until somebody sees to it: save what can be read with `sqlite3 FILE .recover | sqlite3 \
         NEWDIR/{DATABASE}`, or copy FILE and FILE-wal to NEWDIR/{DATABASE} and {DATABASE}-wal, then `tokenweir \
         events --ledger NEWDIR` shows it and `tokenweir drain --ledger NEWDIR` delivers it under the same ids"
    );
    open()
}

impl Handle {
    fn close(&self) -> Result<(), CloseError> {
        let finished = self.queue.finish();
        self.queue.stop();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((writer, syncer)) = threads {
            let wrote = writer.join();
            self.syncer.stop();
            if wrote.and(syncer.join()).is_err() {
                tracing::error!("a thread of the ledger panicked");
            }
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        finished
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the ledger was closed in haste");
        }
    }
}

impl Slot {
    /// Tells the ledger that the call is open. Never waits.
    pub fn open(self, id: Uuid, draft: &Usage) -> OpenCall {
        self.open_shared(id, Arc::new(draft.clone()))
    }

    /// The same, of a draft that the call shares with the ledger.
    pub fn open_shared(mut self, id: Uuid, draft: Arc<Usage>) -> OpenCall {
        self.used = true;
        self.ledger.inner.queue.open(id, draft);
        OpenCall { ledger: self.ledger.clone(), id, settled: false }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.used {
            self.ledger.inner.queue.give_back(1);
        }
    }
}

impl OpenCall {
    /// The call's id, which becomes its event's.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Stores the call's event in place of its open entry. Never waits, cannot fail. The event
    /// takes this call's id, whatever `settled` says.
    pub fn settle(self, settled: Settled) {
        self.end(settled, None);
    }

    /// As [`OpenCall::settle`], of a call whose response tells of work. If the event announces its bill, the work is
    /// remembered in the same transaction. If the event is the bill and another was stored before, then it is stored
    /// without its numbers: they are the other's.
    pub fn settle_deferral(self, settled: Settled, deferral: Deferral) {
        self.end(settled, Some(deferral));
    }

    fn end(mut self, mut settled: Settled, deferral: Option<Deferral>) {
        self.settled = true;
        settled.id = self.id;
        self.ledger.inner.queue.settle(settled, deferral);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.settled {
            tracing::error!(id = %self.id, "a call was dropped unsettled; the next start settles it as crashed");
        }
    }
}
