//! Which API a path belongs to, and how its calls are treated. Gateways add and drop prefixes, so
//! a path is read from its end; services differ in what they take literally, so it is read as one of them
//! would understand it (`path`).

use http::Method;
use smol_str::SmolStr;

use super::headers::parameter;
use super::path::NormalizedPath;
pub(crate) use metering::api::Treatment;
use metering::api::{AGENT_ENDPOINT, AGENTS, Api, DEPLOYMENTS, Deployment, Operation, PROJECTS, word};

/// Characters of a deployment, a project, an agent or an api-version that go into an event. Azure allows 64; a
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
    /// The name of its operation, where it is not that of the API.
    pub operation: Option<&'static str>,
    /// The deployment in its path, decoded; in the case that the caller wrote.
    pub deployment: Option<SmolStr>,
    /// The model that its path ends in, decoded, where such calls are named so.
    pub model: Option<SmolStr>,
    /// The object in its path that is asked for, where that is work which another call began.
    pub polled: Option<SmolStr>,
    /// The Foundry project in its path, likewise.
    pub project: Option<SmolStr>,
    /// The Foundry agent in its path, likewise.
    pub agent: Option<SmolStr>,
    /// The query's `api-version`, decoded.
    pub api_version: Option<SmolStr>,
    /// Another reader may make something else of its path.
    pub is_odd: bool,
    /// The query names a call whose session another connection has: this one looks on.
    pub is_observer: bool,
}

