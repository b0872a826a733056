//! Takes one request from its head to its response: finds out who pays and what it is, forwards it, and shows the
//! response to the call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use jiff::Timestamp;
use smol_str::SmolStr;
use uuid::Uuid;

use super::capturing::{Capturing, edits};
use super::disconnect::DisconnectDrain;
use super::forwarded_body::ForwardedBody;
use super::refusal::{Refusal, give_up, reject};
use super::response_body::ResponseBody;
use super::response_future::ResponseFuture;
use super::route::Route;
use super::surface::Treatment;
use super::upstream_errors::UpstreamErrors;
use super::websocket::handshake::{CallRecord, Handshake};
use super::websocket::tunnel;
use super::{admission, headers, usage_draft};
use crate::capture::{self, CallCapture};
use crate::ledger::Slot;
use crate::proxy::config::{Config, Policy, Removals};
use crate::proxy::counts::{Counts, Unrecorded};
use crate::proxy::rewrite::inspect::{self, BodyChecks, OutgoingRequest, RewriteState};
use crate::proxy::rewrite::request_body::{ClientBody, RequestBody};
use crate::proxy::rewrite::stream_options::{OptionsTarget, RefusalCheck, check_refusal};
use crate::proxy::server::idle_clock::IdleClock;
use crate::proxy::server::limiter::{Limiter, Permit};
use crate::proxy::shared::Shared;
use crate::proxy::upstream::address::Upstream;
use crate::proxy::upstream::body::linger;
use crate::proxy::upstream::client::{Client, UpstreamResponse};
use crate::proxy::upstream::error::{BoxError, UpstreamError};
use crate::tee::{Begin, BodyError, Call, CallGuard, CaptureReport, RequestTap, ResponseTap, RunningCalls};
use metering::caller::{Peer, Resolved};
use metering::meter::{Ending, Representation};
use metering::usage::{IncludeUsage, Injection, Usage};

/// Forwards the requests of one network thread.
pub(crate) struct Service {
    shared: Shared,
    client: Client,
    live: Arc<RunningCalls>,
    /// `None`: none is captured.
    capturing: Option<Capturing>,
    upstreams: Arc<[Upstream]>,
    removals: Removals,
    policy: Policy,
    reject_when_full: bool,
    rewrites: Arc<RewriteState>,
    /// `None`: a response ends when its client goes.
    drain: Option<Arc<DisconnectDrain>>,
    tcp_keepalive: Duration,
    draining: AtomicBool,
    limiter: Arc<Limiter>,
    counts: Arc<Counts>,
    upstream_errors: UpstreamErrors,
}

/// A request that has come, as far as its head is known.
pub(crate) struct Received {
    /// `None`: there are too many calls.
    permit: Option<Permit>,
    admitted: Result<Admitted, Refusal>,
}

/// A request whose call has begun.
struct Admitted {
    route: Route,
    record: CallRecord,
    /// Why it gets a response of ours.
    refused: Option<Refusal>,
    /// `None`: nothing of it is captured.
    capture: Option<Arc<CallCapture>>,
}

impl Service {
    /// Must be called within the thread's runtime: starts the keeper of its idle connections and the sweep of its calls.
    pub(crate) fn start(
        config: &Config,
        shared: &Shared,
        rewrites: &Arc<RewriteState>,
        limiter: &Arc<Limiter>,
        counts: &Arc<Counts>,
    ) -> Service {
        let upstreams: Arc<[Upstream]> = config.upstreams.clone().into();
        let live = Arc::new(RunningCalls::default());
        tokio::spawn(Arc::clone(&live).sweep(shared.ledger.clone()));
        Service {
            client: Client::start(Arc::clone(&upstreams), config.tls.clone(), config.limits),
            live,
            capturing: shared.capturer.clone().map(Capturing::start),
            upstreams: Arc::clone(&upstreams),
            removals: admission::removals(config),
            policy: config.policy,
            reject_when_full: config.reject_when_full,
            rewrites: Arc::clone(rewrites),
            drain: config
                .policy
                .drain
                .map(|bounds| DisconnectDrain::new(bounds, Arc::clone(&shared.accounts))),
            tcp_keepalive: config.limits.tcp_keepalive,
            draining: AtomicBool::new(false),
            limiter: Arc::clone(limiter),
            counts: Arc::clone(counts),
            upstream_errors: UpstreamErrors::new(upstreams, config.tls.clone(), Arc::clone(counts)),
            shared: shared.clone(),
        }
    }

