//! What is sealed is opened byte for byte, by its recipients alone, and whatever was altered is named.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use metering::usage::{CloudEvent, ContentPart, ContentType};
use openssl::bn::{BigNum, MsbOption};
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::keys::{owner, public_pem, sealer_to};
use super::parts::{CALL, compressed, facts, id_of, part_of, sealed};
use crate::capture::seal::{
    CachedUnwrap, ContentKey, OpenError, SealMode, Sealer, Unwrap, UnwrapError, WrappedKey, check_header,
    open,
};

/// What Event Hubs and the producer take as one event.
const EVENT_BYTES_MAX: usize = 1_000_000;

/// A part ends at so many bytes.
const PART_BYTES: usize = 512 << 10;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_opened_is_what_passed(
        content in prop::collection::vec(any::<u8>(), 0..20_000),
        repeats in 1..20_usize,
        block_bytes in 1..40_000_usize,
        clear in any::<bool>(),
    ) {
        let content = content.repeat(repeats);
        let mut sealer = if clear { Sealer::new(SealMode::Cleartext) } else { sealer_to(&public_pem([0, 1])) };
        // A frame for each byte would take longer than it shows.
        let block_bytes = block_bytes.max(content.len() / 64);
        let part = sealed(&mut sealer, facts(7, content.len()), &compressed(&content, block_bytes));
        prop_assert_eq!(part.jwe.is_none(), clear);
        let id = id_of(&part.facts);
        prop_assert_eq!(check_header(&part, &id).unwrap().is_none(), clear);
        prop_assert!(open(&part, &id, &mut owner(1)).unwrap() == content);
    }
}

#[test]
fn a_nonce_comes_once_under_a_key_and_each_minute_has_a_key_of_its_own() {
    let (mut sealer, begun) = (sealer_to(&public_pem([0])), Instant::now());
    let (mut nonces, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for second in 0..180 {
        let facts = facts(second, 3);
        let now = begun + Duration::from_secs(second);
        let jwe = sealer.seal(&id_of(&facts), &facts, b"abc", now).unwrap().jwe.unwrap();
        let key = jwe.encrypted_key.unwrap();
        assert!(nonces.insert((key.clone(), jwe.iv)), "a nonce came twice under a key");
        keys.insert(key);
    }
    assert_eq!(keys.len(), 3);
    sealer.wipe_old_key(begun + Duration::from_secs(200));
    let facts = facts(0, 3);
    let again = sealer.seal(&id_of(&facts), &facts, b"abc", begun + Duration::from_secs(200)).unwrap();
    assert!(!keys.contains(&again.jwe.unwrap().encrypted_key.unwrap()));
}

#[test]
fn each_recipient_opens_it_and_nobody_else() {
    let part = part_of(&mut sealer_to(&public_pem([0, 1])), 0, b"hello");
    let id = id_of(&part.facts);
    for number in [0, 1] {
        assert_eq!(open(&part, &id, &mut owner(number)).unwrap(), b"hello");
    }
    let refused = open(&part, &id, &mut owner(2)).unwrap_err();
    assert!(matches!(&refused, OpenError::NoKeyForIt { kids } if kids.len() == 2), "{refused}");
    // A name that is another's helps nobody.
    let mut renamed = part_of(&mut sealer_to(&public_pem([0])), 0, b"hello");
    let jwe = renamed.jwe.as_mut().unwrap();
    jwe.header = part_of(&mut sealer_to(&public_pem([2])), 0, b"").jwe.unwrap().header;
    let refused = open(&renamed, &id, &mut owner(2)).unwrap_err();
    assert!(matches!(refused, OpenError::Unwrap(UnwrapError::Refused { .. })), "{refused}");
    assert_eq!(open(&renamed, &id, &mut owner(0)).unwrap(), b"hello");
}

/// Every value of the clear facts with its path, each changed into another of its kind.
fn altered(facts: &Value, path: &str) -> Vec<(String, Value)> {
    let Value::Object(members) = facts else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let with = |value: Value| {
            let mut changed = facts.clone();
            changed[name] = value;
            changed
        };
        let other = match value {
            Value::Object(_) => {
                let below = altered(value, &path);
                all.extend(below.into_iter().map(|(path, value)| (path, with(value))));
                continue;
            }
            Value::Bool(said) => json!(!said),
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::Array(_) => json!(["other"]),
            Value::String(_) => match name.as_str() {
                "side" => json!("request"),
                "usage" => json!("none"),
                "outcome" => json!("client_disconnect"),
                "trust" => json!("network"),
                "api" => json!("embeddings"),
                _ => json!("other"),
            },
            Value::Null => unreachable!("every member is set"),
        };
        all.push((path, with(other)));
    }
    all
}