/// Reads method, path (without the upstream's prefix) and query. `handshake`: the request asks to become
/// a WebSocket, whose deployment stands in the query. Whether it becomes one, the response says.
pub(crate) fn classify(method: &Method, path: &str, query: Option<&str>, handshake: bool) -> Surface {
    let path = NormalizedPath::of(path);
    let mut words = Vec::with_capacity(SEGMENTS_USUAL);
    words.extend(path.segments().map(word));
    let (deployments, is_only) = last_deployments(&words);
    let project = FoundryName::project(words.get(..deployments.unwrap_or(words.len())).unwrap_or(&[]));
    let agent = FoundryName::agent(&words, project.at);
    let is_odd = path.is_odd() || !is_only || !project.is_only || !agent.is_only;
    let segment = |at: usize| path.segments().nth(at).map(SmolStr::from);
    let in_path = deployments.and_then(|at| segment(at + 1));
    // The segments behind the deployment say what is done with it; its id must not be read as an API.
    let operation = words.get(deployments.map_or(0, |at| at + 2)..).unwrap_or(&[]);
    let session = if handshake { Operation::of_session(operation) } else { None };
    let route = match session {
        Some(row) => SurfaceRoute::by(row, operation),
        None if is_odd => odd_route(method, operation),
        None => SurfaceRoute::of(method, operation),
    };
    let treatment = match route.treatment.by_method(route.method, method) {
        // A session is no look at what another call began.
        treatment if handshake && treatment.is_poll() => Treatment::Silent,
        treatment => treatment,
    };
    let polled = if treatment.is_poll() { Operation::of(method, operation).object(operation) } else { None };
    let in_query = || parameter(query, "deployment").or_else(|| parameter(query, "model"));
    let asks_query = handshake || route.deployment == Deployment::Query;
    let deployment = in_path.or_else(|| if asks_query { in_query() } else { None });
    let last = path.segments().last().filter(|_| route.deployment == Deployment::ModelOrLast);
    Surface {
        treatment,
        api: route.api,
        operation: route.name,
        deployment: deployment.and_then(name),
        model: last.map(SmolStr::from).and_then(name),
        polled: polled.map(SmolStr::from).and_then(name),
        project: project.at.and_then(segment).and_then(name),
        agent: agent.at.and_then(segment).and_then(name),
        api_version: parameter(query, "api-version").and_then(name),
        is_odd,
        is_observer: handshake && parameter(query, "call_id").is_some_and(|id| !id.is_empty()),
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
    let behind = |at: usize| odd_route(&Method::POST, words.get(at..).unwrap_or(&[]));
    let is_before_one =
        |at: &usize| behind(at + 2) != behind(words.len()) && behind(at + 2) == behind(at + 1);
    let places = std::iter::once(last).chain(places);
    (places.into_iter().find(is_before_one).or(Some(last)), false)
}

/// A segment that names something of Foundry. Of several the last one counts, since gateways add prefixes;
/// then two readers may make two things of the path.
struct FoundryName {
    at: Option<usize>,
    is_only: bool,
}

impl FoundryName {
    /// The project: behind `api/projects`.
    fn project(words: &[&str]) -> FoundryName {
        let ends = words.len().saturating_sub(PROJECTS.len());
        FoundryName::last(
            (0..ends).filter(|at| words[*at..].starts_with(&PROJECTS)).map(|at| at + PROJECTS.len()),
        )
    }

    /// The agent: behind `agents`, directly below a project or before the endpoint that agents have.
    fn agent(words: &[&str], project: Option<usize>) -> FoundryName {
        let is_one = |at: &usize| {
            let below_project = project.is_some_and(|project| project + 1 == *at);
            let (named, behind) = (words[*at] == AGENTS, words.get(at + 2));
            named && behind.is_some_and(|word| below_project || *word == AGENT_ENDPOINT)
        };
        FoundryName::last((0..words.len()).filter(is_one).map(|at| at + 1))
    }

    fn last(places: impl DoubleEndedIterator<Item = usize>) -> FoundryName {
        let mut places = places.rev();
        FoundryName { at: places.next(), is_only: places.next().is_none() }
    }
}

/// The treatment of a call, by the operation that its path ends in.
#[derive(Clone, Copy, PartialEq)]
struct SurfaceRoute {
    method: &'static Method,
    api: Api,
    name: Option<&'static str>,
    deployment: Deployment,
    treatment: Treatment,
}

impl SurfaceRoute {
    fn of(method: &Method, operation: &[&str]) -> SurfaceRoute {
        SurfaceRoute::by(Operation::of(method, operation), operation)
    }

    fn by(row: &'static Operation, operation: &[&str]) -> SurfaceRoute {
        let (api, name) = (row.api(operation), row.name());
        SurfaceRoute { method: &row.method, api, name, deployment: row.deployment, treatment: row.treatment }
    }
}

/// The route of a path that is odd. Some service may not read it to its end, so of one that is not known or
/// silent the longest beginning that is metered counts; and such a path is not made for a call that is free or
/// another one's.
fn odd_route(method: &Method, operation: &[&str]) -> SurfaceRoute {
    let route = SurfaceRoute::of(method, operation);
    let reported = SurfaceRoute { treatment: Treatment::ReportedOnly, ..route };
    match route.treatment {
        Treatment::Poll | Treatment::PollOutput => SurfaceRoute { treatment: Treatment::Silent, ..route },
        Treatment::PerResponse => route,
        Treatment::Free | Treatment::Unmetered | Treatment::Elsewhere | Treatment::Cancel => reported,
        Treatment::Metered | Treatment::ReportedOnly if route.api.is_known() => route,
        Treatment::Metered | Treatment::ReportedOnly | Treatment::Silent => {
            let mut beginnings =
                (0..operation.len()).rev().map(|end| SurfaceRoute::of(method, &operation[..end]));
            beginnings.find(|route| route.treatment == Treatment::Metered).unwrap_or(reported)
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
        use Treatment::{Cancel, Elsewhere, Free, Metered, ReportedOnly, Silent, Unmetered};
        for (path, api, treatment) in [
            ("openai/deployments/d/chat/completions", Api::ChatCompletions, Metered),
            ("openai/v1/chat/completions", Api::ChatCompletions, Metered),
            ("models/chat/completions", Api::ChatCompletions, Metered),
            ("openai/deployments/d/extensions/chat/completions", Api::ChatCompletions, ReportedOnly),
            ("openai/deployments/d/completions", Api::Completions, Metered),
            ("openai/deployments/d/embeddings", Api::Embeddings, Metered),
            ("models/images/embeddings", Api::Embeddings, ReportedOnly),
            ("openai/responses", Api::Responses, Metered),
            ("openai/v1/responses/resp_1/cancel", Api::Responses, Cancel),
            ("openai/v1/responses/compact", Api::Responses, ReportedOnly),
            ("openai/responses/compact", Api::Responses, ReportedOnly),
            ("api/projects/p/openai/v1/responses/compact", Api::Responses, ReportedOnly),
            ("openai/v1/responses/of_the_future", Api::Responses, ReportedOnly),
            ("openai/v1/responses/input_tokens", Api::Responses, Free),
            ("openai/v1/chat/completions/chatcmpl-1", Api::ChatCompletions, Free),
            ("openai/v1/chat/completions/extra", Api::ChatCompletions, Metered),
            ("openai/v1/embeddings/x/cancel", Api::Other, ReportedOnly),
            ("anthropic/v1/messages", Api::Messages, ReportedOnly),
            ("api/projects/p/anthropic/v1/messages", Api::Messages, ReportedOnly),
            ("anthropic/messages", Api::Messages, ReportedOnly),
            ("anthropic/v1/messages/count_tokens", Api::Messages, Free),
            ("openai/threads/t/messages", Api::Assistants, Silent),
            ("openai/v1/messages_of_another_kind", Api::Other, ReportedOnly),
            ("openai/v1/realtime/client_secrets", Api::Realtime, Free),
            ("openai/v1/realtime/calls", Api::Realtime, Elsewhere),
            ("openai/v1/realtime/calls/rtc_1/accept", Api::Other, Silent),
            ("openai/v1/realtime/of_the_future", Api::Other, ReportedOnly),
            ("openai/deployments/d/images/generations", Api::Images, ReportedOnly),
            ("openai/images/generations:submit", Api::Images, ReportedOnly),
            ("openai/deployments/d/audio/speech", Api::Audio, ReportedOnly),
            ("openai/v1/audio/transcriptions", Api::Audio, ReportedOnly),
            ("openai/threads/t/runs", Api::Assistants, ReportedOnly),
            ("openai/threads/runs", Api::Assistants, ReportedOnly),
            ("openai/threads/t/runs/r/submit_tool_outputs", Api::Assistants, ReportedOnly),
            ("openai/threads/t/runs/r/cancel", Api::Assistants, Unmetered),
            ("openai/threads/t/runs/r", Api::Assistants, Unmetered),
            ("openai/threads/t", Api::Assistants, Silent),
            ("openai/threads/t/messages/m", Api::Assistants, Silent),
            ("openai/assistants", Api::Assistants, Silent),
            ("openai/assistants/a", Api::Assistants, Silent),
            ("openai/batches", Api::Batch, ReportedOnly),
            ("openai/v1/batches/b/cancel", Api::Batch, Cancel),
            ("openai/v1/fine_tuning/jobs", Api::Other, ReportedOnly),
            ("openai/v1/fine_tuning/jobs/j/cancel", Api::Other, Silent),
            ("openai/v1/fine_tuning/alpha/graders/run", Api::Other, ReportedOnly),
            ("openai/v1/evals", Api::Other, ReportedOnly),
            ("openai/v1/evals/e", Api::Other, Silent),
            ("openai/v1/evals/e/runs", Api::Other, ReportedOnly),
            ("openai/v1/evals/e/runs/r", Api::Other, Silent),
            ("openai/v1/files", Api::Other, Silent),
            ("openai/v1/files/of_the_future", Api::Other, ReportedOnly),
            ("openai/v1/uploads/u/parts", Api::Other, Silent),
            ("openai/v1/vector_stores/v/file_batches/b/cancel", Api::Other, Silent),
            ("openai/v1/conversations/c/items", Api::Other, Silent),
            ("openai/v1/skills/s/versions", Api::Other, Silent),
            ("openai/v1/models/m", Api::Other, Silent),
            ("models/chat/completions", Api::ChatCompletions, Metered),
            ("models/images/generations", Api::Images, ReportedOnly),
            ("openai/v1/containers", Api::Other, ReportedOnly),
            ("openai/v1/videos", Api::Video, ReportedOnly),
            ("openai/v1/videos/v/remix", Api::Video, ReportedOnly),
            ("openai/v1/video/generations/jobs", Api::Video, ReportedOnly),
            ("providers/mistral/azure/ocr", Api::Ocr, ReportedOnly),
            ("providers/cohere/v2/rerank", Api::Rerank, ReportedOnly),
            ("providers/cohere/v2/embed", Api::Embeddings, ReportedOnly),
            ("providers/cohere/v2/parse", Api::Ocr, ReportedOnly),
            ("providers/blackforestlabs/v1/flux-2-pro", Api::Images, ReportedOnly),
            ("mai/v1/images/edits", Api::Images, ReportedOnly),
            ("mai/v1/chat/completions", Api::ChatCompletions, Metered),
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
    fn an_operation_has_a_name_where_its_api_has_several() {
        let name = |path: &str| classify(&Method::POST, path, None, false).operation;
        for (path, expected) in [
            ("/openai/v1/audio/transcriptions", Some("transcription")),
            ("/openai/deployments/d/audio/translations", Some("translation")),
            ("/openai/v1/audio/speech", Some("speech")),
            ("/openai/v1/images/generations", Some("image_generation")),
            ("/mai/v1/images/edits", Some("image_edit")),
            ("/providers/blackforestlabs/v1/flux-2-pro", Some("image_generation")),
            ("/openai/v1/chat/completions", None),
            ("/openai/v1/decisions", None),
        ] {
            assert_eq!(name(path), expected, "{path}");
        }
    }

    #[test]
    fn a_model_may_be_named_by_the_end_of_its_path() {
        let found = |path: &str| {
            let surface = classify(&Method::POST, path, None, false);
            (surface.deployment, surface.model)
        };
        let flux = "/providers/blackforestlabs/v1/";
        assert_eq!(
            found(&format!("{flux}FLUX.2-Pro")),
            (None, Some("FLUX.2-Pro".into())),
            "as it is written"
        );
        assert_eq!(found(&format!("{flux}{}", "x".repeat(129))), (None, None));
        assert_eq!(found(&format!("{flux}a%0ab")), (None, None));
        assert_eq!(found("/openai/v1/images/generations"), (None, None));
    }

    #[test]
    fn a_call_whose_session_goes_elsewhere_is_named_by_its_query() {
        let found = |query| classify(&Method::POST, "/openai/v1/realtime/calls", query, false).deployment;
        assert_eq!((found(Some("model=rt")).as_deref(), found(None)), (Some("rt"), None));
    }

    #[test]
    fn reading_makes_nothing_and_is_silent() {
        for (method, path) in [
            ("GET", "/openai/v1/responses"),
            ("GET", "/openai/v1/responses/r/input_items"),
            ("GET", "/openai/v1/chat/completions/chatcmpl-c"),
            ("GET", "/openai/v1/files"),
            ("GET", "/openai/v1/files/f"),
            ("GET", "/openai/v1/batches"),
            ("GET", "/openai/v1/videos/v/content"),
            ("HEAD", "/openai/v1/responses/r"),
            ("OPTIONS", "/openai/v1/responses/r"),
            ("DELETE", "/openai/v1/responses/r"),
        ] {
            let surface = classify(&method.parse().unwrap(), path, None, false);
            assert_eq!((surface.treatment, surface.polled), (Treatment::Silent, None), "{method} {path}");
        }
    }

    #[test]
    fn work_that_goes_on_is_looked_at() {
        for (path, api, treatment, id) in [
            ("responses/resp_1", Api::Responses, Treatment::Poll, "resp_1"),
            ("responses/resp_1?stream=true&starting_after=4", Api::Responses, Treatment::Poll, "resp_1"),
            ("batches/batch_1", Api::Batch, Treatment::Poll, "batch_1"),
            ("videos/video_1", Api::Video, Treatment::Poll, "video_1"),
            ("video/generations/jobs/task_1", Api::Video, Treatment::Poll, "task_1"),
            ("threads/t/runs/run_1", Api::Assistants, Treatment::Poll, "run_1"),
            ("files/file-2/content", Api::Batch, Treatment::PollOutput, "file-2"),
        ] {
            for prefix in ["/openai/v1/", "/openai/", "//team/api/", "/api/projects/p/openai/v1/"] {
                let (path, query) =
                    path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
                let found = classify(&Method::GET, &format!("{prefix}{path}"), query, false);
                let expected = (api, treatment, Some(id.into()));
                assert_eq!((found.api, found.treatment, found.polled), expected, "{prefix}{path}");
            }
        }
        // A session is none, nor is what may be read in two ways.
        let session = classify(&Method::GET, "/openai/v1/responses/r", None, true);
        assert_eq!(session.treatment, Treatment::Silent);
        let odd = classify(&Method::GET, "/openai/deployments/d/deployments/e/responses/r", None, false);
        assert_eq!((odd.is_odd, odd.treatment), (true, Treatment::Silent));
    }

    #[test]
    fn another_method_is_no_call_that_rules_are_known_for() {
        let put = |path: &str| classify(&Method::PUT, path, None, false).treatment;
        assert_eq!(put("/openai/v1/chat/completions"), Treatment::ReportedOnly);
        assert_eq!(put("/openai/v1/anything"), Treatment::ReportedOnly);
        assert_eq!(put("/openai/v1/chat/completions/chatcmpl-c"), Treatment::Free);
        assert_eq!(put("/openai/v1/responses/r/cancel"), Treatment::ReportedOnly);
        assert_eq!(put("/openai/threads/t/runs/r/cancel"), Treatment::Unmetered);
    }

    #[test]
    fn a_path_of_foundry_names_its_project_and_its_agent() {
        let of = |path: &str| {
            let found = classify(&Method::POST, path, None, false);
            (found.project.map(String::from), found.agent.map(String::from), found.is_odd)
        };
        let named = |project: &str, agent: &str, is_odd| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            (given(project), given(agent), is_odd)
        };
        for (path, expected) in [
            ("/api/projects/proj-1/openai/v1/responses", named("proj-1", "", false)),
            ("/gw//API/Projects/Proj-1/openai/v1/responses/", named("Proj-1", "", false)),
            ("/api/projects/my%20proj/openai/v1/responses", named("my proj", "", false)),
            ("/api/projects/p/openai/deployments/d/chat/completions", named("p", "", false)),
            ("/api/projects/p/agents/clerk/endpoint/protocols/openai/responses", named("p", "clerk", false)),
            ("/api/projects/p/Agents/Clerk/versions", named("p", "Clerk", false)),
            ("/agents/clerk/Endpoint/protocols/openai/responses", named("", "clerk", false)),
            ("/api/projects/projects/agents/agents/endpoint/x", named("projects", "agents", false)),
            ("/api/projects/p", named("p", "", false)),
            // No project, and no agent.
            ("/openai/v1/responses", named("", "", false)),
            ("/api/projects", named("", "", false)),
            ("/api/projects/p/agents", named("p", "", false)),
            ("/api/projects/p/agents/clerk", named("p", "", false)),
            ("/v1/agents/sessions", named("", "", false)),
            ("/projects/p/agents/clerk/versions", named("", "", false)),
            ("/api/x/projects/p/responses", named("", "", false)),
            ("/openai/deployments/api/projects/p", named("", "", false)),
            // Two readers may make two things of these; the last name counts.
            ("/api/projects/a/api/projects/b/openai/v1/responses", named("b", "", true)),
            ("/api/projects/a/../b/openai/v1/responses", named("b", "", true)),
            ("/api%2fprojects%2fp/openai/v1/responses", named("p", "", true)),
            ("/api/projects/p;x=y/openai/v1/responses", named("p", "", true)),
            ("/api/%70rojects/p/openai/v1/responses", named("p", "", true)),
            ("/agents/a/endpoint/agents/b/endpoint/protocols/openai/responses", named("", "b", true)),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for bad in [long.as_str(), "a%0ab", "a%1bb"] {
            let found = of(&format!("/api/projects/{bad}/agents/{bad}/endpoint/protocols/openai/responses"));
            assert_eq!((found.0, found.1), (None, None), "{bad}");
        }
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
    fn a_handshake_is_named_by_its_query_and_its_path_says_what_its_messages_mean() {
        let get = |path: &str, query| classify(&Method::GET, path, Some(query), true);
        for (path, api, treatment) in [
            ("/openai/v1/responses", Api::Responses, Treatment::PerResponse),
            ("/openai/v1/Realtime/", Api::Realtime, Treatment::PerResponse),
            ("/voice-live/realtime", Api::Realtime, Treatment::PerResponse),
            ("/openai/v1/realtime/of_the_future", Api::Other, Treatment::Silent),
        ] {
            let found = get(path, "deployment=rt&api-version=p");
            assert_eq!((found.api, found.treatment), (api, treatment), "{path}");
            assert_eq!(found.deployment.as_deref(), Some("rt"));
            assert_eq!(get(path, "model=rt").deployment.as_deref(), Some("rt"));
            assert!(get(path, "call_id=rtc_1").is_observer && !get(path, "model=rt").is_observer);
        }
        // Any other GET reads.
        let found = classify(&Method::GET, "/openai/v1/realtime", Some("call_id=rtc_1"), false);
        assert_eq!((found.treatment, found.is_observer), (Treatment::Silent, false));
    }
}
