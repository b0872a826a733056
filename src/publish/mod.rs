//! From an outbox to its topic: the ledger's events, and captured content.
//!
//! One thread (`tw-publish`) reads committed events in order, hands them to an idempotent producer,
//! and moves the outbox's mark only past a contiguous prefix of acknowledged ones. Every event may
//! arrive more than once, always with the same bytes; readers drop repeats by (`source`, `id`).
//!
//! | file | what it holds |
//! |---|---|
//! | `publisher` | the handle that starts and stops all of it |
//! | `state` | the counters that the handle and the thread share |
//! | `error` | wrong settings, and why publishing cannot begin |
//! | `brokers` | the check of their addresses |
//! | `auth` | how the sidecar logs in |
//! | `config` | where to publish and how, and the values that keep the promise |
//! | `client` | values of a Kafka client |
//! | `check` | everything that is wrong with a configuration |
//! | `login` | the check of a login, and its tokens and secrets |
//! | `consumer` | a client that only reads |
//! | `look` | the brokers and the topic, asked once before anything is published |
//! | `properties` | which librdkafka properties the user may set |
//! | `shown` | values of them as errors may show them |
//! | `transport` | those of them that decide who can listen, and who can pass for a broker |
//! | `secret` | a secret that may be replaced while the process runs |
//! | `connection_string` | the check of one before the broker denies it |
//! | `credentials` | when a new secret or token needs a new client |
//! | `token` | tokens of Entra ID, kept fresh by a thread of their own |
//! | `tracker` | which positions are sent, acknowledged, to be sent again |
//! | `classify` | errors of the broker, by what there is to do |
//! | `backoff` | how much to send, and when to try again |
//! | `cluster` | the brokers, as the client's statistics show them |
//! | `context` | the callbacks of a Kafka client |
//! | `source` | where events come from: an outbox that survives the process |
//! | `ledger_source` | the ledger as such an outbox |
//! | `producer` | a producer of events, and its delivery reports |
//! | `probe` | whether a new connection gets an answer while the old one says nothing |
//! | `worker` | the loop, and what a delivery report means |
//! | `send` | sending: first what failed, then what is new |

mod auth;
mod backoff;
mod brokers;
mod check;
mod classify;
mod client;
mod cluster;
mod config;
mod connection_string;
mod consumer;
mod context;
mod credentials;
mod error;
mod ledger_source;
mod login;
mod look;
mod probe;
mod producer;
mod properties;
mod publisher;
mod secret;
mod send;
mod shown;
mod source;
mod state;
mod token;
mod tracker;
mod transport;
mod worker;

pub use auth::Auth;
pub use classify::ErrorClass;
pub use cluster::Broker;
pub use config::KafkaConfig;
pub use context::Context;
pub use error::{KafkaConfigError, StartError};
pub use ledger_source::LedgerSource;
pub use look::{TopicSeen, library_version};
pub use publisher::Publisher;
pub use secret::Secret;
pub use source::EventSource;
pub use state::{PublishStats, Watch};
pub use token::TokenSource;
