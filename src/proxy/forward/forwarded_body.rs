//! The body of an upstream's response: what it is made of, for those who pass it on.

use crate::proxy::rewrite::request_body::ClientRequestBody;
use crate::proxy::upstream::body::UpstreamBody;

/// The body of an upstream's response to a client's request.
pub(super) type ForwardedBody = UpstreamBody<ClientRequestBody>;
