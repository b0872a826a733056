//! One request: who pays, what is it, forward it, watch the answer go by.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use jiff::Timestamp;
use smol_str::SmolStr;

use super::answer::{Answer, Refusal, Wire, give_up, reject};
use super::counts::Counts;
use super::drain::{Drains, Leaving, Staying};
use super::gate::{Gate, Held, Pass};
use super::handshake::{Account, Handshake};
use super::inspect::{self, Common, Outgoing, Plan};
use super::listener::Port;
use super::outages::Outages;
use super::outbound::Outbound;
use super::passing::Passing;
use super::refused::{Asked, Looked, look};
use super::stall::{Arriving, Stall};
use super::surface::{Surface, Treatment, classify};
use super::upstream::{Answer as Answered, Broken, Client, Upstream, head::only_chunked, linger};
use super::websocket::{self, TunnelSlot};
use super::{BoxError, Config, Policy, Removals, Shared, admission, draft, headers};
use crate::ledger::Slot;
use crate::tee::{Begin, Call, Cause, Conclude, Live, RequestTap, ResponseTap};
use metering::caller::{Peer, Resolved};
use metering::meter::{Ending, Representation};
use metering::usage::{IncludeUsage, Injection};

/// Forwards the requests of one network thread.
pub(super) struct Service {
    shared: Shared,
    client: Client,
    live: Arc<Live>,
    upstreams: Arc<[Upstream]>,
    removals: Removals,
    policy: Policy,
    reject_when_full: bool,
    common: Arc<Common>,
    /// `None`: what callers abandon ends.
    drains: Option<Arc<Drains>>,
    tcp_keepalive: Duration,
    draining: AtomicBool,
    gate: Arc<Gate>,
    counts: Arc<Counts>,
    outages: Outages,
}

/// A request with its way before it.
struct Routed {
    upstream: usize,
    target: String,
    surface: Surface,
    /// It asks to become a WebSocket.
    handshake: bool,
}

/// A request that has come, and what is known of it by its head.
pub(super) struct Taken {
    /// `None`: there are too many.
    pass: Option<Pass>,
    accepted: Result<Accepted, Refusal>,
}

/// A request whose call has begun.
struct Accepted {
    routed: Routed,
    account: Account,
    /// Why it is answered by us.
    refused: Option<Refusal>,
}

impl Service {
    /// Must be called within the thread's runtime: starts its keeper and its sweep.
    pub(super) fn start(config: &Config, shared: &Shared, common: &Arc<Common>, port: &Port) -> Service {
        let upstreams: Arc<[Upstream]> = config.upstreams.clone().into();
        let live = Arc::new(Live::default());
        tokio::spawn(Arc::clone(&live).sweep(shared.ledger.clone()));
        Service {
            client: Client::start(Arc::clone(&upstreams), config.tls.clone(), config.limits),
            live,
            upstreams: Arc::clone(&upstreams),
            removals: admission::removals(config),
            policy: config.policy,
            reject_when_full: config.reject_when_full,
            common: Arc::clone(common),
            drains: config.policy.drain.map(|bounds| Drains::new(bounds, Arc::clone(&shared.accounts))),
            tcp_keepalive: config.limits.tcp_keepalive,
            draining: AtomicBool::new(false),
            gate: Arc::clone(&port.gate),
            counts: Arc::clone(&port.counts),
            outages: Outages::new(upstreams, config.tls.clone(), Arc::clone(&port.counts)),
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

    /// Takes a request: its call begins. Not part of [`Service::handle`], whose future hyper drops
    /// unpolled if the caller has closed the connection right behind the request, and that request has
    /// an event too.
    pub(super) fn take(&self, request: &Request<Incoming>, peer: &Peer) -> Taken {
        let pass = self.gate.call();
        let accepted = if pass.is_some() { self.accept(request, peer) } else { Err(Refusal::TooManyCalls) };
        Taken { pass, accepted }
    }

    /// Forwards a request that was taken. Dropping the future ends its call as interrupted.
    pub(super) async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        taken: Taken,
        tunnel: TunnelSlot,
    ) -> Response<Held<Answer>> {
        let mut response = match taken.accepted {
            Ok(accepted) => self.answer(request, accepted, tunnel).await,
            Err(refusal) => refusal.response(),
        };
        let last = self.draining.load(Ordering::Relaxed);
        if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|answer| Held::new(answer, taken.pass))
    }

