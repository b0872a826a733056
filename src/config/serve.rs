//! From settings to what the programs take.

use std::net::{SocketAddr, ToSocketAddrs};

use http::HeaderName;

use super::{Values, identity, place, settings, shown, tls, traffic};
use crate::publish::{Auth, Secret, TokenSource};
use crate::tee::Share;
use crate::telemetry::PerCaller;
use crate::{ledger, proxy, publish, serve};
use metering::meter::Rules;

/// The configuration of `serve`, or `None` if something is wrong: then `values` holds the errors.
pub fn serve_config(values: &mut Values) -> Option<serve::Config> {
    if values.file_is_broken() {
        return None; // what is not set may stand behind the place that is broken
    }
    let upstreams = upstreams(values);
    let publish = publish_config(values);
    let caller = identity::caller(values);
    let listen = address(values, "listen");
    let admin_listen = address(values, "admin-listen");
    let query_names = values.list("subscription-key-names");
    let header_names = header_names(values, &query_names);
    let listen_tls = tls::caller_tls(values);
    let tls = tls::service_tls(values);
    ledger_place(values);
    if !values.errors().is_empty() {
        return None;
    }
    Some(serve::Config {
        proxy: proxy::Config {
            listen: listen?,
            listen_tls,
            threads: values.count("threads"),
            upstreams,
            tls,
            removals: proxy::Removals { headers: header_names, query: query_names },
            drain_timeout: values.time("drain-timeout"),
            reject_when_full: values.text("on-ledger-failure") == Some("reject"),
            limits: traffic::limits(values),
            policy: traffic::policy(values),
        },
        admin_listen: admin_listen?,
        ledger: ledger::LedgerOptions {
            dir: values.path("ledger")?,
            slots: values.count("max-calls"),
            keep: values.time("ledger-keep"),
            control_interval: values.time("control-interval"),
            publishes: publish.is_some(),
            max_bytes: values.size_bytes("ledger-max-bytes"),
            network_fs: values.text("ledger-network-fs") == Some("allow"),
        },
        publish,
        caller: caller?,
        metrics_per_caller: match values.text("metrics-per-caller") {
            Some("department") => PerCaller::Department,
            Some("caller") => PerCaller::Caller,
            _ => PerCaller::Off,
        },
        prompt_memory_bytes: usize::try_from(values.size_bytes("prompt-memory")).unwrap_or(usize::MAX),
        answer_memory_bytes: usize::try_from(values.size_bytes("answer-memory")).unwrap_or(usize::MAX),
        drift_sample: Share::from_ppm(values.share_ppm("drift-sample")),
        flush_timeout: values.time("flush-timeout"),
    })
}

fn ledger_place(values: &mut Values) {
    let network_fs = values.text("ledger-network-fs") == Some("allow");
    let dir = values.path("ledger").filter(|_| !values.is_wrong("ledger-network-fs"));
    if let Some(problem) = dir.and_then(|dir| place::problem(&dir, network_fs)) {
        values.error_in("ledger", problem);
    }
}

fn upstreams(values: &mut Values) -> Vec<proxy::Upstream> {
    let end_of_turn = end_of_turn(values);
    let mut found: Vec<proxy::Upstream> = Vec::new();
    for text in values.all("upstream").to_vec() {
        match upstream(&text, end_of_turn) {
            Ok(upstream) if found.iter().any(|other| other.name() == upstream.name()) => {
                values.error_in(
                    "upstream",
                    format!(
                        "{} is a second upstream of that name; names must differ",
                        shown::upstream(&text)
                    ),
                );
            }
            Ok(upstream) => found.push(upstream),
            Err(problem) => values.error_in("upstream", format!("{} {problem}", shown::upstream(&text))),
        }
    }
    if found.len() > 1 && found.iter().any(|upstream| upstream.name().is_none()) {
        values.error_in("upstream", "several upstreams need a NAME each: NAME=https://host");
    }
    if values.all("upstream").is_empty() && !values.is_wrong("upstream") {
        values.error(
            "upstream",
            "is not set; give --upstream https://NAME.openai.azure.com, key upstream, or TOKENWEIR_UPSTREAM",
        );
    }
    found
}

