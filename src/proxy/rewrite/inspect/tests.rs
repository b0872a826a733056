//! Which requests are looked into, and how those are sent or refused.

use http_body_util::Full;

use super::*;
use crate::proxy::forward::surface::classify;

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn planned(policy: Policy, target: &str, headers: &[(&'static str, &'static str)]) -> BodyChecks {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let surface = classify(&Method::POST, path, query, false);
    body_checks(&policy, &Method::POST, &surface, &fields(headers))
}

#[test]
fn usage_is_asked_for_where_the_service_takes_it() {
    let policy = Policy { inject_usage: true, inspect_bytes_max: 100, ..Policy::default() };
    let asks = |target: &str, headers: &[(&'static str, &'static str)]| planned(policy, target, headers).ask;
    for (version, takes) in [
        ("2024-10-21", true),
        ("2024-09-01-preview", true),
        ("2025-04-01-preview", true),
        ("2024-08-01-preview", false),
        ("2024-06-01", false),
        ("2024-05-01-preview", false),
        ("v1", true),
        ("preview", true),
        ("2024-9-1", false),
        ("9999", false),
        ("next-version", false),
    ] {
        let target = format!("/openai/deployments/d/chat/completions?api-version={version}");
        assert_eq!(asks(&target, &[JSON]), takes, "{version}");
    }
    assert!(asks("/openai/v1/chat/completions", &[JSON]));
    assert!(asks("/v1/completions", &[JSON]));
    assert!(!asks("/openai/deployments/d/chat/completions", &[JSON]), "no version");
    for path in ["/openai/v1/responses", "/openai/v1/embeddings", "/openai/v1/images/generations", "/x"] {
        assert!(!asks(path, &[JSON]), "{path}");
    }
    let chat = "/openai/v1/chat/completions";
    assert!(asks(
        chat,
        &[("content-type", "Application/JSON; charset=utf-8"), ("content-encoding", "identity")]
    ));
    assert!(
        asks(chat, &[JSON, ("content-length", "100")]) && !asks(chat, &[JSON, ("content-length", "101")])
    );
    assert!(!asks(chat, &[JSON, ("content-encoding", "gzip")]) && !asks(chat, &[]));
    assert!(planned(Policy::default(), chat, &[JSON]).is_empty());
}

#[test]
fn a_stream_may_be_asked_for_on_most_surfaces() {
    let policy = Policy { deny_streaming: true, inspect_bytes_max: 100, ..Policy::default() };
    let denies =
        |target: &str, headers: &[(&'static str, &'static str)]| planned(policy, target, headers).deny;
    for path in [
        "/openai/deployments/d/chat/completions",
        "/openai/v1/responses",
        "/openai/v1/audio/transcriptions",
        "/openai/v1/images/edits",
        "/openai/threads/t/runs",
        "/openai/v1/something-new",
    ] {
        assert!(denies(path, &[JSON]) && denies(path, &[]), "{path}");
    }
    let form = [("content-type", "multipart/form-data; boundary=b")];
    assert!(denies("/openai/v1/audio/transcriptions", &form));
    assert!(!denies("/openai/v1/something-new", &form), "files are no requests");
    assert!(
        planned(policy, "/openai/v1/files", &form).is_empty()
            && planned(policy, "/openai/v1/files", &[JSON]).is_empty()
    );
    assert!(!denies("/openai/v1/embeddings", &[JSON]));
    // However they are called, and however the path is spelled.
    for kind in ["text/json", "text/plain", "application/x-ndjson", "application/octet-stream", "", "x"] {
        for path in
            ["/v1/something-new", "/v1/Chat/%63ompletions", "/v1/x;y", "/v1/embeddings;x", "/batches/."]
        {
            assert!(denies(path, &[("content-type", kind)]), "{path} {kind}");
        }
    }
    assert!(denies("/v1/chat/completions", &form) && denies("/v1/files;x", &form));
    assert!(planned(policy, "/openai/v1/something-new", &form).form, "but they must be forms");
    assert!(!planned(Policy::default(), "/openai/v1/something-new", &form).form);
    let get = |target: &str| Request::get(target).body(()).unwrap();
    for query in ["stream=false&stream=true", "Stream=true", "%73tream=1", "a&stream", "stream=falsely"] {
        assert!(streams_by_head(&get(&format!("/openai/v1/responses/r?{query}")), false), "{query}");
    }
    assert!(!streams_by_head(&get("/openai/v1/responses/r?upstream=true&Stream=False"), false));
    assert!(streams_by_head(&get("/openai/v1/responses/r?stream=true"), false));
    assert!(!streams_by_head(&get("/openai/v1/responses/r?stream=false"), false));
    assert!(!streams_by_head(&get("/openai/v1/responses/r"), false));
    assert!(streams_by_head(&get("/openai/v1/realtime"), true));
}