#[test]
fn every_member_of_the_clear_facts_that_is_altered_is_named() {
    let part = part_of(&mut sealer_to(&public_pem([0])), 3, b"hello");
    let id = id_of(&part.facts);
    let clear = serde_json::to_value(&part.facts).unwrap();
    let cases = altered(&clear, "");
    assert!(cases.len() > 18, "only {} members", cases.len());
    for (path, changed) in cases {
        let facts = serde_json::from_value(changed).unwrap_or_else(|error| panic!("{path}: {error}"));
        let changed = ContentPart { facts, ..part.clone() };
        let named = OpenError::HeaderDiffers { member: path };
        assert_eq!(check_header(&changed, &id).unwrap_err(), named);
        assert_eq!(open(&changed, &id, &mut owner(0)).unwrap_err(), named);
    }
    for (name, value) in clear.as_object().unwrap() {
        let mut without = clear.clone();
        without.as_object_mut().unwrap().remove(name);
        // What cannot be left out is no part at all.
        let Ok(facts) = serde_json::from_value(without) else { continue };
        let changed = ContentPart { facts, ..part.clone() };
        let error = check_header(&changed, &id).unwrap_err();
        assert_eq!(error, OpenError::HeaderDiffers { member: name.clone() }, "{value}");
    }
    let other = OpenError::HeaderDiffers { member: "id".to_owned() };
    assert_eq!(check_header(&part, &format!("{CALL}.response.4")).unwrap_err(), other);
}

#[test]
fn what_is_sealed_cannot_be_swapped_altered_or_cut() {
    let mut sealer = sealer_to(&public_pem([0]));
    let (first, second) = (part_of(&mut sealer, 0, b"first"), part_of(&mut sealer, 1, b"second"));
    let id = id_of(&first.facts);
    let opened = |part: &ContentPart| open(part, &id, &mut owner(0)).unwrap_err();
    let swapped = ContentPart { jwe: second.jwe.clone(), ..first.clone() };
    assert_eq!(opened(&swapped), OpenError::HeaderDiffers { member: "id".to_owned() });
    let (one, other) = (first.jwe.clone().unwrap(), second.jwe.unwrap());
    let with = |change: &dyn Fn(&mut metering::usage::Jwe)| {
        let mut jwe = one.clone();
        change(&mut jwe);
        ContentPart { jwe: Some(jwe), ..first.clone() }
    };
    let flipped = |text: &str| {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        bytes[0] ^= 1;
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    };
    assert_eq!(opened(&with(&|jwe| jwe.iv = other.iv.clone())), OpenError::Tag);
    assert_eq!(opened(&with(&|jwe| jwe.ciphertext = other.ciphertext.clone())), OpenError::Tag);
    assert_eq!(opened(&with(&|jwe| jwe.ciphertext = flipped(&jwe.ciphertext))), OpenError::Tag);
    assert_eq!(opened(&with(&|jwe| jwe.tag = flipped(&jwe.tag))), OpenError::Tag);
    // The same facts in other bytes: they are covered as they stand.
    let spaced = |jwe: &mut metering::usage::Jwe| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(&jwe.protected).unwrap();
        jwe.protected = BASE64_URL_SAFE_NO_PAD.encode([b" ", &json[..]].concat());
    };
    assert_eq!(opened(&with(&spaced)), OpenError::Tag);
    let short = OpenError::MemberUnreadable { member: "tag" };
    assert_eq!(opened(&with(&|jwe| jwe.tag.truncate(8))), short);
    assert_eq!(opened(&with(&|jwe| jwe.iv.truncate(8))), OpenError::MemberUnreadable { member: "iv" });
    assert_eq!(opened(&with(&|jwe| jwe.protected.insert(0, '!'))), OpenError::HeaderUnreadable);
    let key = with(&|jwe| jwe.encrypted_key = Some(flipped(jwe.encrypted_key.as_ref().unwrap())));
    assert!(matches!(opened(&key), OpenError::Unwrap(UnwrapError::Refused { .. })));
    assert_eq!(opened(&ContentPart { jwe: None, ..first.clone() }), OpenError::NoContent);
    let both = ContentPart { cleartext: Some(String::new()), ..first.clone() };
    assert_eq!(opened(&both), OpenError::NoContent);
    let direct = |jwe: &mut metering::usage::Jwe| {
        let json = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(&jwe.protected).unwrap()).unwrap();
        jwe.protected = BASE64_URL_SAFE_NO_PAD.encode(json.replace("A256GCM", "A128GCM"));
    };
    let unknown = OpenError::UnknownAlgorithm { said: "enc A128GCM".to_owned() };
    assert_eq!(opened(&with(&direct)), unknown);
}

