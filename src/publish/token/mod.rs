//! Tokens of Entra ID, kept fresh by a thread of their own (`tw-token`).
//!
//! librdkafka asks for a token on the thread that also reports deliveries, so that answer must come
//! at once: it is the token at hand, or an error. The thread gets the next one at about two thirds of
//! a token's life. How long a token holds is measured by the monotonic clock, so that a jump of the
//! wall clock ends none early and keeps none too long. A token is never logged.
//!
//! `source` tells where tokens come from.

mod source;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;

use super::pace::jittered;

pub use source::TokenSource;

/// The pauses after a failure: from the first, doubling, to the longest. Somebody waits.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// While the token at hand holds for longer than this, nobody waits, ..
const AMPLE: Duration = Duration::from_secs(120);

/// .. and this is often enough.
const PAUSE_AMPLE: Duration = Duration::from_secs(15);

/// Of a token's life, what passes at least before the next one is fetched. Jitter adds up to as
/// much again: 50 to 75 %.
const RENEW_AFTER: f64 = 0.75;

/// The longest sleep: a life that is absurdly long does not overflow a clock.
const SLEEP_MAX: Duration = Duration::from_secs(86_400);

/// How often the same failure is worth a line in the log.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The token at hand, for the threads of librdkafka.
#[derive(Default)]
pub(super) struct Tokens {
    held: Mutex<Held>,
    changed: Condvar,
    failures: AtomicU64,
}

#[derive(Default)]
struct Held {
    token: Option<(String, Instant)>,
    /// Why there is none.
    problem: String,
    end: bool,
}

/// The thread that keeps a token at hand. It ends, without being waited for, with this handle.
pub(super) struct Keeper {
    pub(super) tokens: Arc<Tokens>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper(..)")
    }
}

impl Keeper {
    /// Starts to fetch tokens for a resource. Does not wait for the first one.
    pub(super) fn start(source: TokenSource, resource: String) -> std::io::Result<Keeper> {
        let tokens = Arc::new(Tokens::default());
        let kept = Arc::clone(&tokens);
        std::thread::Builder::new()
            .name("tw-token".to_owned())
            .spawn(move || kept.keep(|| source.fetch(&resource)))?;
        Ok(Keeper { tokens })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tokens.lock().end = true;
        self.tokens.changed.notify_all();
    }
}

impl Tokens {
    /// The token at hand as librdkafka wants it, with its end by the wall clock of now. Never waits.
    pub(super) fn get(&self) -> Result<OAuthToken, String> {
        let held = self.lock();
        let (token, left) = match &held.token {
            Some((token, until)) => (token, until.saturating_duration_since(Instant::now())),
            None => return Err(format!("no token of Entra ID yet: {}", held.problem)),
        };
        if left.is_zero() {
            return Err(format!("the token of Entra ID has ended: {}", held.problem));
        }
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(left);
        Ok(OAuthToken {
            token: token.clone(),
            // The broker reads the principal from the token.
            principal_name: "tokenweir".to_owned(),
            lifetime_ms: i64::try_from(end.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// Whether a token is at hand.
    pub(super) fn some(&self) -> bool {
        self.lock().token.as_ref().is_some_and(|(_, until)| *until > Instant::now())
    }

    /// Waits for a token, at most for a while. The error says why there is none.
    pub(super) fn wait(&self, time: Duration) -> Result<(), String> {
        let held = self.lock();
        drop(self.changed.wait_timeout_while(held, time, |held| held.token.is_none() && !held.end));
        self.get().map(drop)
    }

    /// Requests that brought no token.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: fetches until somebody wants an end.
    fn keep(&self, fetch: impl Fn() -> Result<source::Fetched, String>) {
        let (mut pause, mut said) = (PAUSE_MIN, None::<Instant>);
        loop {
            let began = Instant::now();
            let fetched = fetch();
            let mut held = self.lock();
            let sleep = match fetched {
                Ok(source::Fetched { token, life }) => {
                    if said.take().is_some() {
                        tracing::info!("a token of Entra ID has come");
                    }
                    pause = PAUSE_MIN;
                    held.token = began.checked_add(life.min(365 * SLEEP_MAX)).map(|until| (token, until));
                    held.problem.clear();
                    // Jitter takes up to half.
                    jittered(life.mul_f64(RENEW_AFTER).min(SLEEP_MAX)).max(life / 2).max(PAUSE_MIN)
                }
                Err(problem) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                        said = Some(Instant::now());
                        tracing::error!(why = problem, "no token of Entra ID; events are kept");
                    }
                    held.problem = problem;
                    let left = held.token.as_ref().map(|(_, until)| until.saturating_duration_since(began));
                    if left.is_some_and(|left| left > AMPLE) {
                        jittered(PAUSE_AMPLE)
                    } else {
                        let now = jittered(pause);
                        pause = PAUSE_MAX.min(pause * 2);
                        now
                    }
                }
            };
            self.changed.notify_all();
            let sleep = sleep.min(SLEEP_MAX);
            let woken = self.changed.wait_timeout_while(held, sleep, |held| !held.end);
            if woken.unwrap_or_else(PoisonError::into_inner).0.end {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use source::Fetched;

    /// Runs the keeper on answers, the last one again and again; each is used up in its time.
    fn keeper(answers: Vec<Result<Fetched, String>>) -> (Keeper, Arc<AtomicU64>) {
        let (tokens, asked) = (Arc::new(Tokens::default()), Arc::new(AtomicU64::new(0)));
        let (kept, counted) = (Arc::clone(&tokens), Arc::clone(&asked));
        std::thread::spawn(move || {
            kept.keep(|| {
                let n = counted.fetch_add(1, Ordering::Relaxed) as usize;
                answers[n.min(answers.len() - 1)].clone()
            });
        });
        (Keeper { tokens }, asked)
    }

    fn token(name: &str, life: Duration) -> Result<Fetched, String> {
        Ok(Fetched { token: name.to_owned(), life })
    }

    #[test]
    fn a_token_is_at_hand_until_its_end_and_its_end_is_told_by_the_wall_clock() {
        let life = Duration::from_millis(1_500);
        let (keeper, _) = keeper(vec![token("one", life), Err("down".to_owned())]);
        keeper.tokens.wait(Duration::from_secs(10)).unwrap();
        let got = keeper.tokens.get().unwrap();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        assert_eq!(got.token, "one");
        assert!((0..=life.as_millis() as i64).contains(&(got.lifetime_ms - now_ms)));
        let began = Instant::now();
        while keeper.tokens.some() {
            assert!(began.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = keeper.tokens.get().err().unwrap();
        assert!(error.contains("ended") && error.contains("down"), "{error}");
        assert!(keeper.tokens.failures() > 0);
    }

    #[test]
    fn failures_are_met_with_pauses_and_then_there_is_a_token() {
        let down = || Err("status 500".to_owned());
        let (keeper, asked) =
            keeper(vec![down(), down(), down(), token("at last", Duration::from_secs(3_600))]);
        let error = keeper.tokens.get().err().unwrap();
        assert!(error.contains("no token"), "{error}");
        let began = Instant::now();
        keeper.tokens.wait(Duration::from_secs(30)).unwrap();
        assert!(began.elapsed() >= PAUSE_MIN / 2 * 7, "pauses of {:?}", began.elapsed());
        assert_eq!((keeper.tokens.failures(), asked.load(Ordering::Relaxed)), (3, 4));
        assert_eq!(keeper.tokens.get().unwrap().token, "at last");
        assert_eq!(format!("{:?}", keeper.tokens), "Tokens(..)");
    }
}
