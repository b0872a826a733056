//! Health, readiness and metrics, on a port of their own.
//!
//! A client that reaches this port must not be able to take it from the liveness probe: a pod whose probe gets no
//! response is restarted. So no connection waits for another one. It is accepted at once; while it has not sent
//! its request, at most [`pending_max`] like it are kept, and when one more comes an old one goes. A probe needs no
//! permit: its response is a line, which the kernel takes whether or not it is read. The metrics are long, so scrapes
//! have permits, and a scrape without one gets 503. Every connection is closed behind its one response, and ends after
//! `CONNECTION_TIMEOUT` in any case.
//!
//! | file | idea |
//! |---|---|
//! | `limits` | how many connections may wait, to send their request or to read the metrics |
//! | `pages` | the responses |
//! | `server` | the listener and its connections |

mod limits;
mod pages;
mod server;

pub use self::limits::pending_max;
pub use self::pages::{Pages, Readiness};
pub use self::server::{FILES_BESIDE_PENDING, bind, serve};
