//! WebSockets: the handshake, then bytes both ways.
//!
//! | file | what it does |
//! |---|---|
//! | `handshake` | says what a GET that asks for a WebSocket was, once it has its response |
//! | `tunnel` | joins the two sides and finds out how the session ended |
//! | `direction` | passes the bytes of one direction on |
//! | `watch` | looks at them once they have been passed on |

mod direction;
pub(super) mod handshake;
pub(crate) mod tunnel;
mod watch;
