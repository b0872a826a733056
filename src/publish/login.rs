//! How the publisher stays logged in: secrets that change, tokens that come late.
//!
//! A client of librdkafka keeps the secret that it began with, and asks for a token again only when
//! it sees fit. So whatever is new gets a new client; the old one may end what is under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::classify::Class;
use super::token::Keeper;
use super::worker::Worker;

/// How often secrets are read again that came from files, and how often while logins are denied.
const READ_EVERY: Duration = Duration::from_secs(30);
const READ_EVERY_DENIED: Duration = Duration::from_secs(1);

/// What is under way may end with the old secret for this long.
const CHANGE_MAX: Duration = Duration::from_secs(5);

/// What the worker knows about its login.
pub(super) struct Login {
    /// The tokens, if they are what proves who we are.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// When secrets were read last.
    read: Instant,
    /// Why they could not be read then.
    said: Option<String>,
    /// A secret has changed: until when to wait for what is under way with the old one.
    changing: Option<Instant>,
    /// The broker denies the login.
    denied: bool,
}

impl Login {
    pub(super) fn new(keeper: Option<Arc<Keeper>>) -> Login {
        Login { keeper, read: Instant::now(), said: None, changing: None, denied: false }
    }

    /// Whether a new client could log in: it has a secret from the beginning, a token not always.
    pub(super) fn is_possible(&self) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.tokens.number().is_some())
    }

    /// Whether nothing is to be handed over: the old secret's client is ending.
    pub(super) fn is_changing(&self) -> bool {
        self.changing.is_some()
    }
}

impl Worker {
    /// Looks after the login: hears of denials, reads secrets again, replaces the client for a new
    /// secret or token.
    pub(super) fn keep_login(&mut self) {
        let denied = self.link.as_ref().is_some_and(|link| link.context.is_denied());
        if denied && !self.login.denied {
            self.tell(Class::Setting, "the broker denies the login");
        }
        self.login.denied = denied;
        self.shared.login_denied.store(denied, Ordering::Relaxed);
        if self.login.read.elapsed() >= if denied { READ_EVERY_DENIED } else { READ_EVERY } {
            self.login.read = Instant::now();
            self.read_secrets(denied);
        }
        let over = |until| self.tracker.in_flight() == 0 || Instant::now() >= until;
        if self.login.changing.is_some_and(over) {
            self.login.changing = None;
            self.end_link("a secret has changed");
        } else if self.link.as_ref().is_some_and(|link| link.context.misses_token()) {
            self.end_link("a token has come");
        }
    }

    /// A file that cannot be read, or makes no sense, is told of once; the old secret stays.
    fn read_secrets(&mut self, denied: bool) {
        match self.config.reload() {
            Ok(changed) => {
                self.login.said = None;
                if changed {
                    tracing::info!("a secret of the broker has changed");
                    // Nothing is under way where nobody is let in.
                    let wait = if denied { Duration::ZERO } else { CHANGE_MAX };
                    self.login.changing = Some(Instant::now() + wait);
                }
            }
            Err(why) if self.login.said.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!(why, "a secret cannot be read again; the old one is used");
                self.login.said = Some(why);
            }
        }
    }
}
