//! Tokens of Entra ID, kept fresh by a thread of their own (`tw-token`).
//!
//! librdkafka asks for a token on the thread that also reports deliveries, so that answer must come
//! at once: it is the token at hand, or an error. The thread gets the next one when 50 to 80 % of a
//! token's life are over, or when the broker denies it. How long a token holds is measured by the
//! monotonic clock, so that a jump of the wall clock ends none early and keeps none too long. A token
//! is never logged.
//!
//! `source` tells where tokens come from.

mod source;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;

use super::backoff::jittered;

pub use source::TokenSource;

/// The pauses after a failure: from the first, doubling, to the longest. Events wait meanwhile.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// While the token at hand holds for longer than this, nothing waits, ..
const AMPLE: Duration = Duration::from_secs(120);

/// .. and pauses may grow to this.
const PAUSE_AMPLE: Duration = Duration::from_secs(30);

/// Of a token's life, what passes before the next one is fetched: at random between these, so that
/// many sidecars do not come as one.
const RENEW_AFTER: (f64, f64) = (0.5, 0.8);

/// A token that the broker denies is replaced at this age: not at once, because the next one will be
/// denied too if it is the role that is missing.
const DENIED_AGE: Duration = Duration::from_secs(4);

/// Entra ID gives a day at most. A life that is absurdly long overflows no clock.
const LIFE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How often the same failure is worth a line in the log.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The token at hand, for the threads of librdkafka.
#[derive(Default)]
pub(super) struct TokenCache {
    held: Mutex<HeldToken>,
    changed: Condvar,
    failures: AtomicU64,
}

#[derive(Default)]
struct HeldToken {
    token: Option<AccessToken>,
    /// Why there is none.
    problem: String,
    /// The next one is wanted at once.
    hurry: bool,
    end: bool,
}

struct AccessToken {
    text: String,
    /// From 1; no two tokens of a process share one.
    number: u64,
    came: Instant,
    until: Instant,
}

impl AccessToken {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// The thread that keeps a token at hand. It ends, without being waited for, with this handle.
pub(super) struct TokenRefresher {
    pub(super) tokens: Arc<TokenCache>,
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache(..)")
    }
}

impl fmt::Debug for TokenRefresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenRefresher(..)")
    }
}

impl TokenRefresher {
    /// Starts to fetch tokens for a scope. Does not wait for the first one.
    pub(super) fn start(source: TokenSource, scope: String) -> std::io::Result<TokenRefresher> {
        let tokens = Arc::new(TokenCache::default());
        let kept = Arc::clone(&tokens);
        std::thread::Builder::new()
            .name("tw-token".to_owned())
            .spawn(move || kept.keep(|| source.fetch(&scope)))?;
        Ok(TokenRefresher { tokens })
    }
}

impl Drop for TokenRefresher {
    fn drop(&mut self) {
        self.tokens.lock().end = true;
        self.tokens.changed.notify_all();
    }
}

impl TokenCache {
    /// The number of the token at hand, and the token as librdkafka wants it. Never waits.
    pub(super) fn get(&self) -> Result<(u64, OAuthToken), String> {
        self.get_at(SystemTime::now())
    }

    /// The token's end is told by the wall clock as it is now, wherever it has jumped to.
    fn get_at(&self, now: SystemTime) -> Result<(u64, OAuthToken), String> {
        let held = self.lock();
        let Some(token) = &held.token else {
            return Err(format!("no token of Entra ID yet: {}", held.problem));
        };
        let left = token.left();
        if left.is_zero() {
            return Err(format!("the token of Entra ID has ended: {}", held.problem));
        }
        let end = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(left);
        let given = OAuthToken {
            token: token.text.clone(),
            // The broker reads the principal from the token.
            principal_name: "tokenweir".to_owned(),
            lifetime_ms: i64::try_from(end.as_millis()).unwrap_or(i64::MAX),
        };
        Ok((token.number, given))
    }

    /// The number of the token at hand, if there is one.
    pub(super) fn number(&self) -> Option<u64> {
        self.lock().token.as_ref().filter(|token| !token.left().is_zero()).map(|token| token.number)
    }

