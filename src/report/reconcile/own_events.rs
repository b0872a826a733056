//! Our events, each once.

use jiff::Timestamp;
use metering::usage::Outcome;

use crate::report::bills::{BillsSeen, repeats_text, unknown_text};
use crate::report::completeness::Completeness;
use crate::report::coverage::{self, InputEdges, TimeRange};
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;
use crate::report::input::{Events, Input, Passes};
use crate::report::numbers::Sight;
use crate::report::omissions::OmissionReason;
use crate::report::seen::Seen;
use crate::report::tally::read_event;
use crate::report::usage_event::UsageEvent;

/// Shows every event that counts, whatever its number of copies; calls that never reached the service do not. Says what
/// is left out, and what of a range is not there.
pub(super) fn each(
    inputs: &[Input],
    range: TimeRange,
    mut each: impl FnMut(&UsageEvent),
) -> Result<Completeness, ReportError> {
    let (mut seen, mut bills) = (Seen::default(), BillsSeen::default());
    let (mut edges, mut completeness) = (InputEdges::default(), Completeness::default());
    let mut events = Events::open(inputs, Passes::One)?;
    events.each(&mut |read, origin| {
        if let EventOrigin::Topic { partition, stamp_ms, .. } = origin {
            edges.message(partition, stamp_ms);
        }
        match read.and_then(|body| first_sight(&mut seen, body)) {
            Ok(Some(event)) if !bills.repeats(&event.usage) && event.outcome != Some(Outcome::Rejected) => {
                each(&event)
            }
            Ok(_) => {}
            Err(reason) => completeness.omissions.add(reason, origin),
        }
        match seen.crossed_bound() {
            None => Ok(()),
            Some(bound) => Err(ReportError::Unbounded { bound, place: origin.to_string() }),
        }
    })?;
    edges.look(&events)?;
    completeness.notes.extend(events.notes);
    coverage::judge(&seen, &edges, range, Timestamp::now(), &mut completeness);
    completeness.notes.extend(repeats_text(bills.repeats).into_iter().chain(unknown_text(bills.unknown)));
    Ok(completeness)
}

/// The event, if it counts and was not there before.
fn first_sight(seen: &mut Seen, body: &str) -> Result<Option<UsageEvent>, OmissionReason> {
    let (stored, data) = read_event(body)?;
    match seen.note(&stored, &data) {
        Sight::First => UsageEvent::of(&stored, data),
        Sight::Again => Ok(None),
        Sight::Other => Err(OmissionReason::OtherBody),
    }
}
