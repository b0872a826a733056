//! Each cause: a gap of its kind is put on it, and on no other.

use tokenweir::report::{Cause, Quantity};

use super::azure::{Call, Files, at, call};
use super::{DAYS, check_sums, metrics, ordinary, told};

#[test]
fn without_a_gap_every_delta_is_none() {
    let calls = ordinary();
    for requests in [false, true] {
        let result = metrics(&calls, requests);
        assert_eq!((told(&result), result.lines.len()), (vec![], 8));
        assert!(result.is_within() && result.completeness.notes.is_empty(), "{:?}", result.completeness);
        check_sums(&result);
    }
    let cached = |call: Call| {
        call.with(|call| {
            call.event.cached = 128;
            call.azure.cached = 128;
        })
    };
    let calls: Vec<Call> = calls.into_iter().map(cached).collect();
    for files in [Files::of(&calls).with_focus(&calls), Files::of(&calls).with_details(&calls)] {
        let result = files.reconcile();
        let measures: Vec<&str> = result.lines.iter().map(|line| line.measure.as_str()).collect();
        assert_eq!(
            measures,
            [
                "input_uncached",
                "input_cached",
                "output_text",
                "input_uncached",
                "input_cached",
                "output_text"
            ]
        );
        assert_eq!(told(&result), [""; 0]);
        assert!(result.lines.iter().all(|line| line.scope == "gpt-4o-2024-11-20"));
        check_sums(&result);
    }
}

#[test]
fn traffic_beside_the_sidecar_is_bypass() {
    let mut calls = ordinary();
    let seen = calls.len();
    calls.push(call("gpt-4o-prod", "02T12:00:00", 5000, 700));
    for requests in [false, true] {
        let files = Files::of(&calls[..seen]).with_metrics(&calls, DAYS, requests);
        let result = files.reconcile();
        assert_eq!(told(&result), ["gpt-4o-prod 2 input: bypass 5000", "gpt-4o-prod 2 output: bypass 700"]);
        assert!(!result.is_within());
    }
    let focus = Files::of(&calls[..seen]).with_focus(&calls).reconcile();
    assert_eq!(
        told(&focus),
        ["gpt-4o-2024-11-20 2 input_uncached: bypass 5000", "gpt-4o-2024-11-20 2 output_text: bypass 700"]
    );
    // A deployment that we never saw.
    calls[seen] = call("shadow", "02T12:00:00", 5000, 700);
    let result = Files::of(&calls[..seen]).with_metrics(&calls, DAYS, true).reconcile();
    assert_eq!(told(&result), ["shadow 2 input: bypass 5000", "shadow 2 output: bypass 700"]);
    assert_eq!(result.only_in_azure[0].scope, "shadow");
}

#[test]
fn what_azure_does_not_have_is_over_count() {
    let mut calls = ordinary();
    calls.push(call("gpt-4o-prod", "02T12:00:00", 5000, 700).with(|call| call.azure.deployment = ""));
    for requests in [false, true] {
        let result = metrics(&calls, requests);
        assert_eq!(
            told(&result),
            ["gpt-4o-prod 2 input: over_count -5000", "gpt-4o-prod 2 output: over_count -700"]
        );
        assert!(!result.is_within());
    }
}

#[test]
fn as_many_calls_with_other_numbers_are_unexplained() {
    let mut calls = ordinary();
    calls[0].azure.input += 400;
    calls[1].azure.input -= 300;
    let result = metrics(&calls, true);
    assert_eq!(
        told(&result),
        ["gpt-4o-prod 1 input: unexplained 400", "gpt-4o-ptu 1 input: unexplained -300"]
    );
}

