//! However a path is spelled, it is the surface that a service would understand.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Known surfaces, with and without a deployment.
const PATHS: [&str; 18] = [
    "openai/deployments/gpt-4o/chat/completions",
    "openai/deployments/GPT-4o.EU_x/chat/completions",
    "openai/deployments/deployments/chat/completions",
    "openai/deployments/d/extensions/chat/completions",
    "openai/deployments/d/completions",
    "openai/deployments/chat/embeddings",
    "openai/deployments/d/images/generations",
    "openai/deployments/d/audio/speech",
    "openai/v1/chat/completions",
    "models/chat/completions",
    "models/images/embeddings",
    "openai/v1/responses",
    "api/projects/p/openai/v1/responses/compact",
    "api/projects/Pr-1/openai/deployments/gpt-4o/chat/completions",
    "api/projects/Pr-1/agents/Clerk/endpoint/protocols/openai/responses",
    "openai/threads/t/runs",
    "openai/batches",
    "openai/images/generations:submit",
];

/// Spellings of a slash between two segments.
const BETWEEN: [&str; 12] = [
    "/",
    "//",
    "/./",
    "/x/../",
    "/deployments/cheap/../../",
    "/embeddings/..//",
    "\\",
    "/x\\..\\",
    "/;a=b/",
    "/.\0/",
    "/x/y/.. /../",
    "/ /",
];

/// Characters that may stand behind a segment.
const BEHIND: [&str; 12] =
    ["", ";a=b", ";", " ", "\0", "\0junk", ".", "...", " . ", "\t;x=y/.;z", "#f", "?api-version=0"];

/// How a character is written.
#[derive(Clone, Copy, Debug)]
enum Written {
    Plain,
    Escaped { upper: bool },
    Twice,
    Wide,
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        8 => Just(Written::Plain),
        1 => any::<bool>().prop_map(|upper| Written::Escaped { upper }),
        1 => Just(Written::Twice),
        1 => Just(Written::Wide),
    ]
}

fn write(character: char, how: Written, out: &mut String) {
    let must = character.is_control() || matches!(character, ' ' | '?' | '#');
    let code = u32::from(character);
    match how {
        Written::Plain if !must => out.push(character),
        Written::Plain | Written::Escaped { upper: true } => out.push_str(&format!("%{code:02X}")),
        Written::Escaped { upper: false } => out.push_str(&format!("%{code:02x}")),
        Written::Twice => out.push_str(&format!("%25{code:02x}")),
        Written::Wide => out.push_str(&format!("%u{code:04x}")),
    }
}

/// The words of an operation in any case; a deployment's name is as it is.
fn flipped(segment: &str, flips: u32) -> String {
    if word(&segment.to_ascii_uppercase()) == segment.to_ascii_uppercase() {
        return segment.to_owned();
    }
    let flip = |(at, character): (usize, char)| match flips >> (at % 32) & 1 {
        1 => character.to_ascii_uppercase(),
        _ => character,
    };
    segment.chars().enumerate().map(flip).collect()
}

/// A path and another spelling of it.
fn spelled() -> impl Strategy<Value = (&'static str, String)> {
    let choices = (0..BETWEEN.len(), 0..BEHIND.len(), any::<u32>(), 0..4_u8);
    let parts = (0..PATHS.len(), vec(choices, 12), vec(written(), 400), any::<bool>());
    parts.prop_map(|(path, choices, writing, escapes)| {
        let mut text = String::new();
        let segments = PATHS[path].split('/').enumerate();
        for ((at, segment), (between, behind, flips, some)) in segments.zip(choices) {
            text.push_str(if some & 1 == 1 { BETWEEN[between] } else { "/" });
            let before = PATHS[path].split('/').take(at).last();
            let is_id = matches!(before, Some("deployments" | "projects" | "agents"));
            text.push_str(&if is_id { segment.to_owned() } else { flipped(segment, flips) });
            text.push_str(if some & 2 == 2 { BEHIND[behind] } else { "" });
        }
        let mut spelled = String::from("/");
        for (character, how) in text[1..].chars().zip(writing.into_iter().cycle()) {
            write(character, if escapes { how } else { Written::Plain }, &mut spelled);
        }
        (PATHS[path], spelled)
    })
}

