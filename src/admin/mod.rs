//! Health, readiness, metrics and the live page, on a port of their own.
//!
//! A client that reaches this port must not be able to take it from the liveness probe: a pod whose probe gets no
//! response is restarted. So no connection waits for another one. It is accepted at once; while it has not sent
//! its request, at most [`pending_max`] like it are kept, and when one more comes an old one goes. A probe needs no
//! permit: its response is a line, which the kernel takes whether or not it is read. The metrics are long, so scrapes
//! have permits, and a scrape without one gets 503. Every connection is closed behind its one response, and ends after
//! `CONNECTION_TIMEOUT` in any case, but for streams of events, which end so long after the last one that was read.
//!
//! | file | idea |
//! |---|---|
//! | `deadline` | until when a connection may last |
//! | `limits` | how many connections may wait, to send their request or to read the metrics |
//! | `pages` | the responses |
//! | `page` | the live page |
//! | `server` | the listener and its connections |

mod deadline;
mod limits;
mod page;
mod pages;
mod server;

pub use self::limits::pending_max;
pub use self::page::{AdminPage, LivePage};
pub use self::pages::{Pages, Readiness};
pub use self::server::{FILES_BESIDE_PENDING, bind, serve};