#[test]
fn cut_streams_are_their_own_cause() {
    let mut calls = ordinary();
    for hour in [3, 9, 15] {
        calls.push(call("gpt-4o-prod", &format!("01T{hour:02}:10:00"), 800, 260).cut(40));
    }
    for requests in [false, true] {
        let result = metrics(&calls, requests);
        let wanted = if requests {
            "gpt-4o-prod 1 output: cut_streams 660"
        } else {
            "gpt-4o-prod 1 output: cut_streams "
        };
        assert!(told(&result)[0].starts_with(wanted) && told(&result).len() == 1, "{:?}", told(&result));
        check_sums(&result);
    }
    // So many tokens that three calls cannot have them, and a call that Azure alone has seen.
    let seen = calls.len();
    calls.push(call("gpt-4o-prod", "01T12:00:00", 0, 90_000));
    let result = Files::of(&calls[..seen]).with_metrics(&calls, DAYS, false).reconcile();
    let open = result.lines.iter().find(|line| line.measure.as_str() == "output").unwrap().sums.explained;
    assert!(
        open.of(Cause::Bypass) > Quantity::of(89_000) && open.of(Cause::CutStreams).is_positive(),
        "{open:?}"
    );
    // Azure does not count what was cut.
    for cut in &mut calls[seen - 3..seen] {
        cut.azure.deployment = "";
    }
    let result = metrics(&calls[..seen], true);
    assert_eq!(
        told(&result),
        ["gpt-4o-prod 1 input: cut_streams -2400", "gpt-4o-prod 1 output: cut_streams -120"]
    );
}

/// Azure answered more calls than we saw: what those have is no part of streams that were cut.
#[test]
fn traffic_beside_the_sidecar_is_told_from_cut_streams() {
    let mut calls = ordinary();
    for minute in 0..20 {
        calls.push(call("gpt-4o-prod", &format!("01T12:{minute:02}:00"), 800, 220).cut(40));
    }
    let seen = calls.len();
    calls.push(call("gpt-4o-prod", "01T13:00:00", 800, 260));
    let result = Files::of(&calls[..seen]).with_metrics(&calls, DAYS, true).reconcile();
    let output = result.lines.iter().find(|line| line.measure.as_str() == "output").unwrap();
    let (bypass, cut) =
        (output.sums.explained.of(Cause::Bypass), output.sums.explained.of(Cause::CutStreams));
    assert!(bypass > Quantity::of(200) && bypass < Quantity::of(300), "{bypass}");
    assert_eq!(bypass + cut, Quantity::of(20 * 180 + 260));
}

#[test]
fn spilled_calls_are_on_the_other_deployment() {
    let mut calls = ordinary();
    let spilled = |served: Option<&'static str>| {
        call("gpt-4o-ptu", "02T08:00:00", 3000, 500).with(|call| {
            call.event.served = served;
            call.event.spillover_from = Some("gpt-4o-ptu");
            call.azure.deployment = "gpt-4o-prod";
        })
    };
    calls.push(spilled(Some("gpt-4o-prod")));
    let wanted = [
        "gpt-4o-prod 2 input: spillover 3000",
        "gpt-4o-prod 2 output: spillover 500",
        "gpt-4o-ptu 2 input: spillover -3000",
        "gpt-4o-ptu 2 output: spillover -500",
    ];
    let result = metrics(&calls, true);
    assert_eq!(told(&result), wanted);
    assert!(result.is_within(), "a delta that is wholly explained is no finding");
    // We have it under the one that served, Azure under the one that was asked.
    let last = calls.len() - 1;
    calls[last] = spilled(Some("gpt-4o-prod")).with(|call| {
        call.event.deployment = Some("gpt-4o-prod");
        call.azure.deployment = "gpt-4o-ptu";
    });
    let mirrored = wanted.map(|text| text.replace("prod", "x").replace("ptu", "prod").replace('x', "ptu"));
    let mut told_mirrored = told(&metrics(&calls, true));
    told_mirrored.rotate_left(2);
    assert_eq!(told_mirrored, mirrored);
    // Azure has it where we have it: traffic beside the sidecar on the other deployment is not taken for it.
    calls[last] = spilled(Some("gpt-4o-prod")).with(|call| call.azure.deployment = "gpt-4o-ptu");
    let seen = calls.len();
    calls.push(call("gpt-4o-prod", "02T12:00:00", 2500, 400));
    let result = Files::of(&calls[..seen]).with_metrics(&calls, DAYS, false).reconcile();
    assert_eq!(told(&result), ["gpt-4o-prod 2 input: bypass 2500", "gpt-4o-prod 2 output: bypass 400"]);
}

