//! Tokens of Entra ID, with an endpoint that works and one that does not.

use std::time::{Duration, Instant};

use tokenweir::publish::{Auth, Publisher};
use tokenweir::report::{GroupBy, Input, ReportOptions, report};

use super::endpoint::{CANARY, Endpoint, Mode, source};
use super::{RECOVERY_MAX, broker, flows_until};
use crate::rig::Rig;
use crate::support::eventually;

const OAUTH: &str = "TOKENWEIR_TEST_OAUTH_BROKERS";
const HOUR: Duration = Duration::from_secs(3_600);

/// Deliveries that stand still for longer have been blocked. A group of events takes milliseconds.
const GAP_MAX: Duration = Duration::from_secs(2);

#[test]
fn events_are_delivered_with_a_token_and_the_topic_is_read_with_one() {
    let endpoint = Endpoint::new(Mode::Token(HOUR));
    let rig = Rig::new();
    for variables in [endpoint.workload(rig.dir.path()), endpoint.identity()] {
        let rig = Rig::new();
        let Some((broker, config)) = broker(OAUTH, auth(&variables)) else { return };
        let publisher = Publisher::of_ledger(config.clone(), rig.ledger.clone()).unwrap();
        rig.calls(200);
        rig.arrives(&broker);
        assert_eq!((publisher.stats().replaced, publisher.stats().token_failures), (0, 0));
        let asked = endpoint.requests().len();
        let options = ReportOptions::of(Input::Topic(config), vec![GroupBy::Model]);
        assert_eq!(report(&options).unwrap().total.get("calls"), Some(200));
        assert_eq!(endpoint.requests().len(), asked + 1, "a reader asks for itself");
        rig.end(publisher);
    }
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 4);
    for part in ["POST /tenant/oauth2/v2.0/token ", "grant_type=client_credentials", "client_id=client"] {
        assert!(requests[0].1.contains(part), "{part}: {}", requests[0].1);
    }
    assert!(requests[0].1.contains(&format!("client_assertion={CANARY}-assertion")), "{}", requests[0].1);
    assert!(requests[3].1.starts_with("GET /msi/token?"), "{}", requests[3].1);
}

/// The broker is not of Event Hubs, so the scope is given.
fn auth(variables: &[(&str, String)]) -> Auth {
    Auth::Entra { source: source(variables), scope: Some("api://tokenweir/.default".to_owned()) }
}

#[test]
fn a_publisher_that_starts_without_a_token_begins_when_one_comes() {
    let (endpoint, rig) = (Endpoint::new(Mode::Hang), Rig::new());
    let login = auth(&endpoint.workload(rig.dir.path()));
    let Some((broker, config)) = broker(OAUTH, login) else { return };
    let began = Instant::now();
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "a start waits for no token");
    rig.calls(50);
    eventually("the endpoint is asked again", || publisher.stats().token_failures >= 1);
    assert_eq!(rig.ledger.stats().delivered, 0);
    endpoint.set(Mode::Token(HOUR));
    let well = Instant::now();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    println!("an endpoint that hung at the start: delivered {:?} after it was well", well.elapsed());
    assert!(well.elapsed() < RECOVERY_MAX, "{:?}", well.elapsed());
    rig.arrives(&broker);
    rig.end(publisher);
}

/// While the endpoint fails, all goes on until the token's end; then events wait; they go on soon
/// after the endpoint is well.
fn survives(mode: Mode) {
    let name = format!("{mode:?}").chars().take(16).collect::<String>();
    // It is renewed when at most 80 % are over: within the time below.
    let life = Duration::from_secs(10);
    let (endpoint, rig) = (Endpoint::new(Mode::Token(life)), Rig::new());
    let login = auth(&endpoint.workload(rig.dir.path()));
    let Some((broker, config)) = broker(OAUTH, login) else { return };
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    eventually("a token", || !endpoint.requests().is_empty());
    let given = Instant::now();
    endpoint.set(mode);
    rig.calls(1);
    eventually("the first event", || rig.ledger.stats().delivered > 0);
    // Up to a second is rounded off where the token says when it ends.
    let (_, gap) =
        flows_until(&rig, "the token's end", || given.elapsed() >= life - Duration::from_millis(1_500));
    let failures = publisher.stats().token_failures;
    println!(
        "{name}: no delivery for {gap:?} at most while the endpoint failed, {failures} failures by then"
    );
    assert!(gap < GAP_MAX, "{name}: nothing was delivered for {gap:?}");
    assert!(endpoint.requests().len() > 1, "{name}: the endpoint was asked again");
    // The broker ends the session with the token.
    let stopped = || {
        let before = rig.ledger.stats().delivered;
        rig.calls(1);
        std::thread::sleep(Duration::from_secs(1));
        rig.ledger.stats().delivered == before
    };
    eventually("the token has ended", stopped);
    eventually("failures are counted", || publisher.stats().token_failures > 0);
    endpoint.set(Mode::Token(HOUR));
    let well = Instant::now();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    println!("{name}: delivered {:?} after the endpoint was well", well.elapsed());
    assert!(well.elapsed() < RECOVERY_MAX, "{name}: {:?}", well.elapsed());
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn an_endpoint_that_hangs_blocks_no_delivery() {
    survives(Mode::Hang);
}

#[test]
fn an_endpoint_that_fails_blocks_no_delivery() {
    survives(Mode::Status(500));
}

#[test]
fn an_endpoint_that_talks_nonsense_blocks_no_delivery() {
    survives(Mode::Body(b"{\"access_token\":".to_vec()));
}

#[test]
fn an_endpoint_that_never_stops_talking_blocks_no_delivery() {
    survives(Mode::Huge);
}

#[test]
fn a_token_that_the_broker_denies_is_replaced() {
    let (endpoint, rig) = (Endpoint::new(Mode::Stale), Rig::new());
    let login = auth(&endpoint.identity());
    let Some((broker, config)) = broker(OAUTH, login) else { return };
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    rig.calls(50);
    eventually("another token is asked for", || endpoint.requests().len() >= 2);
    assert_eq!(rig.ledger.stats().delivered, 0);
    endpoint.set(Mode::Token(HOUR));
    let well = Instant::now();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    println!("a token that had ended: delivered {:?} after there was a good one", well.elapsed());
    assert!(well.elapsed() < RECOVERY_MAX, "{:?}", well.elapsed());
    assert!(endpoint.requests().len() < 20, "no busy loop: {} requests", endpoint.requests().len());
    rig.arrives(&broker);
    rig.end(publisher);
}