    /// Finds out all that the head of a request tells, and begins its call; or why there is none.
    fn accept(&self, request: &Request<Incoming>, peer: &Peer) -> Result<Accepted, Refusal> {
        let began = Instant::now();
        let routed = self.route(request)?;
        let at = Timestamp::now();
        let resolved = (self.shared.resolver)(request.headers(), peer, at);
        let refused = self.refusal(request, &resolved, &routed);
        if routed.surface.is_odd {
            self.counts.odd_path(refused.is_some());
        }
        if routed.surface.treatment == Treatment::Silent && !routed.handshake {
            return Ok(Accepted { routed, account: Account::Nothing, refused });
        }
        let begin = self.begin(request, resolved, &routed, (began, at), refused)?;
        let (accounts, live) = (Arc::clone(&self.shared.accounts), Arc::clone(&self.live));
        let account = if routed.handshake {
            Account::Handshake(Handshake::new(begin, accounts, live))
        } else {
            let call = Call::begin(begin, accounts, live);
            if let Some(stall) = request.extensions().get::<Stall>() {
                call.watch_caller(stall.is_over());
            }
            call.set_unsent(true);
            Account::Call(Conclude::new(call))
        };
        Ok(Accepted { routed, account, refused })
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        accepted: Accepted,
        tunnel: TunnelSlot,
    ) -> Response<Answer> {
        let Accepted { routed, account, refused } = accepted;
        if let Some(refusal) = refused {
            return reject(account.call(), refusal);
        }
        let call = match account {
            Account::Handshake(handshake) => {
                return self.upgrade(request, routed, handshake, &tunnel).await;
            }
            account => account.call(),
        };
        let outgoing = match self.prepare(request, &routed, call.as_ref()).await {
            Ok(outgoing) => outgoing,
            Err(refusal) => return reject(call, refusal),
        };
        match (&self.drains, call) {
            (Some(drains), Some(call)) => {
                let (service, drains, left) = (Arc::clone(self), Arc::clone(drains), Arc::clone(call.call()));
                let answer = async move { service.forward(outgoing, routed, Some(call)).await };
                Staying::new(answer, left, drains).await
            }
            (_, call) => self.forward(outgoing, routed, call).await,
        }
    }

    /// Why a request is not sent, as far as its head tells.
    fn refusal(&self, request: &Request<Incoming>, resolved: &Resolved, routed: &Routed) -> Option<Refusal> {
        let odd = self.policy.reject_odd_path && routed.surface.is_odd;
        let streams = || self.policy.deny_streaming && inspect::streams_by_head(request, routed.handshake);
        admission::refusal(&self.policy, resolved, request.uri(), request.headers())
            .or_else(|| odd.then_some(Refusal::OddPath))
            .or_else(|| streams().then_some(Refusal::StreamingDenied))
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
        let handshake = websocket::wanted(request.method(), request.version(), fields);
        let path = headers::path(uri, prefix);
        Ok(Routed {
            upstream,
            target: headers::target(uri, prefix, &self.removals),
            surface: classify(request.method(), path, uri.query(), handshake),
            handshake,
        })
    }

