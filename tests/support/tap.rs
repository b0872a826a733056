//! One call through both taps of `tee`, without HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http_body::Body;
use metering::meter::{Representation, Rules, Treatment};
use metering::usage::{Settled, Usage};
use tokenweir::tee::{Begin, Compared, Observer};
use uuid::Uuid;

/// A metered call that begins now and has no place in the ledger.
pub(crate) fn begin(draft: Usage, rules: Rules) -> Begin {
    Begin {
        id: Uuid::now_v7(),
        draft,
        rules,
        slot: None,
        keep_prompt: true,
        treatment: Treatment::Metered,
        representation: Representation::default(),
        began: Instant::now(),
        capture: None,
    }
}

/// Sends on what every call used.
pub(crate) struct Hear(Mutex<Sender<Usage>>);

impl Hear {
    pub(crate) fn new() -> (Hear, Receiver<Usage>) {
        let (hear, settled) = channel();
        (Hear(Mutex::new(hear)), settled)
    }
}

impl Observer for Hear {
    fn settled(&self, settled: &Settled) {
        let _ = self.0.lock().unwrap().send(settled.usage.clone());
    }
    fn summed(&self, settled: &Settled) {
        self.settled(settled);
    }
    fn compared(&self, _: &Compared) {}
}

/// Polls a body to its end; what it yielded.
pub(crate) fn drive(mut body: impl Body<Data = Bytes, Error = Infallible> + Unpin) -> Vec<u8> {
    let mut context = Context::from_waker(Waker::noop());
    let mut yielded = Vec::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => yielded.extend_from_slice(&frame.into_data().unwrap()),
            Poll::Ready(None) => return yielded,
            Poll::Pending => {}
        }
    }
}
