//! What the tests of the ledger and of delivery share: calls, ledgers, and reading events back.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use metering::caller::{Caller, IdSource, Trust};
use metering::usage::{
    Accounting, Api, CloudEvent, Control, Ids, Quality, Reporter, Request, RowHash, RowsDigest,
    SCHEMA_VERSION, SealState, Settled, Source, Stream, Target, Timing, Tokens, Units, Usage,
};
use serde_json::Value;
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader};
use uuid::Uuid;

pub(crate) fn options(dir: &Path, publishes: bool) -> LedgerOptions {
    LedgerOptions {
        slots: 4_096,
        control_interval: Duration::from_secs(3_600),
        publishes,
        ..LedgerOptions::new(dir)
    }
}

/// A usage event of a common size, about 1.3 KiB as an event.
pub(crate) fn usage(caller: &str, input: u64, output: u64) -> Usage {
    let mut who = Caller::unattributed(Trust::SharedSecret);
    who.id = caller.into();
    who.id_source = IdSource::ApimSubscription;
    who.apim_subscription_id = Some(caller.into());
    Usage {
        schema_version: SCHEMA_VERSION.into(),
        caller: who,
        target: Target {
            provider: "azure.ai.openai".into(),
            api: Api::ChatCompletions,
            operation: Some("chat".into()),
            resource: "example-eus2".into(),
            deployment: Some("gpt-4o-prod".into()),
            model: Some("gpt-4o-2024-11-20".into()),
            region: Some("East US 2".into()),
            api_version: Some("2024-10-21".into()),
            ..Target::default()
        },
        request: Request { stream: Some(true), status: 200, choices: Some(1), ..Request::default() },
        tokens: Tokens { input: Some(input), output: Some(output), ..Tokens::default() },
        tools: Vec::new(),
        units: Units { images: Some(output), ..Units::default() },
        accounting: Accounting {
            input_source: Source::Computed,
            output_source: Source::Computed,
            input_quality: Quality::Exact,
            output_quality: Quality::Exact,
            rules: "2026-11".into(),
            tokenizer: Some("o200k_base".into()),
            computed_input: Some(input),
            computed_output: Some(output),
            ..Accounting::default()
        },
        stream: Stream {
            done_seen: true,
            finish_reasons: vec!["stop".into()],
            events: 120,
            ..Stream::default()
        },
        timing: Timing { started_at: Some(Timestamp::now()), duration_ms: Some(2_100), ..Timing::default() },
        ids: Ids {
            gateway_request_id: Some(Uuid::now_v7().to_string().into()),
            upstream_request_id: Some(Uuid::now_v7().to_string().into()),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            ..Ids::default()
        },
        capture: None,
        reporter: Reporter::default(),
        unproven: None,
    }
}

/// One whole call through the ledger.
pub(crate) fn call(ledger: &Ledger, caller: &str, input: u64, output: u64) -> Uuid {
    let id = Uuid::now_v7();
    let usage = usage(caller, input, output);
    let open = ledger.reserve().expect("a slot").open(id, &usage);
    open.settle(Settled { id, time: Timestamp::now(), usage });
    id
}

/// Every stored event.
pub(crate) fn stored(dir: &Path) -> Vec<CloudEvent<Value>> {
    let rows = LedgerReader::open(dir).unwrap().after(0, usize::MAX).unwrap();
    rows.iter().map(|row| serde_json::from_str(&row.body).unwrap()).collect()
}

/// The boot whose sequence an event carries.
pub(crate) fn boot_of(event: &CloudEvent<Value>) -> String {
    let instance = &event.data["reporter"]["instance"];
    instance.as_str().unwrap_or(&event.subject).to_owned()
}

/// Sequences have no gap, no two events share an id, and control events agree with the rows.
pub(crate) fn check_completeness(events: &[CloudEvent<Value>]) {
    let mut ids = HashMap::new();
    let mut sequences: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in events {
        assert!(ids.insert(event.id.clone(), ()).is_none(), "two events with id {}", event.id);
        let sequence = event.sequence.as_ref().unwrap().parse().unwrap();
        sequences.entry(boot_of(event)).or_default().push(sequence);
    }
    for (boot, sequences) in &mut sequences {
        sequences.sort_unstable();
        assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{boot}: {sequences:?}");
    }
    for control in events.iter().filter(|event| event.kind.as_str().contains("control")) {
        let of = |name: &str| control.data[name].as_u64().unwrap_or(0);
        assert_eq!(of("accepted"), of("settled") + of("open") + of("summed"), "{}", control.data);
        let instance = control.data["instance"].as_str().unwrap();
        let covered = events.iter().filter(|event| {
            let sequence: u64 = event.sequence.as_ref().unwrap().parse().unwrap();
            !event.kind.as_str().contains("control")
                && boot_of(event) == instance
                && (of("first_sequence")..=of("last_sequence")).contains(&sequence)
        });
        let (mut count, mut input, mut output) = (0, 0, 0);
        let mut digest = RowsDigest::default();
        for event in covered {
            // The bytes are the stored ones: nothing is rendered otherwise.
            digest.add(&RowHash::of(serde_json::to_string(event).unwrap().as_bytes()));
            count += 1;
            input += event.data["tokens"]["input"].as_u64().unwrap_or(0);
            output += event.data["tokens"]["output"].as_u64().unwrap_or(0);
        }
        let tokens = &control.data["tokens"];
        assert_eq!(
            (of("events"), tokens["input"].as_u64(), tokens["output"].as_u64()),
            (count, Some(input), Some(output)),
            "{}",
            control.data
        );
        if let Some(said) = control.data["digest"].as_str() {
            assert_eq!(said, digest.to_string(), "{}", control.data);
        }
    }
    check_chain(events);
}

/// Each control event names the one before it in the ledger, and none but those of older versions is without seals.
fn check_chain(events: &[CloudEvent<Value>]) {
    let mut before: Option<&Value> = None;
    for event in events.iter().filter(|event| event.kind.as_str().contains("control")) {
        let data = &event.data;
        if data["sha256"].is_string() {
            let control: Control = serde_json::from_value(data.clone()).unwrap();
            let body = serde_json::to_string(event).unwrap();
            assert_eq!(control.hash_state(&body), SealState::Whole, "{body}");
            // What retention took is not known here.
            if let Some(before) = before {
                assert_eq!(data["previous_instance"], before["instance"], "{data}");
                assert_eq!(data["previous_digest"], before["digest"], "{data}");
            }
        }
        before = Some(data);
    }
}