    /// What a call's accounting begins with. Who pays has been read before any field is removed. A call
    /// that is refused has an event only if it has a place in the ledger: there is nothing to sum.
    fn begin(
        &self,
        request: &Request<Incoming>,
        resolved: Resolved,
        routed: &Routed,
        (began, at): (Instant, Timestamp),
        refused: Option<Refusal>,
    ) -> Result<Begin, Refusal> {
        let slot: Option<Slot> = self.shared.ledger.reserve();
        if slot.is_none() && self.reject_when_full {
            self.shared.accounts.count_refused();
            return Err(Refusal::LedgerFull);
        }
        if let (None, Some(refusal)) = (&slot, refused) {
            return Err(refusal);
        }
        if let Some(lack) = resolved.lack {
            self.counts.unattributed(lack);
        }
        let upstream = &self.upstreams[routed.upstream];
        let representation = Representation::of(request.headers());
        Ok(Begin {
            draft: draft::draft(
                resolved,
                at,
                &routed.surface,
                upstream,
                request.headers(),
                &self.shared.boot,
            ),
            rules: upstream.rules(),
            slot,
            // What a coded request asks for may be found only once all of it is there.
            keep_prompt: routed.surface.treatment == Treatment::Metered || representation.is_coded(),
            treatment: routed.surface.treatment,
            representation,
            began,
        })
    }

