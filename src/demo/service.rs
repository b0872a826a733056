//! A service on a loopback port that answers chat completions as Azure OpenAI does, and messages as Claude does on
//! Foundry, from [`Fixtures`]: streamed and not, at a model's pace, with filter events, bursts, tool calls,
//! refusals, errors and broken streams. It makes responses in the background and holds realtime sessions, too.
//!
//! It runs on a thread of its own, so that nothing under test shares its runtime.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::dialect::Dialect;
use super::fixtures::{Fixture, FixtureRefusal, Fixtures};
use super::message::MessageScript;
use super::paced::{Pace, Paced, Random};
use super::script::Script;
use super::websocket;
use super::work;
use counts::Calls;
use metering::caller::api_key_headers;
use session::RealtimeSession;
use shelf::WorkShelf;

mod counts;
mod session;
mod shelf;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The largest request body; the fixtures' are a few kB.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Intervals between the request and the first byte of its response: a model reads before it writes.
const INTERVALS_TO_FIRST_BYTE: u32 = 8;

/// Intervals for which a response is made in the background: more than one look at it.
const INTERVALS_OF_WORK: u32 = 40;

/// Headers that say who calls. A sidecar that lets one through gives an identity away.
const IDENTITY_HEADERS: [&str; 5] = [
    "x-apim-subscription-id",
    "x-apim-product-id",
    "x-apim-user-id",
    "x-tokenweir-auth",
    "ocp-apim-subscription-key",
];

/// A prompt that it knows.
pub(super) const KNOWN_PROMPT: &str = "When is the town library open on Saturdays?";

/// How the service behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How fast streams come.
    pub pace: Pace,
}

/// A running service. Dropping it closes its port and breaks every stream.
#[derive(Debug)]
pub struct ReplayService {
    addr: SocketAddr,
    calls: Arc<Calls>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ReplayService {
    /// Starts a service on a free loopback port; it accepts calls when this returns.
    ///
    /// # Errors
    /// No port or no thread can be had, or a fixture does not parse.
    pub fn start(options: Options) -> io::Result<ReplayService> {
        ReplayService::start_at((Ipv4Addr::LOCALHOST, 0).into(), options)
    }

    /// Starts a service at an address; it accepts calls when this returns.
    ///
    /// # Errors
    /// As [`ReplayService::start`], or the address cannot be had.
    pub fn start_at(listen: SocketAddr, options: Options) -> io::Result<ReplayService> {
        let fixtures = Arc::new(Fixtures::load()?);
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let calls = Arc::new(Calls::default());
        let shelf = Arc::default();
        let answerer = Responder { fixtures, calls: calls.clone(), shelf, pace: options.pace };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("demo-service".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, answerer) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(ReplayService { addr, calls, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Calls whose request has arrived, with the responses of sessions, and bills that were first looked at.
    pub fn begun(&self) -> u64 {
        self.calls.begun()
    }

    /// Those that came with a header that names a caller: behind a sidecar there are none.
    pub fn identified(&self) -> u64 {
        self.calls.identified()
    }
}

impl Drop for ReplayService {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, answerer: Responder) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // A failed accept is the peer's affair or a lack of descriptors: both pass.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let answerer = answerer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answerer = answerer.clone();
                async move { Ok::<_, Infallible>(answerer.answer(request).await) }
            });
            // An error here is a client that left or a stream that was to break.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
            drop(place);
        });
    }
}

#[derive(Clone)]
struct Responder {
    fixtures: Arc<Fixtures>,
    calls: Arc<Calls>,
    shelf: Arc<WorkShelf>,
    pace: Pace,
}

impl Responder {
    async fn answer(&self, request: Request<Incoming>) -> Response<Paced> {
        let is_identified = IDENTITY_HEADERS.iter().any(|name| request.headers().contains_key(*name));
        if let Some(id) = looked_at(&request) {
            return self.look(id, is_identified);
        }
        let call = self.calls.count(is_identified);
        if request.uri().path().ends_with("/realtime") {
            return self.hold_session(call, is_identified, request);
        }
        let (head, body) = request.into_parts();
        let mut response = match self.exchange(call, &head, body).await {
            Ok(response) => response,
            Err(refusal) => refused(&refusal),
        };
        azure_headers(&head.headers, call, response.headers_mut());
        response
    }

    /// A look at work is counted once, when it first shows the bill.
    fn look(&self, id: &str, is_identified: bool) -> Response<Paced> {
        let Some(look) = self.shelf.look(id, &self.fixtures) else {
            return refused(&refusal(404, "404", "Resource not found"));
        };
        if look.is_bill {
            self.calls.count(is_identified);
        }
        json_response(StatusCode::OK, &look.response)
    }

