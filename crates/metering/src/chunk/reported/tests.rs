//! Usage objects of every family and depth, in any order of members: each number has its place, and no
//! contradiction is called exact.

use super::*;
use crate::chunk::Charges;
use proptest::prelude::*;

fn parse(json: &str) -> Reported {
    let mut charges = Charges::default();
    charges.read_whole(&[b"usage"], json.as_bytes());
    charges.usage().unwrap()
}

/// (input, output), whether they are doubted, and whether a part exceeds its whole.
fn sides(json: &str) -> (Option<u64>, Option<u64>, bool, bool, bool) {
    let usage = parse(json);
    (usage.input, usage.output, usage.input_differs, usage.output_differs, usage.part_exceeds)
}

fn other(json: &str) -> Vec<(String, u64)> {
    parse(json).other.into_iter().collect()
}

#[test]
fn both_families_of_names() {
    let chat = parse(
        r#"{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0,"cache_write_tokens":1},
            "completion_tokens_details":{"reasoning_tokens":2,"accepted_prediction_tokens":1,"rejected_prediction_tokens":3}}"#,
    );
    assert_eq!((chat.input, chat.output, chat.total), (Some(12), Some(7), Some(19)));
    assert_eq!((chat.input_cached, chat.input_audio, chat.input_image), (Some(4), Some(0), None));
    assert_eq!((chat.output_reasoning, chat.output_prediction_rejected), (Some(2), Some(3)));
    let responses = parse(
        r#"{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}}"#,
    );
    assert_eq!((responses.input, responses.output, responses.output_reasoning), (Some(1), Some(2), Some(1)));
}

#[test]
fn of_two_families_the_numbers_that_are_not_zero_stand_in_any_order() {
    let zeros = r#""prompt_tokens":0,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":3}"#;
    let real =
        r#""input_tokens":30,"output_tokens":9,"input_tokens_details":{"cached_tokens":8,"audio_tokens":0}"#;
    for json in [format!("{{{zeros},{real}}}"), format!("{{{real},{zeros}}}")] {
        assert_eq!(sides(&json), (Some(30), Some(9), false, false, false), "{json}");
        assert_eq!((parse(&json).input_cached, parse(&json).input_audio), (Some(8), Some(3)));
    }
    let torn = sides(r#"{"input_tokens":30,"prompt_tokens":31,"output_tokens":9,"completion_tokens":9}"#);
    assert_eq!(torn, (Some(31), Some(9), true, false, false), "both cannot be right");
}

#[test]
fn details_of_details_have_fields() {
    let usage = parse(
        r#"{"input_tokens":100,"output_tokens":5,"input_token_details":{"cached_tokens":60,"cache_write_tokens":20,
            "cached_tokens_details":{"text_tokens":40,"audio_tokens":15,"cached_image_tokens":5},
            "cache_write_tokens_details":{"ttl_30m_tokens":12,"ttl_12h_tokens":8}},
            "output_token_details":{"text_tokens":2,"audio_tokens":3}}"#,
    );
    assert_eq!(
        (usage.input_cached_text, usage.input_cached_audio, usage.input_cached_image),
        (Some(40), Some(15), Some(5))
    );
    assert_eq!((usage.input_cache_write, usage.input_cache_write_long), (Some(20), Some(8)));
    assert_eq!((usage.output_text, usage.output_audio), (Some(2), Some(3)));
    let rest = "input_token_details.cache_write_tokens_details.ttl_30m_tokens";
    assert_eq!(usage.other, BTreeMap::from([(rest.to_owned(), 12)]));
    assert!(!usage.input_differs && !usage.output_differs);
}

