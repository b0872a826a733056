//! Tells which texts of the Responses API the model wrote. Those are billed as output, whatever tool they
//! went to; the results of tools, and the reports of their progress, are not.
//!
//! The two tables have every event and every item that the API's own types know (openai-python 3.57,
//! `ResponseStreamEvent` and `ResponseOutputItem`), and the names that Azure has for some. Recordings show
//! that it is billed: a custom tool's input 4 of 4, code 11 of 11, arguments of MCP 3 of 3, a program 2 of
//! 2, a search by a classic model 8 of 8, the prompt of an image 1 of 1. How much the frame around it costs
//! they show of custom tools alone.

use super::json::{Malformed, Text, Value, elements, members};

/// Levels of an item that are looked at for texts: `action.commands[0]` is on the third.
const DEPTH_MAX: usize = 6;

/// The kind of a stream's event, by what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `response.output_text.delta`, `response.output_text.done`
    Text,
    /// `response.refusal.delta`, `response.refusal.done`
    Refusal,
    /// `response.function_call_arguments.delta`, `response.function_call_arguments.done`
    Arguments,
    /// `response.custom_tool_call_input.delta`, `response.custom_tool_call_input.done`
    Input,
    /// The model writes to any other tool: `response.code_interpreter_call_code.delta`.
    Own,
    /// `response.output_item.added`: the item as it begins, its texts empty.
    ItemAdded,
    /// `response.output_item.done`: the whole item.
    ItemDone,
    /// `response.content_part.done`: the whole part.
    PartDone,
    /// It carries the response, as it is now: `response.created`.
    Response,
    /// As `Response`, and it is the last event: `response.completed`.
    Last,
    /// More of a text whose writer is not known: a voice, or an unknown type.
    OtherDelta,
    /// Progress, sources, a summary of the reasoning, or something that we do not know.
    Other,
}

/// The kind of an item of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemKind {
    /// `message`
    Message,
    /// `function_call`
    Call,
    /// `custom_tool_call`
    Custom,
    /// `reasoning`: a summary at most.
    Reasoning,
    /// The model writes to any other tool: `code_interpreter_call`.
    Tool,
    /// The model looks for something: `web_search_call`. Models that think do it within their thoughts.
    Search,
    /// Anything else: the result of a tool, or a call by a program of the model's.
    #[default]
    Hosted,
}

