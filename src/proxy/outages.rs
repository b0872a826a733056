//! Services that cannot be spoken to: counted, and told in the log now and then with what to do.

use std::io;
use std::sync::Arc;

use super::counts::{Counts, Side, Subject};
use super::tls::{self, Cause, Tls};
use super::upstream::{BadHead, Broken, Upstream};

/// Tells of services.
#[derive(Debug)]
pub(super) struct Outages {
    upstreams: Arc<[Upstream]>,
    tls: Option<Tls>,
    counts: Arc<Counts>,
}

impl Outages {
    pub(super) fn new(upstreams: Arc<[Upstream]>, tls: Option<Tls>, counts: Arc<Counts>) -> Outages {
        Outages { upstreams, tls, counts }
    }

    /// A call to the upstream of this index has broken before its answer.
    pub(super) fn tell(&self, index: usize, broken: &Broken) {
        let (error, unsent) = match broken {
            Broken::Head(bad) => return self.bad_head(index, bad),
            Broken::Unsent(error) => (error, true),
            // TLS 1.3 refuses a client's certificate behind the handshake, when the request is on its way.
            Broken::Io(error) => (error, false),
            _ => return,
        };
        let Some(upstream) = self.upstreams.get(index) else { return };
        let resource = upstream.resource().as_str();
        if let Some((cause, why)) = self.cause(upstream, error, unsent) {
            self.counts.failed(Side::Service, cause);
            if let Some(kept_back) = self.counts.may_say(Subject::Service(index, cause)) {
                tracing::error!(
                    upstream = resource,
                    cause = cause.as_str(),
                    why,
                    kept_back,
                    "no TLS with the service"
                );
            }
        } else if unsent && let Some(kept_back) = self.counts.may_say(Subject::Unreachable(index)) {
            tracing::error!(upstream = resource, %error, kept_back, "no connection to the service");
        }
    }

    /// An answer's head cannot be passed on. Where a limit is the reason, it is named with its setting.
    fn bad_head(&self, index: usize, bad: &BadHead) {
        let Some(upstream) = self.upstreams.get(index) else { return };
        let Some(kept_back) = self.counts.may_say(Subject::Head(index)) else { return };
        let (limit, setting) = match bad {
            BadHead::Limit { max, setting, .. } => (Some(*max), Some(*setting)),
            BadHead::Malformed(_) => (None, None),
        };
        let resource = upstream.resource().as_str();
        tracing::error!(upstream = resource, error = %bad, setting, limit, kept_back, "an answer cannot be passed on");
    }

    /// Why TLS is the reason; `None` if it is not.
    fn cause(&self, upstream: &Upstream, error: &io::Error, unsent: bool) -> Option<(Cause, String)> {
        let files = self.tls.as_ref().filter(|_| upstream.server_name().is_some())?.files();
        let hung_up = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let why = "the service hung up within the handshake; is it TLS that it speaks?";
        let closed = || (unsent && hung_up).then(|| (Cause::Closed, why.to_owned()));
        tls::from_service(error, files).or_else(closed)
    }
}
