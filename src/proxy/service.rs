//! One request: who pays, what is it, forward it, watch the answer go by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::answer::{Answer, Refusal};
use super::surface::{Surface, Treatment, classify};
use super::upstream::{Answer as Answered, Broken, Client, Upstream, head::only_chunked};
use super::websocket::{self, TunnelSlot};
use super::{Config, Removals, Shared, draft, headers};
use crate::caller::Peer;
use crate::ledger::Slot;
use crate::meter::Ending;
use crate::tee::{Begin, Call, Cause, Conclude, Live, RequestTap, ResponseTap};

/// Forwards the requests of one network thread.
pub(super) struct Service {
    shared: Shared,
    client: Client,
    live: Arc<Live>,
    upstreams: Arc<[Upstream]>,
    removals: Removals,
    reject_when_full: bool,
    tcp_keepalive: Duration,
    draining: AtomicBool,
}

/// A request with its way before it.
struct Routed {
    upstream: usize,
    target: String,
    surface: Surface,
    websocket: bool,
}

impl Service {
    /// Must be called within the thread's runtime: starts its keeper and its sweep.
    pub(super) fn start(config: &Config, shared: &Shared) -> Service {
        let upstreams: Arc<[Upstream]> = config.upstreams.clone().into();
        let live = Arc::new(Live::default());
        tokio::spawn(Arc::clone(&live).sweep(shared.ledger.clone()));
        Service {
            client: Client::start(Arc::clone(&upstreams), config.tls.clone(), config.limits),
            live,
            upstreams,
            removals: config.removals.clone(),
            reject_when_full: config.reject_when_full,
            tcp_keepalive: config.limits.tcp_keepalive,
            draining: AtomicBool::new(false),
            shared: shared.clone(),
        }
    }

    /// Silence after which the connections of callers are probed.
    pub(super) fn tcp_keepalive(&self) -> Duration {
        self.tcp_keepalive
    }

    /// From now on what is broken off is broken by us.
    pub(super) fn stop(&self) {
        self.shared.accounts.stop();
    }

    /// From now on every answer is the last one of its connection.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Calls run.
    pub(super) fn is_busy(&self) -> bool {
        !self.live.is_empty()
    }

