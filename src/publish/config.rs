//! Where to publish and how, and the values of every client that keep the promise.

use rdkafka::ClientConfig;

use super::auth::Auth;
use super::brokers::EVENT_HUBS;
use super::client::set_all;
use super::properties::canonical;

/// Where to publish, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `HOST:PORT[,HOST:PORT..]`
    pub brokers: String,
    /// The topic; it must exist.
    pub topic: String,
    /// How to prove who we are.
    pub auth: Auth,
    /// librdkafka properties, in order; they win over the values here.
    pub properties: Vec<(String, String)>,
}

/// Properties of every client. The idle limits are below the 240 s after which Azure cuts a connection
/// silently; the time-outs are those that Microsoft asks for ("Apache Kafka client configurations
/// for Azure Event Hubs"). A connection that hangs while it is set up keeps all waiting: ten seconds
/// are ample for TLS and a login, the default of librdkafka is thirty. A broker that is back is found
/// within 750 ms, librdkafka's jitter included: before the probe takes the client for dead. While a question waits for an
/// answer, librdkafka tries again without that pause, as often as every half of `reconnect.backoff.ms`: with its default
/// of 100 a broker that refuses every connection, such as one whose certificate is not trusted, would see twenty a second.
/// A topic that is asked for must not come about by that: a broker that makes topics would give it partitions and a
/// retention of its own, and a misspelt name would take the events.
const COMMON: [(&str, &str); 12] = [
    ("allow.auto.create.topics", "false"),
    ("client.id", "tokenweir"),
    ("connections.max.idle.ms", "180000"),
    ("enable.metrics.push", "false"),
    ("metadata.max.age.ms", "180000"),
    ("reconnect.backoff.max.ms", "500"),
    ("reconnect.backoff.ms", "500"),
    ("request.timeout.ms", "60000"),
    ("socket.connection.setup.timeout.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", "70000"),
    ("topic.metadata.refresh.interval.ms", "180000"),
];

/// Further properties of the producer. Event Hubs closes the connection at requests over 1,046,528
/// bytes; the queue is small because the ledger is the real one. Some errors are retried by the
/// client for each partition by itself: a second between two tries is patience enough for several.
const PRODUCER: [(&str, &str); 12] = [
    ("acks", "all"),
    ("batch.size", "900000"),
    ("compression.type", "none"),
    ("enable.idempotence", "true"),
    ("linger.ms", "5"),
    ("message.max.bytes", "1000000"),
    ("message.timeout.ms", "0"),
    ("queue.buffering.max.kbytes", QUEUE_KIB),
    ("queue.buffering.max.messages", "50000"),
    ("retry.backoff.max.ms", "1000"),
    ("retry.backoff.ms", "1000"),
    ("statistics.interval.ms", "10000"),
];

/// Memory for events that wait in the producer.
const QUEUE_KIB: &str = "65536";

/// Properties that concern the connection begin so.
const CONNECTION: [&str; 8] =
    ["security.", "sasl.", "ssl.", "enable.ssl.", "socket.", "broker.address.", "client.", "debug"];

/// Properties that say whom to trust.
const ROOTS: [&str; 2] = ["ssl.ca.location", "ssl.ca.pem"];

impl KafkaConfig {
    /// The brokers are Event Hubs.
    pub fn event_hubs(&self) -> bool {
        self.hosts().any(|(host, _)| host.to_ascii_lowercase().ends_with(EVENT_HUBS))
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.brokers.split(',').map(|broker| match broker.trim().rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (broker.trim(), None),
        })
    }

    /// Settings of a client that produces.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.common();
        set_all(&mut client, &PRODUCER);
        self.apply(&mut client, |_| true);
        trust_the_system(&mut client);
        client
    }

    /// Settings of any client: where, and the user's properties that concern the connection.
    pub(super) fn connection(&self) -> ClientConfig {
        let mut client = self.common();
        self.apply(&mut client, |key| CONNECTION.iter().any(|start| key.starts_with(start)));
        trust_the_system(&mut client);
        client
    }

    fn common(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        set_all(&mut client, &COMMON);
        self.auth.apply(&mut client);
        client
    }

    fn apply(&self, client: &mut ClientConfig, wanted: impl Fn(&str) -> bool) {
        for (key, value) in self.properties.iter().filter(|(key, _)| wanted(key)) {
            client.set(canonical(key), value.trim());
        }
    }
}

/// Has a client that speaks TLS trust what this system trusts, unless it was told whom to trust: by a property, or by
/// `SSL_CERT_FILE` and `SSL_CERT_DIR`, which OpenSSL reads itself. Where the system keeps its roots it does not know,
/// for it was built along, with a folder of its own. Services are trusted by the same roots.
fn trust_the_system(client: &mut ClientConfig) {
    let tls =
        client.get("security.protocol").is_some_and(|value| value.to_ascii_lowercase().ends_with("ssl"));
    let told = ROOTS.iter().any(|key| client.get(key).is_some()) || openssl_probe::has_ssl_cert_env_vars();
    if !tls || told {
        return;
    }
    let found = openssl_probe::probe();
    let mut places = found.cert_file.into_iter().chain(found.cert_dir).filter(|place| place.exists());
    if let Some(place) = places.find_map(|place| place.into_os_string().into_string().ok()) {
        client.set("ssl.ca.location", place);
    }
}
