//! Words that must not be seen again, in every free-text place of 30 shapes of requests, of their answers and of
//! headers, and the service that gives these answers.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::fake_service::{STREAM_HEAD, delta, stop, write_chunk, write_end};
use super::http::{Message, connect, exchange, post};

/// Begins every word that must not be seen again.
pub(crate) const CANARY: &str = "canary7f3a";

pub(crate) fn word(place: &str) -> String {
    format!("{CANARY}{place}")
}

/// One request: where to, and what. The answer is made by what the body asks for.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    path: &'static str,
    content_type: &'static str,
    pub(crate) body: String,
}

fn shape(name: &'static str, path: &'static str, body: Value) -> Shape {
    Shape { name, path, content_type: "application/json", body: body.to_string() }
}

const CHAT: &str = "/openai/deployments/d/chat/completions?api-version=1";
const RESPONSES: &str = "/openai/v1/responses?api-version=preview";

/// A chat request with words everywhere; `more` is added or put over it.
fn chat(more: Value) -> Value {
    let mut body = json!({
        "model": "gpt-4o", "stream": true, "user": word("user"), "stop": [word("stop")],
        "metadata": {word("metakey"): word("metadata")}, "safety_identifier": word("safety"),
        "prompt_cache_key": word("cachekey"), "store": true,
        "messages": [
            {"role": "system", "name": word("name"), "content": word("system")},
            {"role": "user", "content": word("prompt")},
            {"role": "assistant", "content": null, "tool_calls": [{"id": word("callid"), "type": "function", "function": {"name": word("called"), "arguments": word("arguments")}}]},
            {"role": "tool", "tool_call_id": word("callid"), "content": word("result")},
        ],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

pub(crate) fn chats() -> Vec<Shape> {
    let function = json!({"name": word("offered"), "description": word("description"), "parameters": {
        "type": "object", "title": word("title"), "properties": {word("property"): {"type": "string", "enum": [word("enum")], "default": word("default")}}}});
    let schema = json!({"type": "json_schema", "json_schema": {"name": word("schema"), "description": word("about"), "schema": {"properties": {word("field"): {"const": word("const")}}}}});
    let image = |url: String| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": word("caption")}, {"type": "image_url", "image_url": {"url": url}}]}]});
    vec![
        shape("chat, streamed", CHAT, chat(json!({}))),
        shape("chat, usage asked for", CHAT, chat(json!({"stream_options": {"include_usage": true}}))),
        shape("chat, whole", CHAT, chat(json!({"stream": false}))),
        shape(
            "chat, tools",
            CHAT,
            chat(
                json!({"tools": [{"type": "function", "function": function}], "tool_choice": {"type": "function", "function": {"name": word("chosen")}}}),
            ),
        ),
        shape(
            "chat, functions",
            CHAT,
            chat(json!({"functions": [function], "function_call": {"name": word("chosen")}})),
        ),
        shape("chat, schema", CHAT, chat(json!({"response_format": schema}))),
        shape(
            "chat, image in the web",
            CHAT,
            chat(image(format!("https://{}.example/{}", word("host"), word("path")))),
        ),
        shape("chat, image within", CHAT, chat(image(format!("data:image/png;base64,{}", word("image"))))),
        shape(
            "chat, audio",
            CHAT,
            chat(
                json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": word("audio"), "format": word("format")}}]}]}),
            ),
        ),
        shape(
            "chat, file",
            CHAT,
            chat(
                json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"filename": word("file"), "file_data": word("filedata")}}]}]}),
            ),
        ),
        shape(
            "chat, own data",
            CHAT,
            chat(
                json!({"data_sources": [{"type": "azure_search", "parameters": {"endpoint": word("endpoint"), "index_name": word("index"), "authentication": {"type": "api_key", "key": word("searchkey")}}}]}),
            ),
        ),
        shape(
            "chat, prediction",
            CHAT,
            chat(
                json!({"prediction": {"type": "content", "content": word("prediction")}, "logit_bias": {word("bias"): 1}}),
            ),
        ),
        shape(
            "chat, web search",
            CHAT,
            chat(json!({"web_search_options": {"user_location": {"approximate": {"city": word("city")}}}})),
        ),
        shape("chat, refused by the service", CHAT, chat(json!({"x": "fail"}))),
        shape("chat, an error in the stream", CHAT, chat(json!({"x": "break"}))),
        Shape { body: format!("{{ {}", word("raw")), ..shape("chat, no JSON", CHAT, json!({})) },
        Shape {
            body: format!("{{\"messages\":[{{\"content\":\"{}\\ud83d", word("cut")),
            ..shape("chat, cut JSON", CHAT, json!({}))
        },
    ]
}

