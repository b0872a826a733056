//! The server: the gateway's connections, from the listening socket to the bytes of each response.
//!
//! hyper reads the requests and sends the responses; a response that streams is taken over from it and sent by
//! `stream`.
//!
//! | file | what it does |
//! |---|---|
//! | `accept` | listens, accepts connections, and brings them to an end when the process stops |
//! | `connection` | runs one connection: hyper, a stream, a tunnel |
//! | `acceptor` | makes a TCP connection ready for HTTP, with a TLS handshake where one is asked for |
//! | `takeover` | takes a streaming response over from hyper |
//! | `stream` | sends the rest of a response that was taken over |
//! | `io` | is the socket as hyper and `stream` see it |
//! | `conn_state` | is what the parts of one connection share |
//! | `tcp` | is the TCP connection under TLS: it sees the client's progress, and can be closed with a reset |
//! | `head_timer` | limits how long a connection waits for a request |
//! | `idle_clock` | limits how long a client may make no progress |
//! | `lingering_close` | closes a connection so that its last bytes can be read |
//! | `close_notice` | tells connections to end behind their present response |
//! | `limiter` | limits how many connections and calls there are |

pub(super) mod accept;
pub(super) mod acceptor;
mod close_notice;
mod conn_state;
pub(super) mod connection;
mod head_timer;
pub(super) mod idle_clock;
mod io;
pub(super) mod limiter;
mod lingering_close;
mod stream;
mod takeover;
mod tcp;
