//! Sequences, sums and ends of boots.

use std::time::Duration;

use jiff::Timestamp;
use metering::usage::RowsDigest;

use super::content_begin::ContentBegin;
use super::content_boots::{ContentBoot, ControlRecord};
use super::content_findings::{ContentFinding, ContentFindingKind as Kind, ContentVerdict};
use super::content_index::ContentIndex;
use super::judged_run::JudgedRun;
use super::part_record::PartRecord;
use crate::report::verify::options::VerifyOptions;
use crate::report::verify::sequences::{gaps, run_text};

/// A boot is open until its last control event is so many intervals old.
const INTERVALS: u32 = 2;

/// Judges the boots, and leaves each part once.
pub(super) fn check(
    index: &mut ContentIndex,
    begin: &ContentBegin,
    options: &VerifyOptions,
    verdict: &mut ContentVerdict,
) {
    index.parts.sort_unstable_by_key(|part| (part.boot, part.sequence, part.row));
    let before = index.parts.len();
    index.parts.dedup_by_key(|part| (part.boot, part.sequence, part.row));
    verdict.repeats = (before - index.parts.len()) as u64;
    let now = options.as_of.or(index.newest);
    let ContentIndex { boots, parts, .. } = index;
    for (place, boot) in boots.all.iter_mut().enumerate() {
        verdict.repeats += boot.sort(place);
        let from = parts.partition_point(|part| (part.boot as usize) < place);
        let to = parts.partition_point(|part| part.boot as usize <= place);
        if let Some(run) = JudgedRun::of(boot, place, options) {
            let parts = &parts[from..to];
            BootChecker { boot, run, parts, options, verdict }.check(begin, now);
        }
    }
}

/// Judges one boot.
struct BootChecker<'a> {
    boot: &'a ContentBoot,
    run: JudgedRun,
    /// Its parts, by sequence.
    parts: &'a [PartRecord],
    options: &'a VerifyOptions,
    verdict: &'a mut ContentVerdict,
}

