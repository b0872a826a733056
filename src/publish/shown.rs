//! Values of properties as errors may show them: what is refused may be a secret in the wrong place.

/// Words that librdkafka takes for a value. An error may repeat them.
const WORDS: &[&str] = &[
    "true",
    "t",
    "false",
    "f",
    "none",
    "all",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
    "inherit",
    "plaintext",
    "ssl",
    "sasl_plaintext",
    "sasl_ssl",
    "plain",
    "gssapi",
    "oauthbearer",
    "scram-sha-256",
    "scram-sha-512",
    "https",
    "fifo",
    "lifo",
    "use_all_dns_ips",
    "resolve_canonical_bootstrap_servers_only",
];

/// A value as an error may show it: itself where it can be no secret.
pub(super) fn shown(value: &str) -> String {
    let harmless = value.parse::<i64>().is_ok() || WORDS.iter().any(|word| word.eq_ignore_ascii_case(value));
    if harmless || value.is_empty() { format!("{value:?}") } else { "the value".to_owned() }
}
