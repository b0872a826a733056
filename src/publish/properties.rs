//! Which librdkafka properties the user may set, and to what.
//!
//! Read against the whole of `CONFIGURATION.md` of librdkafka 2.12.1: refused is what could lose,
//! double or reorder events, hide that it happened, take memory without bound, break the time-outs
//! that the publisher counts on, load foreign code, or show a secret; what concerns who listens stands in
//! [`super::transport`]. All others are the user's own business, and librdkafka checks their values.
//!
//! A refused value may be a secret in the wrong place. So a value is repeated only where it can be none: a number,
//! or a word of librdkafka. Names are compared without regard to case, and librdkafka's own texts, which hold the
//! value, are not passed on.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::shown::shown;
use super::transport::{self, Login};

/// Why a property is not the user's to set.
const FIXED: &[(&str, &str)] = &[
    ("acks", "an event counts as delivered only when all replicas have it"),
    ("request.required.acks", "an event counts as delivered only when all replicas have it"),
    ("enable.idempotence", "retries inside the client would double events"),
    ("message.timeout.ms", "the ledger keeps an event until it is delivered"),
    ("delivery.timeout.ms", "the ledger keeps an event until it is delivered"),
    ("retries", "an event that the client gives up may be delivered all the same, and then twice"),
    (
        "message.send.max.retries",
        "an event that the client gives up may be delivered all the same, and then twice",
    ),
    ("transactional.id", "events are published without transactions"),
    ("transaction.timeout.ms", "events are published without transactions"),
    ("delivery.report.only.error", "deliveries must be reported"),
    ("enable.gapless.guarantee", "it turns single failures into fatal ones; the ledger leaves no gap"),
    ("queuing.strategy", "events of a caller stay in order"),
    ("allow.auto.create.topics", "a topic that is made by itself has the wrong partitions and retention"),
    ("topic.blacklist", "it could hide the topic"),
    ("topic.metadata.refresh.sparse", "it would ask for every topic there is"),
    ("topic.metadata.propagation.max.ms", "the publisher counts on it"),
    ("metadata.recovery.strategy", "brokers that have moved would not be found"),
    ("metadata.recovery.rebootstrap.trigger.ms", "brokers that have moved would not be found"),
    ("api.version.request", "older protocols have neither idempotence nor headers"),
    ("api.version.fallback.ms", "older protocols have neither idempotence nor headers"),
    ("broker.version.fallback", "older protocols have neither idempotence nor headers"),
    ("bootstrap.servers", "use kafka_brokers"),
    ("metadata.broker.list", "use kafka_brokers"),
    ("enabled_events", "the publisher sets it"),
    ("log.queue", "the publisher sets it"),
    ("enable.metrics.push", "nothing is told to the broker about this process"),
    ("internal.termination.signal", "signals are handled here"),
    ("interceptors", "it would load foreign code into this process"),
    ("plugin.library.paths", "it would load foreign code into this process"),
    ("ssl.engine.location", "it would load foreign code into this process"),
    ("ssl.providers", "it would load foreign code into this process"),
    ("sasl.kerberos.kinit.cmd", "it would run a command"),
    ("enable.sasl.oauthbearer.unsecure.jwt", "use kafka_auth \"entra\""),
    ("opaque", "the publisher sets it"),
    ("default_topic_conf", "set the properties themselves"),
    ("builtin.features", "it only tells what is built in"),
    ("ssl_ca", "use ssl.ca.location or ssl.ca.pem"),
    ("ssl_certificate", "use ssl.certificate.location or ssl.certificate.pem"),
    ("ssl_engine_callback_data", "it would load foreign code into this process"),
];

/// Beginnings and ends of names that are not the user's to set.
const FIXED_STARTS: &[(&str, &str)] = &[
    ("sasl.oauthbearer.", "use kafka_auth \"entra\""),
    // Not in CONFIGURATION.md: a broker inside librdkafka, which takes events and forgets them.
    ("test.", "events would go nowhere"),
    ("ut_", "events would go nowhere"),
];
const FIXED_ENDS: &[(&str, &str)] =
    &[("_cb", "a callback cannot be given here"), ("_cmp", "events stay in order")];

