//! Which API a path belongs to, and how its calls are treated. Gateways add and drop prefixes, so
//! a path is read from its end; services differ in what they take literally, so it is read as one of them
//! would understand it (`path`).

use http::Method;
use smol_str::SmolStr;

use super::headers::parameter;
use super::path::NormalizedPath;
pub(crate) use metering::api::Treatment;
use metering::api::{Api, DEPLOYMENTS, Operation, word};

/// Characters of a deployment or an api-version that go into an event. Azure allows 64; a
/// longer text is no name.
const NAME_CHARS_MAX: usize = 128;

/// Segments of a path for which there is room at once: `/openai/deployments/ID/chat/completions` has 5.
const SEGMENTS_USUAL: usize = 8;

/// The API that a request is for, and its treatment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    /// How its calls are metered.
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
/// a WebSocket, whose deployment stands in the query. Whether it becomes one, the response says.
pub(crate) fn classify(method: &Method, path: &str, query: Option<&str>, handshake: bool) -> Surface {
    let path = NormalizedPath::of(path);
    let mut words = Vec::with_capacity(SEGMENTS_USUAL);
    words.extend(path.segments().map(word));
    let (deployments, is_only) = last_deployments(&words);
    let is_odd = path.is_odd() || !is_only;
    let in_path = deployments.and_then(|at| path.segments().nth(at + 1)).map(SmolStr::from);
    // The segments behind the deployment say what is done with it; its id must not be read as an API.
    let operation = words.get(deployments.map_or(0, |at| at + 2)..).unwrap_or(&[]);
    let route = if is_odd { odd_route(operation) } else { Route::of(operation) };
    let treatment = match *method {
        _ if method == route.method => route.treatment,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE => Treatment::Silent,
        // A call like this is not known; if there is one, what its response reports is taken.
        _ if route.treatment == Treatment::Metered => Treatment::ReportedOnly,
        _ => route.treatment,
    };
    let in_query = || parameter(query, "deployment").or_else(|| parameter(query, "model"));
    let deployment = in_path.or_else(|| if handshake { in_query() } else { None });
    Surface {
        treatment,
        api: route.api,
        deployment: deployment.and_then(name),
        api_version: parameter(query, "api-version").and_then(name),
        is_odd,
    }
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
    let behind = |at: usize| odd_route(words.get(at..).unwrap_or(&[]));
    let is_before_one =
        |at: &usize| behind(at + 2) != behind(words.len()) && behind(at + 2) == behind(at + 1);
    let places = std::iter::once(last).chain(places);
    (places.into_iter().find(is_before_one).or(Some(last)), false)
}

/// The treatment of a call, by the operation that its path ends in.
#[derive(Clone, Copy, PartialEq)]
struct Route {
    method: &'static Method,
    api: Api,
    treatment: Treatment,
}

impl Route {
    fn of(operation: &[&str]) -> Route {
        let row = Operation::of(operation);
        Route { method: &row.method, api: row.api(operation), treatment: row.treatment }
    }
}

/// The route of a path that is odd. Some service may not read it to its end, so of one that is not known
/// the longest beginning that is metered counts; and such a path is not made for a call that is free or
/// another one's.
fn odd_route(operation: &[&str]) -> Route {
    let route = Route::of(operation);
    match route.treatment {
        Treatment::Free | Treatment::Unmetered => Route { treatment: Treatment::ReportedOnly, ..route },
        _ if route.api.is_known() => route,
        _ => {
            let mut beginnings = (0..operation.len()).rev().map(|end| Route::of(&operation[..end]));
            beginnings.find(|route| route.treatment == Treatment::Metered).unwrap_or(route)
        }
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
    use metering::api::OPERATIONS;

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
    fn every_row_of_the_table_is_found() {
        use metering::api::Deployment::PathOrModel;
        for row in OPERATIONS {
            let path = row.path.replace('*', "x");
            let in_path = if row.deployment == PathOrModel { "deployments/d/" } else { "" };
            let found = classify(&row.method, &format!("/openai/{in_path}{path}"), None, false);
            assert!(row.by_object || found.api == row.api, "{path}: {found:?}");
            assert_eq!(found.treatment, row.treatment, "{path}");
            assert_eq!(found.deployment.as_deref(), (!in_path.is_empty()).then_some("d"), "{path}");
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
