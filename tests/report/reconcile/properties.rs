//! Whatever both sides hold.

use proptest::prelude::*;
use tokenweir::report::Quantity;

use super::azure::{Call, Files, at, call};
use super::{DAYS, check_sums, line_text, metrics};

/// Any call of ours, and whatever Azure may have of it.
fn any_call() -> impl Strategy<Value = Call> {
    let deployments = ["a", "b", "c", ""];
    let names = (0..3_usize, 0..4_usize, prop::option::of(0..3_usize), 0..3_usize);
    let times = (0..2 * 86_400_i64, -4000..4000_i64, 0..5_000_000_i64);
    let numbers = (prop::option::of(0..5000_u64), prop::option::of(0..900_u64), 0..5000_u64, 0..900_u64);
    let kinds = (0..5_usize, 0..4_usize, 0..4_usize, any::<bool>(), 0..6_u8);
    (names, times, numbers, kinds).prop_map(move |(names, times, numbers, kinds)| {
        let outcomes = [
            ("complete", 200),
            ("client_disconnect", 200),
            ("upstream_status", 500),
            ("crashed", 200),
            ("upstream_eof", 200),
        ];
        let qualities = ["exact", "lower_bound", "estimated", "unknown"];
        let begin = at("01T00:00:00").as_second();
        let time = |second: i64| jiff::Timestamp::from_second(begin + second).unwrap();
        call(deployments[names.0], "01T00:00:00", 0, 0).with(|call| {
            let (event, azure) = (&mut call.event, &mut call.azure);
            azure.deployment = deployments[names.1];
            event.spillover_from = names.2.map(|name| deployments[name]);
            event.served = Some(deployments[names.3]);
            (event.time, azure.time) = (time(times.0), time((times.0 + times.1).clamp(0, 2 * 86_400 - 1)));
            event.duration_ms = times.2;
            (event.input, event.output, azure.input, azure.output) = numbers;
            (event.outcome, event.status) = outcomes[kinds.0];
            azure.status = event.status;
            event.quality = [qualities[kinds.1], qualities[kinds.2]];
            event.deferred = kinds.3;
            event.api = ["chat_completions", "batch", "responses"][usize::from(kinds.4) % 3];
            event.reasons = if kinds.4 == 5 { vec!["output:deferred"] } else { Vec::new() };
            azure.is_batch = kinds.4 == 4;
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever both sides hold: the causes add up to the delta, totals to lines, nothing is counted that is on neither
    /// side, and the order of events and files does not matter.
    #[test]
    fn causes_add_up_whatever_the_files_hold(calls in prop::collection::vec(any_call(), 0..40), requests in any::<bool>()) {
        let files = |calls: &[Call]| Files::of(calls).with_metrics(calls, DAYS, requests).with_focus(calls);
        let result = files(&calls).reconcile();
        check_sums(&result);
        let billed: Quantity = result.lines.iter().filter(|line| line.measure.as_str() == "input").map(|line| line.sums.billed).sum();
        let truth: u64 = calls.iter().filter(|call| !call.azure.deployment.is_empty()).map(|call| call.azure.input).sum();
        prop_assert_eq!(billed, Quantity::of(truth));
        let backwards: Vec<Call> = calls.iter().rev().cloned().collect();
        prop_assert_eq!(result.lines, files(&backwards).reconcile().lines);
    }

    /// Without a gap nothing is open, wherever calls lie and however long they are.
    #[test]
    fn honest_files_have_nothing_open(
        calls in prop::collection::vec((0..2_usize, 0..2 * 86_400_i64, 0..9_000_000_i64, 0..5000_u64, 0..900_u64, 0..=10_u8), 1..60)
    ) {
        let begin = at("01T00:00:00");
        let call = |(name, second, duration_ms, input, output, share): (usize, i64, i64, u64, u64, u8)| {
            let end = begin.checked_add(jiff::SignedDuration::from_secs(second)).unwrap();
            call(["a", "b"][name], "01T00:00:00", input, output).with(|call| {
                call.event.time = end;
                call.event.duration_ms = duration_ms;
                // Azure may count it whenever it went on, within what its file covers.
                let before = jiff::SignedDuration::from_millis(duration_ms * i64::from(share) / 10);
                call.azure.time = end.checked_sub(before).unwrap().max(begin);
            })
        };
        let calls: Vec<Call> = calls.into_iter().map(call).collect();
        let result = metrics(&calls, false);
        check_sums(&result);
        for line in &result.lines {
            prop_assert_eq!(line.sums.explained.open(), Quantity::ZERO, "{}", line_text(line));
        }
    }
}
