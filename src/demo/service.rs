//! A service on a loopback port that answers chat completions as Azure OpenAI does, from
//! [`Fixtures`]: streamed and not, at a model's pace, with filter events, bursts, tool calls,
//! refusals, errors and broken streams.
//!
//! It runs on a thread of its own, so that nothing under test shares its runtime.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
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

use super::fixtures::{Fixture, FixtureRefusal, Fixtures};
use super::paced::{Pace, Paced, Random};
use super::script::Script;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The largest request body; the fixtures' are a few kB.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Intervals between the request and the first byte of its response: a model reads before it writes.
const INTERVALS_TO_FIRST_BYTE: u32 = 8;

/// Headers that say who calls. A sidecar that lets one through gives an identity away.
const IDENTITY_HEADERS: [&str; 5] = [
    "x-apim-subscription-id",
    "x-apim-product-id",
    "x-apim-user-id",
    "x-tokenweir-auth",
    "ocp-apim-subscription-key",
];

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

/// The calls that the service has seen.
#[derive(Debug, Default)]
struct Calls {
    begun: AtomicU64,
    identified: AtomicU64,
}

impl ReplayService {
    /// Starts a service on a free loopback port; it accepts calls when this returns.
    ///
    /// # Errors
    /// No port or no thread can be had, or a fixture does not parse.
    pub fn start(options: Options) -> io::Result<ReplayService> {
        let fixtures = Arc::new(Fixtures::load()?);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let calls = Arc::new(Calls::default());
        let answerer = Responder { fixtures, calls: calls.clone(), pace: options.pace };
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

    /// Calls whose request has arrived.
    pub fn begun(&self) -> u64 {
        self.calls.begun.load(Ordering::SeqCst)
    }

    /// Calls that came with a header that names a caller: behind a sidecar there are none.
    pub fn identified(&self) -> u64 {
        self.calls.identified.load(Ordering::SeqCst)
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
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

#[derive(Clone)]
struct Responder {
    fixtures: Arc<Fixtures>,
    calls: Arc<Calls>,
    pace: Pace,
}

impl Responder {
    async fn answer(&self, request: Request<Incoming>) -> Response<Paced> {
        let call = self.calls.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let (head, body) = request.into_parts();
        if IDENTITY_HEADERS.iter().any(|name| head.headers.contains_key(*name)) {
            self.calls.identified.fetch_add(1, Ordering::SeqCst);
        }
        let mut response = match self.exchange(call, &head, body).await {
            Ok(response) => response,
            Err(refusal) => refused(&refusal),
        };
        azure_headers(&head.headers, call, response.headers_mut());
        response
    }

    async fn exchange(
        &self,
        call: u64,
        head: &Parts,
        body: Incoming,
    ) -> Result<Response<Paced>, FixtureRefusal> {
        if head.method != Method::POST || !head.uri.path().ends_with("/chat/completions") {
            return Err(refusal(404, "404", "Resource not found"));
        }
        if !head.headers.contains_key("api-key") && !head.headers.contains_key(AUTHORIZATION) {
            return Err(refusal(401, "401", "Access denied due to missing credentials."));
        }
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
        let body = body.map_err(|_| refusal(413, "413", "The request is too large."))?.to_bytes();
        let request: Value = serde_json::from_slice(&body)
            .map_err(|_| refusal(400, "invalid_json", "The request body is not JSON."))?;
        let fixture = self.fixtures.answering(&request).ok_or_else(|| {
            refusal(400, "no_fixture", "This service only knows the requests in fixtures/demo.")
        })?;
        let mut random = Random::new(call);
        let reading: Duration = (0..INTERVALS_TO_FIRST_BYTE).map(|_| self.pace.next(&mut random)).sum();
        tokio::time::sleep(reading).await;
        if let Some(error) = &fixture.error {
            return Err(error.clone());
        }
        let mut response = self.respond(call, fixture, &request, random);
        let deployment = deployment(head.uri.path(), &request);
        response.headers_mut().insert("x-ms-deployment-name", value(&deployment));
        Ok(response)
    }

    fn respond(&self, call: u64, fixture: &Fixture, request: &Value, random: Random) -> Response<Paced> {
        let stream = request["stream"] == Value::Bool(true);
        let include_usage = request["stream_options"]["include_usage"] == Value::Bool(true);
        let created = jiff::Timestamp::now().as_second();
        let script = Script { fixture, id: fixture.answer_id(call), created, include_usage };
        if !stream {
            return json_response(StatusCode::OK, &script.body());
        }
        let delivery = &fixture.delivery;
        let mut events = script.events();
        events.truncate(delivery.cut_after.unwrap_or(usize::MAX));
        let writes = events.chunks(delivery.burst).map(|burst| Bytes::from(burst.concat())).collect();
        let body = Paced::new(writes, delivery.cut_after.is_some(), self.pace, random);
        let mut response = Response::new(body);
        let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
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
