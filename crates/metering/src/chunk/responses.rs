//! The Responses API: events of a stream, and the items of a response.

use super::charges::Charges;
use super::json::{Malformed, Text, Value, elements, members};
use super::whose::{self, EventKind, ItemKind};

/// One event of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponsesEvent<'a> {
    /// `output_index`: the item that it belongs to; 0 if absent.
    pub item_index: u64,
    /// `content_index` or `command_index`: the part of that item; 0 if absent.
    pub part_index: u64,
    /// `delta`, more of a text.
    pub delta: Option<Text<'a>>,
    /// `text`, `refusal`, `arguments`, `input`, `code` or `command`: the whole of a text that came in
    /// deltas before.
    pub whole: Option<Text<'a>>,
    /// `sequence_number`, as it is written.
    pub sequence_number: Option<&'a [u8]>,
    /// `obfuscation`: padding.
    pub obfuscation: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    item: Option<&'a [u8]>,
    part: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
}

/// An item of a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Item<'a> {
    /// Its kind.
    pub kind: ItemKind,
    /// `name` of the function or custom tool called.
    pub name: Option<Text<'a>>,
    /// `arguments` of the call, or the `input` of a custom tool.
    pub arguments: Option<Text<'a>>,
    /// `namespace`: the function was found by a search, and is called by a longer name.
    pub namespaced: bool,
    content: Option<&'a [u8]>,
    object: &'a [u8],
    /// Members whose texts the model wrote, beside those above.
    own: &'static [&'static str],
    svg_usage: Option<&'a [u8]>,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// `text` or `refusal`; `None` if it is neither.
    pub text: Option<Text<'a>>,
    /// It is a refusal.
    pub refusal: bool,
}

/// A whole response, or one that has begun.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'a> {
    /// `status`
    pub status: Option<Text<'a>>,
    /// `incomplete_details.reason`
    pub incomplete_reason: Option<Text<'a>>,
    /// `reasoning.effort`, as the service took it.
    pub effort: Option<Text<'a>>,
    /// `background`: it is made after the call that asked for it.
    pub background: bool,
    /// The `name` in `agent_reference`, or in the older `agent`: the Foundry agent that gives it.
    pub agent: Option<Text<'a>>,
    output: Option<&'a [u8]>,
}

impl<'a> ResponsesEvent<'a> {
    /// Reads one event.
    ///
    /// # Errors
    /// [`Malformed`] if `document` is no JSON object.
    pub fn parse(document: &'a [u8]) -> Result<ResponsesEvent<'a>, Malformed> {
        let mut event = ResponsesEvent::default();
        members(document, |key, value| match key {
            b"type" => event.kind = value.text(),
            b"delta" => event.delta = value.text(),
            b"text" | b"refusal" | b"arguments" | b"input" | b"code" | b"command" => {
                event.whole = value.text().or(event.whole);
            }
            b"output_index" => event.item_index = value.whole().unwrap_or(0),
            b"content_index" | b"command_index" => event.part_index = value.whole().unwrap_or(0),
            b"item" => event.item = value.object(),
            b"part" => event.part = value.object(),
            b"response" => event.response = value.object(),
            b"sequence_number" => event.sequence_number = value.number(),
            b"obfuscation" => event.obfuscation = value.text(),
            _ => {}
        })?;
        Ok(event)
    }

    /// Its kind, by its `type`.
    pub fn kind(&self) -> EventKind {
        let Some(kind) = self.kind else { return EventKind::Other };
        let kind = kind.key();
        let Some(name) = kind.strip_prefix(b"response.") else { return EventKind::Other };
        whose::known_event(name).unwrap_or_else(|| whose::guessed_event(name))
    }

    /// The item that it carries.
    ///
    /// # Errors
    /// [`Malformed`] if it is not JSON.
    pub fn item(&self) -> Result<Option<Item<'a>>, Malformed> {
        self.item.map(Item::parse).transpose()
    }

    /// The part that it carries.
    ///
    /// # Errors
    /// [`Malformed`] if it is not JSON.
    pub fn part(&self) -> Result<Option<Part<'a>>, Malformed> {
        self.part.map(Part::parse).transpose()
    }

    /// The response that it carries.
    ///
    /// # Errors
    /// [`Malformed`] if it is not JSON.
    pub fn response(&self) -> Result<Option<Response<'a>>, Malformed> {
        self.response.map(Response::parse).transpose()
    }
}