#[test]
fn what_is_not_certain_to_be_no_stream_is_denied() {
    let of = |headers: &[(&'static str, &'static str)], body: &'static str, whole: bool| {
        let mut inspection = Inspection::default();
        inspection.push(body.as_bytes());
        let pieces: Vec<Bytes> =
            [Bytes::from_static(body.as_bytes())].into_iter().filter(|p| !p.is_empty()).collect();
        denied(&fields(headers), &pieces, whole, &inspection.finish())
    };
    assert_eq!(of(&[JSON], r#"{"stream":false}"#, true), None);
    assert_eq!(of(&[JSON], "{}", true), None);
    assert_eq!(of(&[JSON], "", true), None);
    for body in [
        r#"{"stream":true}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream":false,"stream":true}"#,
        "{",
        "\u{feff}{}",
        "x",
    ] {
        assert_eq!(of(&[JSON], body, true), Some(Refusal::StreamingDenied), "{body}");
    }
    assert_eq!(of(&[("content-encoding", "gzip")], "{}", true), Some(Refusal::StreamingDenied));
    assert_eq!(of(&[JSON], "{}", false), Some(Refusal::TooLongToInspect));
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let part = "--b\r\nContent-Disposition: form-data; name=";
    for (value, refusal) in [
        ("\"stream\"\r\n\r\ntrue\r\n--b--", Some(Refusal::StreamingDenied)),
        ("\"stream\"\r\nX: y\r\n\r\nFalse\r\n--b--", None),
        ("stream\r\n\r\n1\r\n--b--", Some(Refusal::StreamingDenied)),
        ("\"stream\"", Some(Refusal::StreamingDenied)),
        ("\"model\"\r\n\r\nstream\r\n--b--", None),
        ("\"file\"; filename=\"stream.wav\"\r\n\r\nx\r\n--b--", None),
        ("\"file\"; filename*=UTF-8''streams\r\n\r\nx\r\n--b--", None),
        ("\"stream_options\"\r\n\r\nx\r\n--b--", None),
        ("'Stream'\r\n\r\ntrue\r\n--b--", Some(Refusal::StreamingDenied)),
        (" \"stream[]\"\r\n\r\ntrue\r\n--b--", Some(Refusal::StreamingDenied)),
        ("\"str\\eam\"\r\n\r\ntrue\r\n--b--", Some(Refusal::StreamingDenied)),
        ("x; name*=UTF-8''%73tream\r\n\r\ntrue\r\n--b--", Some(Refusal::StreamingDenied)),
    ] {
        assert_eq!(of(&form, format!("{part}{value}").leak(), true), refusal, "{value}");
    }
    // A body that calls itself a form and is none is read as JSON.
    for (body, refusal) in [
        (r#"{"stream":true}"#, Some(Refusal::StreamingDenied)),
        (r#"{"stream":false}"#, None),
        ("{\"stream\":true}\r\n--b\r\n\r\n--b--", Some(Refusal::StreamingDenied)),
        ("--c\r\n\r\n--c--", Some(Refusal::StreamingDenied)),
    ] {
        assert_eq!(of(&form, body, true), refusal, "{body}");
        assert_eq!(
            of(&[("content-type", "multipart/form-data")], body, true),
            refusal,
            "no boundary: {body}"
        );
        assert_eq!(of(&[("content-type", "multipart/mixed; boundary=b")], body, true), refusal, "{body}");
    }
}

/// On a path of which nothing is known: files go on whatever their length, and nothing else does.
#[test]
fn files_are_forms_and_pass() {
    let state = RewriteState::default();
    let checks = BodyChecks { form: true, ..BodyChecks::default() };
    let sends = |body: String| {
        let mut request = Request::new(Full::new(Bytes::from(body.clone())));
        *request.headers_mut() = fields(&[("content-type", "multipart/form-data; boundary=b")]);
        let target = OptionsTarget { upstream: 0, deployment: None, api_version: None };
        let outgoing =
            run(inspect(checks, request, target, 1 << 20, &state)).map_err(|(refusal, _)| refusal)?;
        let sent = run(http_body_util::BodyExt::collect(outgoing.request.into_body())).unwrap().to_bytes();
        assert_eq!(sent, body, "not a byte is changed");
        Ok::<_, Refusal>(())
    };
    let file = |bytes: usize| {
        let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        format!("{head}{}\r\n--b--", "x".repeat(bytes))
    };
    assert_eq!((sends(file(10)), sends(file(5_000_000))), (Ok(()), Ok(())));
    let json = |bytes: usize| format!(r#"{{"x":"{}","stream":true}}"#, "x".repeat(bytes));
    let denied = Err(Refusal::StreamingDenied);
    assert_eq!((sends(json(10)), sends(json(5_000_000))), (denied, denied));
    let form = "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--b--";
    assert_eq!(sends(form.to_owned()), denied);
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn outgoing(
    body: &'static str,
    version: &str,
    bytes_max: usize,
    state: &RewriteState,
) -> (String, HeaderMap, Option<Retry>) {
    let mut request = Request::new(Full::new(Bytes::from_static(body.as_bytes())));
    *request.headers_mut() = fields(&[JSON, ("accept-encoding", "gzip"), ("expect", "100-continue")]);
    let target = OptionsTarget { upstream: 0, deployment: None, api_version: Some(version.into()) };
    let checks = BodyChecks { ask: true, ..BodyChecks::default() };
    let OutgoingRequest { request, retry, remembered } =
        run(inspect(checks, request, target, bytes_max, state)).unwrap();
    let (parts, body) = request.into_parts();
    let body = run(http_body_util::BodyExt::collect(body)).unwrap().to_bytes();
    assert!(!remembered || retry.is_none());
    (String::from_utf8(body.to_vec()).unwrap(), parts.headers, retry)
}

#[test]
fn an_edited_request_can_be_sent_again_as_it_was() {
    let state = RewriteState::default();
    let body = r#"{"model":"m","stream":true}"#;
    let (sent, headers, retry) = outgoing(body, "v1", 100, &state);
    assert_eq!(sent, r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
    assert_eq!(headers, fields(&[JSON, ("accept-encoding", "identity")]));
    let (target, request) = retry.unwrap().request::<Full<Bytes>>();
    assert_eq!(target.deployment.as_deref(), Some("m"), "the model stands for the deployment");
    assert_eq!(request.headers(), &fields(&[JSON, ("accept-encoding", "gzip")]));
    let original = run(http_body_util::BodyExt::collect(request.into_body())).unwrap().to_bytes();
    assert_eq!(original, body);
    assert!(state.refusals.add(target, true));
    assert_eq!(outgoing(body, "v1", 100, &state).0, body, "it has refused");
    assert_ne!(outgoing(body, "v2", 100, &state).0, body, "another version has not");
}

#[test]
fn what_is_too_long_or_has_an_image_goes_on_as_it_is() {
    let state = RewriteState::default();
    let body = r#"{"stream":true,"messages":[{"content":[{"image_url":{}}]}]}"#;
    for (version, bytes_max, edited) in [
        ("2024-09-01-preview", 100, false),
        ("2024-10-21", 100, true),
        ("2024-10-21", body.len(), true),
        ("2024-10-21", body.len() - 1, false),
    ] {
        let (sent, headers, retry) = outgoing(body, version, bytes_max, &state);
        assert_eq!((sent == body, retry.is_some()), (!edited, edited), "{version} {bytes_max}");
        assert_eq!(headers["accept-encoding"] == "gzip", !edited);
    }
    assert!(state.memory.share().grow(256 << 20), "all room is given back");
}
