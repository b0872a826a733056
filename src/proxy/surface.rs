//! Which API a path belongs to, and how its calls are treated. Gateways add and drop prefixes, so
//! a path is read from its end.

use http::Method;
use smol_str::SmolStr;

use super::headers::{decode, parameter};
use crate::usage::Api;

/// Characters of a deployment or an api-version that go into an event. Azure allows 64; what is
/// longer is no name.
const NAME_CHARS_MAX: usize = 128;

/// Segments of a path for which there is room at once: `/openai/deployments/ID/chat/completions` has 5.
const SEGMENTS_USUAL: usize = 8;

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// An event; tokens reported, or counted by the service's rules.
    Metered,
    /// An event; tokens only if the service reports them.
    ReportedOnly,
    /// An event without tokens.
    Unmetered,
    /// No event: the call makes nothing.
    Silent,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// What is done with it.
    pub treatment: Treatment,
    /// Its API.
    pub api: Api,
    /// The deployment in its path, decoded.
    pub deployment: Option<SmolStr>,
    /// The query's `api-version`, decoded.
    pub api_version: Option<SmolStr>,
}

/// Reads method, path (without the upstream's prefix) and query. `websocket`: the request asks for
/// that upgrade.
pub fn classify(method: &Method, path: &str, query: Option<&str>, websocket: bool) -> Surface {
    let mut segments = Vec::with_capacity(SEGMENTS_USUAL);
    segments.extend(path.split('/').filter(|segment| !segment.is_empty()));
    let deployments = segments.iter().position(|&segment| segment == "deployments");
    let in_path = deployments.and_then(|at| segments.get(at + 1)).map(|id| SmolStr::from(decode(id)));
    // What follows the deployment says what is done with it; its id must not be read as an API.
    let operation = segments.get(deployments.map_or(0, |at| at + 2)..).unwrap_or(&[]);
    let (api, treatment) = match *method {
        _ if websocket => (Api::Websocket, Treatment::Unmetered),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE => {
            (operation_api(operation).0, Treatment::Silent)
        }
        Method::POST => operation_api(operation),
        _ => (operation_api(operation).0, Treatment::Unmetered),
    };
    let in_query = || parameter(query, "deployment").or_else(|| parameter(query, "model"));
    let deployment = in_path.or_else(|| if websocket { in_query() } else { None });
    Surface {
        treatment,
        api,
        deployment: deployment.and_then(name),
        api_version: parameter(query, "api-version").and_then(name),
    }
}

/// The API of a POST, and its treatment.
fn operation_api(operation: &[&str]) -> (Api, Treatment) {
    use Treatment::{Metered, ReportedOnly, Unmetered};
    match operation {
        // On-your-data of 2023: its delta has another layout.
        [.., "extensions", "chat", "completions"] => (Api::ChatCompletions, ReportedOnly),
        [.., "chat", "completions"] => (Api::ChatCompletions, Metered),
        [.., "completions"] => (Api::Completions, Metered),
        [.., "images", "embeddings"] => (Api::Embeddings, ReportedOnly),
        [.., "embeddings"] => (Api::Embeddings, Metered),
        [.., "responses"] => (Api::Responses, Metered),
        // Cancelling and the like repeat the usage of a response that has its own event.
        [.., "responses", _] | [.., "responses", _, _] => (Api::Responses, Unmetered),
        [.., "images", "generations" | "edits" | "variations"] => (Api::Images, ReportedOnly),
        [.., "images", "generations:submit"] => (Api::Images, Unmetered),
        [.., "audio", "transcriptions" | "translations" | "speech"] => (Api::Audio, ReportedOnly),
        _ if operation.contains(&"threads") || operation.contains(&"assistants") => {
            (Api::Assistants, Unmetered)
        }
        _ if operation.contains(&"batches") => (Api::Batch, Unmetered),
        _ => (Api::Other, Unmetered),
    }
}

fn name(text: SmolStr) -> Option<SmolStr> {
    (!text.is_empty() && text.chars().count() <= NAME_CHARS_MAX).then_some(text)
}

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
        use Treatment::{Metered, ReportedOnly, Unmetered};
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
            ("openai/v1/responses/compact", Api::Responses, Unmetered),
            ("openai/deployments/d/images/generations", Api::Images, ReportedOnly),
            ("openai/images/generations:submit", Api::Images, Unmetered),
            ("openai/deployments/d/audio/speech", Api::Audio, ReportedOnly),
            ("openai/v1/audio/transcriptions", Api::Audio, ReportedOnly),
            ("openai/threads/t/runs", Api::Assistants, Unmetered),
            ("openai/threads/runs", Api::Assistants, Unmetered),
            ("openai/assistants", Api::Assistants, Unmetered),
            ("openai/batches", Api::Batch, Unmetered),
            ("openai/v1/files", Api::Other, Unmetered),
            ("openai/deployments/threads/chat/completions", Api::ChatCompletions, Metered),
            ("openai/deployments/batches/something", Api::Other, Unmetered),
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
        let put = classify(&Method::PUT, "/openai/v1/chat/completions", None, false);
        assert_eq!(put.treatment, Treatment::Unmetered);
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
    fn an_upgrade_is_named_by_its_query() {
        let get = |query| classify(&Method::GET, "/openai/realtime", Some(query), true);
        assert_eq!(get("deployment=rt&api-version=p").deployment.as_deref(), Some("rt"));
        assert_eq!(get("model=rt").deployment.as_deref(), Some("rt"));
        assert_eq!(get("model=rt").api, Api::Websocket);
        assert_eq!(get("model=rt").treatment, Treatment::Unmetered);
    }
}