    /// Silence after which the connections of clients are probed.
    pub(crate) fn tcp_keepalive(&self) -> Duration {
        self.tcp_keepalive
    }

    /// From now on calls that are broken off are broken off by us.
    pub(crate) fn stop(&self) {
        self.shared.accounts.stop();
        self.capturing.iter().for_each(Capturing::stop);
    }

    /// From now on every response is the last one of its connection.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Calls run.
    pub(crate) fn is_busy(&self) -> bool {
        !self.live.is_empty()
    }

    /// Receives a request: its call begins. Not part of [`Service::handle`], whose future hyper drops
    /// unpolled if the client has closed the connection right behind the request, and that request has
    /// an event too.
    pub(crate) fn receive(&self, request: &Request<Incoming>, peer: &Peer) -> Received {
        let permit = self.limiter.call();
        let admitted = if permit.is_some() { self.admit(request, peer) } else { Err(Refusal::TooManyCalls) };
        match admitted.as_ref().map_or_else(|refusal| Some(*refusal), |call| call.refused) {
            Some(Refusal::CaptureUnavailable) => self.counts.unrecorded(Unrecorded::Call),
            Some(Refusal::SessionUncaptured) => self.counts.unrecorded(Unrecorded::Session),
            _ => {}
        }
        Received { permit, admitted }
    }