#[test]
fn content_that_is_not_what_its_part_says_is_refused_within_a_bound() {
    let mut sealer = sealer_to(&public_pem([0]));
    let mut opened = |bytes_raw: usize, compressed: &[u8]| {
        let part = sealed(&mut sealer, facts(0, bytes_raw), compressed);
        open(&part, &id_of(&part.facts), &mut owner(0))
    };
    // A thousand MiB of zeros in some ten KiB.
    let bomb = compressed(&vec![0; 1 << 20], 1 << 20).repeat(1_000);
    assert!(bomb.len() < 200 << 10);
    assert_eq!(opened(1 << 20, &bomb), Err(OpenError::WrongLength { said: 1 << 20 }));
    assert_eq!(opened(1 << 30, &bomb), Err(OpenError::WrongLength { said: 1 << 30 }));
    let hello = compressed(b"hello", 2);
    assert_eq!(opened(5, &hello).unwrap(), b"hello");
    assert_eq!(opened(4, &hello), Err(OpenError::WrongLength { said: 4 }));
    assert_eq!(opened(6, &hello), Err(OpenError::WrongLength { said: 6 }));
    assert_eq!(opened(5, b"hello"), Err(OpenError::NotZstd));
    assert_eq!(opened(5, &hello[..hello.len() - 1]), Err(OpenError::NotZstd));
    assert_eq!(opened(0, b"").unwrap(), b"");
}

#[test]
fn a_part_without_a_seal_says_so_and_its_id_is_made_of_its_facts() {
    let mut part = part_of(&mut Sealer::new(SealMode::Cleartext), 2, b"hello");
    let id = id_of(&part.facts);
    assert_eq!(open(&part, &id, &mut owner(0)).unwrap(), b"hello");
    part.facts.part = 3;
    assert_eq!(check_header(&part, &id), Err(OpenError::IdDiffers));
}

/// Public keys of the largest size: any odd number will do to wrap with.
fn largest_keys(count: usize) -> String {
    let one = |_| {
        let mut n = BigNum::new().unwrap();
        n.rand(16_384, MsbOption::ONE, true).unwrap();
        let rsa = Rsa::from_public_components(n, BigNum::from_u32(65_537).unwrap()).unwrap();
        String::from_utf8(PKey::from_rsa(rsa).unwrap().public_key_to_pem().unwrap()).unwrap()
    };
    (0..count).map(one).collect()
}

#[test]
fn the_largest_part_stays_below_the_bound_of_event_hubs() {
    let mut content = vec![0; PART_BYTES];
    openssl::rand::rand_bytes(&mut content).unwrap();
    let mut facts = facts(u64::MAX, content.len());
    // The longest names that heads of messages may bring.
    let long = || "n".repeat(8 << 10);
    facts.caller.id = long().into();
    facts.content_type = Some(long().into());
    facts.content_encoding = Some(long().into());
    facts.target.deployment = Some(long().into());
    facts.target.model = Some(long().into());
    let mut sealer = sealer_to(&largest_keys(16));
    let part = sealed(&mut sealer, facts, &compressed(&content, 32 << 10));
    let id = id_of(&part.facts);
    let subject = part.facts.caller.id.clone();
    let event =
        CloudEvent::new(ContentType::Part, "//tokenweir/x", id, None, subject, part).with_sequence(u64::MAX);
    let bytes = serde_json::to_vec(&event).unwrap().len();
    assert!(bytes > 800_000 && bytes < EVENT_BYTES_MAX, "{bytes} bytes");
}

struct Counted(u32);

impl Unwrap for Counted {
    fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError> {
        self.0 += 1;
        owner(0).unwrap_key(wrapped)
    }
}

#[test]
fn a_key_is_unwrapped_once_and_a_refusal_is_remembered() {
    let mut counted = Counted(0);
    let (mut sealer, mut foreign) = (sealer_to(&public_pem([0])), sealer_to(&public_pem([1])));
    let parts: Vec<_> = (0..5).map(|number| part_of(&mut sealer, number, b"x")).collect();
    let others: Vec<_> = (0..5).map(|number| part_of(&mut foreign, number, b"x")).collect();
    struct Lent<'a>(&'a mut Counted);
    impl Unwrap for Lent<'_> {
        fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError> {
            self.0.unwrap_key(wrapped)
        }
    }
    let mut cached = CachedUnwrap::new(Lent(&mut counted));
    for (own, other) in parts.iter().zip(&others) {
        assert!(open(own, &id_of(&own.facts), &mut cached).is_ok());
        assert!(open(other, &id_of(&other.facts), &mut cached).is_err());
    }
    drop(cached);
    assert_eq!(counted.0, 2);
}
