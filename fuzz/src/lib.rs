//! The fuzz targets share this: how an input is cut, how it is spelled, and how a JSON object is read with equal
//! names.
#![forbid(unsafe_code)]

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub mod proxy;

/// Where a text is cut: the first bytes of an input say.
pub struct Cuts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cuts<'a> {
    /// Takes the first bytes of an input, up to eight; the rest is the text.
    pub fn take(input: &'a [u8]) -> (Cuts<'a>, &'a [u8]) {
        let (bytes, text) = input.split_at(input.len().min(8));
        (Cuts { bytes, at: 0 }, text)
    }

    /// The pieces of a text, small and large, some of them empty.
    pub fn pieces<'t>(&mut self, mut text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let byte = self.bytes.get(self.at % self.bytes.len().max(1)).copied().unwrap_or(1);
            self.at += 1;
            let len = match byte {
                0 if pieces.last().is_none_or(|last: &&[u8]| !last.is_empty()) => 0,
                byte @ 0..200 => 1 + usize::from(byte % 16),
                byte => usize::from(byte) * 4,
            };
            let (piece, rest) = text.split_at(len.min(text.len()));
            pieces.push(piece);
            text = rest;
        }
        pieces
    }
}

/// A text in which control characters that hardly matter stand for words: one changed byte then makes
/// another request or event, where it would mostly break it. All other bytes stand for themselves.
pub fn spelled(input: &[u8], words: &[&str]) -> Vec<u8> {
    let mut text = Vec::with_capacity(input.len() * 2);
    for byte in input {
        let word = match byte {
            1..=8 => words.get(usize::from(byte - 1)),
            0x0e..=0x1e => words.get(usize::from(byte - 6)),
            _ => None,
        };
        text.extend_from_slice(word.map_or(std::slice::from_ref(byte), |word| word.as_bytes()));
    }
    text
}

/// The members of a JSON object as they stand in it, also those with equal names: a map would lose them.
pub struct Members<'a>(pub Vec<(&'a RawValue, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of an object; `None` if serde_json takes the text for none.
    pub fn of(object: &'a [u8]) -> Option<Members<'a>> {
        serde_json::from_slice(object).ok()
    }

    /// The values of all members with this name.
    pub fn named(&self, name: &str) -> Vec<&'a str> {
        self.0.iter().filter(|(key, _)| is_named(key, name)).map(|(_, value)| value.get()).collect()
    }

    /// All other members.
    pub fn except(&self, name: &str) -> Vec<(&'a str, &'a str)> {
        let others = self.0.iter().filter(|(key, _)| !is_named(key, name));
        others.map(|(key, value)| (key.get(), value.get())).collect()
    }
}

/// A member's name, in its quotes and with its escapes, is this one.
pub fn is_named(key: &RawValue, name: &str) -> bool {
    serde_json::from_str::<String>(key.get()).is_ok_and(|key| key == name)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(&'de RawValue, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}
