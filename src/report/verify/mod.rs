//! The proof that nothing is missing.
//!
//! Each row carries its boot and its sequence within it, without gaps; each control event says which
//! rows it covers and what they add up to. So events prove themselves, in any order, wherever they are
//! read. What cannot be seen: a change of a row that has no second copy and keeps the sums of its
//! control event, and, outside of a ledger, a boot of which nothing at all is left.
//!
//! | file | what it holds |
//! |---|---|
//! | `event` | an event and its place in a boot's sequence |
//! | `sequences` | runs of sequences that are seen, and that are missing |
//! | `boot_index` | the facts of each boot, from two passes |
//! | `horizon` | where judging begins, because retention took what lay before |
//! | `checks` | from the facts to the findings |
//! | `findings` | findings and the verdict |
//! | `show` | for people, and as JSON |

mod boot_index;
mod checks;
mod event;
mod findings;
mod horizon;
mod sequences;
mod show;

use std::time::Duration;

use super::input::{EventOrigin, Events};
use super::{Input, ReportError};
use boot_index::BootIndex;
use horizon::Horizon;
use roaring::RoaringTreemap;

pub use findings::{BootLine, BootState, Finding, FindingKind, Verdict};
pub use show::VerdictFormat;

/// The events to verify, and what counts as no fault.
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
    let (mut boots, mut positions) = (BootIndex::default(), RoaringTreemap::new());
    events.each(|body, place| {
        boots.note(body);
        if let EventOrigin::Position(position) = place {
            positions.insert(position);
        }
    })?;
    boots.sort();
    events.each(|body, place| boots.add(body, place))?;
    boots.compare();
    let horizon = Horizon::look(&events, &boots, &positions, options)?;
    Ok(checks::judge(&boots, &horizon, options))
}
