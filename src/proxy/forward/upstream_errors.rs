//! Upstreams that cannot be spoken to are counted, and now and then logged with the remedy.

use std::io;
use std::sync::Arc;

use crate::proxy::counts::{Counts, LogSubject, TlsPeer};
use crate::proxy::tls::cause::{self, TlsCause};
use crate::proxy::tls::upstream::UpstreamTls;
use crate::proxy::upstream::address::Upstream;
use crate::proxy::upstream::error::{HeadError, UpstreamError};

/// Counts and logs the errors of upstreams.
#[derive(Debug)]
pub(super) struct UpstreamErrors {
    upstreams: Arc<[Upstream]>,
    tls: Option<UpstreamTls>,
    counts: Arc<Counts>,
}

impl UpstreamErrors {
    pub(super) fn new(
        upstreams: Arc<[Upstream]>,
        tls: Option<UpstreamTls>,
        counts: Arc<Counts>,
    ) -> UpstreamErrors {
        UpstreamErrors { upstreams, tls, counts }
    }

    /// Reports that a call to the upstream of this index has failed before its response.
    pub(super) fn report(&self, index: usize, error: &UpstreamError) {
        let (error, unsent) = match error {
            UpstreamError::Head(error) => return self.report_head(index, error),
            UpstreamError::Unsent(error) => (error, true),
            // TLS 1.3 refuses a client's certificate behind the handshake, when the request is on its way.
            UpstreamError::Io(error) => (error, false),
            _ => return,
        };
        let Some(upstream) = self.upstreams.get(index) else { return };
        let resource = upstream.resource().as_str();
        if let Some((cause, why)) = self.cause(upstream, error, unsent) {
            self.counts.failed(TlsPeer::Upstream, cause);
            if let Some(kept_back) = self.counts.may_log(LogSubject::UpstreamTls(index, cause)) {
                tracing::error!(
                    upstream = resource,
                    cause = cause.as_str(),
                    why,
                    kept_back,
                    "no TLS with the service"
                );
            }
        } else if unsent && let Some(kept_back) = self.counts.may_log(LogSubject::Unreachable(index)) {
            tracing::error!(upstream = resource, %error, kept_back, "no connection to the service");
        }
    }

    /// Reports that a response's head cannot be passed on. Where a limit is the reason, it is named with its setting.
    fn report_head(&self, index: usize, error: &HeadError) {
        let Some(upstream) = self.upstreams.get(index) else { return };
        let Some(kept_back) = self.counts.may_log(LogSubject::ResponseHead(index)) else { return };
        let (limit, setting) = match error {
            HeadError::Limit { max, setting, .. } => (Some(*max), Some(*setting)),
            HeadError::Malformed(_) => (None, None),
        };
        let resource = upstream.resource().as_str();
        tracing::error!(upstream = resource, %error, setting, limit, kept_back, "an answer cannot be passed on");
    }

    /// The failure of TLS that is the reason; `None` if it is not.
    fn cause(&self, upstream: &Upstream, error: &io::Error, unsent: bool) -> Option<(TlsCause, String)> {
        let files = self.tls.as_ref().filter(|_| upstream.server_name().is_some())?.files();
        let hung_up = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let why = "the service hung up within the handshake; is it TLS that it speaks?";
        let closed = || (unsent && hung_up).then(|| (TlsCause::Closed, why.to_owned()));
        cause::from_upstream(error, files).or_else(closed)
    }
}