    /// Makes the request that goes to the service; with a policy that asks for it, after a look into
    /// its body.
    async fn prepare(
        &self,
        request: Request<Incoming>,
        routed: &Routed,
        call: Option<&Conclude>,
    ) -> Result<Outgoing<RequestTap<Arriving>>, Refusal> {
        let plan = if self.policy.inject_usage || self.policy.deny_streaming {
            inspect::plan(&self.policy, request.method(), &routed.surface, request.headers())
        } else {
            Plan::default()
        };
        let request = self.to_upstream(request, call);
        if plan.is_nothing() {
            return Ok(Outgoing { request: request.map(Outbound::new), again: None, remembered: false });
        }
        let asked = Asked {
            upstream: routed.upstream,
            deployment: routed.surface.deployment.clone(),
            api_version: routed.surface.api_version.clone(),
        };
        let bytes_max = self.policy.inspect_bytes_max;
        match inspect::inspect(plan, request, asked, bytes_max, &self.common).await {
            Ok(outgoing) => {
                if let (Some(call), Some(_)) = (call, &outgoing.again) {
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
        outgoing: Outgoing<RequestTap<Arriving>>,
        routed: Routed,
        call: Option<Conclude>,
    ) -> Response<Answer> {
        match self.exchange(outgoing, &routed, call.as_ref()).await {
            Ok(Some((response, injected))) => self.respond(response, call, injected),
            // Nobody asked for another protocol.
            Ok(None) => give_up(call, Refusal::NoAnswer, Ending::UpstreamError),
            Err(broken) => give_up(call, Refusal::of(&broken), broken.ending()),
        }
    }

    /// Sends the request and waits for the head of the answer, and whether the service was made to
    /// report usage. If it refuses that, the request goes to it once more, as its caller wrote it.
    async fn exchange(
        &self,
        outgoing: Outgoing<RequestTap<Arriving>>,
        routed: &Routed,
        call: Option<&Conclude>,
    ) -> Result<Option<(Response<Wire>, bool)>, Broken> {
        let answer = self.send(routed, outgoing.request, call).await?;
        let Answered::Response(response) = answer else { return Ok(None) };
        let Some(again) = outgoing.again else { return Ok(Some((response.map(Passing::plain), false))) };
        let by_name = match look(response).await {
            Looked::Other(response) => return Ok(Some((response, true))),
            Looked::Refused { by_name } => by_name,
        };
        let callers_doing = again.speaks_of_options();
        let (asked, request) = again.request();
        self.shared.accounts.counters().usage_refused.fetch_add(1, Ordering::Relaxed);
        if let Some(call) = call.map(Conclude::call) {
            call.include_usage(IncludeUsage::Absent);
            call.injection(Injection::Refused);
            call.set_unsent(true); // the service has done nothing
            if call.is_left() {
                // Nobody waits for more.
                return Err(Broken::Unsent(io::Error::other("the caller has left")));
            }
        }
        let answer = self.send(routed, request, call).await;
        let accepted = matches!(&answer, Ok(Answered::Response(again)) if again.status().is_success());
        // One caller must not be able to end it for all: only what can have no other cause is remembered.
        self.note_refusal(asked, by_name && !callers_doing && accepted);
        match answer? {
            Answered::Response(response) => Ok(Some((response.map(Passing::plain), false))),
            Answered::Upgraded(_) => Ok(None),
        }
    }

    /// The service refused to be asked for usage. One line tells of each deployment that does.
    fn note_refusal(&self, asked: Asked, remembered: bool) {
        if !self.common.refusals.note(asked.clone(), remembered) {
            return;
        }
        let printable = |name: SmolStr| name.bytes().all(|byte| byte.is_ascii_graphic()).then_some(name);
        tracing::warn!(
            upstream = self.upstreams.get(asked.upstream).map(|upstream| upstream.resource().as_str()),
            deployment = asked.deployment.and_then(printable).as_deref(),
            api_version = asked.api_version.and_then(printable).as_deref(),
            remembered,
            "the service refuses to be asked for usage (--include-usage inject); it got the request again as its caller wrote it"
        );
    }

    /// The service's answer on its way to the caller.
    fn respond(
        &self,
        mut response: Response<Wire>,
        call: Option<Conclude>,
        injected: bool,
    ) -> Response<Answer> {
        show_head(call.as_ref(), &response);
        headers::to_caller(response.headers_mut());
        let hides = injected && inspect::may_carry_usage(&response);
        if let (Some(call), true) = (&call, injected && !hides) {
            call.call().injection(Injection::Visible);
        }
        if hides {
            response.headers_mut().remove(CONTENT_LENGTH); // it gets shorter
        }
        let drains = self.drains.clone().filter(|_| call.is_some());
        response.map(|body| {
            let body = Leaving::new(ResponseTap::new(body, call), drains);
            Answer::Service(if hides { Passing::hiding(body) } else { Passing::plain(body) })
        })
    }

    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        routed: Routed,
        handshake: Handshake,
        tunnel: &TunnelSlot,
    ) -> Response<Answer> {
        let caller = hyper::upgrade::on(&mut request);
        let mut request = self.to_upstream(request, None).map(Outbound::new);
        websocket::switch(request.headers_mut());
        match self.send(&routed, request, None).await {
            Ok(Answered::Response(response)) if response.status().is_success() => {
                handshake.answered();
                self.respond(response.map(Passing::plain), None, false)
            }
            Ok(Answered::Response(response)) => {
                self.respond(response.map(Passing::plain), handshake.refused(), false)
            }
            Ok(Answered::Upgraded(upgraded)) => {
                let call = handshake.switched();
                let (mut response, service, beyond) = *upgraded;
                show_head(call.as_ref(), &response);
                let protocol = websocket::protocol(response.headers());
                headers::to_caller(response.headers_mut());
                websocket::switch(response.headers_mut());
                tunnel.set(websocket::tunnel(caller, service, beyond, protocol, call));
                response.map(|()| Answer::Own(http_body_util::Full::default()))
            }
            Err(broken) => give_up(handshake.refused(), Refusal::of(&broken), broken.ending()),
        }
    }

    /// Sends a request; a service that cannot be spoken to is told of.
    async fn send<B>(
        &self,
        routed: &Routed,
        request: Request<B>,
        call: Option<&Conclude>,
    ) -> Result<Answered<B>, Broken>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let leaves = |now: bool| call.into_iter().for_each(|call| call.call().set_unsent(!now));
        let sent = self.client.send(routed.upstream, &routed.target, request, leaves).await;
        sent.inspect_err(|broken| self.outages.tell(routed.upstream, broken))
    }

    /// The request with the fields that go on, its body shown to the call.
    fn to_upstream(
        &self,
        request: Request<Incoming>,
        call: Option<&Conclude>,
    ) -> Request<RequestTap<Arriving>> {
        let (version, stall) = (request.version(), request.extensions().get::<Stall>().cloned());
        let arriving = |body| Arriving::new(body, stall);
        let tap = |body| RequestTap::new(arriving(body), call.map(|call| Arc::clone(call.call())));
        let mut request = request.map(tap);
        headers::to_upstream(request.headers_mut(), version, &self.removals);
        request
    }
}

fn show_head<B>(call: Option<&Conclude>, response: &Response<B>) {
    if let Some(call) = call {
        call.call().response_head(response.status(), response.headers());
    }
}
