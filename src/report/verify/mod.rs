//! The proof that nothing is missing.
//!
//! Each row carries its boot and its sequence within it, without gaps; each control event says which
//! rows it covers and what they add up to. So events prove themselves, in any order, wherever they are
//! read. What cannot be seen: a change of a row that has no second copy and keeps the sums of its
//! control event, and, outside of a ledger, a boot of which nothing at all is left.
//!
//! | file | idea |
//! |---|---|
//! | `event` | what of an event matters |
//! | `bits` | a set of sequences, one bit each |
//! | `boots` | what two passes learn of each boot |
//! | `remains` | what retention took is not missing |
//! | `judge` | from what was seen to what is wrong |
//! | `findings` | what was found |
//! | `show` | for people, and as JSON |

mod bits;
mod boots;
mod event;
mod findings;
mod judge;
mod remains;
mod show;

use std::time::Duration;

use super::input::{Events, Place};
use super::{Input, ReportError};
use bits::Bits;
use boots::Boots;
use remains::Remains;

pub use findings::{BootLine, Finding, Kind, State, Verdict};
pub use show::VerdictFormat;

/// What to verify, and what is no fault.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Where events come from.
    pub input: Input,
    /// How often the sidecars write control events: a boot whose last one is younger than two
    /// intervals is still open.
    pub control_interval: Duration,
    /// Copies with equal bytes are only counted: on a topic each event is delivered at least once.
    pub allow_repeats: bool,
    /// A boot that still runs is no finding: the sidecars are alive.
    pub allow_open: bool,
    /// Lines begin in the middle: what lies before the first line of a ledger's oldest boot is not
    /// missing.
    pub allow_cut: bool,
}

/// Looks for what is missing, doubled, altered, refused or open. Reads the input twice and keeps
/// some 10 bytes for each event.
///
/// # Errors
/// If the input cannot be read to its end.
pub fn verify(options: &VerifyOptions) -> Result<Verdict, ReportError> {
    let mut events = Events::open(&options.input)?;
    let (mut boots, mut positions) = (Boots::default(), Bits::default());
    events.each(|body, place| {
        boots.note(body);
        if let Place::Position(position) = place {
            positions.set(position);
        }
    })?;
    boots.sort();
    events.each(|body, place| boots.add(body, place))?;
    boots.compare();
    let remains = Remains::look(&events, &boots, &positions, options)?;
    Ok(judge::judge(&boots, &remains, options))
}
