//! How to prove who we are.

use rdkafka::ClientConfig;

use super::client::set_all;
use super::secret::Secret;
use super::token::TokenSource;

/// How to prove who we are.
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
    /// SASL OAUTHBEARER with tokens of Microsoft Entra ID.
    Entra {
        /// Where they come from.
        source: TokenSource,
        /// The scope that they are for; `None`: the namespace of Event Hubs that the brokers name.
        scope: Option<String>,
    },
}

impl Auth {
    /// Sets what a client needs to log in.
    pub(super) fn apply(&self, client: &mut ClientConfig) {
        let (username, password) = match self {
            Auth::None => return,
            Auth::Entra { .. } => {
                let values = [("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "OAUTHBEARER")];
                return set_all(client, &values);
            }
            Auth::ConnectionString(secret) => ("$ConnectionString", secret),
            Auth::Sasl { username, password } => (username.as_str(), password),
        };
        set_all(client, &[("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "PLAIN")]);
        set_all(client, &[("sasl.username", username), ("sasl.password", password.value())]);
    }
}