    /// The broker denies the token of this number: another one is fetched, if this is still it.
    pub(super) fn denied(&self, number: u64) {
        let mut held = self.lock();
        let old = |token: &AccessToken| token.number == number && token.came.elapsed() >= DENIED_AGE;
        if held.token.as_ref().is_some_and(old) {
            held.hurry = true;
            self.changed.notify_all();
        }
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HeldToken> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: fetches tokens until the handle is dropped.
    fn keep(&self, fetch: impl Fn() -> Result<source::Fetched, String>) {
        let (mut pause, mut said) = (PAUSE_MIN, None::<Instant>);
        loop {
            let began = Instant::now();
            let fetched = fetch();
            let mut held = self.lock();
            let sleep = match fetched {
                Ok(fetched) => {
                    if said.take().is_some() {
                        tracing::info!("a token of Entra ID has come");
                    }
                    pause = PAUSE_MIN;
                    held.take(fetched, began)
                }
                Err(problem) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                        said = Some(Instant::now());
                        held.say(&problem);
                    }
                    held.problem = problem;
                    let ample = held.token.as_ref().is_some_and(|token| token.left() > AMPLE);
                    let longest = if ample { PAUSE_AMPLE } else { PAUSE_MAX };
                    let now = jittered(pause.min(longest));
                    pause = longest.min(pause * 2);
                    now
                }
            };
            held.hurry = false;
            self.changed.notify_all();
            let waits = |held: &mut HeldToken| !held.end && !held.hurry;
            let woken = self.changed.wait_timeout_while(held, sleep, waits);
            if woken.unwrap_or_else(PoisonError::into_inner).0.end {
                return;
            }
        }
    }
}

impl HeldToken {
    /// Takes a token that was asked for at `began`. Returns how long to keep it.
    fn take(&mut self, fetched: source::Fetched, began: Instant) -> Duration {
        let life = fetched.life.min(LIFE_MAX);
        let number = self.token.as_ref().map_or(0, |token| token.number) + 1;
        self.token =
            Some(AccessToken { text: fetched.token, number, came: Instant::now(), until: began + life });
        self.problem.clear();
        life.mul_f64(RENEW_AFTER.0 + (RENEW_AFTER.1 - RENEW_AFTER.0) * random()).max(PAUSE_MIN)
    }

    fn say(&self, problem: &str) {
        match self.token.as_ref().map(AccessToken::left).filter(|left| !left.is_zero()) {
            Some(left) => tracing::warn!(
                why = problem,
                left_s = left.as_secs(),
                "the token of Entra ID could not be renewed; it still holds"
            ),
            None => tracing::error!(why = problem, "no token of Entra ID; events are kept"),
        }
    }
}

