//! Usage events held against parts.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::{CaptureState, ContentSide, UsageRecord, part_id};
use strum::VariantArray;
use uuid::Uuid;

use super::captured_calls::{CapturedUsage, SortedCalls, is_in_range};
use super::content_begin::ContentBegin;
use super::content_findings::{ContentFinding, ContentFindingKind as Kind, ContentVerdict};
use super::content_index::ContentIndex;
use super::part_record::PartRecord;
use super::side_check::SideParts;
use super::usage_span::UsageSpans;
use crate::report::began_at::began_at;
use crate::report::verify::options::VerifyOptions;

/// The last part of a call is stored some 6 s after the call at most, and delivered a moment later.
const GRACE: Duration = Duration::from_secs(30);

/// Judges the calls.
pub(super) fn check(
    index: &mut ContentIndex,
    calls: &SortedCalls,
    spans: &UsageSpans,
    begin: &ContentBegin,
    options: &VerifyOptions,
    verdict: &mut ContentVerdict,
) {
    let sources = Sources::of(index, spans);
    let place = |part: &PartRecord| sources.of_boot[part.boot as usize];
    index.parts.sort_unstable_by_key(|part| (place(part), part.key, part.row));
    let mut parts = index.parts.chunk_by(|a, b| (place(a), a.key.call) == (place(b), b.key.call)).peekable();
    let mut calls = calls.all.iter().peekable();
    let mut checker =
        CallChecker { sources: &sources, spans, begin, options, verdict, counts: Counts::default() };
    loop {
        let of_usage = calls.peek().map(|call| call.place());
        let of_parts = parts.peek().map(|parts| (place(&parts[0]), parts[0].key.call));
        match (of_usage, of_parts) {
            (None, None) => break,
            (Some(usage), Some(content)) if usage > content => {
                parts.next().into_iter().for_each(|own| checker.orphan(content.0, own))
            }
            (None, Some(content)) => parts.next().into_iter().for_each(|own| checker.orphan(content.0, own)),
            (Some(usage), content) => {
                let own = if content == Some(usage) { parts.next() } else { None };
                let Some(call) = calls.next() else { break };
                while calls.next_if(|next| next.place() == usage).is_some() {}
                checker.call(call, own.unwrap_or_default());
            }
        }
    }
    checker.end();
}

/// The ledgers of both inputs, each with its place.
struct Sources {
    names: Vec<String>,
    of_boot: Vec<usize>,
    /// Of a ledger whose sidecar still runs: until when its content is there. A ledger without any has none.
    open_until: Vec<Option<Timestamp>>,
    has_content: Vec<bool>,
}

impl Sources {
    fn of(index: &ContentIndex, spans: &UsageSpans) -> Sources {
        let mut names: Vec<String> = spans.names().into_iter().map(str::to_owned).collect();
        let mut places: HashMap<String, usize> = names.iter().cloned().zip(0..).collect();
        let mut of_boot = Vec::with_capacity(index.boots.all.len());
        for boot in &index.boots.all {
            let place = *places.entry(boot.source.clone()).or_insert_with(|| {
                names.push(boot.source.clone());
                names.len() - 1
            });
            of_boot.push(place);
        }
        let (mut open_until, mut has_content) = (vec![None; names.len()], vec![false; names.len()]);
        for (boot, place) in index.boots.all.iter().zip(&of_boot) {
            has_content[*place] = true;
            if !boot.is_closed() {
                open_until[*place] = open_until[*place].max(boot.latest);
            }
        }
        Sources { names, of_boot, open_until, has_content }
    }
}

/// The counts that are told and are no fault.
#[derive(Default)]
struct Counts {
    /// Ledgers of which there is no content at all although calls tell of some.
    silent: BTreeSet<usize>,
    before: u64,
    /// Parts of calls that are not judged.
    outside: u64,
    not_yet: u64,
    summaries: u64,
    without_event: u64,
    waiting: u64,
}

/// Judges calls, one after the other.
struct CallChecker<'a> {
    sources: &'a Sources,
    spans: &'a UsageSpans,
    begin: &'a ContentBegin,
    options: &'a VerifyOptions,
    verdict: &'a mut ContentVerdict,
    counts: Counts,
}

