//! Logging in at the broker: tokens of Entra ID, and secrets that change while the process runs.
//!
//! What needs a broker that asks for a login runs on the one that `tests/kafka/run` starts; without
//! it those tests are listed as not run. The longest wait behind `TOKENWEIR_LONG=1` too.

mod asking;
mod endpoint;
mod entra;
mod hush;
mod password;
mod roots;

use std::time::{Duration, Instant};

use crate::rig::{Broker, Rig};
use crate::skip;
use crate::support::PATIENCE;
use tokenweir::publish::{Auth, KafkaConfig};

/// Publishing goes on this soon after the cause is gone (F18).
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// The variable that names the root of the broker's certificate, for a login goes over TLS only.
const ROOTS: &str = "TOKENWEIR_TEST_BROKER_ROOTS";

/// A broker with an empty topic, and what a publisher needs to log in there; `None`: not here.
fn broker(variable: &str, auth: Auth) -> Option<(Broker, KafkaConfig)> {
    let Ok(brokers) = std::env::var(variable) else {
        skip::test(format_args!("{variable} is not set; tests/kafka/run sets it"));
        return None;
    };
    let broker = Broker::any();
    // Set with the addresses.
    let roots = std::env::var(ROOTS).unwrap();
    let properties = vec![("ssl.ca.location".to_owned(), roots)];
    let config = KafkaConfig { brokers, topic: broker.topic.clone(), auth, properties };
    Some((broker, config))
}

/// Makes calls until something holds. Returns how long it took, and the longest time in which no
/// event was delivered.
fn flows_until(rig: &Rig, what: &str, holds: impl Fn() -> bool) -> (Duration, Duration) {
    let (began, mut delivered, mut moved, mut longest) = (Instant::now(), 0, Instant::now(), Duration::ZERO);
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {:?}: {what}", PATIENCE);
        rig.calls(1);
        let now = rig.ledger.stats().delivered;
        if now > delivered {
            (delivered, moved) = (now, Instant::now());
        }
        longest = longest.max(moved.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    (began.elapsed(), longest)
}
