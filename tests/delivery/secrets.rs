//! Passwords that change while the publisher runs, at a real broker with a PLAIN listener
//! (`TOKENWEIR_TEST_PLAIN_BROKERS`, set by `tests/kafka/run`).

use std::time::{Duration, Instant};

use tokenweir::publish::{Auth, Class, Config, Publisher, Secret};

use crate::rig::{Broker, Rig};
use crate::support::eventually;

/// As `tests/kafka/run` gives them to the broker.
const USER: &str = "tokenweir";
const PASSWORD: &str = "first-password";

#[test]
fn a_wrong_password_is_replaced_as_soon_as_its_file_is() {
    let Ok(brokers) = std::env::var("TOKENWEIR_TEST_PLAIN_BROKERS") else {
        println!("SKIPPED: no broker with passwords (TOKENWEIR_TEST_PLAIN_BROKERS, set by tests/kafka/run)");
        return;
    };
    let (broker, rig, dir) = (Broker::any(), Rig::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("password");
    std::fs::write(&file, "of yesterday").unwrap();
    let auth = Auth::Sasl { username: USER.to_owned(), password: Secret::from_file(&file).unwrap() };
    let mut config = Config { brokers, auth, ..broker.config() };
    config.properties.push(("security.protocol".to_owned(), "SASL_PLAINTEXT".to_owned()));
    let publisher = Publisher::start(config, rig.ledger.clone()).unwrap();
    rig.calls(50);
    eventually("denied", || publisher.stats().errors[Class::Setting as usize] > 0);
    assert_eq!(rig.ledger.stats().delivered, 0);
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let changed = Instant::now();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    println!("delivered {:?} after the change, {:?}", changed.elapsed(), publisher.stats());
    // The file is read once a second while logins are denied.
    assert!(changed.elapsed() < Duration::from_secs(10), "{:?}", changed.elapsed());
    assert_eq!(publisher.stats().replaced, 1);
    let reader = rig.arrives(&broker);
    assert_eq!(reader.records.len(), rig.ids().len(), "nothing twice: nothing had been sent");
    rig.end(publisher);
}
