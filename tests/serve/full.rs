//! A volume that is really full under load, and freed again without a restart.

use std::io::Write;
use std::time::Duration;

use super::http::{connect, get, post, read_message};
use super::mixed::{self, Kind, Load, STEADY, Service, Signs};
use super::oracle::{End, Oracle, totals};
use super::random::Random;
use super::sidecar::{Sidecar, wait_for};
use super::topic::Topic;
use super::volume::Volume;

const VOLUME_MIB: u64 = 32;
const STREAMS: usize = 24;
/// Of the volume, with all that happens meanwhile.
const FULL: Duration = Duration::from_secs(2);

fn accounting_becomes(sidecar: &Sidecar, state: &str) {
    wait_for(&format!("accounting to be {state}"), || {
        let answer = get(sidecar.admin, "/readyz");
        String::from_utf8(answer.body).unwrap().contains(state).then_some(())
    });
}

#[test]
fn a_full_volume_costs_no_call_and_no_token() {
    let Some(volume) = Volume::new(VOLUME_MIB) else { return };
    let (mut random, service, topic) = (Random::new("full"), Service::start(), Topic::start());
    let sidecar = volume.serve(service.addr, &topic.flags());
    let signs = Signs::default();
    let load = Load { addr: sidecar.addr, streams: STREAMS, name: "full", kinds: &STEADY };
    let calls = mixed::run(&load, &mut random, &signs, || {
        std::thread::sleep(Duration::from_secs(1));
        assert!(volume.fill() > 0);
        accounting_becomes(&sidecar, "degraded");
        assert_eq!(get(sidecar.admin, "/readyz").status(), 200, "traffic goes on");
        std::thread::sleep(FULL);
        volume.free();
        accounting_becomes(&sidecar, "ok");
        std::thread::sleep(Duration::from_secs(1));
        Signs::set(&signs.stop);
    });
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let lines = delivered(&volume, &topic);
    let (stored, sums) = totals(&lines);
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    assert_eq!(stored, oracle.totals(), "calls and tokens of each caller");
    assert!(lines.iter().any(|line| line.contains("\"degraded\":true")), "a control event says so");
    println!("{} calls, {sums} of them in sums", oracle.len());
}

#[test]
fn with_reject_a_full_volume_refuses_calls_before_the_service_sees_them() {
    let Some(volume) = Volume::new(VOLUME_MIB) else { return };
    let (mut random, service) = (Random::new("reject"), Service::start());
    let sidecar = volume.serve(service.addr, &["--on-ledger-failure", "reject"]);
    let signs = Signs::default();
    Signs::set(&signs.stop_after_one);
    let load =
        Load { addr: sidecar.addr, streams: STREAMS, name: "reject", kinds: &[Kind::Slow, Kind::Plain] };
    let body = mixed::JSON_BODY;
    let ask = |n: usize| {
        let id = format!("asked-{n}.Json");
        let fields = [("x-ms-client-request-id", id.as_str()), ("x-apim-subscription-id", "asks")];
        let mut connection = connect(sidecar.addr);
        connection
            .get_mut()
            .write_all(&post("/openai/deployments/d/chat/completions", &fields, body))
            .unwrap();
        (id, read_message(&mut connection).unwrap().unwrap())
    };
    let (mut asked, mut refused, mut accepted) = (0, 0, Vec::new());
    let calls = mixed::run(&load, &mut random, &signs, || {
        std::thread::sleep(Duration::from_millis(500)); // all streams have begun
        assert!(volume.fill() > 0);
        let mut until = |status: u16| {
            wait_for(&format!("a {status}"), || {
                let (id, answer) = ask(asked);
                asked += 1;
                if answer.status() == 200 {
                    accepted.push(mixed::Call::whole(&id, "asks"));
                } else {
                    refused += 1;
                    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
                    assert!(service.take(&id).is_none(), "the service saw a call that was refused");
                }
                (answer.status() == status).then_some(())
            });
        };
        until(503);
        assert_eq!(get(sidecar.admin, "/readyz").status(), 503, "send calls elsewhere");
        std::thread::sleep(FULL);
        until(503);
        volume.free();
        until(200);
    });
    assert!(calls.iter().all(|call| call.ended.is_some()), "streams in progress finish");
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    oracle.add(accepted, &service, End::Stopped);
    let (stored, sums) = totals(&volume.event_lines());
    assert_eq!(stored, oracle.totals(), "calls and tokens of each caller");
    println!("{} calls, {sums} of them in sums, {refused} refused", oracle.len());
}

#[test]
fn a_volume_without_a_free_byte_is_drained_when_the_broker_is_back() {
    let Some(volume) = Volume::new(VOLUME_MIB) else { return };
    let (mut random, service, topic) = (Random::new("drain"), Service::start(), Topic::start());
    topic.cluster().broker_down(1).unwrap();
    let sidecar = volume.serve(service.addr, &topic.flags());
    let signs = Signs::default();
    let load = Load { addr: sidecar.addr, streams: STREAMS, name: "drain", kinds: &STEADY };
    let calls = mixed::run(&load, &mut random, &signs, || {
        std::thread::sleep(Duration::from_secs(2));
        volume.fill();
        accounting_becomes(&sidecar, "degraded");
        Signs::set(&signs.stop);
    });
    let stored = volume.event_lines();
    topic.cluster().broker_up(1).unwrap();
    topic.has(&stored);
    wait_for("the mark to follow", || (undelivered(&sidecar) == 0).then_some(()));
    volume.free();
    accounting_becomes(&sidecar, "ok");
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    let (stored, sums) = totals(&delivered(&volume, &topic));
    assert_eq!(stored, oracle.totals(), "calls and tokens of each caller");
    println!("{} calls, {sums} of them in sums", oracle.len());
}

/// Everything that the one boot of a ledger has published, once that has come: short of room, the
/// ledger itself deletes what is delivered.
fn delivered(volume: &Volume, topic: &Topic) -> Vec<String> {
    let lines = volume.event_lines();
    let last: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let events = last["sequence"].as_str().unwrap().parse().unwrap();
    let all = topic.all(events);
    assert!(lines.iter().all(|line| all.contains(line)), "published otherwise than stored");
    all
}

/// `tokenweir_ledger_events`.
fn undelivered(sidecar: &Sidecar) -> u64 {
    let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("tokenweir_ledger_events "));
    line.unwrap().parse().unwrap()
}
