//! The proof that nothing is missing.
//!
//! Each row carries its boot and its sequence within it, without gaps; each control event says which rows it covers,
//! what they add up to, and the digest of their bytes. So events prove themselves, in any order, wherever they are
//! read. `docs/guarantees.md` says what cannot be seen.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | the events to verify, and what counts as no fault |
//! | `event` | an event and its place in a boot's sequence |
//! | `sequences` | runs of sequences that are seen, and that are missing |
//! | `row_sums` | what is added up of rows |
//! | `row_runs` | rows whose control event is still to come |
//! | `period` | a control event, and the rows that it covers |
//! | `boot_index` | the facts of each boot, from one pass or more |
//! | `content` | the content of calls, held against what usage events say of it |
//! | `horizon` | where judging begins, because retention took what lay before |
//! | `judged_part` | the part of a boot that touches the range |
//! | `digests` | what is wrong by digests, seals, and the chain of control events |
//! | `totals` | where the totals of rows and their control event differ |
//! | `checks` | from the facts of each boot to the findings |
//! | `remarks` | findings and remarks about the input as a whole |
//! | `findings` | findings and the verdict |
//! | `show` | for people, and as JSON |

mod boot_index;
mod checks;
mod content;
mod digests;
mod event;
mod findings;
mod horizon;
mod judged_part;
mod options;
mod period;
mod remarks;
mod row_runs;
mod row_sums;
mod sequences;
mod show;
mod totals;

use super::error::{ReportError, within_bounds};
use super::event_origin::EventOrigin;
use super::input::{Events, Passes};
use super::omissions::Omissions;
use boot_index::BootIndex;
use content::CapturedCalls;
use horizon::Horizon;
use roaring::RoaringTreemap;

pub use content::{ContentFinding, ContentFindingKind, ContentInputs, ContentVerdict};
pub use findings::{BootLine, BootState, Finding, FindingKind, Verdict};
pub use options::VerifyOptions;
pub(super) use sequences::gaps_among;
pub use show::VerdictFormat;

/// Looks for what is missing, doubled, altered, refused or open. Reads the input once, and again only to look closely at
/// what was repeated or is not as it was stored; keeps little more than a bit for each event.
///
/// # Errors
/// If the input cannot be read to its end.
pub fn verify(options: &VerifyOptions) -> Result<Verdict, ReportError> {
    let mut boots = BootIndex::new(options);
    judge_usage(options, &mut boots)
}

/// As [`verify`], and holds the content of calls against what their usage events say of it.
///
/// # Errors
/// If an input cannot be read to its end, or is more than is held in memory.
pub fn verify_with_content(options: &VerifyOptions, content: ContentInputs) -> Result<Verdict, ReportError> {
    let mut boots = BootIndex::new(options);
    boots.captured = Some(CapturedCalls::default());
    let mut verdict = judge_usage(options, &mut boots)?;
    let calls = boots.captured.take().unwrap_or_default();
    let mut spans = boots.usage_spans();
    spans.is_cut = verdict.is_cut;
    drop(boots);
    let content = content::judge(content, calls, &spans, options)?;
    verdict.complete &= content.complete;
    verdict.unread |= content.unread;
    verdict.content = Some(content);
    Ok(verdict)
}

fn judge_usage(options: &VerifyOptions, boots: &mut BootIndex<'_>) -> Result<Verdict, ReportError> {
    let mut events = Events::open(&options.inputs, Passes::Several)?;
    let mut omissions = Omissions::default();
    let mut positions = vec![RoaringTreemap::new(); events.ledgers.len()];
    events.each(&mut |read, origin| {
        if let EventOrigin::Ledger { ledger, position, .. } = origin {
            positions[ledger].insert(position);
        }
        match read {
            Ok(body) => boots.note(body, origin),
            Err(reason) => {
                boots.omit();
                omissions.add(reason, origin);
            }
        }
        within_bounds(boots.crossed_bound(), origin)
    })?;
    boots.sort();
    let mut asks = boots.asks_for_a_second_pass();
    while asks {
        boots.begin_again();
        events.each(&mut |read, origin| {
            if let Ok(body) = read {
                boots.add(body, origin);
            }
            within_bounds(boots.crossed_bound(), origin)
        })?;
        boots.compare();
        asks = boots.asks_what_was_written();
    }
    let horizon = Horizon::look(&events, boots, &positions, options)?;
    let mut verdict = checks::judge(boots, &horizon, options);
    verdict.unread = omissions.hides_more();
    verdict.is_cut = !horizon.why.is_empty();
    verdict.notes.extend(omissions.texts());
    verdict.notes.extend(events.notes);
    Ok(verdict)
}
