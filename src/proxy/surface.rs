//! Which API a path belongs to, and how its calls are treated. Gateways add and drop prefixes, so
//! a path is read from its end; services differ in what they take literally, so it is read as one of them
//! would understand it (`path`).

use http::Method;
use smol_str::SmolStr;

use super::headers::parameter;
use super::path::Path;
pub use metering::meter::Treatment;
use metering::usage::Api;

/// Characters of a deployment or an api-version that go into an event. Azure allows 64; what is
/// longer is no name.
const NAME_CHARS_MAX: usize = 128;

/// Segments of a path for which there is room at once: `/openai/deployments/ID/chat/completions` has 5.
const SEGMENTS_USUAL: usize = 8;

/// Stands before a deployment's name.
const DEPLOYMENTS: &str = "deployments";

/// The segments by which operations are known, in any case.
const WORDS: [&str; 28] = [
    DEPLOYMENTS,
    "assistants",
    "audio",
    "batches",
    "cancel",
    "chat",
    "client_secrets",
    "completions",
    "count_tokens",
    "edits",
    "embeddings",
    "extensions",
    "file_batches",
    "generations",
    "generations:submit",
    "images",
    "input_tokens",
    "jobs",
    "messages",
    "realtime",
    "responses",
    "runs",
    "speech",
    "threads",
    "transcriptions",
    "translations",
    "uploads",
    "variations",
];

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// What is done with it.
    pub treatment: Treatment,
    /// Its API.
    pub api: Api,
    /// The deployment in its path, decoded; in the case that the caller wrote.
    pub deployment: Option<SmolStr>,
    /// The query's `api-version`, decoded.
    pub api_version: Option<SmolStr>,
    /// Another reader may make something else of its path.
    pub is_odd: bool,
}

/// Reads method, path (without the upstream's prefix) and query. `handshake`: the request asks to become
/// a WebSocket, whose deployment stands in the query. Whether it becomes one, the answer says.
pub fn classify(method: &Method, path: &str, query: Option<&str>, handshake: bool) -> Surface {
    let path = Path::of(path);
    let mut words = Vec::with_capacity(SEGMENTS_USUAL);
    words.extend(path.segments().map(word));
    let (deployments, is_only) = last_deployments(&words);
    let is_odd = path.is_odd() || !is_only;
    let in_path = deployments.and_then(|at| path.segments().nth(at + 1)).map(SmolStr::from);
    // What follows the deployment says what is done with it; its id must not be read as an API.
    let operation = words.get(deployments.map_or(0, |at| at + 2)..).unwrap_or(&[]);
    let known = if is_odd { odd_operation(operation) } else { operation_api(operation) };
    let (api, treatment) = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE => {
            (known.0, Treatment::Silent)
        }
        Method::POST => known,
        // Nobody makes a call like this; if somebody does, what the answer reports is taken.
        _ => match known {
            (api, Treatment::Metered) => (api, Treatment::ReportedOnly),
            other => other,
        },
    };
    let in_query = || parameter(query, "deployment").or_else(|| parameter(query, "model"));
    let deployment = in_path.or_else(|| if handshake { in_query() } else { None });
    Surface {
        treatment,
        api,
        deployment: deployment.and_then(name),
        api_version: parameter(query, "api-version").and_then(name),
        is_odd,
    }
}

/// The segment, or the word that it is in another case.
fn word(segment: &str) -> &str {
    if !segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return segment; // almost always
    }
    WORDS.into_iter().find(|word| word.eq_ignore_ascii_case(segment)).unwrap_or(segment)
}

/// Where the last `deployments` before an operation stands, and whether there is no other. A deployment may
/// have that name itself: what belongs to the operation (`deployments/deployments/chat/completions`) is no
/// id.
fn last_deployments(words: &[&str]) -> (Option<usize>, bool) {
    let mut places = (0..words.len()).rev().filter(|at| words[*at] == DEPLOYMENTS);
    let Some(last) = places.next() else { return (None, true) };
    let first = words.iter().position(|word| *word == DEPLOYMENTS);
    if first == Some(last) {
        return (first, true);
    }
    let behind = |at: usize| odd_operation(words.get(at..).unwrap_or(&[]));
    let is_before_one =
        |at: &usize| behind(at + 2) != behind(words.len()) && behind(at + 2) == behind(at + 1);
    let places = std::iter::once(last).chain(places);
    (places.into_iter().find(is_before_one).or(Some(last)), false)
}

/// The same for a path that is odd. Some service may not read it to its end, so of one that is not known
/// the longest beginning that is metered counts; and nobody makes such a path for a call that is free or
/// another one's.
fn odd_operation(operation: &[&str]) -> (Api, Treatment) {
    match operation_api(operation) {
        (api, Treatment::Free | Treatment::Unmetered) => (api, Treatment::ReportedOnly),
        unknown @ (Api::Other, _) => {
            let mut beginnings = (0..operation.len()).rev().map(|end| operation_api(&operation[..end]));
            beginnings.find(|(_, treatment)| *treatment == Treatment::Metered).unwrap_or(unknown)
        }
        known => known,
    }
}

