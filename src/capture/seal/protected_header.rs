//! The protected header of a part: it repeats what the part says in the clear, so that whoever alters that is found out.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use metering::usage::{PartFacts, ProtectedHeader};
use serde_json::Value;
use smol_str::SmolStr;

/// How the content key is wrapped (RFC 7518, section 4.1).
const ALG: &str = "RSA-OAEP-256";
/// How the content is encrypted (RFC 7518, section 5.1).
const ENC: &str = "A256GCM";
/// The content is so compressed.
const CTY: &str = "application/zstd";

/// The header as it stands in a JWE, which is what the tag covers too (RFC 7516, section 5.1, step 14).
pub(super) fn protected(id: &str, facts: &PartFacts) -> serde_json::Result<String> {
    let header = ProtectedHeader {
        alg: SmolStr::new_static(ALG),
        enc: SmolStr::new_static(ENC),
        cty: SmolStr::new_static(CTY),
        id: id.into(),
        facts: facts.clone(),
    };
    Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?))
}

/// Reads a header; `None` if it is none of ours.
pub(super) fn read(protected: &str) -> Option<ProtectedHeader> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(protected).ok()?;
    serde_json::from_slice(&json).ok()
}

/// A way of sealing that the header names and that is not known here, such as `alg dir`.
pub(super) fn unknown_algorithm(header: &ProtectedHeader) -> Option<String> {
    let said = [("alg", &header.alg, ALG), ("enc", &header.enc, ENC), ("cty", &header.cty, CTY)];
    let other = said.into_iter().find(|(_, said, known)| *said != known);
    other.map(|(member, said, _)| format!("{member} {said}"))
}

/// The first member that the header has otherwise than the part says it in the clear, as `caller.id`.
pub(super) fn differing_member(header: &ProtectedHeader, id: &str, facts: &PartFacts) -> Option<String> {
    if header.id != id {
        return Some("id".to_owned());
    }
    if header.facts == *facts {
        return None;
    }
    let (sealed, clear) = (serde_json::to_value(&header.facts), serde_json::to_value(facts));
    let (Ok(sealed), Ok(clear)) = (sealed, clear) else { return Some(String::new()) };
    Some(differing(&sealed, &clear).unwrap_or_default())
}

/// The path of the first member that two values have otherwise.
fn differing(sealed: &Value, clear: &Value) -> Option<String> {
    let (Value::Object(left), Value::Object(right)) = (sealed, clear) else {
        return (sealed != clear).then(String::new);
    };
    left.keys().chain(right.keys()).find_map(|name| {
        let member = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
        let below = differing(&member(left), &member(right))?;
        Some(if below.is_empty() { name.clone() } else { format!("{name}.{below}") })
    })
}
