//! From settings to what the programs take.

use http::HeaderName;

use super::choices::{EndOfTurn, OnLedgerFailure};
use super::kafka::publish_config;
use super::resolve::Values;
use super::setting::AnySetting;
use super::settings::{
    ADMIN_LISTEN, ADMIN_PAGE, ANSWER_MEMORY, CONTROL_HMAC_KEY, CONTROL_HMAC_KEY_FILE, CONTROL_INTERVAL,
    DRAIN_TIMEOUT, DRIFT_SAMPLE, END_OF_TURN, FLUSH_TIMEOUT, LEDGER, LEDGER_KEEP, LEDGER_MAX_BYTES,
    LEDGER_NETWORK_FS, LISTEN, LOG_CALLS, MAX_CALLS, METRICS_PER_CALLER, ON_LEDGER_FAILURE, PROMPT_MEMORY,
    SUBSCRIPTION_KEY_NAMES, THREADS, UPSTREAM,
};
use super::{capture, identity, place, placeholder, shown, tls, traffic};
use crate::{ledger, proxy, serve};
use metering::meter::Rules;
use metering::usage::ControlKey;

/// The configuration of `serve`, or `None` if something is wrong: then `values` holds the errors.
pub fn serve_config(values: &mut Values) -> Option<serve::Config> {
    if values.file_is_broken() {
        return None; // what is not set may stand behind the place that is broken
    }
    let upstreams = upstreams(values);
    let publish = publish_config(values);
    let caller = identity::caller(values);
    let query_names = values.list(&SUBSCRIPTION_KEY_NAMES);
    let header_names = header_names(values, &query_names);
    let listen_tls = tls::caller_tls(values);
    let https = values.list(&UPSTREAM).iter().any(|text| name_and_url(text).1.starts_with("https:"));
    let tls = tls::service_tls(values, https);
    let control_key = control_key(values);
    let capture = capture::capture(values);
    let publish_capture =
        capture.is_some().then(|| capture::capture_topic(values, publish.as_ref())).flatten();
    ledger_place(values);
    if !values.errors().is_empty() {
        return None;
    }
    Some(serve::Config {
        proxy: proxy::Config {
            listen: values.get(&LISTEN)?,
            listen_tls,
            threads: values.get(&THREADS)?,
            upstreams,
            tls,
            removals: proxy::Removals { headers: header_names, query: query_names },
            drain_timeout: values.get(&DRAIN_TIMEOUT)?,
            reject_when_full: values.get(&ON_LEDGER_FAILURE)? == OnLedgerFailure::Reject,
            limits: traffic::limits(values)?,
            policy: traffic::policy(values)?,
        },
        admin_listen: values.get(&ADMIN_LISTEN)?,
        admin_page: values.get(&ADMIN_PAGE)?,
        ledger: ledger::LedgerOptions {
            dir: values.get(&LEDGER)?,
            slots: values.get(&MAX_CALLS)?,
            keep: values.get(&LEDGER_KEEP)?,
            control_interval: values.get(&CONTROL_INTERVAL)?,
            publishes: publish.is_some(),
            max_bytes: values.get(&LEDGER_MAX_BYTES)?,
            network_fs: place::network_fs(values),
            control_key,
        },
        publish,
        capture,
        publish_capture,
        caller: caller?,
        metrics_per_caller: values.get(&METRICS_PER_CALLER)?,
        prompt_memory_bytes: values.get(&PROMPT_MEMORY)?,
        answer_memory_bytes: values.get(&ANSWER_MEMORY)?,
        drift_sample: values.get(&DRIFT_SAMPLE)?,
        flush_timeout: values.get(&FLUSH_TIMEOUT)?,
        log_calls: values.get(&LOG_CALLS)?,
    })
}

