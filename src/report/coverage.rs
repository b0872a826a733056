//! Whether the range that a report is asked for is wholly there.
//!
//! Sequence numbers tell what is missing between the events of a boot, control events how far it goes on, and ledgers
//! and topics what they have let go. A hole matters if events of the range may lie in it: its time is that of the
//! events around it. No number tells of a boot of which nothing at all is left; `verify` proves more.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::completeness::{Completeness, LackReason};
use super::error::ReportError;
use super::input::{Events, LedgerEvents};
use super::numbers::TimeWindow;
use super::seen::{Seen, SeenBoot};
use super::verify::gaps_among;
use metering::usage::StoredEvent;

/// The events that are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimeRange {
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

impl TimeRange {
    pub(super) fn contains(self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }

    /// An event from one time to the other may be asked for.
    fn touches(self, window: TimeWindow) -> bool {
        self.from.is_none_or(|from| window.to_ms >= from.as_millisecond())
            && self.to.is_none_or(|to| window.from_ms < to.as_millisecond())
    }

    /// An event before a time may be asked for.
    fn begins_before(self, time_ms: i64) -> bool {
        self.from.is_none_or(|from| from.as_millisecond() < time_ms)
    }
}

/// Where inputs begin that have let something go.
#[derive(Debug, Default)]
pub(super) struct InputEdges {
    ledgers: Vec<LedgerEdge>,
    /// The partitions of which the first messages are gone, and when the first that is left was written.
    cut: BTreeMap<i32, Option<i64>>,
    /// When the first message of each partition was written.
    heads: HashMap<i32, Option<i64>>,
    has_files: bool,
}

/// A ledger that no longer begins with its first event.
#[derive(Debug)]
struct LedgerEdge {
    dir: String,
    /// Events that are gone, unless another input has them.
    gone: u64,
    /// The first that is left: its source, boot, number and time.
    first: Option<(String, String, u64, i64)>,
}

impl InputEdges {
    /// Takes the time of a message; the first of each partition counts.
    pub(super) fn message(&mut self, partition: i32, stamp_ms: Option<i64>) {
        self.heads.entry(partition).or_insert(stamp_ms);
    }

    /// Looks where the inputs begin, after they were read, so that what went meanwhile is known to be gone.
    pub(super) fn look(&mut self, events: &Events) -> Result<(), ReportError> {
        for ledger in &events.ledgers {
            self.ledgers.extend(LedgerEdge::of(ledger)?);
        }
        for topic in &events.topics {
            let cut = topic.cut()?;
            self.cut.extend(cut.into_iter().map(|at| (at, self.heads.get(&at).copied().flatten())));
        }
        self.has_files = events.has_files();
        Ok(())
    }
}

impl LedgerEdge {
    fn of(ledger: &LedgerEvents) -> Result<Option<LedgerEdge>, ReportError> {
        let first = ledger.reader.first_unrefused()?;
        let begin = first.as_ref().map_or(ledger.last + 1, |row| row.position);
        if begin <= 1 {
            return Ok(None);
        }
        let first = first.as_ref().and_then(|row| {
            let event = StoredEvent::read(&row.body).ok()?;
            let boot = event.boot(&event.data()?).to_owned();
            Some((event.source.to_string(), boot, event.sequence()?, event.time?.as_millisecond()))
        });
        Ok(Some(LedgerEdge { dir: ledger.dir.display().to_string(), gone: begin - 1, first }))
    }

    /// How many of the events before its first one another input has.
    fn found_elsewhere(&self, seen: &Seen) -> u64 {
        let Some((source, boot, sequence, _)) = &self.first else { return 0 };
        let boots = seen.boots.iter().filter(|seen| seen.source == *source);
        let before = boots.map(|seen| match seen.id.cmp(boot) {
            std::cmp::Ordering::Less => seen.numbers.length(),
            std::cmp::Ordering::Equal => seen.numbers.below(*sequence),
            std::cmp::Ordering::Greater => 0,
        });
        before.sum()
    }
}

/// Says what of a range is not there.
pub(super) fn judge(
    seen: &Seen,
    edges: &InputEdges,
    range: TimeRange,
    now: Timestamp,
    completeness: &mut Completeness,
) {
    let oldest = oldest_boots(seen);
    let mut judge =
        Judge { seen, edges, range, completeness, oldest, cut_sources: HashSet::new(), cut_before_ms: None };
    judge.emptiness();
    judge.ledgers();
    judge.topic();
    for boots in sources(seen).values() {
        judge.source(boots);
    }
    judge.end(now);
    judge.unnumbered();
}

/// The boots of each source, oldest first: they are UUIDs of version 7.
fn sources(seen: &Seen) -> BTreeMap<&str, Vec<&SeenBoot>> {
    let mut sources: BTreeMap<&str, Vec<&SeenBoot>> = BTreeMap::new();
    for boot in &seen.boots {
        sources.entry(&boot.source).or_default().push(boot);
    }
    sources.values_mut().for_each(|boots| boots.sort_unstable_by_key(|boot| &boot.id));
    sources
}