fn post(path: &str) -> Surface {
    classify(&Method::POST, path, Some("api-version=1"), false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn every_spelling_is_the_same_surface((path, spelled) in spelled()) {
        let (plain, found) = (post(&format!("/{path}")), post(&spelled));
        prop_assert_eq!(
            (found.api, found.treatment, &found.deployment, &found.api_version),
            (plain.api, plain.treatment, &plain.deployment, &plain.api_version),
            "{}", spelled
        );
        prop_assert_eq!((&found.project, &found.agent), (&plain.project, &plain.agent), "{}", spelled);
        // Unless it is plain but for case, empty segments and the colon, which may be escaped, that is told.
        let told = spelled.to_ascii_lowercase().replace("%3a", ":");
        let told = told.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>().join("/");
        prop_assert_eq!(found.is_odd, told != path.to_ascii_lowercase() || path.contains("deployments/deployments"));
    }

    #[test]
    fn a_plain_path_is_not_odd(segments in vec("[a-zA-Z0-9_:~@$!*'(),=+&-][a-zA-Z0-9_.~:-]{0,12}[a-zA-Z0-9_-]", 0..9)) {
        let ids = segments.iter().filter(|segment| word(segment) == DEPLOYMENTS).count();
        let path = format!("/{}", segments.join("/"));
        prop_assert_eq!(post(&path).is_odd, ids > 1, "{}", path);
    }

    #[test]
    fn no_bytes_are_too_strange(path in "(%[0-9a-fu]{0,6}|/|\\\\|\\.|;|[a-z%]|\\PC){0,40}") {
        let _ = post(&path);
    }
}

#[test]
fn the_last_deployment_before_the_operation_counts() {
    for (path, api, deployment) in [
        ("/deployments/cheap/deployments/dear/chat/completions", Api::ChatCompletions, "dear"),
        ("/deployments/cheap/../dear/chat/completions", Api::ChatCompletions, "dear"),
        ("/deployments/cheap/%2e%2e/dear/chat/completions", Api::ChatCompletions, "dear"),
        ("/deployments/cheap/../../deployments/dear/embeddings", Api::Embeddings, "dear"),
        ("/deployments/a%2f..%2fdear/chat/completions", Api::ChatCompletions, "dear"),
        ("/deployments/cheap\\..\\dear/chat/completions", Api::ChatCompletions, "dear"),
        ("/deployments/deployments/dear/chat/completions", Api::ChatCompletions, "dear"),
        ("/Deployments/deployments/chat/completions", Api::ChatCompletions, "deployments"),
        ("/deployments/dear/chat/completions/deployments/cheap", Api::ChatCompletions, "dear"),
        ("/deployments/dear/chat/completions/deployments", Api::ChatCompletions, "dear"),
        ("/deployments/a/deployments/b/something", Api::Other, "b"),
    ] {
        let found = post(path);
        assert_eq!((found.api, found.deployment.as_deref()), (api, Some(deployment)), "{path}");
        assert!(found.is_odd, "{path}");
    }
}

#[test]
fn an_odd_path_is_never_free() {
    for (path, api) in [
        ("/openai/v1/chat/completions/chatcmpl-1;x", Api::ChatCompletions),
        ("/openai/v1/responses/input_tokens/.", Api::Responses),
        ("/openai/v1/responses/r/%63ancel", Api::Responses),
        ("/openai/threads/t/runs/r%00", Api::Assistants),
        ("/openai/v1/realtime/calls;x", Api::Realtime),
        ("/openai/v1/./files", Api::Other),
        ("/openai/threads/t%00", Api::Assistants),
    ] {
        let found = post(path);
        assert_eq!((found.api, found.treatment), (api, Treatment::ReportedOnly), "{path}");
    }
    // A reader that stops at a NUL makes a call of it.
    for path in
        ["/v1/chat/completions%00/x/y", "/v1/chat/completions%3fx/y/z", "/v1/chat/completions%00/x/files"]
    {
        assert_eq!(post(path).treatment, Treatment::Metered, "{path}");
    }
}

/// A client may escape the colon or not (RFC 3986, 2.2), and no reader makes another thing of it.
#[test]
fn an_escaped_colon_is_not_odd() {
    let (plain, found) =
        (post("/openai/images/generations:submit"), post("/openai//images/generations%3asubmit"));
    assert_eq!((found.api, found.is_odd), (Api::Images, false));
    assert_eq!(found, plain);
}

#[test]
fn what_only_reads_is_silent_however_it_is_spelled() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"] {
        let surface = classify(&method.parse().unwrap(), "/v1/chat/%63ompletions", None, false);
        assert_eq!((surface.treatment, surface.is_odd), (Treatment::Silent, true), "{method}");
    }
    for method in ["PUT", "PATCH", "post", "QUERY", "POST2"] {
        let surface = classify(&method.parse().unwrap(), "/v1/Chat/completions", None, false);
        assert_eq!((surface.treatment, surface.is_odd), (Treatment::ReportedOnly, false), "{method}");
    }
}
