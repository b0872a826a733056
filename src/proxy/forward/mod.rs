//! Forwards one request: who pays, which upstream, the request that goes there, the response that comes back.
//!
//! | file | what it does |
//! |---|---|
//! | `service` | takes a request from its head to its response |
//! | `route` | finds the upstream and the API of a request |
//! | `surface`, `path` | read the API out of a path, as an upstream would understand it |
//! | `headers` | make header fields and target those of the next hop |
//! | `admission` | refuses the calls that the operator has refused |
//! | `refusal` | is a response of ours, in the upstream's own shape |
//! | `usage_draft` | begins a call's event with the facts of its head |
//! | `response_body`, `forwarded_body` | are the response on its way to the client |
//! | `captured_body`, `capturing` | capture it, and decide which calls are captured |
//! | `response_future` | waits for a response whose client may go |
//! | `disconnect` | reads responses on whose client has gone |
//! | `upstream_errors` | counts and logs upstreams that cannot be spoken to |
//! | `websocket` | is the handshake and the tunnel of a WebSocket |

mod admission;
mod captured_body;
mod capturing;
mod disconnect;
mod forwarded_body;
pub(super) mod headers;
mod path;
pub(super) mod refusal;
pub(super) mod response_body;
mod response_future;
mod route;
pub(super) mod service;
pub(super) mod surface;
mod upstream_errors;
mod usage_draft;
pub(super) mod websocket;