#[test]
fn case_33_tokens_without_a_field_are_kept_by_name_from_any_level() {
    assert_eq!(
        other(
            r#"{"input_tokens":1,"new_tokens":2,"completion_tokens_details":{"video_tokens":5,"x y":1,"new":7,"deep":{"a":3,"b":{"c":4}}},
               "cache_creation":{"ephemeral_5m_input_tokens":6}}"#
        ),
        [
            ("cache_creation.ephemeral_5m_input_tokens".to_owned(), 6),
            ("completion_tokens_details.deep.a".to_owned(), 3),
            ("completion_tokens_details.new".to_owned(), 7),
            ("completion_tokens_details.video_tokens".to_owned(), 5),
            ("new_tokens".to_owned(), 2),
        ]
    );
}

#[test]
fn what_counts_no_tokens_is_not_kept() {
    for json in [
        r#"{"input_tokens":1,"latency_checkpoint":{"engine_ttft_ms":12,"steps":{"a":1}},"routing":{"attempts":2}}"#,
        r#"{"input_tokens":1,"cost":3,"queue_time":1,"tokens_per_second":80,"is_byok":1,"cost_details":{"upstream":3}}"#,
        r#"{"input_tokens":1,"new_tokens":-1,"other_tokens":1.5,"text_tokens":null,"more_tokens":"7"}"#,
    ] {
        assert_eq!(other(json), [], "{json}");
    }
}