/// The key that signs control events, for whoever writes or verifies them.
pub fn control_key(values: &mut Values) -> Option<ControlKey> {
    let text = values.secret(&CONTROL_HMAC_KEY, &CONTROL_HMAC_KEY_FILE)?;
    if text.is_empty() {
        let given = values.is_set(&CONTROL_HMAC_KEY);
        let setting: &AnySetting = if given { &CONTROL_HMAC_KEY } else { &CONTROL_HMAC_KEY_FILE };
        values.error_in(setting, "holds no key; make one: openssl rand -hex 32");
        return None;
    }
    Some(ControlKey::new(text.as_bytes()))
}

fn ledger_place(values: &mut Values) {
    let dir = values.get(&LEDGER).filter(|_| !values.is_wrong(&LEDGER_NETWORK_FS));
    if let Some(problem) = dir.and_then(|dir| place::problem(&dir, place::network_fs(values))) {
        values.error_in(&LEDGER, problem);
    }
}

fn upstreams(values: &mut Values) -> Vec<proxy::Upstream> {
    let end_of_turn = end_of_turn(values);
    let mut found: Vec<proxy::Upstream> = Vec::new();
    for text in values.list(&UPSTREAM) {
        match upstream(&text, end_of_turn) {
            Ok(upstream) if found.iter().any(|other| other.name() == upstream.name()) => {
                values.error_in(
                    &UPSTREAM,
                    format!(
                        "{} is a second upstream of that name; names must differ",
                        shown::upstream(&text)
                    ),
                );
            }
            Ok(upstream) => found.push(upstream),
            Err(problem) => values.error_in(&UPSTREAM, format!("{} {problem}", shown::upstream(&text))),
        }
    }
    if found.len() > 1 && found.iter().any(|upstream| upstream.name().is_none()) {
        values.error_in(&UPSTREAM, "several upstreams need a NAME each: NAME=https://host");
    }
    if !values.is_set(&UPSTREAM) && !values.is_wrong(&UPSTREAM) {
        values.error(
            UPSTREAM.name,
            "is not set; give --upstream https://NAME.openai.azure.com, key upstream, or TOKENWEIR_UPSTREAM",
        );
    }
    found
}

/// Whether the service bills the token that ends a turn; `None` for `auto`.
pub fn end_of_turn(values: &Values) -> Option<bool> {
    match values.get(&END_OF_TURN)? {
        EndOfTurn::Auto => None,
        EndOfTurn::Free => Some(false),
        EndOfTurn::Billed => Some(true),
    }
}

/// `[NAME=]URL`.
fn name_and_url(text: &str) -> (Option<&str>, &str) {
    text.split_once('=').map_or((None, text), |(name, url)| (Some(name), url))
}

/// `[NAME=]http(s)://host[:port]`.
fn upstream(text: &str, end_of_turn: Option<bool>) -> Result<proxy::Upstream, String> {
    let (name, url) = name_and_url(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if name.is_some_and(|name| name.is_empty() || !name.bytes().all(plain)) {
        return Err("has a NAME that is no path segment; allowed: letters, digits, - . _ ~".to_owned());
    }
    // api.openai.com does not bill the token that ends a turn; Azure does.
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split([':', '/']).next().unwrap_or("");
    if let Some(placeholder) = placeholder::placeholder(host) {
        return Err(format!("is not filled in: {}", placeholder::problem(placeholder)));
    }
    let end_of_turn = end_of_turn.unwrap_or(!host.eq_ignore_ascii_case("api.openai.com"));
    proxy::Upstream::new(name.map(str::to_owned), url, Rules { end_of_turn })
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
                values.error_in(&SUBSCRIPTION_KEY_NAMES, problem);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Kind, SETTINGS};
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

    /// A fault of one setting is told once, and nothing that follows from it.
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
        for setting in SETTINGS {
            let bad = match setting.kind {
                Kind::Choice(_) | Kind::Share | Kind::Address => "wrong",
                Kind::Count(..) | Kind::Time(..) | Kind::Size(..) => "-1",
                _ => "",
            };
            let told = errors(setting.name, Some(bad), "");
            assert_eq!(told.len(), 1, "{}: {told:?}", setting.name);
            if setting.is_secret() {
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
