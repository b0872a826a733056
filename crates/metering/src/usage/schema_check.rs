//! How the tests hold a type and its schema against each other.

use std::collections::BTreeSet;

use serde::Deserializer;
use serde::de::{DeserializeOwned, Visitor};
use serde_json::Value;
use strum::VariantArray;

/// The schema that a reference names.
pub(super) fn part<'a>(schema: &'a Value, schema_root: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => &schema_root["$defs"][path.trim_start_matches("#/$defs/")],
        None => schema,
    }
}

/// Every member has a schema, and every schema a member: `whole` has all that there is.
pub(super) fn same_fields(place: &str, value: &Value, schema: &Value, root: &Value, whole: bool) {
    let schema = part(schema, root);
    for element in value.as_array().into_iter().flatten() {
        same_fields(&format!("{place}[]"), element, &schema["items"], root, whole);
    }
    let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for (name, member) in members {
        let place = format!("{place}.{name}");
        let schema = properties.get(name).unwrap_or_else(|| panic!("{place} is not in the schema"));
        same_fields(&place, member, schema, root, whole && name != "caller");
    }
    for name in properties.keys().filter(|_| whole) {
        assert!(members.contains_key(name), "{place}.{name} of the schema is in no event");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(name.as_str().unwrap()), "{place}.{name} is required and absent");
    }
}

/// Names of a struct's members as serde knows them, set or not.
struct Names<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("it is no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(names);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

pub(super) fn members<T: DeserializeOwned>() -> BTreeSet<&'static str> {
    let mut names = Vec::new();
    assert!(T::deserialize(Names(&mut names)).is_err());
    names.into_iter().collect()
}

/// The words of a vocabulary.
pub(super) fn words<T: VariantArray + Copy + Into<&'static str>>() -> Vec<&'static str> {
    T::VARIANTS.iter().map(|word| (*word).into()).collect()
}
