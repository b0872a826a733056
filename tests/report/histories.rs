//! Untouched histories are believed: random ledgers of both versions, with and without keys, with boots that end and
//! that die, in any order and with repeats.
//!
//! They are written here and not by the ledger, so that ten thousand take seconds, and so that what a control event
//! promises is said twice.

use jiff::Timestamp;
use metering::usage::{
    CloudEvent, Control, ControlKey, EventType, Outcome, RowHash, RowsDigest, Summary, SummaryPeriod,
    TokenTotals, Tokens,
};
use serde::Serialize;
use tokenweir::report::{FindingKind, Input, verify};
use uuid::Uuid;

use crate::support::random::Random;
use crate::support::usage;
use crate::truth::{all, found, key, set};

/// What one boot has written, and not covered yet.
#[derive(Default)]
struct Boot {
    id: String,
    /// It writes digests and seals.
    seals: bool,
    key: Option<ControlKey>,
    sequence: u64,
    /// Rows since the last control event: their sequences, bodies and tokens.
    since: Vec<(u64, String, TokenTotals)>,
    settled: u64,
    summed: u64,
    open: u64,
}

struct History {
    random: Random,
    lines: Vec<String>,
    second: i64,
}

/// The control event before: its boot, and its digest if it had one.
type Previous = Option<(String, Option<String>)>;

impl History {
    fn time(&mut self) -> Timestamp {
        self.second += 1 + self.random.below(20) as i64;
        Timestamp::from_second(self.second).unwrap()
    }

    fn write<T: Serialize>(
        &mut self,
        source: &str,
        boot: &mut Boot,
        kind: EventType,
        subject: &str,
        data: T,
    ) -> String {
        boot.sequence += 1;
        let time = Some(format!("{:.3}", self.time()));
        let event = CloudEvent::new(kind, source, Uuid::now_v7().to_string(), time, subject, data);
        let line = serde_json::to_string(&event.with_sequence(boot.sequence)).unwrap();
        self.lines.push(line.clone());
        line
    }

    fn row(&mut self, source: &str, boot: &mut Boot, outcome: Outcome) {
        let tokens = TokenTotals { input: self.random.next() % 9_000, output: self.random.next() % 900 };
        let mut usage = usage(&format!("caller-{}", self.random.below(4)), tokens.input, tokens.output);
        usage.reporter.instance = boot.id.as_str().into();
        usage.stream.outcome = outcome;
        let line = if outcome == Outcome::Complete && self.random.one_in(9) {
            let calls = 1 + self.random.next() % 5;
            boot.summed += calls;
            let (from, to) = ("2026-11-22T09:00:01.000Z".to_owned(), "2026-11-22T09:00:02.000Z".to_owned());
            let summary = Summary {
                schema_version: usage.schema_version.to_string(),
                caller: usage.caller,
                target: usage.target,
                calls,
                tokens: Tokens {
                    input: Some(tokens.input),
                    output: Some(tokens.output),
                    ..Tokens::default()
                },
                tools: Vec::new(),
                units: usage.units,
                accounting: usage.accounting,
                period: SummaryPeriod { hour: None, from, to },
                reporter: usage.reporter,
            };
            self.write(source, boot, EventType::Summary, "s", summary)
        } else {
            boot.settled += u64::from(outcome == Outcome::Complete);
            self.write(source, boot, EventType::Usage, "c", usage)
        };
        boot.since.push((boot.sequence, line, tokens));
    }

    /// The control event that `of` speaks, written by `writer` or by itself.
    fn control(
        &mut self,
        source: &str,
        of: &mut Boot,
        writer: Option<&mut Boot>,
        last: bool,
        previous: &mut Previous,
    ) {
        let (mut tokens, mut units, mut digest, mut keyed) = Default::default();
        let writer_key = writer.as_ref().map_or(of.key.clone(), |writer| writer.key.clone());
        for (_, line, more) in &of.since {
            let event: CloudEvent<serde_json::Value> = serde_json::from_str(line).unwrap();
            TokenTotals::add(&mut tokens, *more);
            let more: metering::usage::Units = serde_json::from_value(event.data["units"].clone()).unwrap();
            metering::usage::Units::add(&mut units, &more);
            let hash = RowHash::of(line.as_bytes());
            RowsDigest::add(&mut digest, &hash);
            if let Some(key) = &writer_key {
                RowsDigest::add_keyed(&mut keyed, &hash, key);
            }
        }
        let seals = writer.as_ref().map_or(of.seals, |writer| writer.seals);
        let digest = (seals && (of.seals || of.since.is_empty())).then(|| digest.to_string());
        let keyed =
            (seals && of.key.is_some() && of.key.is_some() == writer_key.is_some() && !of.since.is_empty())
                .then(|| keyed.to_string());
        let named = previous.clone().filter(|_| seals);
        let control = Control {
            schema_version: if seals { "1.1" } else { "1.0" }.to_owned(),
            instance: of.id.clone(),
            first_sequence: of.since.first().map(|row| row.0),
            last_sequence: of.since.last().map(|row| row.0),
            events: of.since.len() as u64,
            tokens,
            units,
            accepted: of.settled + of.open + of.summed,
            settled: of.settled,
            open: of.open,
            summed: of.summed,
            last,
            previous_instance: named.as_ref().map(|(boot, _)| boot.clone()),
            previous_digest: named.and_then(|(_, digest)| digest),
            digest: digest.clone(),
            keyed_digest: keyed,
            ..Control::default()
        };
        *previous = Some((of.id.clone(), digest));
        of.since.clear();
        let by = writer.unwrap_or(of);
        by.sequence += 1;
        let time = Some(format!("{:.3}", self.time()));
        let event = CloudEvent::new(
            EventType::Control,
            source,
            Uuid::now_v7().to_string(),
            time,
            by.id.clone(),
            control,
        );
        let event = event.with_sequence(by.sequence);
        let event = if seals { event.sealed(by.key.as_ref()).unwrap() } else { event };
        self.lines.push(serde_json::to_string(&event).unwrap());
    }