#[test]
fn failed_calls_may_be_counted_or_not() {
    let failed = |azure_input: u64| {
        call("gpt-4o-prod", "01T12:00:00", 1200, 0).with(|call| {
            call.event.status = 500;
            call.event.outcome = "upstream_status";
            call.event.quality = ["estimated", "unknown"];
            call.event.output = None;
            call.azure.status = 500;
            call.azure.input = azure_input;
        })
    };
    let mut calls = ordinary();
    calls.push(failed(0));
    assert_eq!(told(&metrics(&calls, true)), ["gpt-4o-prod 1 input: failures -1200"]);
    calls.pop();
    calls.push(failed(1300));
    assert_eq!(told(&metrics(&calls, true)), ["gpt-4o-prod 1 input: failures 100"]);
    calls.pop();
    // A call that was refused cost nothing, and hides nothing.
    let seen = calls.len();
    let refused = |n: u64| {
        call("gpt-4o-prod", &format!("01T12:00:{n:02}"), 0, 0).with(|call| {
            call.event.status = 429;
            call.event.outcome = "upstream_status";
            call.azure.status = 429;
        })
    };
    calls.extend((0..50).map(refused));
    calls.push(call("gpt-4o-prod", "01T14:00:00", 5000, 700));
    let ours: Vec<Call> = calls[..calls.len() - 1].to_vec();
    assert_eq!(ours.len(), seen + 50);
    let result = Files::of(&ours).with_metrics(&calls, DAYS, true).reconcile();
    assert!(told(&result)[1].ends_with("output: bypass 700"), "{:?}", told(&result));
}

#[test]
fn batches_are_matched_across_days_and_deployments() {
    // The bill came by a day later, and names no deployment.
    let bill = call("gpt-4o-batch", "01T06:00:00", 40_000, 9000).with(|call| {
        call.event.deployment = None;
        call.event.api = "batch";
        call.event.deferred = true;
        call.event.time = at("02T06:00:00");
        call.azure.is_batch = true;
    });
    let mut calls = ordinary();
    calls.push(bill.clone());
    let result = metrics(&calls, true);
    assert_eq!(
        told(&result),
        [
            " 2 input: batch -40000",
            " 2 output: batch -9000",
            "gpt-4o-batch 1 input: batch 40000",
            "gpt-4o-batch 1 output: batch 9000",
        ]
    );
    assert!(result.is_within());
    // Azure's metrics do not have it at all.
    let last = calls.len() - 1;
    calls[last].azure.deployment = "";
    assert_eq!(told(&metrics(&calls, true)), [" 2 input: batch -40000", " 2 output: batch -9000"]);
    // Traffic beside the sidecar on a deployment of ours is not taken for it.
    let seen = calls.len();
    calls.push(call("gpt-4o-prod", "02T05:00:00", 5000, 700));
    let result = Files::of(&calls[..seen]).with_metrics(&calls, DAYS, false).reconcile();
    assert_eq!(told(&result)[2..], ["gpt-4o-prod 2 input: bypass 5000", "gpt-4o-prod 2 output: bypass 700"]);
    calls.pop();
    // The bill never came by; a bill of Azure's has a meter for it.
    calls[last] = bill;
    let result = Files::of(&calls[..last]).with_focus(&calls).reconcile();
    assert_eq!(
        told(&result),
        ["gpt-4o-2024-11-20 1 input_uncached: batch 40000", "gpt-4o-2024-11-20 1 output_text: batch 9000"]
    );
}

