//! Captured content that a dead instance has left in its spool is drained.

use std::process::Command;
use std::time::Duration;

use super::callers::{call_small_for, check};
use super::calls::service;
use super::rig::Rig;
use super::support::auditor::{Contents, spooled};
use super::support::packages::run;
use super::support::random::Random;
use super::support::sidecar::binary;
use super::support::wait::eventually;
use super::topic::ContentTopic;

const CALLERS: usize = 12;

/// How long what was over may take to be stored, on a busy machine too.
const STORED: Duration = Duration::from_secs(4);

/// Draining takes seconds.
const COMMAND_MAX: Duration = Duration::from_secs(120);

#[test]
fn what_a_dead_instance_left_is_drained() {
    let topic = ContentTopic::embedded();
    let rig = Rig::new(service());
    let mut random = Random::new("drain");
    let sidecar = rig.start(&topic.flags("127.0.0.1:1"));
    let heard = call_small_for(sidecar.addr, CALLERS, &mut random, Duration::from_secs(2));
    std::thread::sleep(STORED);
    sidecar.kill();
    let stored = spooled(&rig.ledger()).len();
    assert!(stored > heard.len(), "{stored} events of {} calls", heard.len());
    let mut drain = Command::new(binary());
    drain.arg("drain").arg("--ledger").arg(rig.ledger()).args(topic.flags(&topic.servers));
    let told = run(drain, COMMAND_MAX).unwrap();
    let said = [String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr)].concat();
    assert!(told.status.success(), "{said}");
    // Two more than were there: the last control event of the boot that died, and that of the drain.
    let line = format!("captured content: {} delivered, 0 refused, 0 left", stored + 2);
    assert!(said.contains(&line), "{line}: {said}");
    eventually("the last control events", || topic.has_ended(2));
    let contents = Contents::open(&[&rig.auditor], topic.events());
    let found = check(&heard, &rig.usage_events(), &contents);
    assert_eq!((found.missing_full, found.missing_parts), (0, 0), "{found:?}");
    assert_eq!(spooled(&rig.ledger()).len(), 0, "what is delivered is gone from the spool");
}