pub(crate) fn others() -> Vec<Shape> {
    let at = |path: &'static str, name: &'static str, body: Value| shape(name, path, body);
    let multipart = |field: &str, file: &str| {
        let part = |head: String, body: String| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
        };
        let parts = [
            part(format!("name=\"{field}\"; filename=\"{}\"", word("filename")), word(file)),
            part("name=\"prompt\"".to_owned(), word("hint")),
            part("name=\"model\"".to_owned(), "whisper-1".to_owned()),
        ];
        format!("{}--b--\r\n", parts.concat())
    };
    let form = |name, path, field: &str| Shape {
        content_type: "multipart/form-data; boundary=b",
        body: multipart(field, "bytes"),
        ..shape(name, path, json!({}))
    };
    let response = |more: Value| {
        let mut body = json!({"model": "gpt-4o", "stream": true, "instructions": word("instructions"), "user": word("user"), "metadata": {"a": word("metadata")}, "input": [{"role": "user", "content": [{"type": "input_text", "text": word("input")}]}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    vec![
        at(
            "/openai/deployments/d/completions",
            "completion",
            json!({"prompt": word("prompt"), "suffix": word("suffix"), "user": word("user"), "stop": word("stop"), "stream": true}),
        ),
        at(
            "/openai/deployments/d/completions",
            "completions, several",
            json!({"prompt": [word("one"), word("two")], "echo": true}),
        ),
        at(
            "/openai/deployments/d/embeddings",
            "embedding",
            json!({"input": word("input"), "user": word("user")}),
        ),
        at(
            "/openai/deployments/d/embeddings",
            "embeddings",
            json!({"input": [word("one"), word("two")], "model": "text-embedding-3-small"}),
        ),
        at(RESPONSES, "response", response(json!({}))),
        at(
            RESPONSES,
            "response, text alone",
            response(
                json!({"input": word("text"), "stream": false, "previous_response_id": word("previous")}),
            ),
        ),
        at(
            RESPONSES,
            "response, tools",
            response(
                json!({"tools": [{"type": "function", "name": word("tool"), "description": word("description"), "parameters": {"properties": {word("property"): {}}}}, {"type": "mcp", "server_label": word("label"), "server_url": word("url"), "headers": {"authorization": word("mcptoken")}}], "text": {"format": {"type": "json_schema", "name": word("schema"), "schema": {}}}}),
            ),
        ),
        at(
            "/openai/deployments/d/images/generations",
            "image",
            json!({"prompt": word("prompt"), "user": word("user")}),
        ),
        form("image, edited", "/openai/deployments/d/images/edits", "image"),
        form("transcript", "/openai/deployments/d/audio/transcriptions", "file"),
        at(
            "/openai/deployments/d/audio/speech",
            "speech",
            json!({"input": word("input"), "voice": word("voice"), "instructions": word("instructions")}),
        ),
        at(
            "/openai/threads/runs",
            "thread and its run",
            json!({"name": word("name"), "description": word("description"), "instructions": word("instructions"), "metadata": {"a": word("metadata")}}),
        ),
        at(
            "/openai/threads/t1/runs",
            "run of a thread",
            json!({"role": "user", "content": word("content"), "attachments": [{"file_id": word("file")}]}),
        ),
        at(
            "/openai/batches",
            "batch",
            json!({"input_file_id": word("file"), "metadata": {"a": word("metadata")}}),
        ),
        at(
            "/openai/files/import",
            "something else",
            json!({"filename": word("file"), "content_url": word("url")}),
        ),
    ]
}

pub(crate) fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if body.contains("\"fail\"") {
        return error(to);
    }
    if request.first_line().contains("/speech") {
        let audio = word("sound");
        return write!(
            to,
            "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: {}\r\n\r\n{audio}",
            audio.len()
        );
    }
    if body.contains("\"stream\":true") {
        let events =
            if request.first_line().contains("/responses") { response_events() } else { chat_events(&body) };
        to.write_all(STREAM_HEAD.as_bytes())?;
        write_chunk(to, events.as_bytes())?;
        return write_end(to);
    }
    let whole = json!({
        "id": "x", "model": "gpt-4o", "text": word("transcript"), "output_text": word("said"),
        "choices": [{"index": 0, "text": word("text"), "finish_reason": word("finish"), "message": {"content": word("content"), "refusal": word("refusal"), "annotations": [word("note")]}}],
        "data": [{"b64_json": word("image"), "revised_prompt": word("revised"), "url": word("url")}],
        "output": [{"type": "message", "content": [{"type": "output_text", "text": word("output")}]}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, word("detail"): word("value")},
    });
    let whole = whole.to_string();
    write!(
        to,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-secret: {}\r\nSet-Cookie: {}\r\nContent-Length: {}\r\n\r\n{whole}",
        word("field"),
        word("setcookie"),
        whole.len()
    )
}

fn error(to: &mut TcpStream) -> io::Result<()> {
    let error = json!({"error": {"code": "content_filter", "message": word("message"), "param": word("param"), "innererror": {"content_filter_result": {"custom_blocklists": word("blocklist")}}}});
    let error = error.to_string();
    write!(
        to,
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{error}",
        error.len()
    )
}

fn chat_events(body: &str) -> String {
    let chunk = |delta: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": delta}], "obfuscation": word("padding")})
        )
    };
    let call = json!({"tool_calls": [{"index": 0, "id": word("callid"), "function": {"name": word("tool"), "arguments": word("arguments")}}]});
    let filtered = json!({"id": "", "model": "", "choices": [], "prompt_filter_results": [{"custom_blocklists": word("blocklist")}]});
    let mut events = [
        format!(": {}\nevent: {}\nid: {}\n\n", word("comment"), word("event"), word("eventid")),
        format!("data: {filtered}\n\n"),
        delta(&word("text")),
        chunk(call),
        chunk(json!({"refusal": word("refusal")})),
        chunk(json!({"reasoning_content": word("thought"), "context": {"citations": [word("citation")]}})),
        // What cannot be read must not be quoted either.
        format!("data: {{\"broken {}\n\n", word("broken")),
    ]
    .concat();
    if body.contains("\"break\"") {
        events.push_str(&format!(
            "data: {}\n\n",
            json!({"error": {"message": word("message"), "type": "server_error", "code": 500}})
        ));
    }
    if body.contains("include_usage") {
        events.push_str(&format!("data: {}\n\n", json!({"id": "x", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}})));
    }
    events + &stop()
}