    fn source(&mut self, signs: bool) {
        let source = format!("//tokenweir/{}", Uuid::now_v7());
        let (mut previous, mut died): (Previous, Option<Boot>) = (None, None);
        let boots = 1 + self.random.below(4);
        for at in 0..boots {
            let seals = signs || !self.random.one_in(4);
            let key = (signs || self.random.one_in(3)).then(key);
            let mut boot = Boot { id: Uuid::now_v7().to_string(), seals, key, ..Boot::default() };
            if let Some(mut died) = died.take() {
                (0..died.open).for_each(|_| self.row(&source, &mut boot, Outcome::Crashed));
                (died.settled, died.open) = (died.settled + died.open, 0);
                self.control(&source, &mut died, Some(&mut boot), true, &mut previous);
            }
            for _ in 0..self.random.below(4) {
                (0..self.random.below(6)).for_each(|_| self.row(&source, &mut boot, Outcome::Complete));
                boot.open = self.random.next() % 3;
                self.control(&source, &mut boot, None, false, &mut previous);
            }
            (0..self.random.below(4)).for_each(|_| self.row(&source, &mut boot, Outcome::Complete));
            if at + 1 < boots && self.random.one_in(2) {
                boot.open = self.random.next() % 3;
                died = Some(boot);
                continue;
            }
            boot.open = 0;
            self.control(&source, &mut boot, None, true, &mut previous);
        }
    }

    /// Puts events in another order, as partitions do that are read one ahead of the other, or as nothing does.
    fn disorder(&mut self) {
        let lines = &mut self.lines;
        let window = [1, 8, lines.len()][self.random.below(3)];
        for at in 0..lines.len() {
            let other = (at + self.random.below(window)).min(lines.len() - 1);
            lines.swap(at, other);
        }
    }
}

fn untouched(seed: u64) -> (History, bool) {
    let mut history = History { random: Random::seeded(seed), lines: Vec::new(), second: 1_795_000_000 };
    let signs = history.random.one_in(2);
    (0..1 + history.random.below(2)).for_each(|_| history.source(signs));
    history.disorder();
    (history, signs)
}

#[test]
fn nothing_is_found_in_an_untouched_history() {
    const HISTORIES: usize = 10_000;
    let mut begin = Random::new("untouched histories");
    let file = tempfile::NamedTempFile::new().unwrap();
    for _ in 0..HISTORIES {
        let seed = begin.next();
        let (mut history, signs) = untouched(seed);
        let events = history.lines.len() as u64;
        let repeats = history.random.below(3);
        for _ in 0..repeats {
            let again = history.lines[history.random.below(events as usize)].clone();
            history.lines.push(again);
        }
        std::fs::write(file.path(), history.lines.join("\n")).unwrap();
        let mut options = all(Input::Files(file.path().to_owned()));
        options.allow_repeats = true;
        options.control_key = signs.then(key);
        let verdict = verify(&options).unwrap();
        assert!(verdict.complete, "TOKENWEIR_SEED={seed}: {:#?}", verdict.findings);
        assert_eq!((verdict.events, verdict.repeats), (events, repeats as u64));
        assert!(!signs || verdict.no_digest == 0, "{seed}");
    }
}

/// The same histories, of which one byte of a payer differs.
#[test]
fn another_payer_is_found_in_every_history_with_digests() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for seed in 0..200 {
        let mut history = History { random: Random::seeded(seed), lines: Vec::new(), second: 1_795_000_000 };
        history.source(true);
        let is_row = |line: &&mut String| line.contains("\"id\":\"caller-");
        let rows = history.lines.iter_mut().filter(is_row).count();
        if rows == 0 {
            continue;
        }
        let at = history.random.below(rows);
        let row = history.lines.iter_mut().filter(is_row).nth(at).unwrap();
        *row = row.replacen("\"id\":\"caller-", "\"id\":\"Caller-", 1);
        history.disorder();
        std::fs::write(file.path(), history.lines.join("\n")).unwrap();
        let mut options = all(Input::Files(file.path().to_owned()));
        assert_eq!(found(&verify(&options).unwrap()), set(&[FindingKind::Altered]), "{seed}");
        options.control_key = Some(key());
        assert_eq!(found(&verify(&options).unwrap()), set(&[FindingKind::Forged]), "{seed}");
    }
}
