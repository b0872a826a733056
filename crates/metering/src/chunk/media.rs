//! The members of a document or an event that tell of the images, the sound or the video that it is about.

use super::charges::milliseconds;
use super::json::{Malformed, Text, elements, members};

/// Entries of `data` that are counted. Services make ten images at most; embeddings have more entries, and nobody
/// counts them.
pub(super) const ENTRIES_MAX: usize = 128;

/// Images, sound or video, as a response tells of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Media<'a> {
    /// `size`
    pub size: Option<Text<'a>>,
    /// `quality`
    pub quality: Option<Text<'a>>,
    /// `duration`, in milliseconds: how long the sound is that was heard.
    pub duration_ms: Option<u64>,
    /// Entries of `data`; `None` if there is no such list, or one of more than anybody asks for.
    pub entries: Option<u64>,
}

impl<'a> Media<'a> {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// [`Malformed`] if `document` is no JSON object.
    pub fn parse(document: &'a [u8]) -> Result<Media<'a>, Malformed> {
        let (mut media, mut data) = (Media::default(), None);
        members(document, |key, value| match key {
            b"size" => media.size = value.text(),
            b"quality" => media.quality = value.text(),
            b"duration" => media.duration_ms = value.number().and_then(milliseconds),
            b"data" => data = value.array(),
            _ => {}
        })?;
        media.entries = data.and_then(count).filter(|entries| *entries <= ENTRIES_MAX as u64);
        Ok(media)
    }
}

/// How many elements a list has; `None` if it is not JSON.
fn count(list: &[u8]) -> Option<u64> {
    let mut count = 0;
    elements(list, |_| count += 1).ok()?;
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: &str) -> Option<u64> {
        Media::parse(json.as_bytes()).unwrap().entries
    }

    #[test]
    fn members_are_read_where_they_are_what_they_should_be() {
        let text = |text: Option<Text<'_>>| text.map(|text| text.lossy().into_owned());
        let media = Media::parse(
            br#"{"size":"1024x1024","quality":"high","duration":8.470000267028809,"data":[{"b64_json":"]"},[],null]}"#,
        )
        .unwrap();
        assert_eq!(
            (text(media.size).as_deref(), text(media.quality).as_deref()),
            (Some("1024x1024"), Some("high"))
        );
        assert_eq!((media.duration_ms, media.entries), (Some(8_470), Some(3)));
        let other = Media::parse(br#"{"size":1024,"quality":null,"duration":"8","data":{}}"#).unwrap();
        assert!(other.size.is_none() && other.quality.is_none());
        assert_eq!((other.duration_ms, other.entries), (None, None));
        assert!(Media::parse(b"[]").is_err());
    }

    #[test]
    fn a_list_that_nobody_asks_for_has_no_number() {
        let list = |entries: usize| format!(r#"{{"data":[{}0]}}"#, "0,".repeat(entries - 1));
        assert_eq!(entries(&list(ENTRIES_MAX)), Some(128));
        assert_eq!(entries(&list(ENTRIES_MAX + 1)), None);
        assert_eq!((entries(r#"{"data":[]}"#), entries(r#"{"data":[1 2]}"#)), (Some(0), None));
    }
}
