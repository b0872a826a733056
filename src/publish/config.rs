//! What the user may set, and the values that keep the promise.

use std::fmt;

use rdkafka::ClientConfig;

/// A password or connection string. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Secret {
        Secret(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How to prove who we are. Whoever asks for it resolves the secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// SASL PLAIN with an Event Hubs connection string.
    ConnectionString(Secret),
    /// SASL with a user and a password; PLAIN unless the property `sasl.mechanisms` says SCRAM.
    Sasl {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Microsoft Entra ID.
    Entra,
}

/// Where to publish, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HOST:PORT[,HOST:PORT..]`
    pub brokers: String,
    /// The topic; it must exist.
    pub topic: String,
    /// How to prove who we are.
    pub auth: Auth,
    /// librdkafka properties, in order; they win over the values here.
    pub properties: Vec<(String, String)>,
}

/// One thing that is wrong with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The setting: `kafka_brokers`, `kafka_topic`, `kafka_auth`, or the property's own name.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Properties that decide whether an event can be lost or doubled, with why they are fixed.
const FIXED: [(&str, &str); 10] = [
    ("acks", "an event counts as delivered only when all replicas have it"),
    ("request.required.acks", "an event counts as delivered only when all replicas have it"),
    ("enable.idempotence", "retries inside the client would double events"),
    ("message.timeout.ms", "the ledger keeps an event until it is delivered"),
    ("delivery.timeout.ms", "the ledger keeps an event until it is delivered"),
    ("transactional.id", "events are published without transactions"),
    ("delivery.report.only.error", "deliveries must be reported"),
    ("enable.gapless.guarantee", "the ledger sees to that"),
    ("bootstrap.servers", "use kafka_brokers"),
    ("metadata.broker.list", "use kafka_brokers"),
];

/// What every client gets. The idle limits are below the 240 s after which Azure cuts a connection
/// silently; the time-outs are those that Microsoft asks for ("Apache Kafka client configurations
/// for Azure Event Hubs").
const COMMON: [(&str, &str); 8] = [
    ("client.id", "tokenweir"),
    ("connections.max.idle.ms", "180000"),
    ("enable.metrics.push", "false"),
    ("metadata.max.age.ms", "180000"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", "70000"),
    ("topic.metadata.refresh.interval.ms", "180000"),
];

/// What the producer gets besides. Event Hubs closes the connection at requests over 1,046,528
/// bytes; the queue is small because the ledger is the real one.
const PRODUCER: [(&str, &str); 9] = [
    ("acks", "all"),
    ("batch.size", "900000"),
    ("compression.type", "none"),
    ("enable.idempotence", "true"),
    ("linger.ms", "5"),
    ("message.max.bytes", "1000000"),
    ("message.timeout.ms", "0"),
    ("queue.buffering.max.messages", "50000"),
    ("request.timeout.ms", "60000"),
];

/// Memory for events that wait in the producer.
const QUEUE_KIB: &str = "65536";

/// Hosts of Event Hubs end so.
const EVENT_HUBS: &str = ".servicebus.windows.net";

impl Config {
    /// Everything that is wrong; nothing if it can be used.
    pub fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, problem: &str| {
            errors.push(ConfigError { key: key.to_owned(), problem: problem.to_owned() });
        };
        if self.brokers.trim().is_empty() {
            wrong("kafka_brokers", "is empty");
        }
        if self.topic.trim().is_empty() {
            wrong("kafka_topic", "is empty");
        }
        if self.auth == Auth::Entra {
            wrong("kafka_auth", "`entra` is not available yet; use `sasl` with a connection string");
        }
        for (key, value) in &self.properties {
            if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| fixed == key) {
                wrong(key, &format!("cannot be set: {why}"));
            } else if is_secret(key) {
                wrong(
                    key,
                    "secrets are not given as properties, which others can see: use the secret settings",
                );
            } else if is_compression(key) && self.event_hubs() && !["none", "gzip"].contains(&value.as_str())
            {
                wrong(key, "Event Hubs takes `none` or `gzip`");
            }
        }
        if errors.is_empty()
            && let Err(error) = self.producer().create_native_config()
        {
            errors.push(ConfigError { key: "kafka_property".to_owned(), problem: error.to_string() });
        }
        errors
    }

    /// The brokers are Event Hubs.
    pub fn event_hubs(&self) -> bool {
        self.brokers.split(',').any(|broker| {
            let host = broker.trim().rsplit_once(':').map_or(broker.trim(), |(host, _)| host);
            host.to_ascii_lowercase().ends_with(EVENT_HUBS)
        })
    }

    /// Settings of a client that produces.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.common();
        client.set("queue.buffering.max.kbytes", QUEUE_KIB);
        set_all(&mut client, &PRODUCER);
        self.apply(&mut client, |_| true);
        client
    }

    /// Settings of a client that only reads: the user's properties that concern the connection.
    pub fn consumer(&self) -> ClientConfig {
        let mut client = self.common();
        let connection = ["security.", "sasl.", "ssl.", "socket.", "broker.", "client.", "debug"];
        self.apply(&mut client, |key| connection.iter().any(|start| key.starts_with(start)));
        client
    }

    fn common(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        set_all(&mut client, &COMMON);
        let (username, password) = match &self.auth {
            Auth::None | Auth::Entra => return client,
            Auth::ConnectionString(secret) => ("$ConnectionString", secret),
            Auth::Sasl { username, password } => (username.as_str(), password),
        };
        client
            .set("security.protocol", "SASL_SSL")
            .set("sasl.mechanisms", "PLAIN")
            .set("sasl.username", username)
            .set("sasl.password", &password.0);
        client
    }

    fn apply(&self, client: &mut ClientConfig, wanted: impl Fn(&str) -> bool) {
        for (key, value) in self.properties.iter().filter(|(key, _)| wanted(key)) {
            client.set(key, value);
        }
    }
}