/// Whether the service bills the token that ends a turn; `None` for `auto`.
pub fn end_of_turn(values: &Values) -> Option<bool> {
    match values.text("end-of-turn") {
        Some("0") => Some(false),
        Some("1") => Some(true),
        _ => None,
    }
}

/// `[NAME=]http(s)://host[:port]`.
fn upstream(text: &str, end_of_turn: Option<bool>) -> Result<proxy::Upstream, String> {
    let (name, url) = match text.split_once('=') {
        Some((name, url)) => (Some(name.to_owned()), url),
        None => (None, text),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if name.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(plain)) {
        return Err("has a NAME that is no path segment; allowed: letters, digits, - . _ ~".to_owned());
    }
    // api.openai.com does not bill the token that ends a turn; Azure does.
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split([':', '/']).next().unwrap_or("");
    let end_of_turn = end_of_turn.unwrap_or(!host.eq_ignore_ascii_case("api.openai.com"));
    proxy::Upstream::new(name, url, Rules { end_of_turn })
        .map_err(|error| format!("is not allowed: {error}; allowed: [NAME=]http(s)://host[:port]"))
}

/// Names that are removed from the query as they are, and from the headers without case.
fn header_names(values: &mut Values, names: &[String]) -> Vec<HeaderName> {
    let mut found = Vec::new();
    for name in names {
        match name.parse() {
            Ok(name) => found.push(name),
            Err(_) => {
                let problem = format!("{} is no header name; allowed: names, not keys", shown::word(name));
                values.error_in("subscription-key-names", problem);
            }
        }
    }
    found
}

fn address(values: &mut Values, name: &'static str) -> Option<SocketAddr> {
    let found = values.text(name).and_then(|text| text.to_socket_addrs().ok()).and_then(|mut all| all.next());
    if found.is_none() && values.errors().is_empty() {
        values.error_in(name, "has no address");
    }
    found
}

/// Where events go, or `None` if they are not published or something is wrong: then `values`
/// holds the errors.
pub fn publish_config(values: &mut Values) -> Option<publish::KafkaConfig> {
    if values.file_is_broken() {
        return None;
    }
    let properties = properties(values);
    let brokers = values.list("kafka-brokers");
    if brokers.is_empty() {
        let unused = publish::KafkaConfig {
            brokers: String::new(),
            topic: String::new(),
            auth: Auth::None,
            properties,
        };
        for error in unused.secret_properties() {
            values.error_in("kafka-property", error.to_string());
        }
        return None;
    }
    let auth = auth(values);
    let config = publish::KafkaConfig {
        brokers: brokers.join(","),
        topic: values.text("kafka-topic").unwrap_or_default().to_owned(),
        auth: auth.clone().unwrap_or_default(),
        properties,
    };
    for error in config.check() {
        let setting = settings::SETTINGS.iter().find(|setting| setting.key() == error.key);
        match setting {
            // Told already, with its cause.
            Some(setting) if auth.is_none() && LOGIN.contains(&setting.name) => {}
            Some(setting) if values.is_wrong(setting.name) && setting.name == "kafka-topic" => {}
            Some(setting) => values.error_in(setting.name, error.problem),
            None => values.error_in("kafka-property", error.to_string()),
        }
    }
    Some(config)
}

/// Settings of the login that is given besides its secrets.
const LOGIN: [&str; 2] = ["kafka-auth", "kafka-entra-scope"];

fn properties(values: &mut Values) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for text in values.all("kafka-property").to_vec() {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                found.push((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => values
                .error_in("kafka-property", "a property without its name is not allowed; allowed: key=value"),
        }
    }
    found
}

