//! Capturing as a whole: the handle of the data path, the thread that seals and stores, and the outbox.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use metering::usage::Reporter;
use smol_str::SmolStr;

use super::counters::CaptureCounters;
use super::handle::Capturer;
use super::memory::CaptureMemory;
use super::options::CaptureOptions;
use super::queue::block_queue;
use super::seal::Sealer;
use super::selection::Selection;
use super::side_recorder::BlockOutlet;
use super::spool::{SpoolError, SpoolOptions, SpoolSource, SpoolWriter};
use super::thread::{CaptureThread, CaptureThreadParts};
use crate::ledger::{Ledger, OpenError};

/// The thread of the publisher that sends what the spool holds, within the 15 bytes that Linux shows.
pub const CONTENT_SENDER_THREAD: &str = "tw-send-content";

/// Of the memory that captured content may hold, so much may be sealed parts that cannot be stored now: the rest is for
/// what passes meanwhile.
const MEMORY_PER_WAITING: usize = 2;

/// Both paths lead to one directory, however they are written. One that is still to be made is another.
fn is_same_dir(one: &Path, other: &Path) -> bool {
    one == other
        || one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// Capturing that runs.
#[derive(Debug)]
pub struct RunningCapture {
    capturer: Capturer,
    thread: CaptureThread,
}

impl RunningCapture {
    /// Opens the spool, recovers what an earlier process left in it, and starts the thread. Returns the spool as an
    /// outbox too. Parts carry the source and the boot of this ledger.
    ///
    /// # Errors
    /// If the spool cannot be used, or the system gives no thread.
    pub fn start(
        options: CaptureOptions,
        ledger: &Ledger,
    ) -> Result<(RunningCapture, SpoolSource), SpoolError> {
        let in_ledger_dir = options.dir.as_ref().is_none_or(|dir| is_same_dir(dir, ledger.dir()));
        let dir = options.dir.unwrap_or_else(|| ledger.dir().to_owned());
        let spool = SpoolOptions {
            dir: dir.clone(),
            in_ledger_dir,
            network_fs: options.network_fs,
            source: ledger.source().into(),
            boot: ledger.boot(),
            max_bytes: options.spool_bytes_max,
        };
        let (memory, counters) =
            (Arc::new(CaptureMemory::new(options.memory_bytes)), Arc::<CaptureCounters>::default());
        let waiting_bytes_max = options.memory_bytes / MEMORY_PER_WAITING;
        let spool = SpoolWriter::open(&spool, Arc::clone(&counters), waiting_bytes_max)?;
        let source = spool.source();
        let (queue, receiver) = block_queue(options.memory_bytes);
        let reporter = Reporter {
            instance: ledger.boot().to_string().into(),
            version: SmolStr::new_static(env!("CARGO_PKG_VERSION")),
        };
        let thread = CaptureThread::start(CaptureThreadParts {
            receiver,
            spool,
            sealer: Box::new(Sealer::new(options.seal)),
            counters: Arc::clone(&counters),
            source: ledger.source().into(),
            reporter,
            control_interval: options.control_interval,
        })
        .map_err(|error| SpoolError::Place(OpenError::Io { path: dir, error }))?;
        let outlet = BlockOutlet {
            queue,
            memory,
            side_bytes_max: options.side_bytes_max,
            part_bytes: options.part_bytes,
            is_stopping: AtomicBool::new(false),
        };
        let selection = Selection::new(options.sides, options.share, ledger.source());
        let capturer = Capturer::new(selection, Arc::new(outlet), counters, options.rejects);
        Ok((RunningCapture { capturer, thread }, source))
    }

    /// The handle for the data path.
    pub fn capturer(&self) -> &Capturer {
        &self.capturer
    }

    /// Stores all that was handed over so far and the boot's last control event. Blocks for some seconds at most.
    pub fn finish(&self) {
        self.thread.finish();
    }

    /// [`RunningCapture::finish`], then notes what was delivered since, and ends.
    pub fn close(self) {
        self.thread.close();
    }
}
