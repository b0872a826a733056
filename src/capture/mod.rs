//! Prompts and responses for the auditors, and for nobody else.
//!
//! The network threads hand over copies or views of what passes, block by block, and wait for nothing. One thread
//! (`tw-capture`) compresses them, seals each part to the public keys of those who may read it, and stores it in a
//! spool of its own, from where a second publisher takes it to the capture topic. Nothing unsealed touches a disk, and
//! what was sealed cannot be read back here. What is kept of a side is always a prefix of what passed: over a bound
//! it is cut, and nothing of it follows.
//!
//! | file | what it holds |
//! |---|---|
//! | `captured_call` | a call that is captured: what its parts say, and what the threads tell each other of it |
//! | `options`, `running` | how content is captured, and the parts put together |
//! | `selection` | which calls are captured, and which sides of them |
//! | `caller_shares` | how many of a caller's calls are, from when on |
//! | `handle` | the handle that the data path has |
//! | `call_capture` | the capturing of one call, as its network thread sees it |
//! | `side_recorder` | one side of it: copies or views, blocks, parts and bounds |
//! | `open_captures` | the calls of a network thread, and the sweep that hands over what has waited |
//! | `block` | what a network thread hands over |
//! | `queue` | the bounded way of blocks to `tw-capture` |
//! | `memory` | the memory that all of it may hold |
//! | `counters` | what was captured and lost, for metrics and control events |
//! | `compressor` | blocks as zstd frames |
//! | `open_parts` | the parts that have not ended, compressed |
//! | `unstored_part` | a part on its way into the spool, and its loss |
//! | `part_sealer` | how a part is sealed, whatever to |
//! | `seal` | the seal of a part, and opening it |
//! | `spool` | the outbox of sealed parts |
//! | `thread`, `thread_phase` | `tw-capture`, and how it comes to its end |

mod block;
mod call_capture;
mod caller_shares;
mod captured_call;
mod compressor;
mod counters;
mod handle;
mod memory;
mod open_captures;
mod open_parts;
mod options;
mod part_sealer;
mod queue;
mod running;
pub mod seal;
mod selection;
mod side_recorder;
mod spool;
#[cfg(test)]
mod testing;
mod thread;
mod thread_phase;
#[cfg(test)]
mod thread_tests;
mod unstored_part;

pub use call_capture::{CallCapture, SideCapture};
pub use caller_shares::CallerShares;
pub use counters::CaptureStats;
pub use handle::{Capturer, request_of, response_of};
pub use open_captures::OpenCaptures;
pub use options::CaptureOptions;
pub use running::{CONTENT_SENDER_THREAD, RunningCapture};
pub use selection::{CaptureShare, CaptureSides, Wanted};
pub use spool::{CAPTURE_DATABASE, SpoolError, SpoolOptions, SpoolSource};
