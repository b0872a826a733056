//! Why an upstream gave no response, or no more of one.

use std::io;

use crate::tee::BodyError;
use metering::meter::Ending;

/// The error of a request body, whatever its type.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Not a byte of the request was written.
    #[error("the request could not be sent")]
    Unsent(#[source] io::Error),
    /// The client's request body broke off.
    #[error("the caller's request broke off")]
    RequestBody(#[source] BoxError),
    /// The connection failed.
    #[error("the connection to the service failed")]
    Io(#[from] io::Error),
    /// The connection ended within the response.
    #[error("the service ended the connection within its answer")]
    Eof,
    /// The response's head is not HTTP that we can pass on.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The response's chunked coding breaks the grammar.
    #[error("the answer's chunked coding is broken")]
    Chunks,
    /// The upstream took longer than [`crate::proxy::Limits`] allow.
    #[error("the service was silent for too long")]
    Timeout,
}

impl BodyError for UpstreamError {
    fn ending(&self) -> Ending {
        match self {
            UpstreamError::Timeout => Ending::Timeout,
            UpstreamError::RequestBody(_) => Ending::ClientDisconnect,
            _ => Ending::UpstreamError,
        }
    }
}

/// Why a response's head cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    /// It is not HTTP that can be passed on.
    #[error("the answer's head is not valid HTTP: {0}")]
    Malformed(&'static str),
    /// It is over a limit.
    #[error("the answer's head has more than {max} {what} (--{setting})")]
    Limit {
        /// The unit of the limit.
        what: &'static str,
        /// The limit.
        max: usize,
        /// The setting that it comes from.
        setting: &'static str,
    },
}
