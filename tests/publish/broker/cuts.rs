//! The connection breaks while an answer is on its way: the broker has the events, and the publisher
//! cannot know.
//!
//! A real broker knows what a producer has sent again; the embedded one does not, and so shows that
//! the fault took place.

use std::time::{Duration, Instant};

use super::rig::{Rig, either};
use crate::support::follower::Topic;
use crate::support::forwarder::Cut;
use crate::support::turn;
use crate::support::{eventually, within};

const PER_SECOND: u32 = 200;
/// After each cut.
const RECOVERY: Duration = Duration::from_secs(3);
/// Lost, in the middle of the length, of the head, of what is said of a partition.
const CUTS: [Cut; 4] = [Cut::Reset, Cut::After(2), Cut::After(7), Cut::After(30)];

#[test]
fn an_answer_that_is_cut_makes_repeats_at_most() {
    let _turn = turn::alone();
    let rig = Rig::running(Topic::any());
    let load = rig.load(PER_SECOND);
    let mut slowest = Duration::ZERO;
    for n in 0..either(2, 20) {
        for cut in CUTS {
            let recovery = within(RECOVERY, &format!("{cut:?}"), || {
                // One, and now and then as many as requests are under way.
                rig.forwarder.cut(&vec![cut; if n % 2 == 0 { 1 } else { 5 }]);
                let began = Instant::now();
                eventually("the cuts to be made", || rig.forwarder.cuts_left() == 0);
                let made = began.elapsed();
                assert!(made < RECOVERY * 5, "{cut:?}: tried again only after {made:?}");
                rig.recovery()
            });
            slowest = slowest.max(recovery);
        }
    }
    let calls = load.end();
    rig.caught_up();
    let (stats, embedded) = (rig.stats(), rig.topic.cluster.is_some());
    let held = rig.end();
    println!("{calls} calls, slowest recovery {slowest:?}, {stats:?}, {held:?}");
    assert_eq!(stats.replaced, 0, "the same producer goes on");
    if embedded {
        assert!(held.repeats > 0, "nothing was cut");
    } else {
        assert_eq!(held.repeats, 0, "the broker knows what it has");
    }
}
