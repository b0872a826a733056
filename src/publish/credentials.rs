//! How the publisher stays logged in: secrets that change, tokens that come late.
//!
//! A client of librdkafka keeps the secret that it began with, and asks for a token again only when
//! it sees fit. So a new secret or token gets a new client; the old one may end what is under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::KafkaConfig;
use super::token::TokenRefresher;

/// How often secrets are read again that came from files, and how often while logins are denied.
const READ_EVERY: Duration = Duration::from_secs(30);
const READ_EVERY_DENIED: Duration = Duration::from_secs(1);

/// Events in flight may end with the old secret for this long.
const CHANGE_MAX: Duration = Duration::from_secs(5);

/// The credentials of a publisher, and whether they have changed.
pub(super) struct Credentials {
    /// The tokens, if they are what proves who we are.
    pub(super) refresher: Option<Arc<TokenRefresher>>,
    /// When secrets were read last.
    read: Instant,
    /// Why they could not be read then.
    said: Option<String>,
    /// A secret has changed: until when to wait for what is under way with the old one.
    changing: Option<Instant>,
    /// The broker denies the login.
    denied: bool,
}

impl Credentials {
    pub(super) fn new(refresher: Option<Arc<TokenRefresher>>) -> Credentials {
        Credentials { refresher, read: Instant::now(), said: None, changing: None, denied: false }
    }

    /// Whether a new client could log in: it has a secret from the beginning, a token not always.
    pub(super) fn is_possible(&self) -> bool {
        self.refresher.as_ref().is_none_or(|refresher| refresher.tokens.number().is_some())
    }

    /// Whether nothing is to be handed over: the old secret's client is ending.
    pub(super) fn is_changing(&self) -> bool {
        self.changing.is_some()
    }

    /// Takes note of whether the broker denies the login. Returns whether it begins to.
    pub(super) fn note_denied(&mut self, denied: bool) -> bool {
        let begins = denied && !self.denied;
        self.denied = denied;
        begins
    }

    /// Reads secrets again that came from files, now and then.
    pub(super) fn reload(&mut self, config: &mut KafkaConfig) {
        let every = if self.denied { READ_EVERY_DENIED } else { READ_EVERY };
        if self.read.elapsed() >= every {
            self.read = Instant::now();
            self.read_secrets(config);
        }
    }

    /// A file that cannot be read, or makes no sense, is told of once; the old secret stays.
    fn read_secrets(&mut self, config: &mut KafkaConfig) {
        match config.reload() {
            Ok(changed) => {
                self.said = None;
                if changed {
                    tracing::info!("a secret of the broker has changed");
                    // Nothing is under way while the broker denies the login.
                    let wait = if self.denied { Duration::ZERO } else { CHANGE_MAX };
                    self.changing = Some(Instant::now() + wait);
                }
            }
            Err(why) if self.said.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!(why, "a secret cannot be read again; the old one is used");
                self.said = Some(why);
            }
        }
    }

    /// Whether the old secret's client has ended what was under way, or its time is over.
    pub(super) fn has_changed(&mut self, in_flight: usize) -> bool {
        self.changing.take_if(|until| in_flight == 0 || Instant::now() >= *until).is_some()
    }
}
