//! Avro files of Event Hubs Capture: each record is a message, its `Body` the event.
//!
//! The file brings its own schema, so the fields may stand in any order, and others beside them. A window in which
//! nothing arrived is a file without a record.

use std::fmt;
use std::io::Read;
use std::path::Path;

use apache_avro::{Reader, Schema};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::each_event::EachEvent;
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;
use crate::report::omissions::OmissionReason;

/// Memory of one block of a file; the service writes some 64 kB to a block.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// The field that holds the event.
const BODY: &str = "Body";

/// Shows the body of each message.
///
/// # Errors
/// If `each` wants no more.
pub(super) fn each_message(
    reader: impl Read,
    file: &Path,
    each: &mut EachEvent<'_>,
) -> Result<(), ReportError> {
    apache_avro::util::max_allocation_bytes(BLOCK_BYTES_MAX);
    let damaged = |error: &apache_avro::Error, each: &mut EachEvent<'_>| {
        each(Err(OmissionReason::Damaged), EventOrigin::File { file, why: &error.to_string() })
    };
    let reader = match Reader::new(reader) {
        Ok(reader) => reader,
        Err(error) => return damaged(&error, each),
    };
    if !is_captured(reader.writer_schema()) {
        let why = "Avro, but not of Event Hubs Capture: its records have no `Body` of bytes";
        return each(Err(OmissionReason::UnknownFormat), EventOrigin::File { file, why });
    }
    for (message, captured) in (1..).zip(reader.into_deser_iter::<CapturedMessage>()) {
        let origin = EventOrigin::Captured { file, message };
        match captured {
            Ok(CapturedMessage { body: None }) => each(Err(OmissionReason::NoBody), origin)?,
            Ok(CapturedMessage { body: Some(body) }) => match std::str::from_utf8(&body) {
                Ok(text) => each(Ok(text), origin)?,
                Err(_) => each(Err(OmissionReason::NotText), origin)?,
            },
            Err(error) => return damaged(&error, each),
        }
    }
    Ok(())
}

/// Records with a `Body` of bytes. A schema that names itself could nest without end, and is none of Capture's.
fn is_captured(schema: &Schema) -> bool {
    let Schema::Record(record) = schema else { return false };
    let body = record.fields.iter().find(|field| field.name == BODY);
    body.is_some_and(|body| is_body(&body.schema))
        && record.fields.iter().all(|field| !names_another(&field.schema))
}

fn is_body(schema: &Schema) -> bool {
    match schema {
        Schema::Bytes | Schema::String => true,
        Schema::Union(union) => {
            union.variants().iter().all(|one| matches!(one, Schema::Null | Schema::Bytes | Schema::String))
        }
        _ => false,
    }
}

fn names_another(schema: &Schema) -> bool {
    match schema {
        Schema::Ref { .. } => true,
        Schema::Array(array) => names_another(&array.items),
        Schema::Map(map) => names_another(&map.types),
        Schema::Union(union) => union.variants().iter().any(names_another),
        Schema::Record(record) => record.fields.iter().any(|field| names_another(&field.schema)),
        _ => false,
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum FieldName {
    Body,
    #[serde(other)]
    Other,
}

/// A record, as far as it is read.
struct CapturedMessage {
    body: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for CapturedMessage {
    /// By hand, since a derived reader insists on the name of the record.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CapturedMessage, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = CapturedMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<CapturedMessage, A::Error> {
        let mut message = CapturedMessage { body: None };
        while let Some(name) = fields.next_key::<FieldName>()? {
            match name {
                FieldName::Body => message.body = fields.next_value::<Body>()?.0,
                FieldName::Other => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(message)
    }
}

/// The bytes of a message, if it has any.
struct Body(Option<Vec<u8>>);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

struct BodyVisitor;

impl Visitor<'_> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes or nothing")
    }

    fn visit_unit<E>(self) -> Result<Body, E> {
        Ok(Body(None))
    }

    fn visit_none<E>(self) -> Result<Body, E> {
        Ok(Body(None))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Body, E> {
        Ok(Body(Some(bytes)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Body, E> {
        Ok(Body(Some(bytes.to_vec())))
    }

    fn visit_string<E>(self, text: String) -> Result<Body, E> {
        Ok(Body(Some(text.into_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Body, E> {
        Ok(Body(Some(text.as_bytes().to_vec())))
    }
}
