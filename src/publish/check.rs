//! Everything that can be wrong with where to publish and how, told at once.

use rdkafka::error::KafkaError;

use super::brokers;
use super::config::KafkaConfig;
use super::error::KafkaConfigError;
use super::properties::{self, shown_name};
use super::shown::shown;
use super::transport::Login;

/// Characters of a topic's name, the limit of Kafka.
const TOPIC_CHARS_MAX: usize = 249;

/// A value, or a part of one, that is shorter is no secret, and stands by chance in many texts.
const HIDDEN_BYTES_MIN: usize = 4;

impl KafkaConfig {
    /// Everything that is wrong; nothing if it can be used.
    pub fn check(&self) -> Vec<KafkaConfigError> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, problem: &str| {
            errors.push(KafkaConfigError { key: key.to_owned(), problem: problem.to_owned() });
        };
        if self.brokers.trim().is_empty() {
            wrong("kafka_brokers", "is empty");
        }
        if self.topic.trim().is_empty() {
            wrong("kafka_topic", "is empty");
        } else if !is_topic(&self.topic) {
            let allowed = format!("up to {TOPIC_CHARS_MAX} letters, digits, . _ and -");
            // Connection strings, addresses and keys in PEM have these.
            let secret =
                self.topic.contains(['=', ';', '@', '?', '/', '\n']) || self.topic.len() > TOPIC_CHARS_MAX;
            let shown = if secret { "the value".to_owned() } else { format!("{:?}", self.topic) };
            wrong("kafka_topic", &format!("{shown} is not allowed; allowed: {allowed}"));
        }
        for problem in self.brokers.split(',').filter_map(brokers::problem) {
            wrong("kafka_brokers", &problem);
        }
        let (hubs, login) = (self.event_hubs(), Login::of(&self.auth));
        for (key, value) in &self.properties {
            if let Some(problem) = properties::problem(key, value.trim(), hubs, login) {
                wrong(shown_name(key), &problem);
            }
        }
        // An address that cannot be read belongs to an unknown service: a second error would have the same cause.
        let known = self.brokers.split(',').all(|broker| brokers::problem(broker).is_none());
        errors.extend(self.login_problems(known));
        if errors.is_empty() {
            errors.extend(self.client_problem());
        }
        errors
    }

    /// Properties that hold secrets: wrong also where nothing is published, for what is right is printed.
    pub fn secret_properties(&self) -> Vec<KafkaConfigError> {
        let secret = self.properties.iter().filter(|(key, _)| properties::is_secret(key));
        let error = |(key, _): &(String, String)| KafkaConfigError {
            key: shown_name(key).to_owned(),
            problem: properties::NO_SECRETS.to_owned(),
        };
        secret.map(error).collect()
    }

    /// The fault that shows only when everything is put together.
    fn client_problem(&self) -> Option<KafkaConfigError> {
        let client = self.producer();
        let number = |key| client.get(key).and_then(|text| text.parse::<u64>().ok());
        let (socket, request) = (number("socket.timeout.ms"), number("request.timeout.ms"));
        if let (Some(socket), Some(request)) = (socket, request)
            && socket <= request
        {
            let problem = format!(
                "{socket} is not allowed; allowed: more than request.timeout.ms, {request}: \
                 else the client hangs up before the broker's time is over"
            );
            return Some(KafkaConfigError { key: "socket.timeout.ms".to_owned(), problem });
        }
        if let Some((key, error)) = self.unreadable() {
            let problem = format!("names no file that can be read: {error}; the value is not repeated");
            return Some(KafkaConfigError { key: key.to_owned(), problem });
        }
        let error = client.create_native_config().err()?;
        let (key, problem) = properties::refusal(&error);
        Some(KafkaConfigError { key: key.map_or("kafka_property", shown_name).to_owned(), problem })
    }

    /// A property that names a file or a folder which is not there. OpenSSL would say so with the value, and that may be
    /// what should have been in the file.
    fn unreadable(&self) -> Option<(&str, std::io::Error)> {
        let paths =
            self.properties.iter().filter(|(key, value)| key.ends_with(".location") && value != "probe");
        paths.filter_map(|(key, value)| Some((key.as_str(), std::fs::metadata(value.trim()).err()?))).next()
    }

    /// The text for a client that cannot be made, without the values of properties: OpenSSL repeats some.
    pub(super) fn told(&self, error: &KafkaError) -> String {
        let mut text = error.to_string();
        let values = self.properties.iter().map(|(_, value)| value.trim());
        let parts = values.flat_map(|value| value.split([':', ',', ';', ' ']).chain([value]));
        let mut hidden: Vec<&str> = parts
            .filter(|part| part.len() >= HIDDEN_BYTES_MIN && shown(part) != format!("{part:?}"))
            .collect();
        hidden.sort_by_key(|part| std::cmp::Reverse(part.len()));
        for part in hidden {
            text = text.replace(part, "..");
        }
        text
    }
}

