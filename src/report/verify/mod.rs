//! The proof that nothing is missing.
//!
//! Each row carries its boot and its sequence within it, without gaps; each control event says which
//! rows it covers and what they add up to. So events prove themselves, in any order, wherever they are
//! read. Two things cannot be seen: a change of a row that has no second copy and keeps the sums of its
//! control event, and, outside of a ledger, a boot of which nothing at all is left.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | the events to verify, and what counts as no fault |
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
mod options;
mod sequences;
mod show;

use super::error::ReportError;
use super::input::{EventOrigin, Events};
use boot_index::BootIndex;
use horizon::Horizon;
use roaring::RoaringTreemap;

pub use findings::{BootLine, BootState, Finding, FindingKind, Verdict};
pub use options::VerifyOptions;
pub use show::VerdictFormat;

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