/// The oldest boot of each source of which there is an event.
fn oldest_boots(seen: &Seen) -> HashMap<&str, &str> {
    let mut oldest: HashMap<&str, &str> = HashMap::new();
    for boot in seen.boots.iter().filter(|boot| boot.numbers.length() > 0) {
        let known = oldest.entry(&boot.source).or_insert(&boot.id);
        *known = (*known).min(&boot.id);
    }
    oldest
}

struct Judge<'a> {
    seen: &'a Seen,
    edges: &'a InputEdges,
    range: TimeRange,
    completeness: &'a mut Completeness,
    oldest: HashMap<&'a str, &'a str>,
    /// Sources whose beginning a ledger has let go.
    cut_sources: HashSet<&'a str>,
    /// Everything that a topic has let go lies before this.
    cut_before_ms: Option<i64>,
}

impl<'a> Judge<'a> {
    fn emptiness(&mut self) {
        if !self.seen.boots.is_empty() || self.seen.unnumbered_events > 0 {
            return;
        }
        let text = "there is no event in the input".to_owned();
        if self.edges.has_files {
            self.completeness.lack(LackReason::NoEvents, text);
        } else {
            self.completeness.notes.push(text);
        }
    }

    fn ledgers(&mut self) {
        for edge in &self.edges.ledgers {
            let gone = edge.gone.saturating_sub(edge.found_elsewhere(self.seen));
            if gone == 0 {
                continue;
            }
            let begins = match &edge.first {
                Some((source, _, _, time_ms)) => {
                    self.cut_sources.insert(source);
                    if !self.range.begins_before(*time_ms) {
                        continue;
                    }
                    format!("its first event is of {}", shown(*time_ms))
                }
                None => "none is left".to_owned(),
            };
            let detail = format!(
                "ledger {} has let {} go that were delivered (--ledger-keep, --ledger-max-bytes); {begins}",
                edge.dir,
                plural(gone, "event")
            );
            self.completeness.lack(LackReason::LedgerRetention, detail);
        }
    }

    /// Where files or ledgers stand beside the topic, they may hold what it has let go, and the numbers tell.
    fn topic(&mut self) {
        let (edges, range) = (self.edges, self.range);
        if edges.cut.is_empty() || edges.has_files || !edges.ledgers.is_empty() {
            return;
        }
        let first_ms = edges.cut.values().flatten().max().copied();
        // The time of a hole is known to the block, so one that cutting has left may seem to reach behind the cut.
        self.cut_before_ms = first_ms;
        if first_ms.is_some_and(|first_ms| !range.begins_before(first_ms))
            || (first_ms.is_none() && range.from.is_some())
        {
            return;
        }
        let partitions: Vec<String> = edges.cut.keys().map(ToString::to_string).collect();
        let since =
            first_ms.map_or(String::new(), |first_ms| format!("; it is whole from {} on", shown(first_ms)));
        let detail =
            format!("the topic no longer begins at offset 0 in partition {}{since}", partitions.join(", "));
        self.completeness.lack(LackReason::TopicRetention, detail);
    }