    /// Forwards a request that was received. Dropping the future ends its call as interrupted.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        received: Received,
    ) -> Response<ResponseBody> {
        let mut response = match received.admitted {
            Ok(admitted) => self.respond(request, admitted).await,
            Err(refusal) => refusal.response(),
        };
        let last = self.draining.load(Ordering::Relaxed);
        if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.body_mut().hold(received.permit);
        response
    }

    /// Finds out all that the head of a request tells, and begins its call; or why there is none.
    fn admit(&self, request: &Request<Incoming>, peer: &Peer) -> Result<Admitted, Refusal> {
        let began = Instant::now();
        let route = Route::of(request, &self.upstreams, &self.removals)?;
        let at = Timestamp::now();
        let resolved = (self.shared.resolver)(request.headers(), peer, at);
        let id = Uuid::now_v7();
        let capturing = self.capturing.as_ref();
        let capturing = capturing.map(|capturing| (capturing, capturing.wanted(id, &resolved.caller.id, at)));
        let lacks_record = || {
            let (capturing, wanted) = capturing?;
            capturing.refusal(&route, wanted)
        };
        let refused = self.refusal(request, &resolved, &route).or_else(lacks_record);
        if route.surface.is_odd {
            self.counts.odd_path(refused.is_some());
        }
        if route.surface.treatment == Treatment::Silent && !route.handshake {
            let capture = capturing.filter(|_| refused.is_none()).map(|(capturing, wanted)| {
                let draft = self.draft(request, resolved, &route, at);
                capturing.begin_silent(id, &draft, wanted, request.headers())
            });
            return Ok(Admitted { route, record: CallRecord::None, refused, capture });
        }
        let mut begin = self.begin(request, id, resolved, &route, (began, at), refused)?;
        let capture = capturing.map(|(capturing, wanted)| {
            capturing.begin(&begin, &route, wanted, request.headers(), refused.is_some())
        });
        begin.capture = capture.clone().map(|capture| capture as Arc<dyn CaptureReport>);
        let (accounts, live) = (Arc::clone(&self.shared.accounts), Arc::clone(&self.live));
        let record = if route.handshake {
            CallRecord::Handshake(Handshake::new(begin, route.surface.is_observer, accounts, live))
        } else {
            let call = Call::begin(begin, accounts, live);
            if let Some(idle) = request.extensions().get::<IdleClock>() {
                call.watch_client(idle.is_over());
            }
            call.set_unsent(true);
            CallRecord::Call(CallGuard::new(call))
        };
        Ok(Admitted { route, record, refused, capture })
    }

    async fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
        admitted: Admitted,
    ) -> Response<ResponseBody> {
        let Admitted { route, record, refused, capture } = admitted;
        if let Some(refusal) = refused {
            return reject(record.call(), refusal);
        }
        let call = match record {
            CallRecord::Handshake(handshake) => return self.upgrade(request, route, handshake).await,
            record => record.call(),
        };
        if let (Some(capture), Some(idle)) = (&capture, request.extensions().get::<IdleClock>()) {
            capture.watch_client(idle.is_over());
        }
        let outgoing = match self.prepare(request, &route, call.as_ref(), capture.as_ref()).await {
            Ok(outgoing) => outgoing,
            Err(refusal) => return reject(call, refusal),
        };
        match (&self.drain, call) {
            (Some(drain), Some(call)) => {
                let (service, drain, of) = (Arc::clone(self), Arc::clone(drain), Arc::clone(call.call()));
                let response = async move { service.forward(outgoing, route, Some(call), capture).await };
                ResponseFuture::new(response, of, drain).await
            }
            (_, call) => self.forward(outgoing, route, call, capture).await,
        }
    }

    /// Why a request is not sent, as far as its head tells.
    fn refusal(&self, request: &Request<Incoming>, resolved: &Resolved, route: &Route) -> Option<Refusal> {
        let odd = self.policy.reject_odd_path && route.surface.is_odd;
        let streams = || self.policy.deny_streaming && inspect::streams_by_head(request, route.handshake);
        admission::refusal(&self.policy, resolved, request.uri(), request.headers())
            .or_else(|| odd.then_some(Refusal::OddPath))
            .or_else(|| streams().then_some(Refusal::StreamingDenied))
    }

    /// Begins a call's accounting. Who pays has been read before any field is removed. A call
    /// that is refused has an event only if it has a place in the ledger: there is nothing to sum.
    fn begin(
        &self,
        request: &Request<Incoming>,
        id: Uuid,
        resolved: Resolved,
        route: &Route,
        (began, at): (Instant, Timestamp),
        refused: Option<Refusal>,
    ) -> Result<Begin, Refusal> {
        let polls = route.surface.treatment.is_poll();
        // A look at work that goes on has no event of its own.
        let slot: Option<Slot> = if polls { None } else { self.shared.ledger.reserve() };
        if slot.is_none() && self.reject_when_full && !polls {
            self.shared.accounts.count_refused();
            return Err(Refusal::LedgerFull);
        }
        if let (None, Some(refusal)) = (&slot, refused) {
            return Err(refusal);
        }
        if let Some(reason) = resolved.unattributed.filter(|_| !polls) {
            self.counts.unattributed(reason);
        }
        let upstream = &self.upstreams[route.upstream];
        let representation = Representation::of(request.headers());
        Ok(Begin {
            id,
            draft: self.draft(request, resolved, route, at),
            rules: upstream.rules(),
            slot,
            // A coded request may be readable only once all of it is there.
            keep_prompt: route.surface.treatment == Treatment::Metered || representation.is_coded(),
            treatment: route.surface.treatment,
            representation,
            began,
            capture: None,
        })
    }

    /// The call's event, as far as the head tells it.
    fn draft(&self, request: &Request<Incoming>, resolved: Resolved, route: &Route, at: Timestamp) -> Usage {
        let upstream = &self.upstreams[route.upstream];
        usage_draft::draft(resolved, at, &route.surface, upstream, request.headers(), &self.shared.boot)
    }

    /// Makes the request that goes to the upstream; with a policy that asks for it, after a look into
    /// its body.
    async fn prepare(
        &self,
        request: Request<Incoming>,
        route: &Route,
        call: Option<&CallGuard>,
        capture: Option<&Arc<CallCapture>>,
    ) -> Result<OutgoingRequest<RequestTap<ClientBody>>, Refusal> {
        let checks = if self.policy.inject_usage || self.policy.deny_streaming {
            inspect::body_checks(&self.policy, request.method(), &route.surface, request.headers())
        } else {
            BodyChecks::default()
        };
        let request = self.to_upstream(request, call, capture);
        if checks.is_empty() {
            let request = request.map(RequestBody::new);
            return Ok(OutgoingRequest { request, retry: None, remembered: false });
        }
        let target = OptionsTarget {
            upstream: route.upstream,
            deployment: route.surface.deployment.clone(),
            api_version: route.surface.api_version.clone(),
        };
        let bytes_max = self.policy.inspect_bytes_max;
        match inspect::inspect(checks, request, target, bytes_max, &self.rewrites).await {
            Ok(outgoing) => {
                if let (Some(call), Some(_)) = (call, &outgoing.retry) {
                    call.call().include_usage(IncludeUsage::Injected);
                }
                if let (Some(call), true) = (call, outgoing.remembered) {
                    call.call().injection(Injection::Remembered);
                }
                Ok(outgoing)
            }
            Err((refusal, rest)) => {
                rest.map(|rest| tokio::spawn(linger(rest)));
                Err(refusal)
            }
        }
    }

    async fn forward(
        &self,
        outgoing: OutgoingRequest<RequestTap<ClientBody>>,
        route: Route,
        call: Option<CallGuard>,
        capture: Option<Arc<CallCapture>>,
    ) -> Response<ResponseBody> {
        match self.exchange(outgoing, &route, call.as_ref()).await {
            Ok(Some((response, injected))) => self.pass_on(response, call, injected, capture.as_ref()),
            // The request did not ask for another protocol.
            Ok(None) => give_up(call, Refusal::NoResponse, Ending::UpstreamError),
            Err(error) => give_up(call, Refusal::of(&error), error.ending()),
        }
    }

    /// Sends the request and waits for the head of the response. Returns too whether the upstream was made to
    /// report usage. If it refuses that, the request goes to it once more, as its caller wrote it.
    async fn exchange(
        &self,
        outgoing: OutgoingRequest<RequestTap<ClientBody>>,
        route: &Route,
        call: Option<&CallGuard>,
    ) -> Result<Option<(Response<ForwardedBody>, bool)>, UpstreamError> {
        let response = self.send(route, outgoing.request, call).await?;
        let UpstreamResponse::Response(response) = response else { return Ok(None) };
        let Some(retry) = outgoing.retry else { return Ok(Some((response, false))) };
        let by_name = match check_refusal(response).await {
            RefusalCheck::Other(response) => return Ok(Some((response, true))),
            RefusalCheck::Refused { by_name } => by_name,
        };
        let callers_doing = retry.speaks_of_options();
        let (target, request) = retry.request();
        self.shared.accounts.counters().usage_refused.fetch_add(1, Ordering::Relaxed);
        if let Some(call) = call.map(CallGuard::call) {
            call.include_usage(IncludeUsage::Absent);
            call.injection(Injection::Refused);
            call.set_unsent(true); // the upstream has done nothing
            if call.is_client_gone() {
                // The client does not wait for more.
                return Err(UpstreamError::Unsent(io::Error::other("the caller has left")));
            }
        }
        let response = self.send(route, request, call).await;
        let accepted =
            matches!(&response, Ok(UpstreamResponse::Response(retry)) if retry.status().is_success());
        // One caller must not be able to end it for all: only a refusal that can have no other cause is remembered.
        self.note_refusal(target, by_name && !callers_doing && accepted);
        match response? {
            UpstreamResponse::Response(response) => Ok(Some((response, false))),
            UpstreamResponse::Upgraded(_) => Ok(None),
        }
    }

    /// Takes note that the upstream refused to be asked for usage. One line is logged for each deployment that does.
    fn note_refusal(&self, target: OptionsTarget, remembered: bool) {
        if !self.rewrites.refusals.add(target.clone(), remembered) {
            return;
        }
        let printable = |name: SmolStr| name.bytes().all(|byte| byte.is_ascii_graphic()).then_some(name);
        tracing::warn!(
            upstream = self.upstreams.get(target.upstream).map(|upstream| upstream.resource().as_str()),
            deployment = target.deployment.and_then(printable).as_deref(),
            api_version = target.api_version.and_then(printable).as_deref(),
            remembered,
            "the service refuses to be asked for usage (--include-usage inject); it got the request again as its caller wrote it"
        );
    }

    /// The upstream's response on its way to the client.
    fn pass_on(
        &self,
        mut response: Response<ForwardedBody>,
        call: Option<CallGuard>,
        injected: bool,
        capture: Option<&Arc<CallCapture>>,
    ) -> Response<ResponseBody> {
        show_head(call.as_ref(), &response);
        headers::to_client(response.headers_mut());
        let hides = injected && inspect::may_carry_usage(&response);
        if let (Some(call), true) = (&call, injected && !hides) {
            call.call().injection(Injection::Visible);
        }
        if hides {
            response.headers_mut().remove(CONTENT_LENGTH); // it gets shorter
        }
        let drain = self.drain.clone().filter(|_| call.is_some());
        let edited = edits(injected, hides);
        let side = capture
            .and_then(|capture| capture::response_of(capture, response.status(), response.headers(), edited));
        response.map(|body| match side {
            None => ResponseBody::forwarded(ResponseTap::new(body, call), hides, drain),
            Some(side) => ResponseBody::captured(ResponseTap::holding_end(body, call), hides, drain, side),
        })
    }

    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        route: Route,
        handshake: Handshake,
    ) -> Response<ResponseBody> {
        let client = hyper::upgrade::on(&mut request);
        let mut request = self.to_upstream(request, None, None).map(RequestBody::new);
        tunnel::switch(request.headers_mut());
        match self.send(&route, request, None).await {
            Ok(UpstreamResponse::Response(response)) if response.status().is_success() => {
                handshake.answered();
                self.pass_on(response, None, false, None)
            }
            Ok(UpstreamResponse::Response(response)) => {
                self.pass_on(response, handshake.refused(), false, None)
            }
            Ok(UpstreamResponse::Upgraded(upgraded)) => {
                let (mut response, upstream, beyond) = *upgraded;
                let Some(session) = handshake.switched(response.headers(), &self.shared.ledger) else {
                    return give_up(None, Refusal::NoResponse, Ending::UpstreamError);
                };
                session.response_head(response.status(), response.headers());
                headers::to_client(response.headers_mut());
                tunnel::switch(response.headers_mut());
                let tunnel = tunnel::tunnel(client, upstream, beyond, session);
                response.map(|()| ResponseBody::tunnel(tunnel))
            }
            Err(error) => give_up(handshake.refused(), Refusal::of(&error), error.ending()),
        }
    }

    /// Sends a request; an upstream that cannot be spoken to is reported.
    async fn send<B>(
        &self,
        route: &Route,
        request: Request<B>,
        call: Option<&CallGuard>,
    ) -> Result<UpstreamResponse<B>, UpstreamError>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let on_sending = |now: bool| call.into_iter().for_each(|call| call.call().set_unsent(!now));
        let sent = self.client.send(route.upstream, &route.target, request, on_sending).await;
        sent.inspect_err(|error| self.upstream_errors.report(route.upstream, error))
    }

    /// The request with the fields that go on, its body shown to the call.
    fn to_upstream(
        &self,
        request: Request<Incoming>,
        call: Option<&CallGuard>,
        capture: Option<&Arc<CallCapture>>,
    ) -> Request<RequestTap<ClientBody>> {
        let (version, idle) = (request.version(), request.extensions().get::<IdleClock>().cloned());
        let side = capture.and_then(capture::request_of);
        let tap = |body| {
            RequestTap::new(ClientBody::new(body, idle, side), call.map(|call| Arc::clone(call.call())))
        };
        let mut request = request.map(tap);
        headers::to_upstream(request.headers_mut(), version, &self.removals);
        request
    }
}

fn show_head<B>(call: Option<&CallGuard>, response: &Response<B>) {
    if let Some(call) = call {
        call.call().response_head(response.status(), response.headers());
    }
}
