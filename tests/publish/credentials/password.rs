//! A password in a file, and what happens when it changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokenweir::publish::{Auth, Publisher, Secret};

use super::{RECOVERY_MAX, broker, flows_until};
use crate::rig::Rig;
use crate::skip;
use crate::support::eventually;

const PLAIN: &str = "TOKENWEIR_TEST_PLAIN_BROKERS";
const RIGHT: &str = "first-password";

/// A file is read again this often, and something for the machine.
const READ_AGAIN_MAX: Duration = Duration::from_secs(40);

fn file(dir: &Path, text: &str) -> (PathBuf, Auth) {
    let path = dir.join("password");
    std::fs::write(&path, text).unwrap();
    let password = Secret::from_file(&path).unwrap();
    (path, Auth::Sasl { username: "tokenweir".to_owned(), password })
}

#[test]
fn a_wrong_password_keeps_events_and_the_right_one_delivers_them_without_a_restart() {
    let rig = Rig::new();
    let (path, auth) = file(rig.dir.path(), "wrong-password\n");
    let Some((broker, config)) = broker(PLAIN, auth) else { return };
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    rig.calls(50);
    eventually("the broker denies the login", || publisher.stats().login_denied);
    assert_eq!(rig.ledger.stats().delivered, 0);
    // What a volume of Kubernetes may show for a moment.
    std::fs::write(&path, "").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    std::fs::write(&path, format!("{RIGHT}\n")).unwrap();
    let written = Instant::now();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    println!("a wrong password: delivered {:?} after the right one was written", written.elapsed());
    assert!(written.elapsed() < RECOVERY_MAX, "{:?}", written.elapsed());
    assert!(!publisher.stats().login_denied);
    assert_eq!(publisher.stats().replaced, 1);
    let reader = rig.arrives(&broker);
    assert_eq!(reader.records.len(), rig.ids().len(), "nothing twice: nothing had been sent");
    rig.end(publisher);
}

#[test]
fn a_password_that_changes_while_events_flow_costs_none() {
    if !skip::long_test() {
        return;
    }
    let rig = Rig::new();
    let (path, auth) = file(rig.dir.path(), RIGHT);
    let Some((broker, config)) = broker(PLAIN, auth) else { return };
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    flows_until(&rig, "the first event", || rig.ledger.stats().delivered > 0);
    // A session that has begun goes on with any password: only a new client tries the new one.
    std::fs::write(&path, "wrong-password").unwrap();
    let (seen, _) = flows_until(&rig, "the file is read again", || publisher.stats().replaced >= 1);
    assert!(seen < READ_AGAIN_MAX, "{seen:?}");
    flows_until(&rig, "the broker denies the login", || publisher.stats().login_denied);
    std::fs::write(&path, RIGHT).unwrap();
    let before = rig.ledger.stats().delivered;
    let (back, _) = flows_until(&rig, "events flow again", || rig.ledger.stats().delivered > before);
    println!("a new password was used after {seen:?}; back {back:?} after the old one was restored");
    assert!(back < RECOVERY_MAX, "{back:?}");
    assert_eq!(publisher.stats().replaced, 2);
    rig.arrives(&broker);
    rig.end(publisher);
}