/// The login; `None` if it makes no sense: then `values` says why, once.
fn auth(values: &mut Values) -> Option<Auth> {
    let connection_string = kafka_secret(values, "kafka-connection-string", "kafka-connection-string-file");
    let password = kafka_secret(values, "kafka-sasl-password", "kafka-sasl-password-file");
    let username = values.text("kafka-sasl-username").map(str::to_owned);
    if LOGIN_PARTS.iter().any(|name| values.is_wrong(name)) {
        return None;
    }
    let mode = values.text("kafka-auth").unwrap_or_default().to_owned();
    if mode != "sasl" {
        if connection_string.is_some() || password.is_some() {
            let unused = if password.is_some() { "a password" } else { "a connection string" };
            let problem = format!(
                "{mode:?} has no use for {unused}, and one is given; set it to sasl, or leave that out"
            );
            values.error_in("kafka-auth", problem);
            return None;
        }
        return if mode == "entra" { entra(values) } else { Some(Auth::None) };
    }
    let problem = match (connection_string, username, password) {
        (Some(connection_string), None, None) => return Some(Auth::ConnectionString(connection_string)),
        (None, Some(username), Some(password)) => return Some(Auth::Sasl { username, password }),
        (None, None, None) => {
            "\"sasl\" needs a connection string (TOKENWEIR_KAFKA_CONNECTION_STRING or --kafka-connection-string-file), or a \
             user name and a password (--kafka-sasl-username, and TOKENWEIR_KAFKA_SASL_PASSWORD or \
             --kafka-sasl-password-file)"
        }
        (None, Some(_), None) => {
            "\"sasl\" with a user name needs the password: TOKENWEIR_KAFKA_SASL_PASSWORD or --kafka-sasl-password-file"
        }
        (None, None, Some(_)) => "\"sasl\" with a password needs the user name: --kafka-sasl-username",
        (Some(_), ..) => {
            "\"sasl\" takes a connection string or a user name and a password, and both are given; leave one out"
        }
    };
    values.error_in("kafka-auth", problem);
    None
}

/// What a login is made of. Where one of these is wrong, nothing can be said of the whole.
const LOGIN_PARTS: [&str; 6] = [
    "kafka-auth",
    "kafka-connection-string",
    "kafka-connection-string-file",
    "kafka-sasl-username",
    "kafka-sasl-password",
    "kafka-sasl-password-file",
];

/// The environment of the process, in which Azure describes the identity, says where tokens come
/// from: these names are Azure's.
fn entra(values: &mut Values) -> Option<Auth> {
    match TokenSource::from_env(|name| std::env::var(name).ok()) {
        Ok(source) => {
            Some(Auth::Entra { source, scope: values.text("kafka-entra-scope").map(str::to_owned) })
        }
        Err(problem) => {
            values.error_in("kafka-auth", format!("\"entra\": {problem}"));
            None
        }
    }
}

