//! Bounds what the rendering of one request's tools may cost. With references, and with lists of types, a
//! small schema can unfold into a text without end; a schema that is read in full by people unfolds
//! into about its own size.

use serde_json::Value;

use crate::prompt::object::Object;

/// Types that are rendered.
const TYPES_MAX: usize = 50_000;

/// Bytes of text and of copies that are made. A body of the largest size that is counted, all of it
/// tools, stays below this.
const TEXT_BYTES_MAX: usize = 32 << 20;

/// How much has been spent so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RenderBudget {
    types: usize,
    text_bytes: usize,
}

impl RenderBudget {
    pub(super) fn add_type(&mut self) {
        self.types += 1;
    }

    pub(super) fn text(&mut self, bytes: usize) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
    }

    /// Pays for a copy; false if that is too much.
    pub(super) fn copy(&mut self, schema: &Object) -> bool {
        if !self.is_spent() {
            self.text(schema.iter().map(|(key, value)| key.len() + bytes(value)).sum());
        }
        !self.is_spent()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.types > TYPES_MAX || self.text_bytes > TEXT_BYTES_MAX
    }
}

/// About the bytes that a value takes. The parser allows no nesting that would be too deep for this.
fn bytes(value: &Value) -> usize {
    const NODE_BYTES: usize = 32;
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(bytes).sum(),
            Value::Object(members) => members.iter().map(|(key, value)| key.len() + bytes(value)).sum(),
            _ => 0,
        }
}
