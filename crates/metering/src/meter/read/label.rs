//! Names in a response that may stand in an event.

use smol_str::SmolStr;

use crate::chunk;

/// Characters of a label (model, id, error code) that goes into an event.
const LABEL_CHARS_MAX: usize = 128;

/// Sets a label that is there and not empty; `again`: the last one stands, else the first.
/// Returns whether it has changed.
pub(super) fn set_label(slot: &mut Option<SmolStr>, text: Option<chunk::Text<'_>>, again: bool) -> bool {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return false };
    if slot.is_some() && !again {
        return false;
    }
    let text = text.lossy();
    if slot.as_deref() == Some(&*text) {
        return false;
    }
    match label(&text) {
        Some(label) => *slot = Some(label),
        None => return false,
    }
    true
}

/// A name that may stand in an event: short, printable ASCII.
pub(crate) fn label(text: &str) -> Option<SmolStr> {
    let fits = !text.is_empty() && text.len() <= LABEL_CHARS_MAX;
    (fits && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')).then(|| text.into())
}

/// A finish reason is a word of the API; anything else is `other`.
pub(super) fn finish_label(reason: &str) -> SmolStr {
    let is_word = reason.len() <= 32 && reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_word && !reason.is_empty() { reason.into() } else { SmolStr::new_static("other") }
}