/// A secret that may be replaced while the process runs, if it comes from a file.
fn kafka_secret(values: &mut Values, name: &'static str, file_name: &'static str) -> Option<Secret> {
    if let Some(text) = values.text(name) {
        return Some(Secret::new(text.trim()));
    }
    match Secret::from_file(&values.secret_path(file_name)?) {
        Ok(secret) => Some(secret),
        Err(problem) => {
            values.error_in(file_name, problem);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(flags: &[(&str, &str)]) -> (Option<serve::Config>, Vec<String>) {
        let flag = |name: &str| {
            let found: Vec<_> =
                flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).collect();
            (!found.is_empty()).then_some(found)
        };
        let mut values = Values::resolve(flag, |_| None, None);
        let config = serve_config(&mut values);
        (config, values.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_upstream_is_enough() {
        let (config, errors) = serve(&[("upstream", "https://a.openai.azure.com")]);
        assert_eq!(errors, Vec::<String>::new());
        let config = config.unwrap();
        assert_eq!(config.proxy.upstreams[0].name(), None);
        assert!(config.publish.is_none());
        assert!(!config.ledger.publishes);
    }

    #[test]
    fn an_upstream_that_cannot_be_is_refused_with_its_reason() {
        for (upstream, needle) in [
            ("ftp://h", "http(s)://host"),
            ("h:80", "http(s)://host"),
            ("https://h/openai", "host and port only"),
            ("a/b=https://h", "no path segment"),
            ("https://u:p@h", "host and port only"),
        ] {
            let (config, errors) = serve(&[("upstream", upstream)]);
            assert!(config.is_none());
            assert!(
                errors.iter().any(|e| e.contains("--upstream") && e.contains(needle)),
                "{upstream}: {errors:?}"
            );
        }
        let (_, errors) = serve(&[]);
        assert!(errors[0].contains("--upstream") && errors[0].contains("TOKENWEIR_UPSTREAM"), "{errors:?}");
        let (_, errors) = serve(&[("upstream", "http://a"), ("upstream", "b=http://b")]);
        assert!(errors[0].contains("NAME"), "{errors:?}");
    }

    #[test]
    fn who_bills_the_end_of_a_turn_is_a_matter_of_the_host_unless_it_is_said() {
        let bills = |url: &str, said: &str| {
            let (config, errors) = serve(&[("upstream", url), ("end-of-turn", said)]);
            assert_eq!(errors, Vec::<String>::new());
            config.unwrap().proxy.upstreams[0].rules().end_of_turn
        };
        for (url, auto) in [
            ("https://api.openai.com", false),
            ("https://API.OpenAI.com:443", false),
            ("o=https://api.openai.com", false),
            ("https://a.openai.azure.com", true),
            ("https://api.openai.com.example.org", true),
        ] {
            assert_eq!((bills(url, "auto"), bills(url, "0"), bills(url, "1")), (auto, false, true), "{url}");
        }
    }

    #[test]
    fn sasl_needs_its_secret() {
        let flags = [("upstream", "http://a"), ("kafka-brokers", "h:9093"), ("kafka-auth", "sasl")];
        let (_, errors) = serve(&flags);
        assert!(errors[0].contains("--kafka-connection-string-file"), "{errors:?}");
    }

    /// Whatever is wrong with one setting is told once, and nothing that follows from it.
    #[test]
    fn one_cause_is_one_error() {
        const FINE: [(&str, &str); 4] = [
            ("upstream", "http://a"),
            ("kafka-brokers", "kafka:9092"),
            ("caller-trust", "network"),
            ("caller-networks", "10.0.0.0/8"),
        ];
        // All of these but `name`, which is given by `flag` or in the file.
        let errors = |name: &str, flag: Option<&str>, file: &str| {
            let flags = |asked: &str| {
                let fine = FINE.iter().find(|(known, _)| *known == asked).map(|(_, value)| *value);
                if asked == name { flag } else { fine }.map(|value| vec![value.to_owned()])
            };
            let mut values = Values::resolve(flags, |_| None, Some((std::path::Path::new("t.toml"), file)));
            assert!(serve_config(&mut values).is_none());
            values.errors().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for setting in settings::SETTINGS {
            let bad = match setting.kind {
                settings::Kind::Choice(_) | settings::Kind::Share | settings::Kind::Address => "wrong",
                settings::Kind::Count(..) | settings::Kind::Time(..) | settings::Kind::Size(..) => "-1",
                _ => "",
            };
            let told = errors(setting.name, Some(bad), "");
            assert_eq!(told.len(), 1, "{}: {told:?}", setting.name);
            if matches!(setting.kind, settings::Kind::Secret) {
                continue;
            }
            let key = setting.key();
            // A kind that no setting takes, and a name that is nearly right.
            for file in [format!("{key} = true"), format!("{} = \"x\"", &key[..key.len() - 1])] {
                let told = errors(setting.name, None, &file);
                assert_eq!(told.len(), 1, "{file}: {told:?}");
            }
        }
        for file in ["upstream = http://a", "upstream = \"http://a", "threads = 1\nthreads = 2", "=", "[x"] {
            let told = errors("upstream", None, file);
            assert!(told.iter().all(|error| error.contains("is not TOML")), "{file}: {told:?}");
        }
    }
}
