//! One frame of a recorded session: a whole message of one side, or the end of that side.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::member::{base64, given, needed, value};
use crate::frames::{FrameKind, frame};
use crate::session::SessionSide;

const FROM_ALLOWED: &str = "\"client\" or \"server\"";
const CODE_ALLOWED: &str = "the code of the close frame, 0 to 65535";
const CONTENT_ALLOWED: &str = "one of text, json, binary_base64, ping, pong, close and cut";

/// The code that a close frame has that has none (RFC 6455 7.4.1).
const NO_CODE: u16 = 1005;

/// A frame of the input, read and checked.
#[derive(Debug)]
pub(super) struct RecordedFrame<'a> {
    pub(super) side: SessionSide,
    pub(super) content: FrameContent<'a>,
}

/// A side does one of these.
#[derive(Debug)]
pub(super) enum FrameContent<'a> {
    Text(Cow<'a, str>),
    Binary(Vec<u8>),
    /// A ping or a pong, which says nothing of the session.
    Idle,
    Close(u16),
    /// The connection breaks off: no frame comes of this.
    Cut,
}

/// The members as they stand. Others are ignored.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "value")]
    from: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    text: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    json: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    binary_base64: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    ping: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    pong: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    close: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    cut: Option<&'a RawValue>,
}

impl<'a> RecordedFrame<'a> {
    /// Reads the frames of a line. Of those that are wrong the first is told.
    pub(super) fn parse_all(frames: &'a RawValue, wrong: &mut Vec<String>) -> Option<Vec<RecordedFrame<'a>>> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(frames.get()) else {
            wrong.push("`frames` is no array; allowed: an array of frames, each a JSON object".to_owned());
            return None;
        };
        let mut frames = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let mut wrong_here = Vec::new();
            match RecordedFrame::parse(item, &mut wrong_here) {
                Some(frame) if wrong_here.is_empty() => frames.push(frame),
                _ => {
                    wrong.push(format!("frame {} of `frames`: {}", at + 1, wrong_here.join(", ")));
                    return None;
                }
            }
        }
        Some(frames)
    }

    fn parse(item: &'a RawValue, wrong: &mut Vec<String>) -> Option<RecordedFrame<'a>> {
        let Ok(members) = serde_json::from_str::<Members<'a>>(item.get()) else {
            wrong.push("is no JSON object, or has a member twice".to_owned());
            return None;
        };
        let side: Option<SessionSide> = needed::<String>(members.from, "from", FROM_ALLOWED, wrong)
            .and_then(|name| name.parse().map_err(|_| wrong.push(not_a_side(&name))).ok());
        let content = members.content(wrong);
        Some(RecordedFrame { side: side?, content: content? })
    }

    /// The bytes of the frame as that side sends them; none where nothing comes of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let by_client = self.side == SessionSide::Client;
        match &self.content {
            FrameContent::Text(text) => frame(FrameKind::Text, by_client, text.as_bytes()),
            FrameContent::Binary(bytes) => frame(FrameKind::Binary, by_client, bytes),
            FrameContent::Close(NO_CODE) => frame(FrameKind::Close, by_client, &[]),
            FrameContent::Close(code) => frame(FrameKind::Close, by_client, &code.to_be_bytes()),
            FrameContent::Idle | FrameContent::Cut => Vec::new(),
        }
    }
}

fn not_a_side(name: &str) -> String {
    super::member::not_allowed("from", &format!("{name:?}"), FROM_ALLOWED)
}

impl<'a> Members<'a> {
    fn content(&self, wrong: &mut Vec<String>) -> Option<FrameContent<'a>> {
        let all = [self.text, self.json, self.binary_base64, self.ping, self.pong, self.close, self.cut];
        if all.iter().flatten().count() != 1 {
            wrong.push(format!("its content is missing, or is there twice: {CONTENT_ALLOWED}"));
            return None;
        }
        match (self.text, self.json, self.binary_base64, self.close, self.cut) {
            (Some(text), ..) => {
                let text: Option<String> = given(Some(text), "text", "a message, as one text", wrong);
                text.map(|text| FrameContent::Text(text.into()))
            }
            (_, Some(json), ..) => Some(FrameContent::Text(json.get().into())),
            (_, _, Some(coded), ..) => base64(coded, "binary_base64", wrong).map(FrameContent::Binary),
            (_, _, _, Some(code), _) => {
                given(Some(code), "close", CODE_ALLOWED, wrong).map(FrameContent::Close)
            }
            (.., Some(cut)) => {
                let is_cut: bool = given(Some(cut), "cut", "true", wrong)?;
                if !is_cut {
                    wrong.push("`cut` is false; allowed: true".to_owned());
                }
                Some(FrameContent::Cut)
            }
            _ => Some(FrameContent::Idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(frames: &str) -> String {
        let mut wrong = Vec::new();
        let frames = serde_json::from_str(frames).unwrap();
        assert!(RecordedFrame::parse_all(frames, &mut wrong).is_none());
        wrong.join("; ")
    }

    #[test]
    fn the_first_frame_that_is_wrong_is_told_and_nothing_of_its_content() {
        for (frames, said) in [
            ("{}", "`frames` is no array; allowed: an array of frames, each a JSON object"),
            ("[1]", "frame 1 of `frames`: is no JSON object, or has a member twice"),
            (
                r#"[{"from": "server", "text": "a"}, {}, 1]"#,
                "frame 2 of `frames`: `from` is missing: \"client\" or \"server\", its content is missing, or is there \
                 twice: one of text, json, binary_base64, ping, pong, close and cut",
            ),
            (
                r#"[{"from": "me", "text": {"secret": 1}}]"#,
                "frame 1 of `frames`: `from` is \"me\"; allowed: \"client\" or \"server\", `text` is an object; allowed: \
                 a message, as one text",
            ),
            (
                r#"[{"from": "client", "text": 17}]"#,
                "frame 1 of `frames`: `text` is not a text; allowed: a message, as one text",
            ),
            (
                r#"[{"from": "client", "close": 65536}]"#,
                "frame 1 of `frames`: `close` is 65536; allowed: the code of the close frame, 0 to 65535",
            ),
            (r#"[{"from": "client", "cut": false}]"#, "frame 1 of `frames`: `cut` is false; allowed: true"),
            (
                r#"[{"from": "client", "text": "a", "close": 1000}]"#,
                "frame 1 of `frames`: its content is missing, or is there twice: one of text, json, binary_base64, \
                 ping, pong, close and cut",
            ),
        ] {
            assert_eq!(wrong(frames), said, "{frames}");
        }
    }
}