impl CallChecker<'_> {
    /// A call with its usage event.
    fn call(&mut self, usage: &CapturedUsage, parts: &[PartRecord]) {
        if !usage.is_judged(self.options) {
            self.counts.outside += parts.len() as u64;
            return;
        }
        let capture = usage.capture;
        self.count(parts);
        self.verdict.calls += 1;
        *self.verdict.requests.entry(capture.request.as_str()).or_default() += 1;
        *self.verdict.responses.entry(capture.response.as_str()).or_default() += 1;
        let sides = [(ContentSide::Request, capture.request), (ContentSide::Response, capture.response)];
        let sides = sides.map(|(side, state)| (side, state, SideParts::of(side, parts)));
        for (side, state, found) in &sides {
            self.side(usage, *side, *state, found);
        }
        if self.begin.is_before(&self.sources.names[usage.source], usage.began) {
            self.counts.before += 1;
            return;
        }
        let is_wanted = capture.request.is_wanted() || capture.response.is_wanted();
        if is_wanted && !self.sources.has_content[usage.source] && !self.is_pending(usage) {
            self.counts.silent.insert(usage.source);
        }
        self.presence(usage, &sides);
    }

    /// Finds the contradictions of one side to the usage event, or within itself.
    fn side(&mut self, usage: &CapturedUsage, side: ContentSide, state: CaptureState, found: &SideParts) {
        let (source, call) = (usage.source, usage.call);
        self.altered(source, call, side, found);
        if found.parts > 0
            && matches!(state, CaptureState::Off | CaptureState::SampledOut | CaptureState::Lost)
        {
            let text = format!(
                "its usage event says {} of the {}, of which there are parts",
                state.as_str(),
                side.as_str()
            );
            self.find(Kind::Contradictory, source, call.to_string(), found.parts, text);
        }
        if state == CaptureState::Full && found.is_truncated {
            let text = format!(
                "its usage event says full of the {}, and its last part says truncated",
                side.as_str()
            );
            self.find(Kind::Contradictory, source, call.to_string(), 1, text);
        }
        if found.beyond_last > 0 {
            let text = format!("its {} has parts behind the last one", side.as_str());
            self.find(Kind::Contradictory, source, call.to_string(), found.beyond_last, text);
        }
    }

    /// Two bodies under one id.
    fn altered(&mut self, source: usize, call: Uuid, side: ContentSide, found: &SideParts) {
        for part in &found.altered {
            let text = "parts that are not the same stand under this id".to_owned();
            self.find(Kind::Altered, source, part_id(&call.to_string(), side, *part), 1, text);
        }
    }

    /// Finds the parts of a call that are not there.
    fn presence(&mut self, usage: &CapturedUsage, sides: &[(ContentSide, CaptureState, SideParts); 2]) {
        let found: u64 = sides.iter().map(|(.., side)| side.parts).sum();
        let bytes: u64 = sides.iter().map(|(.., side)| side.bytes).sum();
        let holes: u64 =
            sides.iter().flat_map(|(.., side)| &side.holes).map(|(first, last)| last - first + 1).sum();
        let is_endless = |(_, state, side): &&(ContentSide, CaptureState, SideParts)| {
            *state == CaptureState::Full && !side.has_last
        };
        let short = usage.capture.parts.unwrap_or(found).saturating_sub(found);
        let is_short =
            holes > 0 || short > 0 || sides.iter().filter(is_endless).any(|(.., side)| side.parts > 0);
        if is_short && self.is_pending(usage) {
            self.counts.not_yet += 1;
            return;
        }
        for (side, _, own) in sides {
            self.holes(usage.source, usage.call, *side, own);
        }
        let (source, call) = (usage.source, usage.call.to_string());
        let trailing = short.saturating_sub(holes);
        let ends: Vec<&str> = sides.iter().filter(is_endless).map(|(side, ..)| side.as_str()).collect();
        if trailing > 0 {
            let of = if ends.is_empty() { String::new() } else { format!(" of its {}", ends.join(" or ")) };
            self.find(Kind::Missing, source, call, trailing, format!("the last parts{of} are not there"));
        } else if let Some((side, _, own)) = sides.iter().find(|side| is_endless(side) && side.2.parts > 0) {
            let id = part_id(&call, *side, own.next);
            self.find(
                Kind::Missing,
                source,
                id,
                1,
                format!("no part of the {} is the last one", side.as_str()),
            );
        } else if usage.capture.parts.is_some_and(|said| found > said) {
            let said = usage.capture.parts.unwrap_or_default();
            self.find(
                Kind::Contradictory,
                source,
                call,
                found - said,
                format!("{found} parts, and its usage event says {said}"),
            );
        } else if usage.capture.bytes.is_some_and(|said| said != bytes) && holes == 0 {
            let said = usage.capture.bytes.unwrap_or_default();
            self.find(
                Kind::Contradictory,
                source,
                call,
                found,
                format!("its parts hold {bytes} bytes, and its usage event says {said}"),
            );
        }
    }

    fn holes(&mut self, source: usize, call: Uuid, side: ContentSide, found: &SideParts) {
        for (first, last) in &found.holes {
            let text = match last - first {
                0 => "it is not there, and a later one is".to_owned(),
                _ => format!("it and those up to {last} are not there, and a later one is"),
            };
            self.find(
                Kind::Missing,
                source,
                part_id(&call.to_string(), side, *first),
                last - first + 1,
                text,
            );
        }
    }

    /// The sidecar still runs, and what it sent last is older than the call.
    fn is_pending(&self, usage: &CapturedUsage) -> bool {
        let Some(until) = usage.time.and_then(|time| time.checked_add(GRACE).ok()) else { return false };
        match self.sources.open_until[usage.source] {
            Some(latest) => latest < until,
            None => {
                !self.sources.has_content[usage.source] && self.options.as_of.is_some_and(|now| now < until)
            }
        }
    }

    /// Parts without a usage event.
    fn orphan(&mut self, source: usize, parts: &[PartRecord]) {
        let Some(call) = parts.first().map(|part| part.key.call) else { return };
        if !parts.iter().any(|part| is_in_range(part.time, self.options)) {
            self.counts.outside += parts.len() as u64;
            return;
        }
        self.count(parts);
        let first = parts.iter().filter_map(|part| part.time).min();
        // Its first parts may be gone, so what is left of it does not say when it began.
        let began = began_at(call).into_iter().chain(first).min();
        for side in ContentSide::VARIANTS {
            let found = SideParts::of(*side, parts);
            self.altered(source, call, *side, &found);
            if !self.begin.is_before(&self.sources.names[source], began) {
                self.holes(source, call, *side, &found);
            }
        }
        match parts[0].usage {
            UsageRecord::Event if self.should_be_there(source, parts, first) => {
                let text = "there is no usage event of this call".to_owned();
                self.find(Kind::Unaccounted, source, call.to_string(), parts.len() as u64, text);
            }
            UsageRecord::Event => self.counts.waiting += 1,
            UsageRecord::Summary => self.counts.summaries += 1,
            UsageRecord::Deferred | UsageRecord::None => self.counts.without_event += 1,
        }
    }

    /// The usage events that were given are those of the time of these parts.
    fn should_be_there(&self, source: usize, parts: &[PartRecord], first: Option<Timestamp>) -> bool {
        let Some(span) = self.spans.by_place.get(source).filter(|_| !self.spans.is_cut) else { return false };
        let over = parts.iter().filter(|part| part.key.side == ContentSide::Response && part.is_last);
        let over = over.filter_map(|part| part.time?.checked_add(GRACE).ok()).max();
        let is_over = span.is_closed || over.is_some_and(|over| Some(over) < span.last);
        span.first <= first && first <= span.last && is_over
    }

    fn count(&mut self, parts: &[PartRecord]) {
        self.verdict.parts += parts.len() as u64;
        self.verdict.bytes += parts.iter().map(|part| part.bytes_raw).sum::<u64>();
    }

    fn find(&mut self, kind: Kind, source: usize, about: String, parts: u64, detail: String) {
        let source = self.sources.names[source].clone();
        self.verdict.add(ContentFinding { kind, source, about, parts, detail });
    }

    fn end(mut self) {
        for source in std::mem::take(&mut self.counts.silent) {
            let text = "its calls were captured, and no event of its content is here".to_owned();
            self.find(Kind::Missing, source, "all content".to_owned(), 0, text);
        }
        let (counts, verdict) = (self.counts, self.verdict);
        verdict
            .remark(counts.outside, "parts of calls that are outside of the range, which were not looked at");
        verdict.remark(counts.before, "calls that had begun before the content that is left");
        verdict.remark(counts.not_yet, "calls whose content may still come, from a sidecar that runs");
        verdict.remark(
            counts.waiting,
            "calls with parts whose usage events are not of the time or the ledgers that were given",
        );
        verdict.remark(
            counts.summaries,
            "calls with parts that stand in summaries, since the ledger had no room for their events",
        );
        verdict.remark(
            counts.without_event,
            "calls with parts that have no usage event, since nothing is billed for them",
        );
    }
}
