//! The questions that other modules ask of the table.

use http::Method;

use super::columns::{BilledBy, DeferredKind, Streaming, UsageAt};
use super::table::{
    AGENT_ENDPOINT, AGENTS, Api, BodyKind, DEPLOYMENTS, OBJECTS, OPERATIONS, Operation, PROFILES, PROJECTS,
    Profile, RuleSet, SESSIONS, SessionKind, UNLISTED,
};

/// The meaning of the last event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEvent {
    /// All has been said.
    Ended,
    /// All has been said of one result. There may be others.
    EndedOne,
    /// It ended by an error.
    Failed,
}

impl Api {
    fn profile(self) -> &'static Profile {
        &PROFILES[self as usize]
    }

    /// The name that stands in events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// OpenTelemetry `gen_ai.provider.name`.
    pub fn provider(self) -> &'static str {
        self.profile().provider
    }

    /// OpenTelemetry `gen_ai.operation.name`, where it has one.
    pub fn operation(self) -> Option<&'static str> {
        self.profile().operation
    }

    /// The table has a row for it.
    pub fn is_known(self) -> bool {
        self != Api::default()
    }

    /// A request may ask for a stream of events, as far as is known.
    pub fn may_stream(self) -> bool {
        matches!(self.profile().streaming, Streaming::Events | Streaming::Unknown)
    }

    /// A stream has usage only if `stream_options.include_usage` asks for it.
    pub fn asks_usage(self) -> bool {
        self.profile().usage == UsageAt::EndIfAsked
    }

    /// A stream ends with usage, whoever asks.
    pub fn always_ends_with_usage(self) -> bool {
        matches!(self.profile().usage, UsageAt::End | UsageAt::Throughout)
    }

    /// A stream has an end marker, so one that ends without it has been cut, however cleanly. Where none is
    /// known, the end of the framing is the end.
    pub fn has_end_marker(self) -> bool {
        !self.profile().ends.is_empty()
    }

    /// A response whose caller has left is worth reading to its end.
    pub fn is_read_on(self) -> bool {
        self.profile().read_on
    }

    /// The reader that its responses need.
    pub fn body_kind(self) -> BodyKind {
        self.profile().body
    }

    /// The rules that prompt and response are counted by; `None`: nothing is computed.
    pub fn rules(self) -> Option<RuleSet> {
        self.profile().rules
    }

    /// A response has tokens of its own to be billed.
    pub fn bills_output(self) -> bool {
        self.rules() != Some(RuleSet::Embeddings)
    }

    /// A usage of zeros is a word: the service may bill something else than tokens.
    pub fn may_use_no_tokens(self) -> bool {
        !matches!(self.profile().billed_by, BilledBy::Tokens | BilledBy::TokensAndSeconds)
    }

    /// Seconds that are heard may be billed in place of tokens, or characters that are spoken.
    pub fn is_heard(self) -> bool {
        self.profile().billed_by == BilledBy::TokensOrSeconds
    }

    /// The meaning of the messages of its sessions, if it has any.
    pub fn session_kind(self) -> Option<SessionKind> {
        self.profile().session
    }

    /// All of its responses come in frames: the service says at the end of each how it ended and what it cost.
    pub fn is_of_frames(self) -> bool {
        self.profile().streaming == Streaming::Frames
    }

    /// Images may be billed in place of tokens.
    pub fn makes_images(self) -> bool {
        self.profile().billed_by == BilledBy::TokensOrImages
    }

    /// Size and quality price what it makes.
    pub fn has_size(self) -> bool {
        matches!(self.profile().billed_by, BilledBy::TokensOrImages | BilledBy::Seconds)
    }

    /// The work that a response may begin and that goes on after it.
    pub fn defers(self) -> Option<DeferredKind> {
        self.profile().defers
    }

    /// A response may name the deployment in place of the model.
    pub fn may_name_deployment(self) -> bool {
        self.profile().names_deployment
    }

    /// Its requests and responses may name the agent that answers.
    pub fn may_name_agent(self) -> bool {
        self.profile().names_agent
    }

    /// The API that has this name in recorded exchanges.
    pub fn recorded_as(name: &str) -> Option<Api> {
        PROFILES.iter().find(|profile| profile.recorded_as.contains(&name)).map(|profile| profile.api)
    }

    /// The name that it has in recorded exchanges, without its other spellings.
    pub fn recorded_name(self) -> Option<&'static str> {
        self.profile().recorded_as.first().copied()
    }
}

/// The event of this `type` as the end of a stream; `None` if more is to come. Known words count in any API.
pub fn last_event(kind: &[u8]) -> Option<LastEvent> {
    let is = |names: &[&str]| names.iter().any(|name| name.as_bytes() == kind);
    let profile = PROFILES.iter().find(|profile| is(profile.ends))?;
    Some(match () {
        () if is(profile.failures) => LastEvent::Failed,
        () if profile.ends_each => LastEvent::EndedOne,
        () => LastEvent::Ended,
    })
}

