//! The kinds of tampering, and what must be found of each.

use metering::usage::{EventType, RowHash, RowsDigest};
use serde_json::{Value, json};
use tokenweir::report::FindingKind;

use super::tampered::Tampered;
use crate::support::boot_of;
use crate::truth::sequence;

pub(super) type Change = fn(&mut Tampered);
pub(super) type Kinds = &'static [FindingKind];

pub(super) const WRONG: Kinds = &[FindingKind::Altered];
pub(super) const GONE: Kinds = &[FindingKind::Missing];
pub(super) const TAIL: Kinds =
    &[FindingKind::Missing, FindingKind::Open, FindingKind::NeverClosed, FindingKind::Altered];
/// Nobody sees it without the key.
pub(super) const HIDDEN: Kinds = &[];

/// Each kind: its name, what it does, and what must be found of it; with the key `altered` may be `forged`.
pub(super) const KINDS: &[(&str, Change, Kinds)] = &[
    // The eleven kinds of the generator.
    (
        "delete",
        |t| {
            let at = t.call();
            t.rows[at] = None;
        },
        GONE,
    ),
    (
        "delete_control",
        |t| {
            let at =
                t.pick(|e| e.kind == EventType::Control && e.data["final"] == false && e.data["events"] != 0);
            t.rows[at] = None;
        },
        GONE,
    ),
    (
        "delete_tail",
        |t| {
            let last = t.rows.len();
            t.rows[last - 2..].fill(None);
        },
        TAIL,
    ),
    (
        "alter_tokens",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["tokens"]["output"] = json!(1_000_007));
        },
        WRONG,
    ),
    (
        "alter_caller",
        |t| {
            let at = t.call();
            t.change(at, |e| {
                for place in ["/subject", "/partitionkey", "/data/caller/id"] {
                    *e.pointer_mut(place).unwrap() = json!("somebody else");
                }
            });
        },
        WRONG,
    ),
    (
        "alter_model",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["target"]["model"] = json!("gpt-4o-mini"));
        },
        WRONG,
    ),
    (
        "alter_swap",
        |t| {
            let at = t.covered();
            let (rows, _) = t.period_of(at).unwrap();
            let other = rows
                .into_iter()
                .find(|row| *row != at && t.event(*row).data["stream"]["outcome"] == "complete");
            let give = |e: &mut Value, more: i64| {
                let tokens = &mut e["data"]["tokens"]["output"];
                *tokens = json!(tokens.as_i64().unwrap_or(0) + more);
            };
            match other {
                Some(other) => {
                    t.change(at, |e| give(e, 3));
                    t.change(other, |e| give(e, -3));
                }
                None => t.change(at, |e| give(e, 3)),
            }
        },
        WRONG,
    ),
    (
        "double",
        |t| {
            let at = t.call();
            t.copy(at, |_| {});
        },
        &[FindingKind::Doubled],
    ),
    (
        "double_new_id",
        |t| {
            let at = t.call();
            t.copy(at, |e| e["id"] = json!("01a20359-92af-74b9-b085-00000000beef"));
        },
        WRONG,
    ),
    (
        "double_new_sequence",
        |t| {
            let at = t.call();
            t.copy(at, |e| e["sequence"] = json!(format!("{:020}", 1_000_000)));
        },
        &[FindingKind::Missing, FindingKind::Altered],
    ),
    (
        "alter_copy",
        |t| {
            let at = t.call();
            t.copy(at, |e| e["data"]["tokens"]["output"] = json!(1_000_007));
        },
        WRONG,
    ),
    // Every other member of a row.
    (
        "alter_time",
        |t| {
            let at = t.call();
            t.change(at, |e| e["time"] = json!("2026-10-31T23:59:59.000Z"));
        },
        WRONG,
    ),
    (
        "alter_quality",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["accounting"]["output_quality"] = json!("estimated"));
        },
        WRONG,
    ),
    (
        "alter_department",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["caller"]["department"] = json!("other"));
        },
        WRONG,
    ),
    (
        "alter_tags",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["caller"]["tags"] = json!({"user": "x"}));
        },
        WRONG,
    ),
    (
        "alter_tier",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["target"]["service_tier"] = json!("flex"));
        },
        WRONG,
    ),
    (
        "alter_class",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["tokens"]["input_cached"] = json!(1));
        },
        WRONG,
    ),
    (
        "alter_traceparent",
        |t| {
            let at = t.call();
            t.change(at, |e| {
                e["traceparent"] = json!("00-00000000000000000000000000000001-0000000000000001-01")
            });
        },
        WRONG,
    ),
    (
        "alter_subject",
        |t| {
            let at = t.call();
            t.change(at, |e| e["subject"] = json!("x"));
        },
        WRONG,
    ),
    (
        "alter_key",
        |t| {
            let at = t.call();
            t.change(at, |e| e["partitionkey"] = json!("x"));
        },
        WRONG,
    ),
    (
        "add_member",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["note"] = json!("x"));
        },
        WRONG,
    ),
    (
        "alter_outcome",
        |t| {
            let at = t.call();
            t.change(at, |e| e["data"]["stream"]["outcome"] = json!("rejected"));
        },
        WRONG,
    ),
    (
        "alter_summary",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Summary);
            t.change(at, |e| e["data"]["hour"] = json!("2026-10-31T23:00:00Z"));
        },
        WRONG,
    ),
    (
        "alter_crashed",
        |t| {
            let at = t.pick(|e| e.data["stream"]["outcome"] == "crashed");
            t.change(at, |e| e["data"]["caller"]["id"] = json!("x"));
        },
        WRONG,
    ),
    // Members of control events, of which no total speaks.
    (
        "control_refused",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| e["data"]["refused"] = json!(1));
        },
        &[FindingKind::Altered, FindingKind::Refused],
    ),
    (
        "control_degraded",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| {
                let d = &mut e["data"]["degraded"];
                *d = json!(d == &json!(false));
            });
        },
        WRONG,
    ),
    (
        "control_expired",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| e["data"]["deferred_expired"] = json!(9));
        },
        WRONG,
    ),
    (
        "control_time",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| e["time"] = json!("2026-10-31T23:59:59.000Z"));
        },
        WRONG,
    ),
    (
        "control_digest",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| e["data"]["digest"] = json!("f".repeat(32)));
        },
        WRONG,
    ),
    (
        "control_digest_spoiled",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| e["data"]["digest"] = json!("none"));
        },
        WRONG,
    ),
    (
        "control_previous",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control && !e.data["previous_digest"].is_null());
            t.change(at, |e| e["data"]["previous_digest"] = json!("f".repeat(32)));
        },
        WRONG,
    ),
    (
        "control_hash_gone",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.change(at, |e| drop(e["data"].as_object_mut().unwrap().remove("sha256")));
        },
        WRONG,
    ),
    (
        "row_and_totals",
        |t| {
            let at = t.covered();
            let (_, control) = t.period_of(at).unwrap();
            for at in [at, control] {
                t.change(at, |e| {
                    let tokens = &mut e["data"]["tokens"]["output"];
                    *tokens = json!(tokens.as_u64().unwrap_or(0) + 5);
                });
            }
        },
        WRONG,
    ),
    (
        "row_and_digest",
        |t| {
            let at = t.covered();
            t.change(at, |e| e["data"]["caller"]["id"] = json!("x"));
            let (rows, control) = t.period_of(at).unwrap();
            let mut digest = RowsDigest::default();
            rows.iter().for_each(|row| digest.add(&RowHash::of(t.rows[*row].as_ref().unwrap().as_bytes())));
            t.change(control, |e| e["data"]["digest"] = json!(digest.to_string()));
        },
        WRONG,
    ),
    (
        "digest_gone",
        |t| {
            // As if an older version had written it.
            let at = t.covered();
            t.change(at, |e| e["data"]["caller"]["id"] = json!("x"));
            let (_, control) = t.period_of(at).unwrap();
            t.change(control, |e| {
                for member in [
                    "digest",
                    "previous_instance",
                    "previous_digest",
                    "key_id",
                    "keyed_digest",
                    "sha256",
                    "hmac",
                ] {
                    e["data"].as_object_mut().unwrap().shift_remove(member);
                }
            });
        },
        &[FindingKind::Altered, FindingKind::Unsigned],
    ),
    // Whole rows and periods.
    (
        "move_row",
        |t| {
            // Two rows of one boot exchange their places, between periods where there are two.
            let at = t.covered();
            let boot = boot_of(&t.event(at));
            let period = t.period_of(at).unwrap();
            let rows = t.all(|e| {
                boot_of(e) == boot && e.kind == EventType::Usage && e.data["stream"]["outcome"] == "complete"
            });
            let other = rows
                .iter()
                .copied()
                .find(|row| !period.0.contains(row))
                .or(rows.iter().copied().find(|row| *row != at));
            let Some(other) = other else { return t.rows[at] = None };
            let (one, two) = (sequence(&t.event(at)), sequence(&t.event(other)));
            t.change(at, |e| e["sequence"] = json!(format!("{two:020}")));
            t.change(other, |e| e["sequence"] = json!(format!("{one:020}")));
        },
        &[FindingKind::Altered, FindingKind::Missing],
    ),
    (
        "swap_periods",
        |t| {
            // The rows of two periods of as many rows each exchange their places, and so do the digests.
            let boots = t.boots();
            let alike = boots.iter().find_map(|boot| {
                let periods: Vec<_> =
                    t.periods(boot).into_iter().filter(|(rows, _)| !rows.is_empty()).collect();
                (0..periods.len()).flat_map(|a| (0..a).map(move |b| (a, b))).find_map(|(a, b)| {
                    (periods[a].0.len() == periods[b].0.len())
                        .then(|| (periods[a].clone(), periods[b].clone()))
                })
            });
            let Some(((rows, control), (others, other))) = alike else {
                let at = t.call();
                return t.rows[at] = None;
            };
            for (a, b) in rows.into_iter().zip(others) {
                let (one, two) = (sequence(&t.event(a)), sequence(&t.event(b)));
                t.change(a, |e| e["sequence"] = json!(format!("{two:020}")));
                t.change(b, |e| e["sequence"] = json!(format!("{one:020}")));
            }
            let (one, two) = (t.event(control).data, t.event(other).data);
            for (at, data) in [(control, two), (other, one)] {
                t.change(at, |e| {
                    for member in ["digest", "tokens", "units", "events"] {
                        e["data"][member] = data[member].clone();
                    }
                });
            }
        },
        &[FindingKind::Altered, FindingKind::Missing],
    ),
    (
        "drop_period",
        |t| {
            let at = t.covered();
            let (rows, control) = t.period_of(at).unwrap();
            rows.into_iter().chain([control]).for_each(|at| t.rows[at] = None);
        },
        TAIL,
    ),
    (
        "drop_boot",
        |t| {
            // Of a boot that ended by itself nothing at all is left.
            let boots = t.boots();
            let at = t.pick(|e| {
                e.data["final"] == true
                    && e.data["instance"] == boot_of(e).as_str()
                    && boot_of(e) != boots[0]
                    && boot_of(e) != boots[boots.len() - 1]
            });
            let boot = boot_of(&t.event(at));
            t.all(|e| boot_of(e) == boot).into_iter().for_each(|at| t.rows[at] = None);
        },
        &[FindingKind::Missing, FindingKind::Open, FindingKind::NeverClosed],
    ),
    (
        "replay_period",
        |t| {
            // The rows of a period once more, under numbers that follow on.
            let at = t.covered();
            let (rows, _) = t.period_of(at).unwrap();
            let boot = boot_of(&t.event(at));
            let last =
                t.all(|e| boot_of(e) == boot).into_iter().map(|at| sequence(&t.event(at))).max().unwrap();
            for (row, next) in rows.into_iter().zip(last + 1..) {
                t.copy(row, |e| {
                    (e["id"], e["sequence"]) =
                        (json!(format!("01a20359-92af-74b9-b085-{next:012}")), json!(format!("{next:020}")))
                });
            }
        },
        &[FindingKind::Altered, FindingKind::Missing],
    ),
    (
        "add_row",
        |t| {
            // A call that never was, at the end of the newest boot.
            let at = t.rows.len() - 1;
            let call = t.call();
            let (boot, next) = (boot_of(&t.event(at)), sequence(&t.event(at)) + 1);
            t.copy(call, |e| {
                (e["id"], e["sequence"]) =
                    (json!("01a20359-92af-74b9-b085-00000000beef"), json!(format!("{next:020}")));
                e["data"]["reporter"]["instance"] = json!(boot);
            });
        },
        WRONG,
    ),
    (
        "hidden_but_for_the_chain",
        |t| {
            let last = t.boots().pop().unwrap();
            let at = loop {
                let at = t.covered();
                if boot_of(&t.event(at)) != last {
                    break at;
                }
            };
            t.change(at, |e| e["data"]["caller"]["id"] = json!("x"));
            t.hide_without_chain(at);
        },
        &[FindingKind::Altered, FindingKind::Missing],
    ),
    // What can be hidden from everybody but those who have the key.
    (
        "hidden_caller",
        |t| {
            let at = t.covered();
            t.change(at, |e| e["data"]["caller"]["id"] = json!("x"));
            t.hide(at);
        },
        HIDDEN,
    ),
    (
        "hidden_tokens",
        |t| {
            let at = t.covered();
            t.change(at, |e| {
                let tokens = &mut e["data"]["tokens"]["output"];
                *tokens = json!(tokens.as_u64().unwrap_or(0) + 5);
            });
            let (_, control) = t.period_of(at).unwrap();
            t.reseal(control, |data| data.tokens.output += 5);
            t.hide(at);
        },
        HIDDEN,
    ),
    (
        "hidden_member",
        |t| {
            let at = t.pick(|e| e.kind == EventType::Control);
            t.reseal(at, |data| data.deferred_expired = 9);
        },
        HIDDEN,
    ),
];
