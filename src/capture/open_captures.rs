//! The calls of a network thread that are being captured, and the sweep that hands over what has waited: a stream that
//! says little is sealed in time, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use super::call_capture::CallCapture;

/// The pause between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Calls looked at before the thread serves its streams again: some 0.03 ms, as of the sweep of running calls.
const SLICE_CALLS: usize = 16;

/// The calls.
#[derive(Debug, Default)]
pub struct OpenCaptures(Mutex<Vec<Weak<CallCapture>>>);

impl OpenCaptures {
    /// Adds one, until nobody has it any more.
    pub fn add(&self, call: &Arc<CallCapture>) {
        if call.records() {
            self.lock().push(Arc::downgrade(call));
        }
    }

    /// Sweeps once a second, for ever. Cancelling it loses nothing.
    pub async fn sweep(self: Arc<Self>) {
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut next = Some(0);
            while let Some(from) = next {
                next = self.sweep_slice(from);
                yield_now().await;
            }
        }
    }

    /// Sweeps some calls from this place on, and forgets those that are over. Returns the place where the rest begins.
    fn sweep_slice(&self, from: usize) -> Option<usize> {
        let mut open = self.lock();
        let (mut at, mut left) = (from, SLICE_CALLS);
        while left > 0 && at < open.len() {
            left -= 1;
            match open[at].upgrade() {
                Some(call) => {
                    call.sweep();
                    at += 1;
                }
                // The last one takes its place, and is looked at there.
                None => drop(open.swap_remove(at)),
            }
        }
        (at < open.len()).then_some(at)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<CallCapture>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use metering::usage::ContentSide;

    use super::super::call_capture::SideCapture;
    use super::super::memory::CaptureMemory;
    use super::super::queue::{BlockReceiver, Received, block_queue};
    use super::super::side_recorder::BlockOutlet;
    use super::super::testing;
    use super::*;

    fn round(open: &OpenCaptures) {
        let mut next = Some(0);
        while let Some(from) = next {
            next = open.sweep_slice(from);
        }
    }

    fn calls_with_blocks(receiver: &BlockReceiver) -> usize {
        std::iter::from_fn(|| match receiver.try_receive() {
            Received::Block(block) => Some(block.call.id),
            _ => None,
        })
        .collect::<std::collections::HashSet<_>>()
        .len()
    }

    /// However many there are, and however many of them are over.
    #[test]
    fn each_call_is_swept_and_those_that_are_over_are_forgotten() {
        let (queue, receiver) = block_queue(1 << 20);
        let memory = Arc::new(CaptureMemory::new(1 << 20));
        let (most, is_stopping) = (1 << 20, AtomicBool::new(false));
        let outlet = BlockOutlet { queue, memory, side_bytes_max: most, part_bytes: most, is_stopping };
        let outlet = Arc::new(outlet);
        let open = OpenCaptures::default();
        let mut calls: Vec<_> = (0..100)
            .map(|_| {
                let call = Arc::into_inner(testing::call()).unwrap();
                let call = CallCapture::new(call, [None; 2], Arc::clone(&outlet), Arc::default());
                open.add(&call);
                SideCapture::new(&call, ContentSide::Response).unwrap()
            })
            .collect();
        calls.iter().for_each(|call| call.push(&Bytes::from_static(b"x")));
        round(&open);
        assert_eq!(calls_with_blocks(&receiver), 0, "it may still become more");
        round(&open);
        assert_eq!(calls_with_blocks(&receiver), 100);
        let mut at = 0;
        calls.retain(|_| {
            at += 1;
            at % 3 == 0
        });
        assert_eq!(calls_with_blocks(&receiver), 67, "those that are over end");
        calls.iter().for_each(|call| call.push(&Bytes::from_static(b"y")));
        round(&open);
        assert_eq!(open.lock().len(), 33);
        round(&open);
        assert_eq!(calls_with_blocks(&receiver), 33);
    }
}
