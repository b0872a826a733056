//! This bench measures what a report takes for an event: it is read as JSON lines, told from its repeats, and added up.
//!
//! `cargo bench --bench report` reads a million events, made here, and prints their time; run as a test it reads a few.
#![expect(clippy::unwrap_used, reason = "a bench may end where there is no disk")]

use std::io::{BufWriter, Write};
use std::path::Path;

use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::Timestamp;
use metering::caller::{Caller, Trust};
use metering::usage::{CloudEvent, EventType, Quality, Source, Target, Tokens, Usage};
use tokenweir::report::{GroupBy, Input, ReportOptions, report};
use uuid::Uuid;

/// Events of a run, and of a test.
const EVENTS: u64 = 1_000_000;
const EVENTS_OF_A_TEST: u64 = 1_000;

/// Callers and models of a large house.
const CALLERS: u64 = 500;
const MODELS: u64 = 8;

fn main() {
    divan::main();
}

/// Events of one boot as a file, each of some 1.3 kB.
fn write_events(path: &Path, events: u64) {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    let boot = Uuid::now_v7().to_string();
    let mut usage = Usage::draft(Caller::unattributed(Trust::SharedSecret), Target::default());
    usage.reporter.instance = boot.as_str().into();
    usage.accounting.input_source = Source::Reported;
    (usage.accounting.input_quality, usage.accounting.output_quality) = (Quality::Exact, Quality::Exact);
    for n in 1..=events {
        usage.caller.id = format!("team-{:04}-chat", n * n % CALLERS).into();
        usage.target.model = Some(format!("gpt-4o-2024-11-{:02}", n * 7 % MODELS).into());
        usage.target.deployment = Some("gpt-4o-prod".into());
        usage.tokens = Tokens {
            input: Some(n % 9_000),
            output: Some(n % 700),
            input_cached: Some(n % 512),
            ..Tokens::default()
        };
        usage.ids.response_id = Some(format!("chatcmpl-{n:029}").into());
        usage.ids.upstream_request_id = Some(Uuid::from_u128(u128::from(n)).to_string().into());
        let time = Timestamp::from_second(1_790_000_000 + i64::try_from(n / 50).unwrap()).unwrap();
        let id = Uuid::now_v7().to_string();
        let subject = usage.caller.id.clone();
        let time = Some(time.to_string());
        let event = CloudEvent::new(EventType::Usage, "//tokenweir/bench", id, time, subject, &usage);
        serde_json::to_writer(&mut out, &event.with_sequence(n)).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn events_of_a_file(bencher: Bencher) {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let events = if is_bench { EVENTS } else { EVENTS_OF_A_TEST };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("events.jsonl");
    write_events(&file, events);
    let by = vec![GroupBy::Caller, GroupBy::Model, GroupBy::Day];
    let options = ReportOptions::of(Input::Files(file), by);
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        let found = report(&options).unwrap();
        assert_eq!(found.total.get("calls"), Some(events));
        assert!(found.completeness.is_whole());
    });
}