/// The API of a POST, and its treatment. What is not known may report: an answer's usage is thrown away
/// only where it is another call's.
fn operation_api(operation: &[&str]) -> (Api, Treatment) {
    use Treatment::{Free, Metered, ReportedOnly, Unmetered};
    match operation {
        // On-your-data of 2023: its delta has another layout.
        [.., "extensions", "chat", "completions"] => (Api::ChatCompletions, ReportedOnly),
        [.., "chat", "completions"] => (Api::ChatCompletions, Metered),
        // A completion that is stored gets other metadata; its usage has been billed. What else stands there
        // is no id, and a service that reads no further makes a completion of it.
        [.., "chat", "completions", id] if id.starts_with("chatcmpl-") => (Api::ChatCompletions, Free),
        [.., "chat", "completions", _] => (Api::ChatCompletions, Metered),
        [.., "completions"] => (Api::Completions, Metered),
        [.., "images", "embeddings"] => (Api::Embeddings, ReportedOnly),
        [.., "embeddings"] => (Api::Embeddings, Metered),
        [.., "responses"] => (Api::Responses, Metered),
        // Counting beforehand, and a secret for a session.
        [.., "responses", "input_tokens"] => (Api::Responses, Free),
        [.., "messages", "count_tokens"] | [.., "realtime", "client_secrets"] => (Api::Other, Free),
        // The work of a call that has its own event is broken off, and what it used so far is said again.
        [.., "responses" | "runs" | "batches" | "file_batches" | "jobs" | "uploads", _, "cancel"] => {
            (kept_api(operation), Unmetered)
        }
        // A run that is there gets other metadata.
        [.., "threads", _, "runs", _] => (Api::Assistants, Unmetered),
        // Compacting is one.
        [.., "responses", _] | [.., "responses", _, _] => (Api::Responses, ReportedOnly),
        [.., "images", "generations" | "edits" | "variations" | "generations:submit"] => {
            (Api::Images, ReportedOnly)
        }
        [.., "audio", "transcriptions" | "translations" | "speech"] => (Api::Audio, ReportedOnly),
        _ => (kept_api(operation), ReportedOnly),
    }
}

/// The API whose objects are kept by the service under such a path.
fn kept_api(operation: &[&str]) -> Api {
    match operation {
        [.., "responses", _, _] => Api::Responses,
        _ if operation.contains(&"threads") || operation.contains(&"assistants") => Api::Assistants,
        _ if operation.contains(&"batches") => Api::Batch,
        _ => Api::Other,
    }
}

fn name(text: SmolStr) -> Option<SmolStr> {
    let fits = text.chars().count() <= NAME_CHARS_MAX && !metering::names::has_control(&text);
    (!text.is_empty() && fits).then_some(text)
}

#[cfg(test)]
mod spellings;

#[cfg(test)]
mod tests {
    use super::*;

    fn post(target: &str) -> (Api, Treatment, Option<SmolStr>, Option<SmolStr>) {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let surface = classify(&Method::POST, path, query, false);
        (surface.api, surface.treatment, surface.deployment, surface.api_version)
    }

