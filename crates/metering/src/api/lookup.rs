//! The questions that other modules ask of the table.

use super::columns::{BilledBy, Streaming, UsageAt};
use super::table::{
    Api, BodyKind, DEPLOYMENTS, OBJECTS, OPERATIONS, OTHER_ENDS, Operation, PROFILES, Profile, RuleSet,
    UNLISTED,
};

/// The meaning of the last event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEvent {
    /// All has been said.
    Ended,
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
        self.profile().usage == UsageAt::End
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
        self.profile().billed_by != BilledBy::Tokens
    }

    /// Seconds may be billed in place of tokens.
    pub fn may_be_billed_by_time(self) -> bool {
        self.profile().billed_by == BilledBy::TokensOrSeconds
    }

    /// A response may name the deployment in place of the model.
    pub fn may_name_deployment(self) -> bool {
        self.profile().names_deployment
    }

    /// The API that has this name in recorded exchanges.
    pub fn recorded_as(name: &str) -> Option<Api> {
        PROFILES.iter().find(|profile| profile.recorded_as.contains(&name)).map(|profile| profile.api)
    }

    /// The names that APIs have in recorded exchanges, without their other spellings.
    pub fn recorded_names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().filter_map(|profile| profile.recorded_as.first().copied())
    }
}

/// The event of this `type` as the end of a stream; `None` if more is to come. Known words count in any API.
pub fn last_event(kind: &[u8]) -> Option<LastEvent> {
    let is = |names: &[&str]| names.iter().any(|name| name.as_bytes() == kind);
    if PROFILES.iter().any(|profile| is(profile.failures)) {
        Some(LastEvent::Failed)
    } else {
        (PROFILES.iter().any(|profile| is(profile.ends)) || is(OTHER_ENDS)).then_some(LastEvent::Ended)
    }
}

impl Operation {
    /// The row of a path, by its segments.
    pub fn of(segments: &[&str]) -> &'static Operation {
        OPERATIONS.iter().find(|row| row.is_end_of(segments)).unwrap_or(&UNLISTED)
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
    let operations =
        OPERATIONS.iter().flat_map(|row| row.path.split('/')).filter(|word| !word.ends_with('*'));
    operations.chain(OBJECTS.iter().map(|(name, _)| *name)).chain([DEPLOYMENTS])
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::api::DONE;

    #[test]
    fn no_row_hides_another() {
        for row in OPERATIONS {
            let path = row.path.replace('*', "one");
            let segments: Vec<_> = ["openai", "v1"].into_iter().chain(path.split('/')).collect();
            assert_eq!(Operation::of(&segments).path, row.path);
            assert_eq!(row.path.split('/').map(word).collect::<Vec<_>>().join("/"), row.path);
        }
        assert_eq!(Operation::of(&["openai", "v1", "files"]).path, UNLISTED.path);
        assert_eq!(Operation::of(&[]).path, UNLISTED.path);
    }

    #[test]
    fn the_columns_of_an_api_fit_each_other() {
        for api in Api::VARIANTS {
            let row = api.profile();
            assert_eq!(
                row.rules.is_some(),
                !row.recorded_as.is_empty(),
                "{api:?}: what is computed is recorded"
            );
            assert!(row.failures.iter().all(|name| row.ends.contains(name)), "{api:?}");
            assert!(row.ends.is_empty() || row.streaming == Streaming::Events, "{api:?}");
            for name in row.ends.iter().filter(|name| **name != DONE) {
                let failed = row.failures.contains(name);
                let expected = if failed { LastEvent::Failed } else { LastEvent::Ended };
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
