//! The HTTP/1.1 client: it connects to an upstream or reuses a connection, sends the request and reads the
//! response.
//!
//! The client is our own; hyper serves the gateway only. The reasons, beside memory (a response holds one small
//! buffer and no channel): the response body must own its connection and move an upload that still runs; a
//! request may be sent again only if not a byte of it was written, which only the writer knows;
//! `Expect: 100-continue` is passed on and not answered in advance; and all chunks of one read leave as one piece.
//!
//! | file | what it does |
//! |---|---|
//! | `client` | sends a request and waits for the head of the response |
//! | `body` | is the response body, which owns its connection until its end |
//! | `exchange` | moves one request and one response on one connection |
//! | `upload` | writes the request: its head first, then its body as it comes |
//! | `head` | writes the heads of requests and reads the heads of responses |
//! | `framing` | says how bodies are framed |
//! | `chunked` | takes the chunked coding off |
//! | `pool` | keeps idle connections |
//! | `read_buffer` | is what a connection reads into; waiting streams share one for each thread |
//! | `deadline` | limits how long an upstream may take |
//! | `io` | is a connection, and makes new ones |
//! | `reach` | connects without a request, to see whether that can be done |
//! | `address` | is where an upstream is, and by which rules its calls are counted |
//! | `error` | says why there is no response |

pub(super) mod address;
pub(super) mod body;
mod chunked;
pub(super) mod client;
mod deadline;
pub(super) mod error;
mod exchange;
mod framing;
mod head;
pub(super) mod io;
pub(super) mod pool;
mod reach;
mod read_buffer;
mod upload;

pub use self::pool::IDLE_CONNECTIONS_MAX;
pub use self::reach::{Reached, TlsReached};