/// Parts of names whose values are secrets, or the secret itself.
const SECRET: &[&str] =
    &["password", "secret", "passphrase", "key.pem", "ssl_key", "sasl.username", "sasl.jaas"];

const SECRET_WORDS: &[&str] = &["saslusername", "privatekeypem", "sslkeypem", "sasljaas", "connectionstring"];

/// Bounds, both included, with their reason.
const BOUNDS: &[(&str, u64, u64, &str)] = &[
    ("batch.num.messages", 1, 50_000, "a batch is held in memory"),
    ("batch.size", 1, 16 << 20, "a batch is held in memory"),
    ("connections.max.idle.ms", 0, 230_000, "Azure cuts idle connections silently after 240 s"),
    ("linger.ms", 0, 2_000, "an event would wait for it at each attempt and at shutdown"),
    ("queue.buffering.max.ms", 0, 2_000, "an event would wait for it at each attempt and at shutdown"),
    ("max.in.flight", 1, 5, "idempotence holds for five requests at most"),
    ("max.in.flight.requests.per.connection", 1, 5, "idempotence holds for five requests at most"),
    ("message.max.bytes", 65_536, 16 << 20, "a larger event is refused for good"),
    ("message.copy.max.bytes", 0, 1 << 20, "what is not copied is held"),
    ("metadata.max.age.ms", 10_000, 230_000, "Azure cuts idle connections silently after 240 s"),
    ("queue.buffering.max.messages", 1, 50_000, "memory; the ledger is the queue"),
    ("queue.buffering.max.kbytes", 1_024, 262_144, "memory; the ledger is the queue"),
    ("receive.message.max.bytes", 1_000_000, 100_000_000, "memory"),
    ("reconnect.backoff.ms", 250, 1_000, "fewer than ten tries a second, and back within three"),
    ("reconnect.backoff.max.ms", 50, 2_000, "fewer than ten tries a second, and back within three"),
    ("request.timeout.ms", 1_000, 300_000, "after ten minutes of silence the client is replaced"),
    ("retry.backoff.ms", 100, 2_000, "fewer than ten tries a second, and back within three"),
    ("retry.backoff.max.ms", 100, 2_000, "fewer than ten tries a second, and back within three"),
    ("socket.timeout.ms", 1_500, 300_000, "after ten minutes of silence the client is replaced"),
    ("socket.connection.setup.timeout.ms", 1_000, 60_000, "a connection that hangs keeps others waiting"),
    ("socket.max.fails", 0, 3, "a connection that fails is given up"),
    ("sticky.partitioning.linger.ms", 0, 2_000, "it only spreads events without a key"),
    ("topic.metadata.refresh.interval.ms", 10_000, 230_000, "new leaders and partitions are found by it"),
    (
        "topic.metadata.refresh.fast.interval.ms",
        100,
        2_000,
        "fewer than ten tries a second, and back within three",
    ),
];

/// Bounds and words for Event Hubs ("Apache Kafka client configurations for Azure Event Hubs"): it
/// closes the connection at requests over 1,046,528 bytes, and wants twenty seconds at least.
const EVENT_HUBS_BOUNDS: &[(&str, u64, u64, &str)] = &[
    ("batch.size", 1, 1_000_000, "Event Hubs closes the connection at larger requests"),
    ("message.max.bytes", 65_536, 1_000_000, "Event Hubs closes the connection at larger requests"),
    ("request.timeout.ms", 20_001, 300_000, "Event Hubs answers late when it throttles"),
    ("socket.timeout.ms", 20_001, 300_000, "Event Hubs answers late when it throttles"),
];
const EVENT_HUBS_WORDS: &[(&str, &[&str], &str)] = &[
    ("compression.type", &["none", "gzip"], "Event Hubs takes no other"),
    ("compression.codec", &["none", "gzip"], "Event Hubs takes no other"),
    ("security.protocol", &["sasl_ssl"], "Event Hubs takes no other, and secrets do not go in plain text"),
    ("sasl.mechanism", &["PLAIN", "OAUTHBEARER"], "Event Hubs takes no other"),
    ("sasl.mechanisms", &["PLAIN", "OAUTHBEARER"], "Event Hubs takes no other"),
];

