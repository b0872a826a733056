//! Whether the service bills a call, by how it answered: by its status, or by the error that came in
//! spite of a status of success.

use super::{Ending, Meter, Prompt, Treatment};

/// Whether the service bills a call that it did not answer with success (Azure's documentation of
/// costs: "HTTP Error response code and billing status").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Billing {
    /// It answered.
    Answered,
    /// It answered with something that is not read here.
    Unmetered,
    /// It did not do anything.
    Nothing,
    /// It is not said; nothing, most likely.
    MostLikelyNothing,
    /// It may have read the prompt and said nothing.
    PerhapsPrompt,
    /// It may have read the prompt and said something.
    PerhapsBoth,
}

impl Billing {
    /// The table of answers, by status.
    fn of_status(status: u16) -> Billing {
        match status {
            // The connection goes on as a session, whose frames carry what is billed.
            101 => Billing::Unmetered,
            // An interim answer is not the last word, and the last word was not seen.
            100..200 => Billing::PerhapsBoth,
            // What was done is in the body. 204 and 205 have none and 206 has a part of it (RFC 9110
            // 15.3): how much that is, the body itself says, and of nothing the count is unknown.
            200..300 => Billing::Answered,
            // It sends the caller elsewhere, or back to what the caller has (304): nothing was made, and
            // no documentation speaks of it.
            300..400 => Billing::MostLikelyNothing,
            // A prompt that the filter stopped, or that was too long, has been read.
            400 => Billing::PerhapsPrompt,
            // Documented as not billed.
            401 | 403 | 404 | 429 => Billing::Nothing,
            // The service or a front of it gave up in the middle: its own time was over, or it was left
            // (nginx's 499).
            408 | 499 | 500.. => Billing::PerhapsBoth,
            // The request was refused for its form, its size or its credit before anything was made.
            _ => Billing::MostLikelyNothing,
        }
    }
}

/// The words by which errors are known, and the status that goes with each. Compared whole, without
/// regard to case and to what joins its parts, since Azure writes `TooManyRequests` where OpenAI writes
/// `too_many_requests`. A word that stands in several places has the same meaning in all of them.
const WORDS: &[(u16, &[&str])] = &[
    (
        400,
        &[
            // Azure's content filter, and its inner error (its documentation of content filtering).
            "content_filter",
            "responsible_ai_policy_violation",
            "content_policy_violation",
            // OpenAI's documentation of error codes; `invalid_request_error` is also Anthropic's.
            "bad_request",
            "invalid_request",
            "invalid_request_error",
            "context_length_exceeded",
            "context_window_exceeded",
            "string_above_max_length",
            "unsupported_parameter",
            "unsupported_value",
            "invalid_value",
            "previous_response_not_found",
            // `code` of openai-python's `types/responses/response_error.py` (3.57.0), and
            // `types/beta/session_turn_error.py`: what was asked is not answered, for what it is.
            "invalid_prompt",
            "bio_policy",
            "cyber_policy",
            "cyber_policy_violation",
            "misalignment_policy_violation",
            "data_residency_mismatch",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "invalid_image_url",
            "invalid_image_mode",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "image_content_policy_violation",
            "image_file_too_large",
            "image_file_not_found",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
        ],
    ),
    // OpenAI's documentation of error codes, Anthropic's `types/shared/error_type.py` (2.14.0).
    (401, &["unauthorized", "authentication_error", "invalid_api_key", "invalid_authentication"]),
    (402, &["billing_error"]),
    (
        403,
        &[
            "forbidden",
            "permission_error",
            "permission_denied",
            "access_denied",
            "unsupported_country_region_territory",
        ],
    ),
    // Azure has the first one, without a deployment of that name.
    (404, &["deployment_not_found", "model_not_found", "not_found", "not_found_error", "resource_not_found"]),
    (408, &["request_timeout"]),
    (409, &["conflict", "conflict_error"]),
    (413, &["request_too_large", "payload_too_large"]),
    (422, &["unprocessable_entity", "unprocessable_entity_error"]),
    (
        429,
        &[
            // In `response.failed` and `error` of Azure and OpenAI (sozercan/vekil#267, openai/codex#23006,
            // earendil-works/pi#1458). `requests` and `tokens` are OpenAI's `type` of it, by what ran out.
            "rate_limit_exceeded",
            "rate_limit_error",
            "too_many_requests",
            "throttling_error",
            "requests",
            "tokens",
            // What is paid for is used up (OpenAI's documentation of error codes; the words that codex
            // knows; `types/beta/session_turn_error.py`).
            "insufficient_quota",
            "quota_exceeded",
            "usage_not_included",
            "usage_limit_reached",
            "usage_limit_exceeded",
            "billing_not_active",
            "billing_hard_limit_reached",
            "credit_balance_exhausted",
            "project_spend_limit_exceeded",
            "organization_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
        ],
    ),
    (
        500,
        &[
            "server_error",
            "internal_error",
            "internal_server_error",
            "internal_failure",
            "api_error",
            "model_error",
            // Inside Azure, behind some text (openai/codex#8200).
            "no_kv_space",
        ],
    ),
    (
        503,
        &[
            "service_unavailable",
            "service_unavailable_error",
            "overloaded",
            "overloaded_error",
            "engine_overloaded",
            // OpenAI's words in `response.failed`, as codex knows them.
            "server_is_overloaded",
            "server_overloaded",
            "slow_down",
            "flex_unavailable",
            "no_capacity",
        ],
    ),
    (504, &["timeout", "timeout_error", "gateway_timeout", "vector_store_timeout", "connection_failed"]),
];