impl<'a> Item<'a> {
    fn parse(object: &'a [u8]) -> Result<Item<'a>, Malformed> {
        let mut item = Item { object, ..Item::default() };
        let (mut kind, mut caller) = (None, None);
        members(object, |key, value| match key {
            b"type" => kind = value.text(),
            b"name" => item.name = value.text(),
            b"arguments" | b"input" => item.arguments = value.text().or(item.arguments),
            b"content" => item.content = value.array(),
            b"caller" => caller = value.object(),
            b"svg_usage" => item.svg_usage = value.object(),
            b"namespace" => item.namespaced = value.text().is_some(),
            _ => {}
        })?;
        let kind = kind.map(|kind| kind.key()).unwrap_or_default();
        (item.kind, item.own) = whose::known_item(&kind).unwrap_or_else(|| whose::guessed_item(&kind));
        let mut by_program = false;
        if let Some(caller) = caller {
            members(caller, |key, value| {
                if key == b"type" {
                    by_program = value.text().is_some_and(|kind| &*kind.key() == b"program");
                }
            })?;
        }
        if by_program {
            // The program said it, which the model had written before.
            (item.kind, item.own) = (ItemKind::Hosted, &[]);
        }
        Ok(item)
    }

    /// The texts in it that the model wrote to a tool that is neither a function nor a custom tool.
    ///
    /// # Errors
    /// [`Malformed`] if it is not JSON; the texts before that place have been seen.
    pub fn own_texts(&self, each: &mut dyn FnMut(Text<'a>)) -> Result<(), Malformed> {
        let mut all_read = Ok(());
        if self.own.is_empty() {
            return all_read;
        }
        members(self.object, |key, value| {
            if self.own.iter().any(|name| name.as_bytes() == key) {
                all_read = all_read.and(whose::texts(value, each));
            }
        })?;
        all_read
    }

    /// The cost that it names, if it names any.
    pub fn charges(&self) -> Option<Charges> {
        let mut charges = Charges::default();
        charges.read_whole(&[b"svg_usage"], self.svg_usage?);
        Some(charges)
    }

    /// Its parts, each with its place.
    ///
    /// # Errors
    /// [`Malformed`] if they are not JSON; the parts before that place have been seen.
    pub fn parts(&self, part: impl FnMut(u64, Part<'a>)) -> Result<(), Malformed> {
        objects(self.content, Part::parse, part)
    }
}

impl<'a> Part<'a> {
    fn parse(object: &'a [u8]) -> Result<Part<'a>, Malformed> {
        let (mut kind, mut text, mut refusal) = (None, None, None);
        members(object, |key, value| match key {
            b"type" => kind = value.text(),
            b"text" => text = value.text(),
            b"refusal" => refusal = value.text(),
            _ => {}
        })?;
        Ok(match kind.map(|kind| kind.key()).as_deref() {
            Some(b"output_text") => Part { text, refusal: false },
            Some(b"refusal") => Part { text: refusal, refusal: true },
            _ => Part::default(),
        })
    }
}

impl<'a> Response<'a> {
    /// Reads a response.
    ///
    /// # Errors
    /// [`Malformed`] if `object` is no JSON object.
    pub fn parse(object: &'a [u8]) -> Result<Response<'a>, Malformed> {
        let (mut response, mut details, mut reasoning) = (Response::default(), None, None);
        let (mut agent, mut older_agent) = (None, None);
        members(object, |key, value| match key {
            b"output" => response.output = value.array(),
            b"status" => response.status = value.text(),
            b"background" => response.background = matches!(value, Value::Bool(true)),
            b"incomplete_details" => details = value.object(),
            b"reasoning" => reasoning = value.object(),
            b"agent_reference" => agent = value.object(),
            b"agent" => older_agent = value.object(),
            _ => {}
        })?;
        response.agent = agent.or(older_agent).and_then(name);
        if let Some(reasoning) = reasoning {
            members(reasoning, |key, value| {
                if key == b"effort" {
                    response.effort = value.text();
                }
            })?;
        }
        if let Some(details) = details {
            members(details, |key, value| {
                if key == b"reason" {
                    response.incomplete_reason = value.text();
                }
            })?;
        }
        Ok(response)
    }

    /// It has a list of items, if an empty one.
    pub fn has_output(&self) -> bool {
        self.output.is_some()
    }

    /// Its items, each with its place.
    ///
    /// # Errors
    /// [`Malformed`] if they are not JSON; the items before that place have been seen.
    pub fn items(&self, item: impl FnMut(u64, Item<'a>)) -> Result<(), Malformed> {
        objects(self.output, Item::parse, item)
    }
}

/// The `name` in an object; none if that is no JSON, which is no reason to read nothing else.
fn name(object: &[u8]) -> Option<Text<'_>> {
    let mut name = None;
    let read = members(object, |key, value| {
        if key == b"name" {
            name = value.text();
        }
    });
    read.ok().and(name)
}

/// The objects of a list, read and numbered; what is no object has a number and is not shown.
fn objects<'a, T>(
    list: Option<&'a [u8]>,
    parse: fn(&'a [u8]) -> Result<T, Malformed>,
    mut each: impl FnMut(u64, T),
) -> Result<(), Malformed> {
    let Some(list) = list else { return Ok(()) };
    let (mut place, mut all_read) = (0, Ok(()));
    elements(list, |value: Value<'a>| {
        match value.object().map(parse) {
            Some(Ok(parsed)) => each(place, parsed),
            Some(Err(malformed)) => all_read = Err(malformed),
            None => {}
        }
        place += 1;
    })?;
    all_read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lossy(text: Option<Text<'_>>) -> String {
        text.unwrap_or_default().lossy().into_owned()
    }

    #[test]
    fn events_by_type() {
        let kind =
            |name: &str| ResponsesEvent::parse(format!(r#"{{"type":"{name}"}}"#).as_bytes()).unwrap().kind();
        for (name, expected) in [
            ("response.output_text.delta", EventKind::Text),
            ("response.output_t\\u0065xt.done", EventKind::Text),
            ("response.completed", EventKind::Last),
            ("response.reasoning_summary_text.delta", EventKind::Other),
            ("response.reasoning_summary.delta", EventKind::Other),
            ("response.mcp_call.arguments_delta", EventKind::Own),
            ("response.output_text.annotation.added", EventKind::Other),
            ("output_text.delta", EventKind::Other),
            ("error", EventKind::Other),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn keys_in_any_order_the_last_wins() {
        let json = br#"{"delta":"a","output_index":2,"d\u0065lta":"b","content_index":1,"sequence_number":7,"obfuscation":"x"}"#;
        let event = ResponsesEvent::parse(json).unwrap();
        assert_eq!((event.item_index, event.part_index, lossy(event.delta)), (2, 1, "b".to_owned()));
        assert_eq!((event.sequence_number, lossy(event.obfuscation)), (Some(&b"7"[..]), "x".to_owned()));
        assert!(ResponsesEvent::parse(b"[]").is_err());
    }

    #[test]
    fn the_agent_that_gives_a_response() {
        let agent = |json: &str| lossy(Response::parse(json.as_bytes()).unwrap().agent);
        for (json, name) in [
            (r#"{"agent_reference":{"type":"agent_reference","name":"clerk","version":"3"}}"#, "clerk"),
            (r#"{"agent":{"type":"agent_id","n\u0061me":"clerk"}}"#, "clerk"),
            (r#"{"agent":{"name":"older"},"agent_reference":{"name":"clerk"}}"#, "clerk"),
            (r#"{"agent_reference":null,"agent":{"name":"clerk"}}"#, "clerk"),
            (r#"{"output":[{"agent_reference":{"name":"no"}}],"agent":"no","agent_reference":["no"]}"#, ""),
            (r#"{"agent_reference":{"name":"no",}}"#, ""),
            (r#"{"agent_reference":{"name":7}}"#, ""),
        ] {
            assert_eq!(agent(json), name, "{json}");
        }
    }

    #[test]
    fn a_response_and_its_items() {
        let json = br#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[
            {"type":"reasoning","summary":[]},7,
            {"type":"message","content":[{"type":"output_text","text":"Hi"},{"refusal":"No","type":"refusal"},{"type":"audio"}]},
            {"type":"function_call","name":"f","arguments":"{}"},{"type":"web_search_call"}]}"#;
        let response = Response::parse(json).unwrap();
        assert_eq!(lossy(response.incomplete_reason), "max_output_tokens");
        let (mut items, mut parts) = (Vec::new(), Vec::new());
        let mut see = |place, item: Item<'_>| {
            items.push((place, item.kind, lossy(item.name), lossy(item.arguments)));
            item.parts(|place, part| parts.push((place, lossy(part.text), part.refusal))).unwrap();
        };
        response.items(&mut see).unwrap();
        let item =
            |place, kind, name: &str, arguments: &str| (place, kind, name.to_owned(), arguments.to_owned());
        assert_eq!(
            items,
            [
                item(0, ItemKind::Reasoning, "", ""),
                item(2, ItemKind::Message, "", ""),
                item(3, ItemKind::Call, "f", "{}"),
                item(4, ItemKind::Search, "", ""),
            ]
        );
        assert_eq!(
            parts,
            [(0, "Hi".to_owned(), false), (1, "No".to_owned(), true), (2, String::new(), false)]
        );
    }
}