    /// Forwards a request. Dropping the future ends its call as interrupted.
    pub(super) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        tunnel: TunnelSlot,
    ) -> Response<Answer> {
        let mut response = self.answer(request, peer, tunnel).await;
        let last = self.draining.load(Ordering::Relaxed);
        if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>, peer: &Peer, tunnel: TunnelSlot) -> Response<Answer> {
        let began = Instant::now();
        let routed = match self.route(&request) {
            Ok(routed) => routed,
            Err(refusal) => return refusal.response(),
        };
        let call = if routed.surface.treatment == Treatment::Silent {
            None
        } else {
            match self.begin(&request, peer, &routed, began) {
                Ok(call) => Some(Conclude::new(call)),
                Err(refusal) => return refusal.response(),
            }
        };
        if routed.websocket {
            self.upgrade(request, routed, call, &tunnel).await
        } else {
            self.forward(request, routed, call).await
        }
    }

    /// Finds the upstream, or why there is none. Protocol errors make no event.
    fn route(&self, request: &Request<Incoming>) -> Result<Routed, Refusal> {
        let (uri, fields) = (request.uri(), request.headers());
        if request.method() == Method::CONNECT {
            return Err(Refusal::Method);
        }
        if fields.contains_key(TRANSFER_ENCODING) && !only_chunked(fields) {
            return Err(Refusal::TransferCoding);
        }
        if request.version() >= Version::HTTP_11 && fields.get_all(HOST).iter().count() != 1 {
            return Err(Refusal::Host);
        }
        let first = uri.path().split('/').nth(1).unwrap_or("");
        let named = self.upstreams.iter().position(|upstream| upstream.name() == Some(first));
        let unnamed = || self.upstreams.iter().position(|upstream| upstream.name().is_none());
        let upstream = named.or_else(unnamed).ok_or(Refusal::UnknownUpstream)?;
        let prefix = self.upstreams[upstream].name();
        let websocket = websocket::wanted(fields);
        let path = headers::path(uri, prefix);
        Ok(Routed {
            upstream,
            target: headers::target(uri, prefix, &self.removals),
            surface: classify(request.method(), path, uri.query(), websocket),
            websocket,
        })
    }

    /// Begins the call's accounting. Who pays is read before any field is removed.
    fn begin(
        &self,
        request: &Request<Incoming>,
        peer: &Peer,
        routed: &Routed,
        began: Instant,
    ) -> Result<Arc<Call>, Refusal> {
        let slot: Option<Slot> = self.shared.ledger.reserve();
        if slot.is_none() && self.reject_when_full {
            self.shared.accounts.count_refused();
            return Err(Refusal::LedgerFull);
        }
        let upstream = &self.upstreams[routed.upstream];
        let caller = (self.shared.resolver)(request.headers(), request.uri().query(), peer);
        let begin = Begin {
            draft: draft::draft(caller, &routed.surface, upstream, request.headers(), &self.shared.boot),
            rules: upstream.rules(),
            slot,
            keep_prompt: routed.surface.treatment == Treatment::Metered,
            unmetered: routed.surface.treatment == Treatment::Unmetered,
            began,
        };
        Ok(Call::begin(begin, Arc::clone(&self.shared.accounts), Arc::clone(&self.live)))
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        routed: Routed,
        call: Option<Conclude>,
    ) -> Response<Answer> {
        match self.send(request, &routed, call.as_ref()).await {
            Ok(Answered::Response(response)) => respond(response, call),
            // Nobody asked for another protocol.
            Ok(Answered::Upgraded(_)) => give_up(call, Refusal::NoAnswer, Ending::UpstreamError),
            Err(broken) => give_up(call, refusal(&broken), broken.ending()),
        }
    }

    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        routed: Routed,
        call: Option<Conclude>,
        tunnel: &TunnelSlot,
    ) -> Response<Answer> {
        let caller = hyper::upgrade::on(&mut request);
        match self.send(request, &routed, call.as_ref()).await {
            Ok(Answered::Response(response)) => respond(response, call),
            Ok(Answered::Upgraded(upgraded)) => {
                let (mut response, service, beyond) = *upgraded;
                show_head(call.as_ref(), &response);
                headers::to_caller(response.headers_mut());
                websocket::switch(response.headers_mut());
                tunnel.set(websocket::tunnel(caller, service, beyond, call));
                response.map(|()| Answer::Own(http_body_util::Full::default()))
            }
            Err(broken) => give_up(call, refusal(&broken), broken.ending()),
        }
    }

    async fn send(
        &self,
        request: Request<Incoming>,
        routed: &Routed,
        call: Option<&Conclude>,
    ) -> Result<Answered<RequestTap<Incoming>>, Broken> {
        let version = request.version();
        let mut request = request.map(|body| RequestTap::new(body, call.map(|call| Arc::clone(call.call()))));
        headers::to_upstream(request.headers_mut(), version, &self.removals);
        if routed.websocket {
            websocket::switch(request.headers_mut());
        }
        self.client.send(routed.upstream, &routed.target, request).await
    }
}

type ServiceResponse = Response<super::upstream::Download<RequestTap<Incoming>>>;

/// The service's answer on its way to the caller.
fn respond(mut response: ServiceResponse, call: Option<Conclude>) -> Response<Answer> {
    show_head(call.as_ref(), &response);
    headers::to_caller(response.headers_mut());
    response.map(|body| Answer::Service(ResponseTap::new(body, call)))
}

fn show_head<B>(call: Option<&Conclude>, response: &Response<B>) {
    if let Some(call) = call {
        call.call().response_head(response.status(), response.headers());
    }
}

/// There is no answer to pass on.
fn give_up(call: Option<Conclude>, refusal: Refusal, ending: Ending) -> Response<Answer> {
    if let Some(call) = call {
        call.call().answered_by_us(refusal.status(), refusal == Refusal::Unreachable);
        call.end(ending);
    }
    refusal.response()
}

fn refusal(broken: &Broken) -> Refusal {
    match broken {
        Broken::Unsent(_) => Refusal::Unreachable,
        Broken::Timeout => Refusal::Timeout,
        Broken::Caller(_) => Refusal::Body,
        _ => Refusal::NoAnswer,
    }
}