#[test]
fn names_of_one_maker_fill_the_field_and_stay_to_be_seen() {
    for (json, seen) in [
        (r#"{"prompt_tokens":100,"prompt_cache_hit_tokens":75,"prompt_cache_miss_tokens":25}"#, 2),
        (r#"{"prompt_tokens":100,"cached_tokens":75}"#, 1),
        (r#"{"prompt_tokens":100,"cached_tokens":75,"prompt_tokens_details":{"cached_tokens":75}}"#, 1),
        (r#"{"prompt_tokens":100,"cached_tokens":75,"prompt_tokens_details":{"cached_tokens":0}}"#, 1),
    ] {
        let usage = parse(json);
        assert_eq!((usage.input_cached, usage.other.len()), (Some(75), seen), "{json}");
        assert!(!usage.input_differs, "{json}");
    }
}

#[test]
fn reasoning_beside_the_output_is_added_where_the_total_says_so() {
    let with = |output: u64, reasoning: u64, total: &str| {
        sides(&format!(
            r#"{{"prompt_tokens":100,"completion_tokens":{output},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}{total}}}"#
        ))
    };
    assert_eq!(with(20, 300, r#","total_tokens":420"#), (Some(100), Some(320), false, false, false));
    assert_eq!(with(20, 3, r#","total_tokens":123"#), (Some(100), Some(23), false, false, false));
    assert_eq!(with(20, 3, r#","total_tokens":120"#), (Some(100), Some(20), false, false, false));
    assert_eq!(with(20, 3, ""), (Some(100), Some(20), false, false, false));
    assert_eq!(with(20, 0, r#","total_tokens":420"#), (Some(100), Some(20), true, true, false));
    assert_eq!(with(20, 300, r#","total_tokens":421"#), (Some(100), Some(20), true, true, true));
    assert_eq!(with(20, 300, r#","total_tokens":120"#), (Some(100), Some(20), false, true, true));
    assert_eq!(with(20, 300, ""), (Some(100), Some(20), false, true, true));
}

#[test]
fn a_part_is_never_larger_than_its_whole() {
    let usage = |details: &str| {
        sides(&format!(r#"{{"input_tokens":50,"output_tokens":9,"total_tokens":59,{details}}}"#))
    };
    for details in [
        r#""input_tokens_details":{"cached_tokens":51}"#,
        r#""input_tokens_details":{"cache_write_tokens":51}"#,
        r#""input_tokens_details":{"cached_tokens":4,"cached_tokens_details":{"text_tokens":5}}"#,
        r#""input_tokens_details":{"cache_write_tokens":4,"cache_write_tokens_details":{"ttl_12h_tokens":5}}"#,
        r#""input_tokens_details":{"image_tokens":51}"#,
        r#""cached_tokens":51"#,
    ] {
        assert_eq!(usage(details), (Some(50), Some(9), true, false, true), "{details}");
    }
    for name in ["audio", "image", "text", "accepted_prediction", "rejected_prediction"] {
        let details = format!(r#""output_tokens_details":{{"{name}_tokens":10}}"#);
        assert_eq!(usage(&details), (Some(50), Some(9), false, true, true), "{details}");
    }
}

#[test]
fn a_total_may_lack_a_side() {
    assert_eq!(sides(r#"{"prompt_tokens":8,"total_tokens":8}"#), (Some(8), None, false, false, false));
    assert_eq!(sides(r#"{"prompt_tokens":8,"total_tokens":7}"#), (Some(8), None, true, false, false));
    assert_eq!(
        sides(r#"{"prompt_tokens":8,"completion_tokens":1,"total_tokens":0}"#),
        (Some(8), Some(1), true, true, false)
    );
}

#[test]
fn what_may_stand_beside_the_input_leaves_it_open() {
    let usage = |more: &str| parse(&format!(r#"{{"input_tokens":8,"output_tokens":1{more}}}"#)).input_open;
    assert!(usage(r#","cache_read_input_tokens":3"#) && usage(r#","cache_creation_input_tokens":3"#));
    assert!(!usage(r#","cache_read_input_tokens":0"#));
    assert!(!usage(r#","cache_read_input_tokens":3,"total_tokens":9"#), "the total says that it is within");
}

#[test]
fn case_35_absurd_numbers_and_zeros_cannot_be_charged_by() {
    assert!(parse(r#"{"prompt_tokens":5,"completion_tokens":0,"total_tokens":5}"#).usable());
    assert!(parse(r#"{"prompt_tokens":1e2,"completion_tokens":3.0}"#).usable());
    for json in [
        r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
        r#"{"prompt_tokens":-5,"completion_tokens":3}"#,
        r#"{"prompt_tokens":5,"completion_tokens":3.5}"#,
        r#"{"prompt_tokens":5,"completion_tokens":99999999999999999999}"#,
        r#"{"prompt_tokens":null,"total_tokens":7}"#,
        r#"{"type":"duration","seconds":3}"#,
        "{}",
    ] {
        assert!(!parse(json).usable(), "{json}");
    }
}

proptest! {
    /// The same is read whatever the numbers and their order, in particular of more names than are kept.
    #[test]
    fn the_order_of_members_never_matters(
        members in prop::collection::btree_map(
            prop::sample::select(vec![
                "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "total_tokens", "cached_tokens",
                "prompt_cache_hit_tokens", "reasoning_tokens", "a_tokens", "b_tokens", "cost",
            ]),
            prop_oneof![Just("0".to_owned()), (1_u64..200).prop_map(|number| number.to_string()), Just("null".to_owned())],
            0..10,
        ),
        details in prop::collection::btree_map("[a-z]{1,2}_tokens", 0_u64..50, 0..20),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let member = |(name, value): (String, String)| format!("\"{name}\":{value}");
        let inner: Vec<_> = details.iter().map(|(name, number)| member((name.clone(), number.to_string()))).collect();
        let mut outer: Vec<_> = members.iter().map(|(name, value)| member(((*name).to_owned(), value.clone()))).collect();
        let turned = |list: &[String]| list.iter().rev().cloned().collect::<Vec<_>>().join(",");
        let (straight, back) = (inner.join(","), turned(&inner));
        let spelled = r#""input_token_details":{"cached_tokens":3},"input_tokens_details":{"cached_tokens":4}"#.to_owned();
        outer.extend([spelled, format!("\"prompt_tokens_details\":{{{straight}}}")]);
        let first = format!("{{{}}}", outer.join(","));
        outer.pop();
        outer.push(format!("\"prompt_tokens_details\":{{{back}}}"));
        let places = outer.len();
        outer.rotate_left(shuffle.index(places));
        let second = format!("{{{}}}", turned(&outer));
        prop_assert_eq!(parse(&first), parse(&second));
    }
}
