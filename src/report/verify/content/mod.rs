//! The proof that the content of calls is whole: each part that a usage event tells of is there, none is altered, and
//! the sequences and control events of the capture topic agree.
//!
//! Parts come in any order, before or behind their usage event, and of each only 112 bytes are kept. When all are read
//! they are put in order, once by boot and sequence and once by call, and held against what is said of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `part_key` | the side and the number of a part within its call |
//! | `part_record` | what is kept of a part |
//! | `content_event` | reading an event of the capture topic |
//! | `captured_calls` | what the usage events say was kept |
//! | `judged_calls` | which calls are judged |
//! | `usage_span` | the time that the usage events of a ledger cover |
//! | `content_boots` | the sequences and control events of each boot |
//! | `first_left` | the first event of a ledger that is left |
//! | `content_begin` | where judging begins, because retention took what lay before |
//! | `judged_run` | the sequences of a boot that are judged |
//! | `content_findings` | findings and the verdict on content |
//! | `inspection` | a part by itself: its id, its header, and what is in it |
//! | `content_index` | all that is kept of the events while they are read |
//! | `boot_checks` | sequences, sums and ends of boots |
//! | `side_check` | the parts of one side of a call |
//! | `call_checks` | usage events held against parts |
//! | `show` | for people |

mod boot_checks;
mod call_checks;
mod captured_calls;
mod content_begin;
mod content_boots;
mod content_event;
mod content_findings;
mod content_index;
mod first_left;
mod inspection;
mod judged_calls;
mod judged_run;
mod part_key;
mod part_record;
mod show;
mod side_check;
mod usage_span;

use super::options::VerifyOptions;
use crate::capture::seal::Unwrap;
use crate::report::error::{ReportError, within_bounds};
use crate::report::input::{Events, Input, Passes};
use crate::report::omissions::Omissions;
use content_begin::ContentBegin;
use content_index::ContentIndex;
use inspection::Inspector;
use judged_calls::JudgedCalls;

pub(super) use captured_calls::CapturedCalls;
pub use content_findings::{ContentFinding, ContentFindingKind, ContentVerdict};
pub(super) use usage_span::UsageSpans;

/// The events of the capture topic, and who opens what they hold.
pub struct ContentInputs {
    /// The inputs that they come from.
    pub inputs: Vec<Input>,
    /// With it each part is opened; without it only its protected header is read.
    pub unwrap: Option<Box<dyn Unwrap>>,
}

/// Holds the events of the capture topic against the usage events.
///
/// # Errors
/// If the input cannot be read to its end, or is more than is held in memory.
pub(super) fn judge(
    content: ContentInputs,
    calls: CapturedCalls,
    spans: &UsageSpans,
    options: &VerifyOptions,
) -> Result<ContentVerdict, ReportError> {
    let mut events = Events::open(&content.inputs, Passes::One)?;
    let calls = &calls.sorted();
    let mut index = ContentIndex::new(JudgedCalls { calls, spans, options }, Inspector::new(content.unwrap));
    let mut omissions = Omissions::default();
    events.each(&mut |read, origin| {
        match read {
            Ok(body) => index.note(body, origin),
            Err(reason) => omissions.add(reason, origin),
        }
        within_bounds(index.crossed_bound(), origin)
    })?;
    let begin = ContentBegin::look(&events, &index, options)?;
    let mut verdict = ContentVerdict::default();
    boot_checks::check(&mut index, &begin, options, &mut verdict);
    call_checks::check(&mut index, calls, spans, &begin, options, &mut verdict);
    index.inspector.tell(&mut verdict);
    verdict.remark(index.foreign, "messages that are no events of the capture topic, or not whole");
    verdict.unread = omissions.hides_more();
    verdict.notes.extend(begin.why);
    verdict.notes.extend(omissions.texts());
    verdict.notes.append(&mut events.notes);
    verdict.end();
    Ok(verdict)
}
