//! The words by which a service names its errors, and the status that goes with each.

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
            // The quota is used up (OpenAI's documentation of error codes; the words that codex
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

/// The status that an error's name stands for: a word that is known, or the number of a status.
pub(crate) fn status_named(name: &str) -> Option<u16> {
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
}