/// At random from 0 up to 1.
fn random() -> f64 {
    // The keys of the standard library's hasher are random.
    (RandomState::new().hash_one(0) % 1_000) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::super::context::Context;
    use super::*;
    use rdkafka::client::ClientContext;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
    use source::Fetched;

    /// Runs the refresher on answers, the last one again and again; each is used up in its time.
    fn refresher(answers: Vec<Result<Fetched, String>>) -> (TokenRefresher, Arc<AtomicU64>) {
        let (tokens, asked) = (Arc::new(TokenCache::default()), Arc::new(AtomicU64::new(0)));
        let (kept, counted) = (Arc::clone(&tokens), Arc::clone(&asked));
        std::thread::spawn(move || {
            kept.keep(|| {
                let n = counted.fetch_add(1, Ordering::Relaxed) as usize;
                answers[n.min(answers.len() - 1)].clone()
            });
        });
        (TokenRefresher { tokens }, asked)
    }

    fn token(name: &str, life: Duration) -> Result<Fetched, String> {
        Ok(Fetched { token: name.to_owned(), life })
    }

    #[test]
    fn a_token_is_at_hand_until_its_end_and_its_end_is_told_by_the_wall_clock() {
        let life = Duration::from_millis(1_500);
        let (refresher, _) = refresher(vec![token("one", life), Err("down".to_owned())]);
        refresher.tokens.wait(Duration::from_secs(10)).unwrap();
        let (number, got) = refresher.tokens.get().unwrap();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        assert_eq!((number, got.token.as_str()), (1, "one"));
        assert!((0..=life.as_millis() as i64).contains(&(got.lifetime_ms - now_ms)));
        let began = Instant::now();
        while refresher.tokens.number().is_some() {
            assert!(began.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = refresher.tokens.get().err().unwrap();
        assert!(error.contains("ended") && error.contains("down"), "{error}");
        assert!(refresher.tokens.failures() > 0);
    }

    #[test]
    fn failures_are_met_with_pauses_and_then_there_is_a_token() {
        let down = || Err("status 500".to_owned());
        let (refresher, asked) =
            refresher(vec![down(), down(), down(), token("at last", Duration::from_secs(3_600))]);
        let error = refresher.tokens.get().err().unwrap();
        assert!(error.contains("no token"), "{error}");
        let began = Instant::now();
        refresher.tokens.wait(Duration::from_secs(30)).unwrap();
        assert!(began.elapsed() >= PAUSE_MIN / 2 * 7, "pauses of {:?}", began.elapsed());
        assert_eq!((refresher.tokens.failures(), asked.load(Ordering::Relaxed)), (3, 4));
        assert_eq!(refresher.tokens.get().unwrap().1.token, "at last");
        assert_eq!(format!("{:?}", refresher.tokens), "TokenCache(..)");
    }

    #[test]
    fn a_clock_that_jumps_ends_no_token_early_and_keeps_none_too_long() {
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let (refresher, _) = refresher(vec![token("one", hour)]);
        refresher.tokens.wait(Duration::from_secs(10)).unwrap();
        let now = SystemTime::now();
        for jumped in [now, now + day, now - day] {
            let told_ms = refresher.tokens.get_at(jumped).unwrap().1.lifetime_ms;
            let now_ms = i64::try_from(jumped.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
            assert!((3_500_000..=3_600_000).contains(&(told_ms - now_ms)), "{} ms", told_ms - now_ms);
        }
    }

    #[test]
    fn a_token_is_renewed_at_random_between_half_and_four_fifths_of_its_life() {
        let life = Duration::from_secs(1_000);
        let fetched = || Fetched { token: "t".to_owned(), life };
        let mut held = HeldToken::default();
        let kept: Vec<u64> = (0..200).map(|_| held.take(fetched(), Instant::now()).as_secs()).collect();
        let (least, most) = (kept.iter().min().unwrap(), kept.iter().max().unwrap());
        assert!((500..600).contains(least) && (700..=800).contains(most), "{least} to {most} of 1,000");
        assert_eq!(held.token.unwrap().number, 200);
    }

    #[test]
    fn a_token_that_is_denied_is_replaced_when_it_is_some_seconds_old() {
        let hour = Duration::from_secs(3_600);
        let (refresher, asked) =
            refresher(vec![token("one", hour), token("two", hour), token("three", hour)]);
        refresher.tokens.wait(Duration::from_secs(10)).unwrap();
        let began = Instant::now();
        while refresher.tokens.number() == Some(1) {
            assert!(began.elapsed() < Duration::from_secs(60));
            refresher.tokens.denied(1);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(began.elapsed() >= DENIED_AGE - Duration::from_secs(1), "{:?}", began.elapsed());
        refresher.tokens.denied(1);
        assert_eq!((refresher.tokens.number(), asked.load(Ordering::Relaxed)), (Some(2), 2));
    }

    #[test]
    fn a_client_misses_a_token_that_came_too_late_for_it_or_after_a_denied_one() {
        let down = || Err("down".to_owned());
        let short = Duration::from_secs(2);
        let (refresher, _) =
            refresher(vec![down(), token("one", short), token("two", Duration::from_secs(60))]);
        let tokens = Arc::clone(&refresher.tokens);
        let number = |number| {
            let began = Instant::now();
            while tokens.number() != Some(number) {
                assert!(began.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let context = Context::new(Some(Arc::new(refresher)));
        let login_fails = || context.error(KafkaError::Global(Code::Authentication), "");
        assert!(context.generate_oauth_token(None).is_err() && !context.misses_token());
        login_fails();
        assert!(!context.is_denied(), "it is not the broker that says no");
        number(1);
        assert!(context.misses_token() && !context.has_token());
        assert_eq!(context.generate_oauth_token(None).unwrap().token, "one");
        assert!(!context.misses_token() && context.has_token());
        number(2);
        assert!(!context.misses_token(), "it will ask for it in its own time");
        login_fails();
        assert!(context.is_denied() && context.misses_token());
        context.admitted();
        assert!(!context.is_denied() && !context.misses_token());
    }
}
