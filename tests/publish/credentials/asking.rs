//! How tokens are asked for, with no broker to log in at.

use std::time::{Duration, Instant};

use tokenweir::publish::{Auth, Publisher, TokenSource};

use super::RECOVERY_MAX;
use super::endpoint::{CANARY, Endpoint, Mode, source};
use crate::rig::{Broker, Rig};
use crate::support::eventually;

const HOUR: Duration = Duration::from_secs(3_600);

/// A publisher that can only ask: nobody listens where it would log in.
fn asking(source: TokenSource) -> (Rig, Publisher) {
    let (rig, broker) = (Rig::new(), Broker::mock());
    let scope = Some("https://ns.example.org/.default".to_owned());
    let config = tokenweir::publish::KafkaConfig {
        brokers: "127.0.0.1:1".to_owned(),
        auth: Auth::Entra { source, scope },
        ..broker.config()
    };
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    (rig, publisher)
}

#[test]
fn workload_identity_is_asked_for_as_entra_wants_it_and_the_file_read_each_time() {
    let (endpoint, dir) = (Endpoint::new(Mode::Token(Duration::from_secs(2))), tempfile::tempdir().unwrap());
    let (_rig, publisher) = asking(source(&endpoint.workload(dir.path())));
    eventually("asked", || !endpoint.requests().is_empty());
    std::fs::write(dir.path().join("assertion"), "kubernetes-two\n").unwrap();
    eventually("renewed", || endpoint.requests().len() >= 3);
    let asked = endpoint.requests();
    for part in [
        "POST /tenant/oauth2/v2.0/token HTTP/1.1",
        "client_id=client",
        "scope=https%3A%2F%2Fns.example.org%2F.default",
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        &format!("client_assertion={CANARY}-assertion"),
        "grant_type=client_credentials",
    ] {
        assert!(asked[0].1.contains(part), "{part}: {}", asked[0].1);
    }
    assert!(asked.last().unwrap().1.contains("client_assertion=kubernetes-two"));
    // Each token holds 2 s: renewed after half its life at the earliest.
    let gaps = asked.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.min().unwrap() >= Duration::from_millis(900), "{asked:?}");
    assert_eq!(publisher.stats().token_failures, 0);
}

#[test]
fn app_service_is_asked_as_it_wants_it() {
    let endpoint = Endpoint::new(Mode::Token(HOUR));
    let mut variables = endpoint.identity();
    variables.push(("AZURE_CLIENT_ID", "the-client".to_owned()));
    let (_rig, _publisher) = asking(source(&variables));
    eventually("asked", || !endpoint.requests().is_empty());
    let request = endpoint.requests().remove(0).1;
    let line = request.lines().next().unwrap().to_owned();
    for part in [
        "GET /msi/token?",
        "api-version=2019-08-01",
        "resource=https%3A%2F%2Fns.example.org",
        "client_id=the-client",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains(".default"), "{line}");
    let header = format!("x-identity-header: {CANARY}-header");
    assert!(request.to_ascii_lowercase().contains(&header), "{request}");
}

/// Every answer that brings no token: patience, and the next one is asked for soon.
#[test]
fn an_endpoint_in_trouble_is_asked_with_patience_and_without_end() {
    let bodies =
        ["{", "{}", r#"{"expires_on":"1000","access_token":"old"}"#].map(|text| Mode::Body(text.into()));
    let answers = [Mode::Status(500), Mode::Status(400), Mode::Status(302), Mode::Huge];
    std::thread::scope(|scope| {
        for mode in answers.into_iter().chain(bodies) {
            scope.spawn(move || {
                let endpoint = Endpoint::new(mode.clone());
                let (_rig, publisher) = asking(source(&endpoint.identity()));
                eventually("failed", || publisher.stats().token_failures >= 4);
                let asked = endpoint.requests();
                let took = asked[3].0 - asked[0].0;
                // 125 + 250 + 500 ms at the least.
                assert!(took >= Duration::from_millis(800), "{mode:?}: four times in {took:?}");
                endpoint.set(Mode::Token(HOUR));
                let (back, before) = (Instant::now(), publisher.stats().token_failures);
                eventually("asked again", || endpoint.requests().last().unwrap().0 > back);
                assert!(back.elapsed() < RECOVERY_MAX);
                let asked = endpoint.requests().len();
                std::thread::sleep(Duration::from_millis(500));
                assert_eq!(endpoint.requests().len(), asked, "{mode:?}: one token is enough");
                assert!(publisher.stats().token_failures <= before + 1);
            });
        }
    });
}

/// A stop does not wait for an endpoint that says nothing.
#[test]
fn a_stop_does_not_wait_for_a_token() {
    let endpoint = Endpoint::new(Mode::Hang);
    let (rig, publisher) = asking(source(&endpoint.identity()));
    rig.calls(5);
    eventually("asked", || !endpoint.requests().is_empty());
    let began = Instant::now();
    rig.ledger.finish().unwrap();
    assert_eq!(publisher.stop(Duration::from_millis(300)), 6);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
