//! The rewrites of traffic that an operator may ask for: `--include-usage inject` and `--streaming deny`.
//!
//! | file | what it does |
//! |---|---|
//! | `inspect` | reads a request's body ahead and decides whether and how the request is sent |
//! | `request_body` | is a request body on its way to the upstream: the bytes that were read ahead, then the rest |
//! | `stream_options` | tells an upstream's refusal of `stream_options` from other refusals, and remembers it |
//! | `usage_filter` | takes the usage event out of a response whose client did not ask for it |

pub(super) mod inspect;
pub(super) mod request_body;
pub(super) mod stream_options;
pub(super) mod usage_filter;
