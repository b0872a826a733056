//! The built program from outside: real processes, real sockets, real signals.
//!
//! - `replay`: every recorded exchange through `serve`: same bytes down, same event as `account`
//! - `bills`: work that goes on after its call: kill -9, two sidecars, and the output of a batch
//! - `burst`: long answers, faster than can be counted, on half a core
//! - `crash`: kill -9 under mixed streams, and what the ledger and the topic say afterwards
//! - `crash_prompt`: kill -9, and which calls know what their prompt costs
//! - `crash_message`: kill -9 in the middle of one of Anthropic's Messages
//! - `crash_surfaces`: kill -9 under a mix of every surface
//! - `shutdown`: SIGTERM under load, with the broker there and away
//! - `disk`: a disk that is slow or fails, and a wall clock that jumps
//! - `flood`: one caller sends more prompts than can be counted
//! - `full`: a volume that is really full
//! - `outage`: the broker is gone under load, comes back, and what a dead instance left is drained
//! - `drift`: the service bills otherwise than the rules say, and labels follow
//! - `memory`: what the process holds: idle, with thousands of streams, large bodies and many prompts
//! - `rate`: two thousand short streams a second into ledger and topic
//! - `tls`: certificates that are replaced, files that are wrong, services that cannot be trusted
//! - `identity`: who pays, whatever headers, hops and files say
//! - `observed`: the line of a call, and its metrics
//! - `page`: the live page, in a browser too, and `top` and `tail`
//! - `reload`: SIGHUP reads the log level again
//! - `wrk`: many requests on connections that are kept
//! - `sessions`: WebSockets, in events, metrics and the report
//! - `session_cost`: what a message of audio costs in one
//! - `surface_cases`: calls of every surface, and the events that they must have
//! - `soak`: many streams for long, and what is left of them
//! - `syscalls`: system calls of a stream
//! - `files`: few file descriptors, many callers, and the probes
//! - `ipv6`: both ports and the service on IPv6
//! - `hidden`: no core dump, and no other process reads the memory
//! - `canary`: no content and no credential in anything that the program writes
//!
//! And what they share:
//! - `mixed`, `oracle`: callers of every kind at once, and what the events must then say
//! - `every_surface`: callers of every surface at once, and their service
//! - `cpu`: time on the CPU, as the bench reads it
//! - `crowd`: thousands of callers and their service, on one thread
//! - `latency`: how long a chunk takes
//! - `shim`, `volume`: a disk that is slow or fails, a volume that is full
//! - `waits`: how long threads waited for a CPU

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod bills;
mod burst;
mod canary;
#[allow(dead_code, reason = "the bench uses the rest")]
#[path = "../../benches/e2e/cpu.rs"]
mod cpu;
mod crash;
mod crash_message;
mod crash_prompt;
mod crash_surfaces;
mod crowd;
mod disk;
mod drift;
mod every_surface;
mod files;
mod flood;
mod full;
mod hidden;
mod identity;
mod ipv6;
mod latency;
mod memory;
mod mixed;
mod observed;
mod oracle;
mod outage;
mod page;
mod rate;
mod reload;
mod replay;
mod session_cost;
mod sessions;
mod shim;
mod shutdown;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod surface_cases;
mod syscalls;
mod tls;
mod volume;
mod waits;
mod wrk;

use support::{certs, fake_service as upstream, follower as topic, http, random, schema, sidecar, skip};