#[test]
fn work_after_its_call_has_its_bill_on_another_day() {
    let begin = call("gpt-4o-prod", "01T20:00:00", 0, 0).with(|call| {
        call.event.api = "responses";
        call.event.input = None;
        call.event.output = None;
        call.event.quality = ["unknown", "unknown"];
        call.event.reasons = vec!["input:deferred", "output:deferred"];
        call.azure.input = 7000;
        call.azure.output = 3000;
    });
    let bill = call("gpt-4o-prod", "02T09:00:00", 7000, 3000).with(|call| {
        call.event.api = "responses";
        call.event.deferred = true;
        call.azure.deployment = "";
    });
    let mut calls = ordinary();
    calls.extend([begin, bill]);
    let result = metrics(&calls, true);
    assert_eq!(
        told(&result),
        [
            "gpt-4o-prod 1 input: deferred 7000",
            "gpt-4o-prod 1 output: deferred 3000",
            "gpt-4o-prod 2 input: deferred -7000",
            "gpt-4o-prod 2 output: deferred -3000",
        ]
    );
    // The bill never came by: a call of ordinary length may have been it.
    calls.pop();
    let last = calls.len() - 1;
    calls[last].azure.input = 900;
    calls[last].azure.output = 200;
    let result = metrics(&calls, true);
    assert_eq!(told(&result), ["gpt-4o-prod 1 input: deferred 900", "gpt-4o-prod 1 output: deferred 200"]);
}

#[test]
fn calls_at_midnight_may_be_on_the_other_day() {
    let mut calls = ordinary();
    // It began before midnight, where Azure has it, and ended after.
    calls.push(call("gpt-4o-prod", "02T00:07:00", 600, 4000).with(|call| {
        call.event.duration_ms = 600_000;
        call.azure.time = at("01T23:57:00");
    }));
    // Azure has it a little later.
    calls.push(call("gpt-4o-ptu", "01T23:59:30", 50, 60).with(|call| call.azure.time = at("02T00:00:10")));
    // It is outside of what Azure's file covers, and inside to us; and the other way round.
    calls.push(call("gpt-4o-prod", "01T00:00:20", 70, 80).with(|call| call.azure.deployment = ""));
    calls.push(call("gpt-4o-ptu", "03T00:00:20", 90, 110).with(|call| call.azure.time = at("02T23:59:50")));
    let result = metrics(&calls, false);
    assert_eq!(
        told(&result),
        [
            "gpt-4o-prod 1 input: hour_edge 530",
            "gpt-4o-prod 1 output: hour_edge 3920",
            "gpt-4o-prod 2 input: hour_edge -600",
            "gpt-4o-prod 2 output: hour_edge -4000",
            "gpt-4o-ptu 1 input: hour_edge -50",
            "gpt-4o-ptu 1 output: hour_edge -60",
            "gpt-4o-ptu 2 input: hour_edge 140",
            "gpt-4o-ptu 2 output: hour_edge 170",
        ]
    );
    assert!(result.is_within());
    // At noon nothing is at the edge.
    let last = calls.len();
    calls
        .push(call("gpt-4o-prod", "02T12:00:00", 600, 4000).with(|call| call.azure.time = at("01T12:00:00")));
    let result = metrics(&calls[last..], false);
    assert_eq!(told(&result).join("; ").matches("hour_edge").count(), 0);
}

#[test]
fn calls_without_a_number_and_estimates_have_causes_of_their_own() {
    let mut calls = ordinary();
    calls.push(call("gpt-4o-prod", "01T12:00:00", 900, 230).with(|call| {
        call.event.output = None;
        call.event.quality[1] = "unknown";
    }));
    calls.push(call("gpt-4o-ptu", "01T12:00:00", 950, 230).with(|call| {
        call.event.input = Some(1000);
        call.event.quality[0] = "estimated";
    }));
    let result = metrics(&calls, true);
    assert_eq!(
        told(&result),
        ["gpt-4o-prod 1 output: unknown_calls 230", "gpt-4o-ptu 1 input: estimates -50"]
    );
}