/// The kind of an event, by its `type` without `response.`; `None`: it is not known.
pub(super) fn known_event(name: &[u8]) -> Option<EventKind> {
    Some(match name {
        // The model writes to the caller.
        b"output_text.delta" | b"output_text.done" => EventKind::Text,
        b"refusal.delta" | b"refusal.done" => EventKind::Refusal,
        b"function_call_arguments.delta" | b"function_call_arguments.done" => EventKind::Arguments,
        b"custom_tool_call_input.delta" | b"custom_tool_call_input.done" => EventKind::Input,
        // The model writes to other tools.
        b"code_interpreter_call_code.delta" | b"code_interpreter_call_code.done" => EventKind::Own,
        b"mcp_call_arguments.delta" | b"mcp_call_arguments.done" => EventKind::Own,
        // Azure.
        b"mcp_call.arguments_delta" | b"mcp_call.arguments_done" => EventKind::Own,
        b"shell_call_command.added" | b"shell_call_command.delta" | b"shell_call_command.done" => {
            EventKind::Own
        }
        // The model thinks: another model writes the summary, and the whole is hidden tokens.
        b"reasoning_summary_part.added" | b"reasoning_summary_part.done" => EventKind::Other,
        b"reasoning_summary_text.delta" | b"reasoning_summary_text.done" => EventKind::Other,
        b"reasoning_text.delta" | b"reasoning_text.done" => EventKind::Other,
        // Azure.
        b"reasoning.delta" | b"reasoning.done" => EventKind::Other,
        b"reasoning_summary.delta" | b"reasoning_summary.done" => EventKind::Other,
        // The model speaks: audio is billed otherwise than its words.
        b"audio.delta" | b"audio.transcript.delta" => EventKind::OtherDelta,
        b"audio.done" | b"audio.transcript.done" => EventKind::Other,
        // The response as a whole, and its pieces.
        b"completed" | b"incomplete" | b"failed" | b"cancelled" => EventKind::Last,
        b"created" | b"queued" | b"in_progress" => EventKind::Response,
        b"output_item.added" => EventKind::ItemAdded,
        b"output_item.done" => EventKind::ItemDone,
        b"content_part.done" => EventKind::PartDone,
        b"content_part.added" => EventKind::Other,
        // Results of tools.
        b"shell_call_output_content.delta" | b"shell_call_output_content.done" => EventKind::Other,
        b"output_text.annotation.added" => EventKind::Other,
        b"image_generation_call.partial_image" => EventKind::Other,
        // How far they are.
        b"code_interpreter_call.completed"
        | b"code_interpreter_call.in_progress"
        | b"code_interpreter_call.interpreting"
        | b"compaction.compacting"
        | b"file_search_call.completed"
        | b"file_search_call.in_progress"
        | b"file_search_call.searching"
        | b"image_generation_call.completed"
        | b"image_generation_call.generating"
        | b"image_generation_call.in_progress"
        | b"mcp_call.completed"
        | b"mcp_call.failed"
        | b"mcp_call.in_progress"
        | b"mcp_list_tools.completed"
        | b"mcp_list_tools.failed"
        | b"mcp_list_tools.in_progress"
        | b"web_search_call.completed"
        | b"web_search_call.in_progress"
        | b"web_search_call.searching" => EventKind::Other,
        _ => return None,
    })
}

/// The kind of an event of an unknown type, by its name: a text that goes into a tool is the model's.
pub(super) fn guessed_event(name: &[u8]) -> EventKind {
    let is_delta = name.ends_with(b"delta");
    let subject = name.strip_suffix(b"delta").or(name.strip_suffix(b"done")).unwrap_or_default();
    let subject = subject.strip_suffix(b".").or(subject.strip_suffix(b"_")).unwrap_or_default();
    let goes_in = [&b"input"[..], b"arguments", b"code", b"command", b"diff", b"patch", b"query"];
    match () {
        () if name.starts_with(b"reasoning") => EventKind::Other,
        () if goes_in.iter().any(|end| subject.ends_with(end)) => EventKind::Own,
        () if is_delta => EventKind::OtherDelta,
        () => EventKind::Other,
    }
}

/// The kind of an item, by its `type`, and the members whose texts the model wrote; `None`: it is not known.
pub(super) fn known_item(kind: &[u8]) -> Option<(ItemKind, &'static [&'static str])> {
    Some(match kind {
        b"message" => (ItemKind::Message, &[]),
        b"function_call" => (ItemKind::Call, &[]),
        b"custom_tool_call" => (ItemKind::Custom, &[]),
        b"reasoning" => (ItemKind::Reasoning, &[]),
        // The model writes to other tools.
        b"code_interpreter_call" | b"program" => (ItemKind::Tool, &["code"]),
        b"mcp_call" | b"mcp_approval_request" => (ItemKind::Tool, &["name", "arguments"]),
        b"tool_search_call" => (ItemKind::Tool, &["arguments"]),
        b"shell_call" | b"local_shell_call" | b"computer_call" => (ItemKind::Tool, &["action"]),
        b"apply_patch_call" => (ItemKind::Tool, &["operation"]),
        b"image_generation_call" => (ItemKind::Tool, &["revised_prompt"]),
        b"web_search_call" => (ItemKind::Search, &["action"]),
        b"file_search_call" => (ItemKind::Search, &["queries"]),
        // Results of tools, or the content cannot be read.
        b"function_call_output"
        | b"custom_tool_call_output"
        | b"computer_call_output"
        | b"local_shell_call_output"
        | b"shell_call_output"
        | b"apply_patch_call_output"
        | b"program_output"
        | b"tool_search_output"
        | b"additional_tools"
        | b"mcp_list_tools"
        | b"mcp_approval_response"
        | b"compaction" => (ItemKind::Hosted, &[]),
        _ => return None,
    })
}

