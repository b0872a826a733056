//! tokenweir: a weir measures a stream without stopping it.
//!
//! A sidecar proxy between an API gateway and Azure OpenAI. It passes streams on byte for byte, counts their tokens
//! on a borrowed view, and publishes one usage event for each call. `main.rs` parses arguments and calls [`cli::run`];
//! everything else is here and in the package `metering`. ARCHITECTURE.md has the order of the modules, the files of
//! one call in the order in which it reaches them, and what each module never does.
#![forbid(unsafe_code)]

// The port for operators: `/livez`, `/readyz`, `/metrics` and the live page.
pub mod admin;

// Prompts and responses, sealed for the auditors: taken from the stream, stored in a spool of their own.

pub mod capture;

// The command line: each command, its help, its errors and its exit code.
pub mod cli;

// The one table of settings, and how flags, environment and file become what the programs take.
pub mod config;

// `tokenweir demo`: a service, callers, two sidecars and a broker on one machine, and a proof that no call is lost.
pub mod demo;

// The only door through which usage becomes durable: SQLite, one writer thread, commits in batches.
pub mod ledger;

// Threads that count what is too heavy for the threads of the network.
pub mod pool;

// The data path: one request in, one upstream call out, over HTTP/1.1, TLS and WebSocket.
pub mod proxy;

// From the ledger to the topic: one thread, an idempotent producer, and a mark that only moves past what arrived.
pub mod publish;

// The programs that read a ledger or a topic: `events`, `report`, `verify`, `drain`, `top` and `tail`.
pub mod report;

// `tokenweir serve`: all parts put together, started in order and stopped in the opposite order.
pub mod serve;

// A body that yields the same frames, shows them to the meter, and settles the call once.
pub mod tee;

// Metrics, log lines and live sums for operators, each declared once.
pub mod telemetry;