    fn hold_session(&self, call: u64, is_identified: bool, request: Request<Incoming>) -> Response<Paced> {
        if request.headers().get(SEC_WEBSOCKET_KEY).is_none_or(|key| key != websocket::KEY) {
            return refused(&refusal(400, "400", "This service only knows the key of the demo."));
        }
        let (calls, fixtures) = (self.calls.clone(), self.fixtures.clone());
        let session = RealtimeSession { calls, fixtures, pace: self.pace, call, is_identified };
        tokio::spawn(session.hold(hyper::upgrade::on(request)));
        let mut response = Response::new(Paced::new(VecDeque::new(), false, Pace::NONE, Random::new(0)));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(websocket::ACCEPT));
        response
    }

    async fn exchange(
        &self,
        call: u64,
        head: &Parts,
        body: Incoming,
    ) -> Result<Response<Paced>, FixtureRefusal> {
        let dialect = Dialect::of_path(head.uri.path());
        let is_work = head.uri.path() == work::TARGET;
        if head.method != Method::POST || (dialect.is_none() && !is_work) {
            return Err(refusal(404, "404", "Resource not found"));
        }
        if !api_key_headers().iter().chain([&AUTHORIZATION]).any(|name| head.headers.contains_key(name)) {
            return Err(refusal(401, "401", "Access denied due to missing credentials."));
        }
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
        let body = body.map_err(|_| refusal(413, "413", "The request is too large."))?.to_bytes();
        let request: Value = serde_json::from_slice(&body)
            .map_err(|_| refusal(400, "invalid_json", "The request body is not JSON."))?;
        let asked = if is_work { &work::as_chat(&request) } else { &request };
        let fixture = self.fixtures.answering(asked).ok_or_else(|| {
            refusal(
                400,
                "no_fixture",
                &format!("This service only knows the requests of the demo, such as {KNOWN_PROMPT:?}."),
            )
        })?;
        let mut random = Random::new(call);
        let reading: Duration = (0..INTERVALS_TO_FIRST_BYTE).map(|_| self.pace.next(&mut random)).sum();
        tokio::time::sleep(reading).await;
        if let Some(error) = &fixture.error {
            return Err(error.clone());
        }
        let Some(dialect) = dialect else {
            let takes = self.pace.interval * INTERVALS_OF_WORK;
            let begun = self.shelf.begin(fixture, call, jiff::Timestamp::now().as_second(), takes);
            return Ok(json_response(StatusCode::OK, &begun));
        };
        let mut response = self.respond(call, dialect, fixture, &request, random);
        let deployment = deployment(head.uri.path(), &request);
        response.headers_mut().insert("x-ms-deployment-name", value(&deployment));
        Ok(response)
    }

    fn respond(
        &self,
        call: u64,
        dialect: Dialect,
        fixture: &Fixture,
        request: &Value,
        random: Random,
    ) -> Response<Paced> {
        let stream = request["stream"] == Value::Bool(true);
        let include_usage = request["stream_options"]["include_usage"] == Value::Bool(true);
        let created = jiff::Timestamp::now().as_second();
        let chat = Script { fixture, id: fixture.answer_id(call), created, include_usage };
        let message = MessageScript { fixture, call };
        let mut events = match dialect {
            Dialect::Chat if stream => chat.events(),
            Dialect::Messages if stream => message.events(),
            Dialect::Chat => return json_response(StatusCode::OK, &chat.body()),
            Dialect::Messages => return json_response(StatusCode::OK, &message.body()),
        };
        let delivery = &fixture.delivery;
        events.truncate(delivery.cut_after.unwrap_or(usize::MAX));
        let writes = events.chunks(delivery.burst).map(|burst| Bytes::from(burst.concat())).collect();
        let body = Paced::new(writes, delivery.cut_after.is_some(), self.pace, random);
        let mut response = Response::new(body);
        let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// The id of the work that a request looks at.
fn looked_at(request: &Request<Incoming>) -> Option<&str> {
    let id = request.uri().path().strip_prefix(work::TARGET)?.strip_prefix('/')?;
    Some(id).filter(|_| request.method() == Method::GET)
}

/// The deployment in the path, or the `model` of a v1 request.
fn deployment(path: &str, request: &Value) -> String {
    let mut segments = path.split('/').skip_while(|&segment| segment != "deployments");
    match segments.nth(1) {
        Some(deployment) => deployment.to_owned(),
        None => request["model"].as_str().unwrap_or_default().to_owned(),
    }
}

fn refusal(status: u16, code: &str, message: &str) -> FixtureRefusal {
    let body = json!({ "error": { "code": code, "message": message } });
    FixtureRefusal { status, retry_after_ms: None, body }
}

fn refused(refusal: &FixtureRefusal) -> Response<Paced> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, &refusal.body);
    if let Some(ms) = refusal.retry_after_ms {
        response.headers_mut().insert("retry-after-ms", ms.into());
        response.headers_mut().insert("retry-after", ms.div_ceil(1000).into());
    }
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Paced> {
    let body = Bytes::from(body.to_string());
    let length = body.len();
    let whole = Paced::new(VecDeque::from([body]), false, Pace::NONE, Random::new(0));
    let mut response = Response::new(whole);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// The headers that the service adds to every response, as seen on its wire.
fn azure_headers(request: &HeaderMap, call: u64, response: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 6] = [
        (HeaderName::from_static("x-ms-region"), "Sweden Central"),
        (HeaderName::from_static("x-ms-rai-invoked"), "true"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("strict-transport-security"), "max-age=31536000; includeSubDomains"),
        (HeaderName::from_static("azureml-model-session"), "demo-1"),
    ];
    for (name, fixed) in FIXED {
        response.insert(name, HeaderValue::from_static(fixed));
    }
    response.insert("apim-request-id", value(&Uuid::new_v4().to_string()));
    response.insert("x-request-id", value(&Uuid::new_v4().to_string()));
    response.insert("x-ratelimit-remaining-requests", (1_000_000 - call.min(1_000_000)).into());
    let client = request.get("x-ms-client-request-id").cloned();
    let client = client.unwrap_or(HeaderValue::from_static("Not-Set"));
    response.insert("x-ms-client-request-id", client);
}

/// A header's value; empty if the text cannot be one.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
