//! Where events go, and how the publisher logs in.

use std::path::PathBuf;

use super::choices::KafkaAuth;
use super::placeholder;
use super::resolve::Values;
use super::setting::{AnySetting, Setting};
use super::settings::{
    KAFKA_AUTH, KAFKA_BROKERS, KAFKA_CONNECTION_STRING, KAFKA_CONNECTION_STRING_FILE, KAFKA_ENTRA_SCOPE,
    KAFKA_PROPERTY, KAFKA_SASL_PASSWORD, KAFKA_SASL_PASSWORD_FILE, KAFKA_SASL_USERNAME, KAFKA_TOPIC,
    SETTINGS,
};
use super::shown;
use crate::publish::{Auth, KafkaConfig, Secret, TokenSource};

/// Where events go, or `None` if they are not published or something is wrong: then `values`
/// holds the errors.
pub fn publish_config(values: &mut Values) -> Option<KafkaConfig> {
    if values.file_is_broken() {
        return None;
    }
    let properties = properties(values);
    let brokers = values.list(&KAFKA_BROKERS);
    if brokers.is_empty() {
        let unused =
            KafkaConfig { brokers: String::new(), topic: String::new(), auth: Auth::None, properties };
        for error in unused.secret_properties() {
            values.error_in(&KAFKA_PROPERTY, error.to_string());
        }
        return None;
    }
    let auth = auth(values);
    let config = KafkaConfig {
        brokers: brokers.join(","),
        topic: values.get(&KAFKA_TOPIC).unwrap_or_default(),
        auth: auth.clone().unwrap_or_default(),
        properties,
    };
    for broker in &brokers {
        let host = broker.rsplit_once(':').map_or(broker.as_str(), |(host, _)| host);
        if let Some(placeholder) = placeholder::placeholder(host) {
            let broker = shown::word(broker);
            let problem = format!("{broker} is not filled in: {}", placeholder::problem(placeholder));
            values.error_in(&KAFKA_BROKERS, problem);
        }
    }
    for error in config.check() {
        match SETTINGS.iter().find(|setting| setting.key() == error.key) {
            // Told already, with its cause.
            Some(setting) if auth.is_none() && LOGIN.iter().any(|part| part.name == setting.name) => {}
            Some(setting) if values.is_wrong(setting) && setting.name == KAFKA_TOPIC.name => {}
            Some(setting) => values.error_in(setting, error.problem),
            None => values.error_in(&KAFKA_PROPERTY, error.to_string()),
        }
    }
    Some(config)
}

/// Settings of the login that is given besides its secrets.
const LOGIN: [&AnySetting; 2] = [KAFKA_AUTH.any(), KAFKA_ENTRA_SCOPE.any()];

fn properties(values: &mut Values) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for text in values.list(&KAFKA_PROPERTY) {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                found.push((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => values
                .error_in(&KAFKA_PROPERTY, "a property without its name is not allowed; allowed: key=value"),
        }
    }
    found
}

/// The login; `None` if it makes no sense: then `values` says why, once.
fn auth(values: &mut Values) -> Option<Auth> {
    let connection_string = secret(values, &KAFKA_CONNECTION_STRING, &KAFKA_CONNECTION_STRING_FILE);
    let password = secret(values, &KAFKA_SASL_PASSWORD, &KAFKA_SASL_PASSWORD_FILE);
    let username = values.get(&KAFKA_SASL_USERNAME);
    if LOGIN_PARTS.iter().any(|part| values.is_wrong(part)) {
        return None;
    }
    let mode = values.get(&KAFKA_AUTH)?;
    if mode != KafkaAuth::Sasl && (connection_string.is_some() || password.is_some()) {
        let (unused, mode): (_, &str) =
            (if password.is_some() { "a password" } else { "a connection string" }, mode.into());
        let problem =
            format!("{mode:?} has no use for {unused}, and one is given; set it to sasl, or leave that out");
        values.error_in(&KAFKA_AUTH, problem);
        return None;
    }
    match mode {
        KafkaAuth::None => Some(Auth::None),
        KafkaAuth::Entra => entra(values),
        KafkaAuth::Sasl => sasl(values, connection_string, username, password),
    }
}

/// A connection string, or a user name and a password.
fn sasl(
    values: &mut Values,
    connection_string: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
) -> Option<Auth> {
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
    values.error_in(&KAFKA_AUTH, problem);
    None
}

/// The parts of a login. Where one of them is wrong, nothing can be said of the whole.
const LOGIN_PARTS: [&AnySetting; 6] = [
    KAFKA_AUTH.any(),
    KAFKA_CONNECTION_STRING.any(),
    KAFKA_CONNECTION_STRING_FILE.any(),
    KAFKA_SASL_USERNAME.any(),
    KAFKA_SASL_PASSWORD.any(),
    KAFKA_SASL_PASSWORD_FILE.any(),
];

/// The environment of the process, in which Azure describes the identity, says where tokens come
/// from: these names are Azure's.
fn entra(values: &mut Values) -> Option<Auth> {
    match TokenSource::from_env(|name| std::env::var(name).ok()) {
        Ok(source) => Some(Auth::Entra { source, scope: values.get(&KAFKA_ENTRA_SCOPE) }),
        Err(problem) => {
            values.error_in(&KAFKA_AUTH, format!("\"entra\": {problem}"));
            None
        }
    }
}

/// A secret that may be replaced while the process runs, if it comes from a file.
fn secret(values: &mut Values, setting: &Setting<String>, file: &Setting<PathBuf>) -> Option<Secret> {
    if let Some(text) = values.get(setting) {
        return Some(Secret::new(text.trim()));
    }
    match Secret::from_file(&values.secret_path(file)?) {
        Ok(secret) => Some(secret),
        Err(problem) => {
            values.error_in(file, problem);
            None
        }
    }
}