    #[test]
    fn each_surface_is_known_under_any_prefix() {
        use Treatment::{Free, Metered, ReportedOnly, Unmetered};
        for (path, api, treatment) in [
            ("openai/deployments/d/chat/completions", Api::ChatCompletions, Metered),
            ("openai/v1/chat/completions", Api::ChatCompletions, Metered),
            ("models/chat/completions", Api::ChatCompletions, Metered),
            ("openai/deployments/d/extensions/chat/completions", Api::ChatCompletions, ReportedOnly),
            ("openai/deployments/d/completions", Api::Completions, Metered),
            ("openai/deployments/d/embeddings", Api::Embeddings, Metered),
            ("models/images/embeddings", Api::Embeddings, ReportedOnly),
            ("openai/responses", Api::Responses, Metered),
            ("openai/v1/responses/resp_1/cancel", Api::Responses, Unmetered),
            ("openai/v1/responses/compact", Api::Responses, ReportedOnly),
            ("openai/responses/compact", Api::Responses, ReportedOnly),
            ("api/projects/p/openai/v1/responses/compact", Api::Responses, ReportedOnly),
            ("openai/v1/responses/of_the_future", Api::Responses, ReportedOnly),
            ("openai/v1/responses/input_tokens", Api::Responses, Free),
            ("openai/v1/chat/completions/chatcmpl-1", Api::ChatCompletions, Free),
            ("openai/v1/chat/completions/extra", Api::ChatCompletions, Metered),
            ("openai/v1/embeddings/x/cancel", Api::Other, ReportedOnly),
            ("anthropic/v1/messages/count_tokens", Api::Other, Free),
            ("openai/v1/realtime/client_secrets", Api::Other, Free),
            ("openai/deployments/d/images/generations", Api::Images, ReportedOnly),
            ("openai/images/generations:submit", Api::Images, ReportedOnly),
            ("openai/deployments/d/audio/speech", Api::Audio, ReportedOnly),
            ("openai/v1/audio/transcriptions", Api::Audio, ReportedOnly),
            ("openai/threads/t/runs", Api::Assistants, ReportedOnly),
            ("openai/threads/runs", Api::Assistants, ReportedOnly),
            ("openai/threads/t/runs/r/submit_tool_outputs", Api::Assistants, ReportedOnly),
            ("openai/threads/t/runs/r/cancel", Api::Assistants, Unmetered),
            ("openai/threads/t/runs/r", Api::Assistants, Unmetered),
            ("openai/assistants", Api::Assistants, ReportedOnly),
            ("openai/batches", Api::Batch, ReportedOnly),
            ("openai/v1/batches/b/cancel", Api::Batch, Unmetered),
            ("openai/v1/fine_tuning/jobs/j/cancel", Api::Other, Unmetered),
            ("openai/v1/files", Api::Other, ReportedOnly),
            ("openai/v1/decisions", Api::Other, ReportedOnly),
            ("openai/deployments/threads/chat/completions", Api::ChatCompletions, Metered),
            ("openai/deployments/batches/something", Api::Other, ReportedOnly),
            ("openai/deployments/cancel/chat/completions", Api::ChatCompletions, Metered),
        ] {
            for prefix in ["/", "//", "/team/api/", "/responses/v2/"] {
                let found = post(&format!("{prefix}{path}?api-version=1"));
                assert_eq!((found.0, found.1), (api, treatment), "{prefix}{path}");
            }
        }
    }

    #[test]
    fn reading_makes_nothing_and_is_silent() {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
            let surface = classify(&method.parse().unwrap(), "/openai/v1/responses/r", None, false);
            assert_eq!(surface.treatment, Treatment::Silent, "{method}");
        }
    }

    #[test]
    fn another_method_is_no_call_that_rules_are_known_for() {
        let put = |path: &str| classify(&Method::PUT, path, None, false).treatment;
        assert_eq!(put("/openai/v1/chat/completions"), Treatment::ReportedOnly);
        assert_eq!(put("/openai/v1/anything"), Treatment::ReportedOnly);
        assert_eq!(put("/openai/v1/chat/completions/chatcmpl-c"), Treatment::Free);
        assert_eq!(put("/openai/v1/responses/r/cancel"), Treatment::Unmetered);
    }

    #[test]
    fn names_are_decoded_and_bounded() {
        let found = post("/openai/deployments/gpt%2D4o%20eu/chat/completions?a&api-version=2024%2d10-21");
        assert_eq!(found.2.as_deref(), Some("gpt-4o eu"));
        assert_eq!(found.3.as_deref(), Some("2024-10-21"));
        assert_eq!(post("/v1/chat/completions").3, None);
        assert_eq!(post(&format!("/deployments/{}/embeddings", "x".repeat(129))).2, None);
        assert_eq!(post("/openai/deployments").2, None);
    }

    #[test]
    fn what_has_control_characters_is_no_name() {
        let of = |id: &str| post(&format!("/openai/deployments/{id}/chat/completions?api-version={id}"));
        for id in ["a%0atotal,99", "a%1b%5b2J", "a%09x", "a%c2%9b2J", "a%7fb"] {
            let found = of(id);
            assert_eq!((found.1, found.2, found.3), (Treatment::Metered, None, None), "{id}");
        }
        // Around a name a service may drop them, and behind a NUL it may read no further.
        for (id, name) in [("%1b%5b2J", "[2J"), ("%09x", "x"), ("a%00", "a"), ("a%7f", "a")] {
            let found = of(id);
            assert_eq!(
                (found.1, found.2.as_deref(), found.3),
                (Treatment::Metered, Some(name), None),
                "{id}"
            );
        }
    }

    #[test]
    fn a_handshake_is_named_by_its_query_and_is_a_get_like_any_other_until_it_is_answered() {
        let get = |query| classify(&Method::GET, "/openai/v1/responses", Some(query), true);
        assert_eq!(get("deployment=rt&api-version=p").deployment.as_deref(), Some("rt"));
        assert_eq!(get("model=rt").deployment.as_deref(), Some("rt"));
        assert_eq!((get("model=rt").api, get("model=rt").treatment), (Api::Responses, Treatment::Silent));
    }
}
