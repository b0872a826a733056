//! Captured content, opened for those who may read it: the bytes as they passed, or put together for people.
//!
//! Parts of a call are held sealed until the call is whole, and opened one call after the other. What is read of a
//! side is always a prefix: what is missing, cut or cannot be opened ends it, and is said.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | what is to be read, and how it is given |
//! | `stored_part` | a part as it lies in an input |
//! | `call_parts` | the parts of one call |
//! | `held_calls` | the calls that are not whole yet, within a bound |
//! | `opened_side` | one side of a call, opened |
//! | `readable` | content put together for people |
//! | `content_record` | a call as a line of JSON |
//! | `content_output` | where calls are written to |
//! | `program` | from inputs to calls |

mod call_parts;
mod content_output;
mod content_record;
mod held_calls;
mod opened_side;
mod options;
mod program;
mod readable;
mod stored_part;
#[cfg(test)]
mod tests;

pub use options::{ContentFilter, ContentFormat, ContentOptions, ContentOutput};
pub use program::{OpenedContent, open_content};
