//! The login of a configuration: what can be wrong with it, the tokens that it needs, and new secrets.

use std::sync::Arc;

use super::auth::Auth;
use super::brokers::EVENT_HUBS;
use super::config::KafkaConfig;
use super::connection_string;
use super::error::KafkaConfigError;
use super::token::TokenRefresher;

/// How scopes end for a program that speaks for itself ("The .default scope", Microsoft identity platform).
const DEFAULT_SCOPE: &str = "/.default";

impl KafkaConfig {
    /// The faults of the login. `brokers_known`: their addresses can be read, so that a login can be
    /// held against them.
    pub(super) fn login_problems(&self, brokers_known: bool) -> Vec<KafkaConfigError> {
        let mut errors = Vec::new();
        let mut wrong =
            |key: &str, problem: String| errors.push(KafkaConfigError { key: key.to_owned(), problem });
        match &self.auth {
            Auth::None if self.event_hubs() => {
                let problem = "\"none\" is not allowed: Event Hubs wants a login; allowed: sasl | entra";
                wrong("kafka_auth", problem.to_owned());
            }
            Auth::ConnectionString(secret) => {
                if let Some(problem) = self.connection_string_problem(secret.value(), brokers_known) {
                    let file = secret.file().map_or(String::new(), |path| format!(" in {}", path.display()));
                    wrong("kafka_auth", format!("the connection string{file} {problem}"));
                }
            }
            Auth::Entra { scope, .. } => {
                if let Err(problem) = self.scope(scope.as_deref())
                    && (brokers_known || scope.is_some())
                {
                    wrong("kafka_entra_scope", problem);
                }
            }
            Auth::None | Auth::Sasl { .. } => {}
        }
        errors
    }

    fn connection_string_problem(&self, text: &str, brokers_known: bool) -> Option<String> {
        let hubs: Vec<&str> = self.hubs().filter(|_| brokers_known).collect();
        connection_string::problem(text, &self.topic, &hubs)
    }

    /// Brokers of Event Hubs.
    fn hubs(&self) -> impl Iterator<Item = &str> {
        let hosts = self.hosts().map(|(host, _)| host);
        hosts.filter(|host| host.to_ascii_lowercase().ends_with(EVENT_HUBS))
    }

    /// The scope of tokens: as given, or of the first broker of Event Hubs.
    fn scope(&self, given: Option<&str>) -> Result<String, String> {
        let of_hub = || self.hubs().next().map(|host| format!("https://{host}{DEFAULT_SCOPE}"));
        match given {
            Some(scope) if scope.contains("://") && scope.ends_with(DEFAULT_SCOPE) => Ok(scope.to_owned()),
            Some(scope) => {
                // A text that is no address may be a client's secret.
                let address = ["https://", "api://"].iter().any(|start| scope.starts_with(start));
                let told = address && !scope.contains(['@', '?', '#']);
                let shown = if told { format!("{scope:?}") } else { "the value".to_owned() };
                Err(format!("{shown} is not allowed; allowed: https://..{DEFAULT_SCOPE} or api://..{DEFAULT_SCOPE}"))
            }
            None => of_hub().ok_or_else(|| {
                format!("is not set, and kafka_brokers names no host *{EVENT_HUBS}; give the scope of the tokens, https://..{DEFAULT_SCOPE}")
            }),
        }
    }

    /// The thread that keeps tokens at hand, if they are what proves who we are.
    pub(super) fn refresher(&self) -> Result<Option<Arc<TokenRefresher>>, String> {
        let Auth::Entra { source, scope } = &self.auth else { return Ok(None) };
        let scope = self.scope(scope.as_deref())?;
        let refresher = TokenRefresher::start(source.clone(), scope).map_err(|error| error.to_string())?;
        Ok(Some(Arc::new(refresher)))
    }

    /// Reads secrets again that came from files. Returns whether one has changed; the error says why
    /// one could not be used, and the old one stays.
    pub(super) fn reload(&mut self) -> Result<bool, String> {
        let mut auth = std::mem::take(&mut self.auth);
        let changed = match &mut auth {
            Auth::ConnectionString(secret) => {
                secret.reload(|text| self.connection_string_problem(text, true))
            }
            Auth::Sasl { password, .. } => password.reload(|_| None),
            Auth::None | Auth::Entra { .. } => Ok(false),
        };
        self.auth = auth;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::super::token::TokenSource;
    use super::*;

    const HUB: &str = "ns.servicebus.windows.net:9093";

    fn config(brokers: &str, auth: Auth) -> KafkaConfig {
        KafkaConfig {
            brokers: brokers.to_owned(),
            topic: "ai-usage".to_owned(),
            auth,
            properties: Vec::new(),
        }
    }

    fn entra(scope: Option<&str>) -> Auth {
        Auth::Entra { source: TokenSource::Imds { client: None }, scope: scope.map(str::to_owned) }
    }

    #[test]
    fn the_scope_is_the_namespace_s_unless_it_is_given() {
        let scope = |brokers: &str, given: Option<&str>| config(brokers, entra(given)).scope(given);
        let hub = "https://ns.servicebus.windows.net/.default";
        assert_eq!(scope(HUB, None).unwrap(), hub);
        assert_eq!(scope(&format!("kafka:9093, {HUB}"), None).unwrap(), hub);
        assert_eq!(scope("kafka:9093", Some("api://x/.default")).unwrap(), "api://x/.default");
        for bad in ["https://ns.servicebus.windows.net", "x/.default"] {
            assert!(scope(HUB, Some(bad)).unwrap_err().contains("allowed"), "{bad}");
        }
        let error = &config("kafka:9093", entra(None)).check()[0];
        assert!(error.key == "kafka_entra_scope" && error.problem.contains(".servicebus."), "{error}");
    }

    #[test]
    fn what_is_no_login_is_told_with_its_place_and_without_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("string");
        std::fs::write(&path, "SharedAccessSignature sr=hush&sig=hush").unwrap();
        let auth = Auth::ConnectionString(Secret::from_file(&path).unwrap());
        let told = format!("{:?}", config(HUB, auth).check());
        assert!(told.contains(&path.display().to_string()) && told.contains("SAS token"), "{told}");
        assert!(!told.contains("hush"), "{told}");
        let mut twice = config(HUB, entra(None));
        twice.properties.push(("sasl.mechanisms".to_owned(), "PLAIN".to_owned()));
        assert!(twice.check()[0].problem.contains("OAUTHBEARER"));
    }

    #[test]
    fn a_new_secret_is_taken_if_it_makes_sense() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("string");
        let string = |key: &str| {
            format!("Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey={key}")
        };
        std::fs::write(&path, string("one")).unwrap();
        let mut config = config(HUB, Auth::ConnectionString(Secret::from_file(&path).unwrap()));
        let password = |config: &KafkaConfig| config.producer().get("sasl.password").map(str::to_owned);
        assert_eq!(config.reload(), Ok(false));
        std::fs::write(&path, string("")).unwrap();
        assert!(config.reload().unwrap_err().contains("SharedAccessKey"));
        assert_eq!(password(&config), Some(string("one")));
        std::fs::write(&path, string("two")).unwrap();
        assert_eq!(config.reload(), Ok(true));
        assert_eq!(password(&config), Some(string("two")));
    }
}