fn response_events() -> String {
    let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
    [
        event(json!({"type": "response.created", "response": {"id": "r", "model": "gpt-4o", "instructions": word("instructions")}})),
        event(json!({"type": "response.output_text.delta", "item_id": word("item"), "output_index": 0, "content_index": 0, "delta": word("delta")})),
        event(json!({"type": "response.mcp_call.failed", "error": word("mcperror")})),
        event(json!({"type": "response.completed", "response": {"id": "r", "model": "gpt-4o", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": word("delta")}]}], "user": word("user")}})),
    ]
    .concat()
}

/// Headers with words: credentials, keys, cookies, and what nobody reads.
fn fields() -> [(&'static str, String); 12] {
    [
        ("api-key", word("key")),
        ("x-api-key", word("key")),
        ("authorization", format!("Bearer {}.{}.x", word("head"), word("claims"))),
        ("ocp-apim-subscription-key", word("sub")),
        ("x-tokenweir-auth", word("secret")),
        ("cookie", format!("a={}", word("cookie"))),
        ("proxy-authorization", word("proxy")),
        ("x-ms-user-agent", word("agent")),
        ("user-agent", word("agent")),
        ("referer", format!("https://{}.example/", word("referer"))),
        ("x-forwarded-for", word("forwarded")),
        (CANARY, word("unknown")),
    ]
}

pub(crate) fn send(addr: SocketAddr, shape: &Shape) -> Message {
    let sign = if shape.path.contains('?') { '&' } else { '?' };
    let path =
        format!("{}{sign}subscription-key={}&q={}&sig={}", shape.path, word("query"), word("q"), word("sig"));
    let fields = fields();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let request = post(&path, &fields, &shape.body);
    let request = String::from_utf8(request).unwrap();
    let request = request.replacen(
        "Content-Type: application/json",
        &format!("Content-Type: {}", shape.content_type),
        1,
    );
    exchange(&mut connect(addr), request.as_bytes())
}

/// No word is in these bytes.
pub(crate) fn absent(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(at) = text.find(CANARY) {
        let end = text[at..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(text.len(), |n| at + n);
        panic!("{place} holds {:?}", &text[at..end]);
    }
}