/// What an error that nobody knows is taken for: anything may have happened.
const STATUS_UNNAMED: u16 = 500;

/// The status that an error's name stands for: a word that is known, or the number of a status.
pub(super) fn status_named(name: &str) -> Option<u16> {
    if let Ok(status) = name.parse::<u16>() {
        return (400..600).contains(&status).then_some(status);
    }
    let letters = |word: &str| -> Vec<u8> {
        word.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let joined = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let name = letters(name);
    let known = |words: &[&str]| words.iter().any(|word| letters(word) == name);
    WORDS.iter().find(|(_, words)| joined && known(words)).map(|(status, _)| *status)
}

impl Meter {
    /// What the service bills of this call.
    pub(super) fn billing(&self, ending: Option<Ending>) -> Billing {
        let billing = match (self.status, ending) {
            _ if self.treatment == Treatment::Free => return Billing::Nothing,
            (_, Some(Ending::Rejected)) => return Billing::Nothing,
            (Some(status), _) => Billing::of_status(status.as_u16()),
            // It runs, and nobody knows yet what it will be.
            (None, None) => return Billing::Answered,
            (None, Some(_)) if self.has_asked_nothing() => return Billing::Nothing,
            (None, Some(Ending::UpstreamError | Ending::Timeout)) => Billing::PerhapsBoth,
            (None, Some(_)) => Billing::Answered,
        };
        match billing {
            Billing::Answered => self.failed().unwrap_or(billing),
            Billing::Unmetered => billing,
            _ if self.has_asked_nothing() => Billing::Nothing,
            _ => billing,
        }
    }

    /// The status was one of success, and an error came in place of an answer: it is treated as the
    /// status that it names. Once the service has said something, or what was used, the prompt has been
    /// read; and nobody knows what stood where nothing could be read.
    fn failed(&self) -> Option<Billing> {
        let answer = &self.body.seen.answer;
        let class = answer.error.as_deref()?;
        let answered = answer.has_said() || self.reported().is_some() || self.has_missed();
        let named = answer.error_status.or_else(|| status_named(class));
        (!answered).then(|| Billing::of_status(named.unwrap_or(STATUS_UNNAMED)))
    }

    /// The request had no body, so there was no prompt, as in a handshake.
    fn has_asked_nothing(&self) -> bool {
        let all_seen = self.request_ended && !matches!(self.prompt, Prompt::NotKept | Prompt::Overloaded);
        all_seen && self.request_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_errors_in_any_spelling() {
        for (name, status) in [
            ("rate_limit_exceeded", Some(429)),
            ("RateLimitExceeded", Some(429)),
            ("TooManyRequests", Some(429)),
            ("too-many-requests", Some(429)),
            ("429", Some(429)),
            ("DeploymentNotFound", Some(404)),
            ("ResponsibleAIPolicyViolation", Some(400)),
            ("context_length_exceeded", Some(400)),
            ("InternalServerError", Some(500)),
            ("overloaded_error", Some(503)),
            ("529", Some(529)),
            ("200", None),
            ("1302", None),
            ("", None),
            ("something_else", None),
            ("Rate limit exceeded", None),
            ("Error 429: too many requests", None),
            ("not_rate_limit_exceeded", None),
            ("rate_limit_exceeded_never", None),
        ] {
            assert_eq!(status_named(name), status, "{name}");
        }
    }

    #[test]
    fn no_word_has_two_meanings() {
        let mut seen = std::collections::BTreeSet::new();
        for word in WORDS.iter().flat_map(|(_, words)| *words) {
            assert!(seen.insert(word.replace('_', "")), "{word} twice");
        }
    }

    #[test]
    fn the_table_of_answers() {
        use Billing::{Answered, MostLikelyNothing, Nothing, PerhapsBoth, PerhapsPrompt, Unmetered};
        for (statuses, billing) in [
            (&[101][..], Unmetered),
            (&[100, 102, 103], PerhapsBoth),
            (&[200, 201, 202, 203, 204, 205, 206, 299], Answered),
            (&[300, 301, 302, 303, 304, 307, 308], MostLikelyNothing),
            (&[400], PerhapsPrompt),
            (&[401, 403, 404, 429], Nothing),
            (&[402, 405, 409, 410, 413, 415, 422, 424, 426, 431, 451], MostLikelyNothing),
            (&[408, 499, 500, 502, 503, 504, 529, 599], PerhapsBoth),
        ] {
            for &status in statuses {
                assert_eq!(Billing::of_status(status), billing, "{status}");
            }
        }
    }
}