/// Other names of the same property. librdkafka takes both, and of two values the last one, in an order that
/// is not known; the second name is the one that [`super::config`] uses.
const ALIASES: &[(&str, &str)] = &[
    ("sasl.mechanism", "sasl.mechanisms"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
];

/// Bytes of the longest name of a property. A longer one is none, and may be a token.
const NAME_BYTES_MAX: usize = 50;

/// The one name of a property that has several.
pub(super) fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| *name)
}

/// The name of a property as an error may show it: a text without a dot may be a secret that ends in `=`.
pub(super) fn shown_name(key: &str) -> &str {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let known = FIXED.iter().any(|(name, _)| key.eq_ignore_ascii_case(name)) || key == "debug";
    let named = key.contains(['.', '_']) && key.len() <= NAME_BYTES_MAX;
    if plain && (named || known) { key } else { "a property" }
}

/// The fault of a client's properties, from librdkafka's own words and without the value that stands in
/// some of them. The name is that of the property, if one is to blame.
pub(super) fn refusal(error: &KafkaError) -> (Option<&str>, String) {
    let KafkaError::ClientConfig(code, text, key, _) = error else {
        return (None, "the Kafka client cannot be made of these settings".to_owned());
    };
    let said = match code {
        RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => {
            "is no property of librdkafka, whose CONFIGURATION.md lists them".to_owned()
        }
        // Of these the text holds a number at most.
        _ if text.starts_with("Expected bool") || text.contains("is outside allowed range") => {
            text.trim_end().to_owned()
        }
        _ if text.contains("not supported in this build") => "is not supported by this build".to_owned(),
        _ => "the value is not one that librdkafka takes; its CONFIGURATION.md says what is".to_owned(),
    };
    (Some(key), said)
}

/// The error for a property that holds a secret.
pub(super) const NO_SECRETS: &str =
    "secrets are not given as properties, which others can see: use the secret settings";

/// Its value is a secret, which others can see where properties are given.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // With any sign between its words, or none.
    let words: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    SECRET.iter().any(|part| key.contains(part)) || SECRET_WORDS.iter().any(|part| words.contains(part))
}