fn set_all(client: &mut ClientConfig, values: &[(&str, &str)]) {
    for (key, value) in values {
        client.set(*key, *value);
    }
}

fn is_secret(key: &str) -> bool {
    let parts = ["password", "secret", "ssl.key.pem", "sasl.username", "sasl.jaas"];
    parts.iter().any(|part| key.contains(part))
}

fn is_compression(key: &str) -> bool {
    matches!(key, "compression.type" | "compression.codec")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(brokers: &str, properties: &[(&str, &str)]) -> Config {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Config {
            brokers: brokers.to_owned(),
            topic: "ai-usage".to_owned(),
            auth: Auth::None,
            properties: properties.iter().map(own).collect(),
        }
    }

    fn wrong_keys(config: &Config) -> Vec<String> {
        config.check().into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn what_would_break_the_promise_is_refused_by_name_all_at_once() {
        let bad = [
            ("acks", "1"),
            ("enable.idempotence", "false"),
            ("message.timeout.ms", "1000"),
            ("transactional.id", "x"),
            ("delivery.report.only.error", "true"),
            ("sasl.password", "x"),
            ("ssl.key.password", "x"),
            ("sasl.oauthbearer.client.secret", "x"),
        ];
        let keys: Vec<&str> = bad.iter().map(|(key, _)| *key).collect();
        assert_eq!(wrong_keys(&config("b:9092", &bad)), keys);
        assert_eq!(wrong_keys(&config("b:9092", &[("linger.ms", "50")])), Vec::<String>::new());
        assert_eq!(wrong_keys(&config("", &[])), ["kafka_brokers"]);
    }

    #[test]
    fn librdkafka_checks_names_and_values() {
        let unknown = config("b:9092", &[("lingr.ms", "5")]).check();
        assert!(unknown[0].to_string().contains("lingr.ms"), "{unknown:?}");
        assert_eq!(wrong_keys(&config("b:9092", &[("linger.ms", "soon")])), ["kafka_property"]);
    }

    #[test]
    fn event_hubs_compression_is_checked() {
        let hub = "ns.servicebus.windows.net:9093";
        for (brokers, codec, fine) in
            [(hub, "zstd", false), (hub, "gzip", true), ("kafka:9092", "zstd", true), (hub, "lz4", false)]
        {
            let config = config(brokers, &[("compression.type", codec)]);
            assert_eq!(config.check().is_empty(), fine, "{brokers} {codec}");
        }
    }

    #[test]
    fn a_connection_string_becomes_sasl_and_is_never_printed() {
        let string = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKey=hush";
        let mut config = config("ns.servicebus.windows.net:9093", &[]);
        config.auth = Auth::ConnectionString(Secret::new(string));
        assert_eq!(config.check(), []);
        let client = config.producer();
        assert_eq!(client.get("sasl.username"), Some("$ConnectionString"));
        assert_eq!(client.get("sasl.password"), Some(string));
        assert_eq!(client.get("security.protocol"), Some("SASL_SSL"));
        assert!(!format!("{config:?}").contains("hush"));
        config.auth = Auth::Entra;
        assert_eq!(wrong_keys(&config), ["kafka_auth"]);
    }

    #[test]
    fn the_build_has_tls_sasl_and_every_codec() {
        // A build without OpenSSL would compile and fail only here.
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let mut config = config("kafka:9093", &[("compression.type", codec)]);
            config.auth = Auth::Sasl { username: "u".to_owned(), password: Secret::new("p") };
            config.producer().create::<rdkafka::producer::BaseProducer>().unwrap();
        }
    }
}