impl BootChecker<'_> {
    fn check(&mut self, begin: &ContentBegin, now: Option<Timestamp>) {
        let JudgedRun { first, last, .. } = self.run;
        if let Some(floor) = begin.floor(&self.boot.source, &self.boot.id) {
            for (from, to) in gaps(&self.boot.seen, floor.max(first), last) {
                let text = format!("sequence {} of its boot: no event", run_text(from, to));
                self.find(Kind::Missing, to - from + 1, text);
            }
            self.controls(floor);
        }
        self.doubles();
        self.losses();
        self.end(now);
    }

    fn controls(&mut self, floor: u64) {
        let boot = self.boot;
        let controls = &boot.controls[self.run.controls.clone()];
        for same in controls.chunk_by(|a, b| (a.writer, a.sequence) == (b.writer, b.sequence)) {
            if same.len() > 1 {
                let text =
                    format!("sequence {}: {} other control events under it", same[0].sequence, same.len());
                self.find(Kind::Altered, 0, text);
            }
        }
        for control in controls {
            let Some((first, last)) = control.said.first_sequence.zip(control.said.last_sequence) else {
                continue;
            };
            if first >= floor {
                self.period(control, first, last);
            }
        }
        let covered =
            boot.controls.iter().filter_map(|control| control.said.last_sequence).max().unwrap_or(0);
        let is_beyond = |part: &&PartRecord| part.sequence > covered && self.run.has(part.sequence);
        let beyond = self.parts.iter().filter(is_beyond).count() as u64;
        // Where a control event is missing behind them, that is said already.
        let is_whole = gaps(&boot.seen, covered + 1, boot.last_expected()).next().is_none();
        if beyond > 0 && is_whole && boot.is_closed() {
            self.find(
                Kind::Altered,
                beyond,
                format!("{beyond} of its parts are in no control event's range"),
            );
        }
    }

    /// Holds the parts of a control event against its sums, if none is missing and none is there twice.
    fn period(&mut self, control: &ControlRecord, first: u64, last: u64) {
        let from = self.parts.partition_point(|part| part.sequence < first);
        let to = self.parts.partition_point(|part| part.sequence <= last);
        let parts = &self.parts[from..to];
        let count = parts.len() as u64;
        let is_torn = gaps(&self.boot.seen, first, last).next().is_some();
        if is_torn || parts.windows(2).any(|pair| pair[0].sequence == pair[1].sequence) {
            return; // said already
        }
        let (mut digest, mut bytes) = (RowsDigest::default(), 0_u64);
        for part in parts {
            digest.add(&part.row);
            bytes = bytes.saturating_add(part.bytes_raw);
        }
        let said = &control.said;
        let mut differs = Vec::new();
        if count != said.parts {
            differs.push(format!("parts {count}, control event {}", said.parts));
        }
        if bytes != said.bytes {
            differs.push(format!("bytes {bytes}, control event {}", said.bytes));
        }
        if digest.to_string() != said.digest {
            differs.push(format!("digest {digest}, control event {}", said.digest));
        }
        if !differs.is_empty() {
            let text = format!("sequence {}: {}", run_text(first, last), differs.join("; "));
            self.find(Kind::Altered, said.parts, text);
        }
    }

    /// Two bodies under one sequence.
    fn doubles(&mut self) {
        let run = &self.run;
        let from = self.parts.partition_point(|part| part.sequence < run.first);
        let to = self.parts.partition_point(|part| part.sequence <= run.last);
        let parts = &self.parts[from..to];
        for same in parts.chunk_by(|a, b| a.sequence == b.sequence).filter(|same| same.len() > 1) {
            let text = format!("sequence {}: {} parts that are not the same", same[0].sequence, same.len());
            self.find(Kind::Altered, same.len() as u64, text);
        }
    }

    /// Tells what was lost in the periods that are judged. Control events count from the start of the boot.
    fn losses(&mut self) {
        let (before, judged) = self.boot.controls[..self.run.controls.end].split_at(self.run.controls.start);
        let (before, until) = (lost_by(before), lost_by(judged));
        let [lost, bytes, refused] = std::array::from_fn(|at| until[at].saturating_sub(before[at]));
        if lost > 0 {
            self.find(Kind::Lost, lost, format!("parts with {bytes} bytes could not be sealed or stored"));
        }
        if refused > 0 {
            self.find(Kind::Refused, refused, "the broker refused them for good".to_owned());
        }
    }

    fn end(&mut self, now: Option<Timestamp>) {
        let boot = self.boot;
        let is_ended = boot.is_closed() || self.options.to.is_some_and(|to| Some(to) <= boot.latest);
        if is_ended || (boot.controls.is_empty() && boot.seen.is_empty()) {
            return;
        }
        let grace: Duration = self.options.control_interval * INTERVALS;
        let latest = boot.last_control().and_then(|control| control.time).max(boot.latest);
        let until = latest.and_then(|latest| latest.checked_add(grace).ok());
        if until < now {
            self.find(Kind::NeverClosed, 0, "it ended without its last control event".to_owned());
        } else if !self.options.allow_open {
            self.find(Kind::Open, 0, "it still ran when it last said so".to_owned());
        }
    }

    fn find(&mut self, kind: Kind, parts: u64, detail: String) {
        let about = format!("boot {}", self.boot.id);
        self.verdict.add(ContentFinding { kind, source: self.boot.source.clone(), about, parts, detail });
    }
}

/// The parts and bytes that were lost, and the parts that were refused, as the last of these tells.
fn lost_by(controls: &[ControlRecord]) -> [u64; 3] {
    controls.iter().fold([0; 3], |[lost, bytes, refused], control| {
        let said = &control.said;
        [said.lost_parts.max(lost), said.lost_bytes.max(bytes), said.refused.max(refused)]
    })
}