fn is_topic(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= TOPIC_CHARS_MAX && !matches!(name, "." | "..") && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::auth::Auth;
    use super::super::secret::Secret;
    use super::super::token::TokenSource;
    use super::*;

    const HUB: &str = "ns.servicebus.windows.net:9093";
    const STRING: &str =
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=hush";

    fn config(brokers: &str, properties: &[(&str, &str)]) -> KafkaConfig {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        KafkaConfig {
            brokers: brokers.to_owned(),
            topic: "ai-usage".to_owned(),
            auth: Auth::None,
            properties: properties.iter().map(own).collect(),
        }
    }

    fn hub(brokers: &str, properties: &[(&str, &str)]) -> KafkaConfig {
        KafkaConfig { auth: Auth::ConnectionString(Secret::new(STRING)), ..config(brokers, properties) }
    }

    fn wrong_keys(config: &KafkaConfig) -> Vec<String> {
        config.check().into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let bad = [("acks", "1"), ("retries", "1"), ("linger.ms", "60000"), ("sasl.password", "x")];
        let keys: Vec<&str> = bad.iter().map(|(key, _)| *key).collect();
        assert_eq!(wrong_keys(&config("b:9092", &bad)), keys);
        assert_eq!(wrong_keys(&config("b:9092", &[("linger.ms", "50")])), Vec::<String>::new());
        assert_eq!(wrong_keys(&config("", &[])), ["kafka_brokers"]);
    }

    #[test]
    fn librdkafka_checks_names_and_values() {
        let unknown = config("b:9092", &[("lingr.ms", "5")]).check();
        assert!(unknown[0].to_string().contains("lingr.ms"), "{unknown:?}");
        assert_eq!(wrong_keys(&config("b:9092", &[("linger.ms", "soon")])), ["linger.ms"]);
    }

    #[test]
    fn the_broker_has_its_time_before_the_client_hangs_up() {
        let times = |socket, request| {
            let properties = [("socket.timeout.ms", socket), ("request.timeout.ms", request)];
            wrong_keys(&config("b:9092", &properties))
        };
        assert_eq!(times("2000", "1000"), Vec::<String>::new());
        assert_eq!(times("2000", "2000"), ["socket.timeout.ms"]);
        assert_eq!(wrong_keys(&config("b:9092", &[("request.timeout.ms", "80000")])), ["socket.timeout.ms"]);
    }

    #[test]
    fn event_hubs_has_rules_of_its_own() {
        assert_eq!(hub(HUB, &[]).check(), []);
        assert_eq!(wrong_keys(&config(HUB, &[])), ["kafka_auth"]);
        for brokers in ["ns.servicebus.windows.net", "NS.ServiceBus.Windows.Net:9092"] {
            let errors = hub(brokers, &[]).check();
            assert!(errors[0].to_string().contains("Net:9093") || errors[0].to_string().contains("net:9093"));
        }
        for (brokers, codec, fine) in
            [(HUB, "zstd", false), (HUB, "gzip", true), ("kafka:9092", "zstd", true), (HUB, "lz4", false)]
        {
            let config = hub(brokers, &[("compression.type", codec)]);
            assert_eq!(config.check().is_empty(), fine, "{brokers} {codec}");
        }
    }

    #[test]
    fn who_speaks_tls_trusts_the_systems_roots_unless_told_whom() {
        let location = |config: &KafkaConfig| {
            let places = [config.producer(), config.connection()];
            let [one, other] = places.map(|client| client.get("ssl.ca.location").map(str::to_owned));
            assert_eq!(one, other);
            one
        };
        let found = openssl_probe::probe();
        let first = found.cert_file.into_iter().chain(found.cert_dir).find(|place| place.exists());
        let first = first.map(|place| place.to_str().unwrap().to_owned());
        let first = first.filter(|_| !openssl_probe::has_ssl_cert_env_vars());
        assert_eq!(location(&hub(HUB, &[])), first);
        assert_eq!(location(&config("b:9093", &[("security.protocol", "SSL")])), first);
        assert_eq!(location(&config("b:9092", &[])), None, "no TLS, no roots");
        assert_eq!(location(&hub(HUB, &[("ssl.ca.location", "/mine.pem")])).as_deref(), Some("/mine.pem"));
        assert_eq!(location(&hub(HUB, &[("ssl.ca.location", "probe")])).as_deref(), Some("probe"));
        assert_eq!(location(&hub(HUB, &[("ssl.ca.pem", "a certificate")])), None);
    }

    #[test]
    fn a_connection_string_becomes_sasl_and_is_never_printed() {
        let config = hub(HUB, &[]);
        let client = config.producer();
        // The values that librdkafka is given; its map hides passwords.
        assert_eq!(client.get("sasl.username"), Some("$ConnectionString"));
        assert_eq!(client.get("security.protocol"), Some("SASL_SSL"));
        assert!(!format!("{config:?} {client:?}").contains("hush"));
        for bad in ["SharedAccessSignature sr=x&sig=hush", "Endpoint=sb://ns/;SharedAccessSignature=hush"] {
            let config = KafkaConfig { auth: Auth::ConnectionString(Secret::new(bad)), ..config.clone() };
            let errors = config.check();
            assert_eq!(errors[0].key, "kafka_auth");
            assert!(!errors[0].to_string().contains("hush"));
        }
    }

    #[test]
    fn what_openssl_repeats_is_not_passed_on() {
        let config = config("b:9093", &[("ssl.curves.list", "X25519:zq7Hush"), ("security.protocol", "ssl")]);
        assert_eq!(config.check(), []);
        let client = config.producer();
        let Err(error) = client.create::<rdkafka::producer::BaseProducer>() else {
            panic!("it has no such curve")
        };
        assert!(!config.told(&error).contains("zq7Hush"), "{}", config.told(&error));
        let error = KafkaError::ClientCreation("group 'zq7Hush' of X25519:zq7Hush, ssl".to_owned());
        assert!(config.told(&error).contains("group '..' of .., ssl"), "{}", config.told(&error));
        let absent =
            KafkaConfig { properties: vec![("ssl.key.location".to_owned(), "zq7Hush".to_owned())], ..config };
        let [error] = &absent.check()[..] else { panic!() };
        assert!(error.key == "ssl.key.location" && !error.problem.contains("zq7Hush"), "{error}");
    }

    #[test]
    fn of_two_names_of_a_property_the_user_s_value_wins() {
        let config = KafkaConfig {
            auth: Auth::Sasl { username: "u".to_owned(), password: Secret::new("p") },
            ..config(
                "b:9093",
                &[
                    ("sasl.mechanism", "SCRAM-SHA-512"),
                    ("compression.codec", "gzip"),
                    ("queue.buffering.max.ms", " 50"),
                ],
            )
        };
        assert_eq!(config.check(), []);
        // librdkafka is given them in the order of a hash map: by chance.
        for _ in 0..20 {
            let native = config.producer().create_native_config().unwrap();
            let value = |key: &str| native.get(key).unwrap();
            assert_eq!(
                [value("sasl.mechanisms"), value("compression.codec"), value("linger.ms")],
                ["SCRAM-SHA-512", "gzip", "50"]
            );
        }
    }

    /// For any name and value of a property, no error holds a value that may be a secret.
    #[test]
    fn no_value_of_a_property_is_told() {
        const SECRET: &str = "zq7Hush";
        let names = [
            "sasl.password",
            "SASL.PASSWORD",
            "sasl.pasword",
            "sasl_password",
            "sasl.username",
            "ssl.key.pem",
            "ssl.key.location",
            "ssl.ca.location",
            "ssl.keystore.password",
            "security.protocol",
            "sasl.mechanisms",
            "sasl.mechanism",
            "linger.ms",
            "acks",
            "compression.type",
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
            "debug",
            "ssl.cipher.suites",
            "ssl.curves.list",
            "ssl.sigalgs.list",
            "ssl.providers",
            "broker.address.family",
            "log_level",
            "client.id",
            "topic.blacklist",
            "partitioner",
            "socket.timeout.ms",
            "batch.size",
            "client.rack",
            "isolation.level",
            "zq7Hush",
            "",
            "queue.buffering.max.messages",
            "compression.level",
            "interceptors",
            "opaque",
            "no.such.property",
            "group.id",
        ];
        let values = [
            SECRET.to_owned(),
            format!("http://u:{SECRET}@h"),
            format!("5{SECRET}"),
            format!("{SECRET}\0"),
            format!("true,{SECRET}"),
            // librdkafka cuts its texts off after 512 bytes.
            format!("{}{SECRET}", SECRET.repeat(200)),
        ];
        let auths = [
            Auth::None,
            Auth::Sasl { username: "u".to_owned(), password: Secret::new("p") },
            Auth::ConnectionString(Secret::new(STRING)),
        ];
        for auth in auths {
            for brokers in ["b:9092", HUB] {
                for name in names {
                    for value in &values {
                        let config = KafkaConfig { auth: auth.clone(), ..config(brokers, &[(name, value)]) };
                        for error in config.check() {
                            assert!(!error.to_string().contains(SECRET), "{name}: {error}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_build_has_tls_sasl_and_every_codec() {
        // A build without OpenSSL would compile and fail only here.
        let sasl = Auth::Sasl { username: "u".to_owned(), password: Secret::new("p") };
        for auth in [
            sasl,
            Auth::Entra {
                source: TokenSource::Imds { client: None },
                scope: Some("api://kafka/.default".to_owned()),
            },
        ] {
            for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
                let config = KafkaConfig {
                    auth: auth.clone(),
                    ..config("kafka:9093", &[("compression.type", codec)])
                };
                assert_eq!(config.check(), []);
                config.producer().create::<rdkafka::producer::BaseProducer>().unwrap();
            }
        }
    }
}