impl Operation {
    /// The row of a method and a path, by its segments; where there is none, that of another method.
    pub fn of(method: &Method, segments: &[&str]) -> &'static Operation {
        let mut rows = OPERATIONS.iter().filter(|row| row.is_end_of(segments));
        let Some(first) = rows.next() else { return &UNLISTED };
        if first.method == *method { first } else { rows.find(|row| row.method == *method).unwrap_or(first) }
    }

    /// The segment that names the object of a path that has this row.
    pub fn object<'a>(&self, segments: &[&'a str]) -> Option<&'a str> {
        let mut places = segments.iter().rev().zip(self.path.rsplit('/'));
        places.find_map(|(segment, wanted)| (wanted == "*").then_some(*segment))
    }

    /// The row of the path of a session; `None`: its messages are not understood.
    pub fn of_session(segments: &[&str]) -> Option<&'static Operation> {
        SESSIONS.iter().find(|row| row.is_end_of(segments))
    }

    fn is_end_of(&self, segments: &[&str]) -> bool {
        let mut found = segments.iter().rev();
        self.path.rsplit('/').all(|wanted| found.next().is_some_and(|segment| fits(wanted, segment)))
    }

    /// The API of a path that has this row.
    pub fn api(&self, segments: &[&str]) -> Api {
        let object = |(name, api): &(&str, Api)| segments.contains(name).then_some(*api);
        let kept = if self.by_object { OBJECTS.iter().find_map(object) } else { None };
        kept.unwrap_or(self.api)
    }

    /// OpenTelemetry `gen_ai.operation.name`, where it is not that of the API.
    pub fn name(&self) -> Option<&'static str> {
        self.name
    }
}

/// A segment of a path is one that a row wants.
fn fits(wanted: &str, segment: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(begin) => segment.starts_with(begin),
        None => wanted == segment,
    }
}

/// The segment, or the word of the table that it is in another case.
pub fn word(segment: &str) -> &str {
    if !segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return segment; // almost always
    }
    words().find(|word| word.eq_ignore_ascii_case(segment)).unwrap_or(segment)
}

/// The segments by which operations are known, in any case.
fn words() -> impl Iterator<Item = &'static str> {
    let operations = OPERATIONS.iter().chain(SESSIONS);
    let operations = operations.flat_map(|row| row.path.split('/')).filter(|word| !word.ends_with('*'));
    operations
        .chain(OBJECTS.iter().map(|(name, _)| *name))
        .chain([DEPLOYMENTS, AGENTS, AGENT_ENDPOINT])
        .chain(PROJECTS)
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::api::{DONE, Treatment};

    #[test]
    fn no_row_hides_another() {
        for row in OPERATIONS {
            let path = row.path.replace('*', "one");
            let segments: Vec<_> = ["openai", "v1"].into_iter().chain(path.split('/')).collect();
            let found = Operation::of(&row.method, &segments);
            assert_eq!((found.path, &found.method), (row.path, &row.method));
            assert_eq!(row.path.split('/').map(word).collect::<Vec<_>>().join("/"), row.path);
        }
        assert_eq!(Operation::of(&Method::POST, &["openai", "v1", "decisions"]).path, UNLISTED.path);
        assert_eq!(Operation::of(&Method::GET, &[]).path, UNLISTED.path);
    }

    #[test]
    fn a_method_has_rows_of_its_own() {
        let treatment = |method: Method, segments: &[&str]| Operation::of(&method, segments).treatment;
        assert_eq!(treatment(Method::GET, &["responses", "r"]), Treatment::Poll);
        assert_eq!(treatment(Method::POST, &["responses", "r"]), Treatment::ReportedOnly);
        // Another method than the row's: whoever asks sees by the row that it is.
        assert_eq!(Operation::of(&Method::GET, &["v1", "responses"]).method, Method::POST);
        let path = ["v1", "files", "file-1", "content"];
        let row = Operation::of(&Method::GET, &path);
        assert_eq!((row.treatment, row.object(&path)), (Treatment::PollOutput, Some("file-1")));
        let path = ["threads", "t", "runs", "r"];
        assert_eq!(Operation::of(&Method::GET, &path).object(&path), Some("r"));
    }

    #[test]
    fn the_columns_of_an_api_fit_each_other() {
        for api in Api::VARIANTS {
            let row = api.profile();
            let is_recorded = !row.recorded_as.is_empty();
            // A session of which nothing is understood is no recording.
            let is_read = row.usage != UsageAt::Nowhere;
            assert_eq!(is_read, is_recorded, "{api:?}: `account` shows what is read");
            for name in row.recorded_as {
                assert_eq!(Api::recorded_as(name), Some(*api), "{name} is one API's");
            }
            assert!(row.failures.iter().all(|name| row.ends.contains(name)), "{api:?}");
            let streams = matches!(row.streaming, Streaming::Events | Streaming::Frames);
            assert!(row.ends.is_empty() || streams, "{api:?}");
            for name in row.ends.iter().filter(|name| **name != DONE) {
                let expected = match () {
                    () if row.failures.contains(name) => LastEvent::Failed,
                    () if row.ends_each => LastEvent::EndedOne,
                    () => LastEvent::Ended,
                };
                assert_eq!(last_event(name.as_bytes()), Some(expected), "{name}");
            }
        }
        assert_eq!((last_event(b"message_stop"), last_event(b"ping")), (Some(LastEvent::Ended), None));
    }

    #[test]
    fn words_are_known_in_any_case() {
        for (segment, expected) in [("Chat", "chat"), ("DEPLOYMENTS", DEPLOYMENTS), ("Threads", "threads")] {
            assert_eq!(word(segment), expected);
        }
        assert_eq!(word("My-Deployment"), "My-Deployment");
        assert_eq!(word("Generations:Submit"), "generations:submit");
    }
}