    fn source(&mut self, boots: &[&'a SeenBoot]) {
        let oldest = boots.iter().position(|boot| boot.numbers.length() > 0);
        for (at, boot) in boots.iter().enumerate() {
            let is_beginning = oldest.is_none_or(|oldest| at <= oldest);
            let after = boots.get(at + 1).map_or(0, |next| next.crashed);
            self.boot(boot, is_beginning, after);
            self.boot_before(boot, is_beginning);
        }
    }

    /// A boot of which nothing is here but its name, in a control event of the boot behind it.
    fn boot_before(&mut self, boot: &'a SeenBoot, is_beginning: bool) {
        let Some(before) = boot.boot_before.as_ref().filter(|before| !self.seen.knows(&boot.source, before))
        else {
            return;
        };
        let from_ms = began_ms(before).unwrap_or(i64::MIN);
        let window = TimeWindow { from_ms, to_ms: began_ms(&boot.id).unwrap_or(i64::MAX) };
        if self.range.touches(window) && !self.is_explained(boot, window) {
            let detail = format!(
                "source {} boot {before}: it ran before boot {}, and none of its events is here, {}",
                boot.source,
                boot.id,
                between(window)
            );
            let reason = if is_beginning { LackReason::Beginning } else { LackReason::Missing };
            self.completeness.lack(reason, detail);
        }
    }

    /// Holes in the numbers of a boot. `crashed`: calls of it that the next one settled.
    fn boot(&mut self, boot: &'a SeenBoot, is_beginning: bool, crashed: u64) {
        let last = boot.numbers.last().max(boot.told_last).unwrap_or(0);
        for (first, last) in gaps_among(boot.numbers.iter(), 1, last) {
            let window = hole(boot, first, last);
            if self.range.touches(window) && !self.is_explained(boot, window) {
                self.hole(boot, (first, last), window, is_beginning && first == 1);
            }
        }
        let gone = boot.told_calls.saturating_sub(crashed);
        if last == 0 && gone > 0 {
            let window = hole(boot, 1, 1);
            if self.range.touches(window) && !self.is_explained(boot, window) {
                let detail = format!(
                    "source {} boot {}: {} of which only a control event tells, {}",
                    boot.source,
                    boot.id,
                    plural(gone, "call"),
                    between(window)
                );
                let reason = if is_beginning { LackReason::Beginning } else { LackReason::Missing };
                self.completeness.lack(reason, detail);
            }
        }
    }

    /// It is already said why it is not there.
    fn is_explained(&self, boot: &SeenBoot, window: TimeWindow) -> bool {
        let oldest = self.oldest.get(boot.source.as_str());
        let is_oldest = || oldest.is_none_or(|oldest| boot.id.as_str() <= *oldest);
        self.cut_before_ms.is_some_and(|cut_ms| window.from_ms < cut_ms)
            || self.cut_sources.contains(&*boot.source) && is_oldest()
    }

    fn hole(&mut self, boot: &SeenBoot, (first, last): (u64, u64), window: TimeWindow, is_beginning: bool) {
        let named = format!("source {} boot {}", boot.source, boot.id);
        let (reason, detail) = if is_beginning && boot.numbers.length() > 0 {
            let begins = format!("begins at sequence {}", last + 1);
            (
                LackReason::Beginning,
                format!("{named} {begins}: what is before {} is not here", shown(window.to_ms)),
            )
        } else {
            let run = if first == last { first.to_string() } else { format!("{first} to {last}") };
            let detail = format!("{named}: sequence {run} is not here, {}", between(window));
            (if is_beginning { LackReason::Beginning } else { LackReason::Missing }, detail)
        };
        self.completeness.lack(reason, detail);
    }

    /// The end of the range: in the future, or beyond what a source that still runs has told.
    fn end(&mut self, now: Timestamp) {
        let Some(to) = self.range.to else { return };
        if to > now {
            let detail = format!("the range ends at {to}, which is still to come");
            self.completeness.lack(LackReason::Future, detail);
            return;
        }
        for (source, boots) in sources(self.seen) {
            let Some(newest) = boots.iter().rfind(|boot| boot.numbers.length() > 0) else { continue };
            let told_ms = newest.told_ms.or_else(|| began_ms(&newest.id));
            if newest.is_closed || told_ms.is_some_and(|told_ms| told_ms >= to.as_millisecond()) {
                continue;
            }
            let since = told_ms.map_or("nothing proves how far".to_owned(), |told_ms| {
                format!("its last control event is of {}", shown(told_ms))
            });
            let named = format!("source {source} boot {} has not ended, and {since}", newest.id);
            if told_ms
                .is_some_and(|told_ms| self.range.from.is_some_and(|from| told_ms < from.as_millisecond()))
            {
                self.completeness.notes.push(format!("{named}: it is silent in the whole range"));
            } else {
                let detail = format!("{named}: events up to {to} may follow");
                self.completeness.lack(LackReason::NotCovered, detail);
            }
        }
    }

    fn unnumbered(&mut self) {
        let Seen { unnumbered_events, uncompared, .. } = self.seen;
        if *unnumbered_events > 0 {
            let events = plural(*unnumbered_events, "event");
            self.completeness
                .notes
                .push(format!("{events} without a sequence: nothing tells whether others are missing"));
        }
        if *uncompared > 0 {
            let events = plural(*uncompared, "event");
            self.completeness.notes.push(format!("{events} without a sequence were too many to be compared"));
        }
    }
}

/// When the events of a hole happened: after those before it, or else after the boot began, and before those after it,
/// or else before the control event that tells of them.
fn hole(boot: &SeenBoot, first: u64, last: u64) -> TimeWindow {
    let before = first.checked_sub(1).and_then(|number| boot.numbers.window(number)).filter(|_| first > 1);
    let after = boot.numbers.window(last + 1);
    TimeWindow {
        from_ms: before.map(|window| window.from_ms).or_else(|| began_ms(&boot.id)).unwrap_or(i64::MIN),
        to_ms: after.map(|window| window.to_ms).or(boot.told_ms).unwrap_or(i64::MAX),
    }
}

/// When a boot began: its id is a UUID of version 7.
fn began_ms(boot: &str) -> Option<i64> {
    let (seconds, nanoseconds) = Uuid::parse_str(boot).ok()?.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(i64::from(nanoseconds / 1_000_000))
}

fn between(window: TimeWindow) -> String {
    match (window.from_ms, window.to_ms) {
        (i64::MIN, i64::MAX) => "nobody knows when".to_owned(),
        (i64::MIN, to_ms) => format!("before {}", shown(to_ms)),
        (from_ms, i64::MAX) => format!("after {}", shown(from_ms)),
        (from_ms, to_ms) => format!("between {} and {}", shown(from_ms), shown(to_ms)),
    }
}

fn shown(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
