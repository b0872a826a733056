//! A sidecar that has just started, and one that has served a call: 20 MB, beside the vocabularies,
//! which lie in the program's file and are read in place.

use super::super::http::{connect, exchange, post};
use super::super::sidecar::{Sidecar, usage_events, wait_for};
use super::super::topic::Topic;
use super::super::upstream::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};
use super::Memory;

const IDLE_BYTES_MAX: usize = 20_000_000;

#[test]
fn an_idle_process_is_small() {
    use std::io::Write;
    let service = upstream::start(std::sync::Arc::new(|_, to| {
        to.write_all(STREAM_HEAD.as_bytes())?;
        write_chunk(to, delta(" word").as_bytes())?;
        write_chunk(to, stop().as_bytes())?;
        write_end(to)
    }));
    let (dir, topic) = (tempfile::tempdir().unwrap(), Topic::start());
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &topic.flags());
    let started = Memory::of(sidecar.pid());
    let request =
        post("/openai/deployments/gpt-4o/chat/completions", &[], r#"{"stream":true,"messages":[]}"#);
    assert_eq!(exchange(&mut connect(sidecar.addr), &request).status(), 200);
    wait_for("the call's event", || (usage_events(&ledger).len() == 1).then_some(()));
    let served = Memory::of(sidecar.pid());

    let tables = metering::tokens::VOCABULARY_BYTES;
    println!("started: {started}; after a call: {served}; vocabularies {} KiB", tables >> 10);
    for memory in [started, served] {
        assert!(memory.anonymous_bytes <= IDLE_BYTES_MAX, "{memory}");
        assert!(memory.resident_bytes <= IDLE_BYTES_MAX + tables, "{memory}, vocabularies {tables}");
    }
}
