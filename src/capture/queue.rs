//! The bounded way of blocks from the network threads to `tw-capture`.
//!
//! Sending is `try_send` on a channel whose receiver never waits in it, so there is no lock that a network thread
//! could meet: the receiver sleeps by `park`, and is woken when much has come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use super::block::Block;

/// Blocks that may wait. Once a second each open stream sends one, so 5,000 streams may do it at once, and beside them
/// `--capture-memory` fills 8,192 whole ones by default. The slots take 2 MB.
pub(super) const BLOCKS_MAX: usize = 16_384;

/// With so many bytes waiting the thread is woken before its time. It does 32 blocks in about 5 ms, which is worth a
/// system call.
const WAKE_BYTES_MAX: usize = 1 << 20;

/// Of a small memory an eighth wakes it, so that what waits for it leaves room for what comes.
const MEMORY_PER_WAKE: usize = 8;

/// The level that both ends see.
#[derive(Debug)]
struct QueueLevel {
    waiting_bytes: AtomicUsize,
    wake_bytes: usize,
    receiver: OnceLock<Thread>,
}

/// The end that any thread may have.
#[derive(Clone, Debug)]
pub(super) struct BlockSender {
    blocks: SyncSender<Block>,
    level: Arc<QueueLevel>,
}

/// The end that `tw-capture` has.
#[derive(Debug)]
pub(super) struct BlockReceiver {
    blocks: Receiver<Block>,
    level: Arc<QueueLevel>,
}

/// A queue of blocks, which may hold so much memory together with all that is captured.
pub(super) fn block_queue(memory_bytes: usize) -> (BlockSender, BlockReceiver) {
    queue_of(BLOCKS_MAX, memory_bytes)
}

fn queue_of(blocks_max: usize, memory_bytes: usize) -> (BlockSender, BlockReceiver) {
    let (sender, receiver) = sync_channel(blocks_max);
    let level = Arc::new(QueueLevel {
        waiting_bytes: AtomicUsize::new(0),
        wake_bytes: (memory_bytes / MEMORY_PER_WAKE).clamp(1, WAKE_BYTES_MAX),
        receiver: OnceLock::new(),
    });
    (BlockSender { blocks: sender, level: Arc::clone(&level) }, BlockReceiver { blocks: receiver, level })
}

impl BlockSender {
    /// Hands a block over. Never waits.
    ///
    /// # Errors
    /// The block, if there is no room for it, or nobody who takes it any more.
    pub(super) fn try_send(&self, block: Block) -> Result<(), Block> {
        let bytes = block.held.bytes();
        // Counted before it can be received, so that the level never runs below zero.
        let before = self.level.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        if let Err(TrySendError::Full(block) | TrySendError::Disconnected(block)) =
            self.blocks.try_send(block)
        {
            self.level.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.wake();
            return Err(block);
        }
        let wake_bytes = self.level.wake_bytes;
        if before < wake_bytes && before + bytes >= wake_bytes {
            self.wake();
        }
        Ok(())
    }

    /// Has the thread look at once. A system call only if it sleeps.
    pub(super) fn wake(&self) {
        if let Some(receiver) = self.level.receiver.get() {
            receiver.unpark();
        }
    }
}

/// The next thing that the receiver finds.
#[derive(Debug)]
pub(super) enum Received {
    Block(Block),
    Nothing,
    /// Nothing, and nobody is left who could send.
    Ended,
}

impl BlockReceiver {
    /// Has this thread woken from now on.
    pub(super) fn wake_this_thread(&self) {
        let _ = self.level.receiver.set(std::thread::current());
    }

    /// Takes the next block. Never waits.
    pub(super) fn try_receive(&self) -> Received {
        match self.blocks.try_recv() {
            Ok(block) => {
                self.level.waiting_bytes.fetch_sub(block.held.bytes(), Ordering::AcqRel);
                Received::Block(block)
            }
            Err(TryRecvError::Empty) => Received::Nothing,
            Err(TryRecvError::Disconnected) => Received::Ended,
        }
    }

    /// Sleeps until much has come, or for this time.
    pub(super) fn sleep(&self, time: Duration) {
        if self.level.waiting_bytes.load(Ordering::Acquire) < self.level.wake_bytes {
            std::thread::park_timeout(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::memory::CaptureMemory;
    use crate::capture::testing::{block, call};
    use metering::usage::ContentSide;

    #[test]
    fn a_full_queue_gives_the_block_back_and_one_without_a_receiver_too() {
        let (sender, receiver) = queue_of(2, 1 << 20);
        let call = call();
        let memory = Arc::new(CaptureMemory::new(1 << 20));
        let block = || block(&memory, &call, ContentSide::Request, 0, b"12345", None);
        sender.try_send(block()).unwrap();
        sender.clone().try_send(block()).unwrap();
        assert_eq!(sender.try_send(block()).unwrap_err().bytes, 5);
        assert!(matches!(receiver.try_receive(), Received::Block(block) if block.bytes == 5));
        sender.try_send(block()).unwrap();
        drop(sender);
        assert!(matches!(receiver.try_receive(), Received::Block(_)));
        assert!(matches!(receiver.try_receive(), Received::Block(_)));
        assert!(matches!(receiver.try_receive(), Received::Ended));
        assert_eq!(receiver.level.waiting_bytes.load(Ordering::Relaxed), 0);
        let (sender, receiver) = queue_of(2, 1 << 20);
        drop(receiver);
        sender.try_send(block()).unwrap_err();
        assert_eq!(memory.used_bytes(), 0, "a block that nobody takes holds none");
    }

    #[test]
    fn a_thread_that_sleeps_is_woken_by_an_eighth_of_a_small_memory() {
        wakes(1 << 20, 128 << 10);
    }

    #[test]
    fn a_thread_that_sleeps_is_woken_by_a_mebibyte() {
        wakes(1 << 30, 1 << 20);
    }

    fn wakes(memory_bytes: usize, wake_bytes: usize) {
        let (sender, receiver) = block_queue(memory_bytes);
        assert_eq!(receiver.level.wake_bytes, wake_bytes);
        let woken = std::thread::spawn(move || {
            receiver.wake_this_thread();
            while !matches!(receiver.try_receive(), Received::Block(_)) {
                // Without the wake it would sleep beyond the test's patience.
                receiver.sleep(Duration::from_secs(600));
            }
        });
        let (call, memory) = (call(), Arc::new(CaptureMemory::new(1 << 30)));
        let (began, bytes) = (std::time::Instant::now(), vec![7; 32 << 10]);
        while !woken.is_finished() && began.elapsed() < Duration::from_secs(60) {
            let _ = sender.try_send(block(&memory, &call, ContentSide::Response, 0, &bytes, None));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(woken.is_finished(), "the thread was not woken");
    }
}
