//! The streams that callers read just now, so that somebody can hang one up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The streams that are open. Bounded by the callers' lanes.
#[derive(Debug, Default)]
pub(super) struct OpenStreams(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    call_id: String,
    begun: Arc<AtomicBool>,
    hang_up: oneshot::Sender<()>,
}

/// A stream's place among the open ones, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenStream<'a> {
    streams: &'a OpenStreams,
    call_id: &'a str,
    /// Set by whoever reads the stream, when its answer begins.
    pub(super) begun: Arc<AtomicBool>,
}

impl OpenStreams {
    /// A place, and what is told when somebody hangs up.
    pub(super) fn enter<'a>(&'a self, call_id: &'a str) -> (OpenStream<'a>, oneshot::Receiver<()>) {
        let (hang_up, hung_up) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        self.entries().push(Entry { call_id: call_id.to_owned(), begun: begun.clone(), hang_up });
        (OpenStream { streams: self, call_id, begun }, hung_up)
    }

    /// Hangs up the youngest stream whose answer has begun, and returns its id.
    pub(super) fn hang_up_one(&self) -> Option<String> {
        let mut entries = self.entries();
        let at = entries.iter().rposition(|entry| entry.begun.load(Ordering::Relaxed))?;
        let Entry { call_id, hang_up, .. } = entries.remove(at);
        hang_up.send(()).ok().map(|()| call_id)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.streams.entries().retain(|entry| entry.call_id != self.call_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_that_has_begun_is_hung_up_once() {
        let streams = OpenStreams::default();
        assert_eq!(streams.hang_up_one(), None);
        let (first, mut first_hung_up) = streams.enter("first");
        let (second, mut second_hung_up) = streams.enter("second");
        assert_eq!(streams.hang_up_one(), None, "no answer has begun");
        for stream in [&first, &second] {
            stream.begun.store(true, Ordering::Relaxed);
        }
        let (_third, _) = streams.enter("third");
        assert_eq!(streams.hang_up_one().as_deref(), Some("second"));
        assert!(second_hung_up.try_recv().is_ok() && first_hung_up.try_recv().is_err());
        drop(first);
        assert_eq!(streams.hang_up_one(), None, "nobody reads any more");
    }
}
