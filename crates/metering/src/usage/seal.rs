//! The seals of a control event: a hash of its own bytes, and with a key an HMAC of them.
//!
//! Digests cover rows, and nothing but its seal covers the control event itself. The hash shows what went wrong by
//! itself; who means it computes another one, unless there is a key.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};

use super::control::Control;
use super::digest::ControlKey;
use super::envelope::CloudEvent;
use crate::caller::hex;

/// The members that hold the seals, as they stand in the bytes.
const SEALS: [&str; 2] = [",\"sha256\":\"", ",\"hmac\":\""];

/// Hex digits of a seal.
const SEAL_DIGITS: usize = 64;

/// A seal held against the bytes of its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SealState {
    /// There is none.
    #[default]
    Absent,
    /// It is by a key that is not at hand.
    OtherKey,
    /// It is that of these bytes.
    Whole,
    /// It is that of other bytes.
    Broken,
}

impl CloudEvent<Control> {
    /// Seals an event whose place in the sequence is known, for good.
    ///
    /// # Errors
    /// If it cannot be serialised.
    pub fn sealed(mut self, key: Option<&ControlKey>) -> serde_json::Result<Self> {
        (self.data.sha256, self.data.hmac) = (None, None);
        self.data.key_id = key.map(|key| key.id().to_string());
        let body = serde_json::to_vec(&self)?;
        self.data.sha256 = Some(sha256(&body));
        self.data.hmac = key.map(|key| key.sign(&body));
        Ok(self)
    }
}

impl Control {
    /// Holds the hash against the bytes of the whole event.
    pub fn hash_state(&self, body: &str) -> SealState {
        match &self.sha256 {
            None => SealState::Absent,
            Some(said) if *said == sha256(unsealed(body).as_bytes()) => SealState::Whole,
            Some(_) => SealState::Broken,
        }
    }

    /// Holds the HMAC against the bytes of the whole event.
    pub fn hmac_state(&self, body: &str, key: &ControlKey) -> SealState {
        let Some(said) = &self.hmac else { return SealState::Absent };
        if self.key_id.as_deref() != Some(key.id()) {
            return SealState::OtherKey;
        }
        if *said == key.sign(unsealed(body).as_bytes()) { SealState::Whole } else { SealState::Broken }
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref()).collect()
}

/// An event's bytes without its seals. Within a text of JSON no quotation mark stands bare, so these bytes are members.
fn unsealed(body: &str) -> Cow<'_, str> {
    SEALS.iter().fold(Cow::Borrowed(body), |body, member| without(body, member))
}

fn without<'a>(body: Cow<'a, str>, member: &str) -> Cow<'a, str> {
    let Some(at) = body.find(member) else { return body };
    let end = at + member.len() + SEAL_DIGITS + 1;
    if body.get(end - 1..end) != Some("\"") {
        return body;
    }
    Cow::Owned([&body[..at], &body[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::EventType;

    fn control(key: Option<&ControlKey>) -> (String, Control) {
        let data = Control {
            instance: ",\"hmac\":\"".to_owned(),
            digest: Some("d".to_owned()),
            accepted: 3,
            ..Control::default()
        };
        let event = CloudEvent::new(EventType::Control, "//tokenweir/x", "i".to_owned(), None, "b", data);
        let event = event.with_sequence(7).sealed(key).unwrap();
        (serde_json::to_string(&event).unwrap(), event.data)
    }

    #[test]
    fn a_seal_is_that_of_every_other_byte() {
        let key = ControlKey::new(b"k");
        let (body, data) = control(Some(&key));
        assert_eq!(
            (data.hash_state(&body), data.hmac_state(&body, &key)),
            (SealState::Whole, SealState::Whole)
        );
        assert_eq!(data.hmac_state(&body, &ControlKey::new(b"l")), SealState::OtherKey);
        // All but the two seals, which are the last members.
        let sealed_bytes = body.find(SEALS[0]).unwrap();
        assert_eq!(unsealed(&body), format!("{}}}}}", &body[..sealed_bytes]));
        for at in 0..sealed_bytes {
            let mut changed = body.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(data.hash_state(&changed), SealState::Broken, "{changed}");
            assert_eq!(data.hmac_state(&changed, &key), SealState::Broken, "{changed}");
        }
    }

    #[test]
    fn without_a_key_there_is_a_hash_alone_and_a_seal_of_any_length_is_no_seal() {
        let (body, data) = control(None);
        assert_eq!(data.hash_state(&body), SealState::Whole);
        assert_eq!(
            (&data.key_id, data.hmac_state(&body, &ControlKey::new(b"k"))),
            (&None, SealState::Absent)
        );
        for cut in ["", "0", "é"] {
            let spoiled = Control { sha256: Some(cut.to_owned()), ..data.clone() };
            let body = body.replace(data.sha256.as_ref().unwrap(), cut);
            assert_eq!(spoiled.hash_state(&body), SealState::Broken, "{body}");
        }
        assert_eq!(Control { sha256: None, ..data }.hash_state(&body), SealState::Absent);
    }
}