/// As [`known_item`], of an unknown type: what goes into a call is the model's.
pub(super) fn guessed_item(kind: &[u8]) -> (ItemKind, &'static [&'static str]) {
    if kind.ends_with(b"_call") {
        (ItemKind::Tool, &["input", "arguments", "code", "command", "diff", "query"])
    } else {
        (ItemKind::Hosted, &[])
    }
}

/// The texts in a value that the model wrote; of an object in no order that matters.
pub(super) fn texts<'a>(value: Value<'a>, each: &mut dyn FnMut(Text<'a>)) -> Result<(), Malformed> {
    below(value, 0, each)
}

fn below<'a>(value: Value<'a>, depth: usize, each: &mut dyn FnMut(Text<'a>)) -> Result<(), Malformed> {
    let mut all_read = Ok(());
    match value {
        Value::Text(text) => each(text),
        Value::Array(list) if depth < DEPTH_MAX => {
            elements(list, |value| all_read = all_read.and(below(value, depth + 1, each)))?;
        }
        Value::Object(object) if depth < DEPTH_MAX => {
            let mut queries = false;
            members(object, |key, _| queries |= key == b"queries")?;
            members(object, |key, value| match key {
                // A word of the API; what was found; and a search says its first query again.
                b"type" | b"sources" | b"results" => {}
                b"query" if queries => {}
                _ => all_read = all_read.and(below(value, depth + 1, each)),
            })?;
        }
        _ => {}
    }
    all_read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::{Response, ResponsesEvent};

    /// Every `type` of `ResponseStreamEvent` that begins with `response.`, without that.
    const SDK_EVENTS: &str = "audio.delta audio.done audio.transcript.delta audio.transcript.done \
        code_interpreter_call_code.delta code_interpreter_call_code.done code_interpreter_call.completed \
        code_interpreter_call.in_progress code_interpreter_call.interpreting compaction.compacting completed \
        content_part.added content_part.done created file_search_call.completed file_search_call.in_progress \
        file_search_call.searching function_call_arguments.delta function_call_arguments.done \
        shell_call_command.added shell_call_command.delta shell_call_command.done \
        shell_call_output_content.delta shell_call_output_content.done in_progress failed incomplete \
        output_item.added output_item.done reasoning_summary_part.added reasoning_summary_part.done \
        reasoning_summary_text.delta reasoning_summary_text.done reasoning_text.delta reasoning_text.done \
        refusal.delta refusal.done output_text.delta output_text.done web_search_call.completed \
        web_search_call.in_progress web_search_call.searching image_generation_call.completed \
        image_generation_call.generating image_generation_call.in_progress image_generation_call.partial_image \
        mcp_call_arguments.delta mcp_call_arguments.done mcp_call.completed mcp_call.failed mcp_call.in_progress \
        mcp_list_tools.completed mcp_list_tools.failed mcp_list_tools.in_progress output_text.annotation.added \
        queued custom_tool_call_input.delta custom_tool_call_input.done";

    /// Every `type` of `ResponseOutputItem`.
    const SDK_ITEMS: &str = "message file_search_call function_call function_call_output web_search_call \
        computer_call computer_call_output reasoning program program_output tool_search_call tool_search_output \
        additional_tools compaction image_generation_call code_interpreter_call local_shell_call \
        local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output mcp_call \
        mcp_list_tools mcp_approval_request mcp_approval_response custom_tool_call custom_tool_call_output";

    #[test]
    fn every_event_and_item_of_the_api_is_in_a_table() {
        let unknown = SDK_EVENTS.split(' ').filter(|name| known_event(name.as_bytes()).is_none());
        assert_eq!(unknown.collect::<Vec<_>>(), [""; 0]);
        let unknown = SDK_ITEMS.split(' ').filter(|name| known_item(name.as_bytes()).is_none());
        assert_eq!(unknown.collect::<Vec<_>>(), [""; 0]);
        assert_eq!((SDK_EVENTS.split(' ').count(), SDK_ITEMS.split(' ').count()), (58, 28));
    }

    #[test]
    fn what_goes_into_an_unknown_tool_is_the_models() {
        let kind = |name: &str| {
            ResponsesEvent::parse(format!(r#"{{"type":"response.{name}"}}"#).as_bytes()).unwrap().kind()
        };
        for name in
            ["apply_patch_call_operation_diff.delta", "robot_call_input.done", "robot_call.arguments_delta"]
        {
            assert_eq!(kind(name), EventKind::Own, "{name}");
        }
        for name in ["robot_call_output.delta", "video.delta", "robot_call_logs.delta", "delta"] {
            assert_eq!(kind(name), EventKind::OtherDelta, "{name}");
        }
        for name in ["reasoning_input.delta", "robot_call.completed", "robot_call_output.done", "done", ""] {
            assert_eq!(kind(name), EventKind::Other, "{name}");
        }
    }

    #[test]
    fn texts_of_items() {
        let json = r#"{"output":[
            {"type":"code_interpreter_call","code":"1+1","outputs":[{"type":"logs","logs":"2"}]},
            {"type":"mcp_call","name":"ask","arguments":"{}","output":"no","server_label":"no"},
            {"type":"shell_call","action":{"commands":["ls","pwd"],"timeout_ms":5}},
            {"type":"local_shell_call","action":{"type":"exec","command":["ls","-l"],"env":{"A":"b"}}},
            {"type":"apply_patch_call","operation":{"type":"update_file","path":"a.rs","diff":"+x"}},
            {"type":"tool_search_call","arguments":{"paths":["a"]},"execution":"server"},
            {"type":"web_search_call","action":{"type":"search","query":"q","queries":["q","r"],"sources":[{"url":"no"}]}},
            {"type":"web_search_call","action":{"type":"search","query":"q"}},
            {"type":"web_search_call","action":{"type":"open_page","url":"u"}},
            {"type":"file_search_call","queries":["f"],"results":[{"text":"no"}]},
            {"type":"image_generation_call","result":"no","revised_prompt":"p"},
            {"type":"robot_call","input":"i","output":"no"},
            {"type":"robot_call_output","input":"no"},
            {"type":"program_output","result":"no"},
            {"type":"function_call","name":"f","arguments":"no","caller":{"type":"program","caller_id":"c"}},
            {"type":"code_interpreter_call","code":null}]}"#;
        let mut seen = Vec::new();
        Response::parse(json.as_bytes())
            .unwrap()
            .items(|_, item| {
                let mut texts = Vec::new();
                item.own_texts(&mut |text| texts.push(text.lossy().into_owned())).unwrap();
                seen.push((item.kind, texts.join(" ")));
            })
            .unwrap();
        let seen: Vec<_> = seen.iter().map(|(kind, texts)| (*kind, texts.as_str())).collect();
        use ItemKind::{Hosted, Search, Tool};
        assert_eq!(
            seen,
            [
                (Tool, "1+1"),
                (Tool, "ask {}"),
                (Tool, "ls pwd"),
                (Tool, "ls -l b"),
                (Tool, "a.rs +x"),
                (Tool, "a"),
                (Search, "q r"),
                (Search, "q"),
                (Search, "u"),
                (Search, "f"),
                (Tool, "p"),
                (Tool, "i"),
                (Hosted, ""),
                (Hosted, ""),
                (Hosted, ""),
                (Tool, ""),
            ]
        );
    }
}
