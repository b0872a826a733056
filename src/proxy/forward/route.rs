//! Finds the way of a request: its upstream, its target there, and its API.

use http::header::{HOST, TRANSFER_ENCODING};
use http::{Method, Request, Version};

use super::refusal::Refusal;
use super::surface::{Surface, classify};
use super::{headers, websocket::tunnel};
use crate::proxy::config::Removals;
use crate::proxy::fields::only_chunked;
use crate::proxy::upstream::address::Upstream;

/// The way of a request.
pub(super) struct Route {
    /// The index of its upstream.
    pub(super) upstream: usize,
    pub(super) target: String,
    pub(super) surface: Surface,
    /// It asks to become a WebSocket.
    pub(super) handshake: bool,
}

impl Route {
    /// Finds the route of a request, or why there is none. Protocol errors make no event.
    pub(super) fn of<B>(
        request: &Request<B>,
        upstreams: &[Upstream],
        removals: &Removals,
    ) -> Result<Route, Refusal> {
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
        let named = upstreams.iter().position(|upstream| upstream.name() == Some(first));
        let unnamed = || upstreams.iter().position(|upstream| upstream.name().is_none());
        let upstream = named.or_else(unnamed).ok_or(Refusal::UnknownUpstream)?;
        let prefix = upstreams[upstream].name();
        let handshake = tunnel::wanted(request.method(), request.version(), fields);
        let path = headers::path(uri, prefix);
        Ok(Route {
            upstream,
            target: headers::target(uri, prefix, removals),
            surface: classify(request.method(), path, uri.query(), handshake),
            handshake,
        })
    }
}