/// The fault of a property; `None` if it may be set so.
pub(super) fn problem(key: &str, value: &str, event_hubs: bool, login: Login) -> Option<String> {
    let given = key;
    let key = &*key.to_ascii_lowercase();
    let named = |(name, why): &&(&str, &'static str)| (*name == key).then_some(*why);
    let fixed = FIXED.iter().find_map(|row| named(&row));
    let fixed =
        fixed.or_else(|| FIXED_STARTS.iter().find(|(start, _)| key.starts_with(start)).map(|row| row.1));
    let fixed = fixed.or_else(|| FIXED_ENDS.iter().find(|(end, _)| key.ends_with(end)).map(|row| row.1));
    // Secrets come first: their values must not be repeated.
    if is_secret(key) {
        return Some(NO_SECRETS.to_owned());
    }
    if let Some(why) = fixed {
        return Some(format!("cannot be set: {why}"));
    }
    if key != given {
        return Some(format!("is no property: their names are in lower case, {}", shown_name(key)));
    }
    let of_hubs: &[_] = if event_hubs { EVENT_HUBS_BOUNDS } else { &[] };
    let bounds = of_hubs.iter().chain(BOUNDS).find(|row| row.0 == key);
    if let Some((_, min, max, why)) = bounds
        && let Ok(number) = value.parse::<i64>()
        && !u64::try_from(number).is_ok_and(|number| (*min..=*max).contains(&number))
    {
        return Some(format!("{value} is not allowed; allowed: {min} to {max}: {why}"));
    }
    let words = EVENT_HUBS_WORDS.iter().find(|row| event_hubs && row.0 == key);
    if let Some((_, words, why)) = words
        && !words.iter().any(|word| word.eq_ignore_ascii_case(value))
    {
        return Some(format!("{} is not allowed; allowed: {}: {why}", shown(value), words.join(" | ")));
    }
    transport::problem(key, value, login)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_promise_is_refused() {
        for (key, value) in [
            ("acks", "1"),
            ("acks", "all"),
            ("enable.idempotence", "false"),
            ("message.timeout.ms", "1000"),
            ("retries", "3"),
            ("message.send.max.retries", "3"),
            ("max.in.flight", "6"),
            ("queuing.strategy", "lifo"),
            ("transactional.id", "x"),
            ("delivery.report.only.error", "true"),
            ("dr_msg_cb", "x"),
            ("linger.ms", "60000"),
            ("queue.buffering.max.messages", "0"),
            ("queue.buffering.max.kbytes", "2147483647"),
            ("request.timeout.ms", "-1"),
            ("retry.backoff.ms", "1"),
            ("reconnect.backoff.ms", "0"),
            ("reconnect.backoff.max.ms", "600000"),
            ("plugin.library.paths", "x.so"),
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.id", "x"),
            ("allow.auto.create.topics", "true"),
            ("api.version.request", "false"),
            ("test.mock.num.brokers", "1"),
        ] {
            assert!(problem(key, value, false, Login::Sasl).is_some(), "{key}={value}");
            assert!(problem(&key.to_uppercase(), value, false, Login::Sasl).is_some(), "{key}={value}");
        }
        for (key, value) in [
            ("linger.ms", "50"),
            ("compression.type", "zstd"),
            ("security.protocol", "SASL_SSL"),
            ("max.in.flight", "1"),
            ("ssl.ca.location", "/etc/ca.pem"),
            ("ssl.key.location", "/etc/key.pem"),
            ("ssl.certificate.location", "/etc/cert.pem"),
            ("ssl.keystore.location", "/etc/store.p12"),
            ("debug", "broker"),
            ("client.id", "x"),
            ("statistics.interval.ms", "1000"),
            ("partitioner", "murmur2_random"),
            // librdkafka says what is wrong with it.
            ("linger.ms", "soon"),
        ] {
            assert_eq!(problem(key, value, false, Login::Sasl), None, "{key}={value}");
        }
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for key in [
            "sasl.password",
            "sasl.username",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "SASL.PASSWORD",
            "Sasl.Password",
            "sasl_password",
            "sasl-password",
            "saslPassword",
            "sasl_username",
            "ssl-key-pem",
            "password",
        ] {
            let text = problem(key, "hunter2", false, Login::Sasl).unwrap();
            assert!(text.contains("secret settings") && !text.contains("hunter2"), "{key}: {text}");
        }
    }

    #[test]
    fn event_hubs_has_bounds_of_its_own() {
        for (key, value, fine) in [
            ("message.max.bytes", "1000000", true),
            ("message.max.bytes", "1000001", false),
            ("batch.size", "1000001", false),
            ("request.timeout.ms", "20000", false),
            ("compression.type", "gzip", true),
            ("compression.type", "lz4", false),
            ("compression.codec", "zstd", false),
            ("security.protocol", "SASL_SSL", true),
            ("security.protocol", "PLAINTEXT", false),
            ("security.protocol", "sasl_plaintext", false),
            ("sasl.mechanisms", "SCRAM-SHA-256", false),
        ] {
            let told = problem(key, value, true, Login::ConnectionString);
            assert_eq!(told.is_none(), fine, "{key}={value}: {told:?}");
        }
    }

    #[test]
    fn a_value_is_shown_where_it_can_be_no_secret() {
        assert_eq!(
            ["zstd", "SASL_PLAINTEXT", "-1", ""].map(shown),
            ["zstd", "SASL_PLAINTEXT", "-1", ""].map(|word| format!("{word:?}"))
        );
        assert_eq!(["hunter2", "5s", "zstd ", "{}"].map(shown), ["the value"; 4].map(str::to_owned));
        for name in ["sasl.pasword", "SASL.PASSWORD", "acks", "debug", "ssl_key"] {
            assert_eq!(shown_name(name), name);
        }
        let token = format!("eyJhbGciOi.{}.sig", "x".repeat(NAME_BYTES_MAX));
        for name in ["hunter2", "aHVudGVyMg", "a b.c", &token, ""] {
            assert_eq!(shown_name(name), "a property");
        }
    }
}
