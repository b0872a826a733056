//! Every recorded stream through the tee, byte by byte: the client's bytes and the event are the same.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame};
use http_body_util::Full;
use serde_json::Value;

use metering::meter::Rules;
use metering::usage::Usage;
use tokenweir::pool::Pool;
use tokenweir::tee::{Accounts, Call, CallGuard, RequestTap, ResponseTap, RunningCalls};

use super::support::PATIENCE;
use super::support::recordings::cases;
use super::support::tap::{Hear, begin, drive};
use super::{account_cases, draft_of};

/// A socket has nothing to read now and then; the tee then begins a new turn of inline counting.
const BYTES_PER_TURN: usize = 500;
const PROMPT_MEMORY_BYTES: usize = 64 << 20;

/// A body of one byte a frame.
struct Bytewise {
    bytes: Bytes,
    at: usize,
    rested: bool,
}

impl Body for Bytewise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.at.is_multiple_of(BYTES_PER_TURN) && !std::mem::replace(&mut this.rested, true) {
            return Poll::Pending;
        }
        this.rested = false;
        let frame = (this.at < this.bytes.len()).then(|| this.bytes.slice(this.at..this.at + 1));
        this.at += 1;
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[test]
fn every_stream_byte_by_byte_through_the_tee() {
    let Some(mut cases) = cases() else { return };
    cases.retain(|case: &Value| case["response_kind"] == "sse");
    let (hear, settled) = Hear::new();
    let accounts = Accounts::new(Pool::start(1).unwrap(), Arc::new(hear), PROMPT_MEMORY_BYTES);
    let accounts = Arc::new(accounts.settling_apart().unwrap());
    let live = Arc::new(RunningCalls::default());
    let headers =
        HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
    for (case, line) in cases.iter().zip(account_cases(&cases)) {
        let event: Usage = serde_json::from_value(line["event"]["data"].clone()).unwrap();
        let mut draft = draft_of(&event);
        draft.target.deployment = event.target.deployment.clone();
        let rules = Rules { end_of_turn: case["azure"] == true };
        let call = Call::begin(begin(draft, rules), Arc::clone(&accounts), Arc::clone(&live));
        let request = Full::new(Bytes::from(case["request"].to_string()));
        drive(RequestTap::new(request, Some(Arc::clone(&call))));
        call.response_head(StatusCode::OK, &headers);
        let bytes = Bytes::from(case["response_body"].as_str().unwrap().to_owned());
        let body = Bytewise { bytes: bytes.clone(), at: 0, rested: false };
        assert!(
            drive(ResponseTap::new(body, Some(CallGuard::new(call)))) == bytes,
            "{}: other bytes",
            case["id"]
        );
        let mut usage = settled.recv_timeout(PATIENCE).unwrap();
        usage.timing = event.timing.clone();
        assert_eq!(usage, event, "{}", case["id"]);
    }
    println!("{} streams", cases.len());
}
