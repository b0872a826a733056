//! Tokens of Entra ID from a service of our own on loopback, and logins with them at a real broker.
//!
//! The broker is the second listener of `tests/kafka/run` (`TOKENWEIR_TEST_OAUTH_BROKERS`), which
//! takes unsigned tokens. Without it only the asking is tested.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokenweir::publish::{Auth, Config, Publisher, TokenSource};
use tokenweir::report::{Input, Key, ReportOptions, report};

use crate::rig::{Broker, Rig};
use crate::support::{eventually, long};

/// What the service says next, and to everything after it.
#[derive(Clone, Debug)]
enum Says {
    /// A token that holds so many seconds.
    Token(u64),
    /// A token that had ended when it came.
    Ended,
    /// A status and a body.
    Status(u16, String),
    /// A body without end.
    Huge,
    /// Nothing, for as long as it says this.
    Nothing,
}

/// A service that gives tokens, and what it was asked.
struct Authority {
    url: String,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Authority {
    fn new(says: Says) -> Authority {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::<Mutex<Vec<_>>>::default());
        let (saying, asking) = (Arc::clone(&says), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (says, asked) = (Arc::clone(&saying), Arc::clone(&asking));
                std::thread::spawn(move || answer(stream, &says, &asked));
            }
        });
        Authority { url, says, asked }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> Vec<(Instant, String)> {
        self.asked.lock().unwrap().clone()
    }

    /// As Kubernetes describes it, with the token of Kubernetes in a file.
    fn workload(&self, file: &std::path::Path) -> TokenSource {
        let file = file.display().to_string();
        TokenSource::from_env(|name| match name {
            "AZURE_FEDERATED_TOKEN_FILE" => Some(file.clone()),
            "AZURE_TENANT_ID" => Some("the-tenant".to_owned()),
            "AZURE_CLIENT_ID" => Some("the-client".to_owned()),
            "AZURE_AUTHORITY_HOST" => Some(self.url.clone()),
            _ => None,
        })
        .unwrap()
    }

    /// As App Service describes it.
    fn app_service(&self) -> TokenSource {
        TokenSource::from_env(|name| match name {
            "IDENTITY_ENDPOINT" => Some(format!("{}/msi/token", self.url)),
            "IDENTITY_HEADER" => Some("the-header".to_owned()),
            _ => None,
        })
        .unwrap()
    }
}

/// Reads one request whole and answers it.
fn answer(stream: TcpStream, says: &Mutex<Says>, asked: &Mutex<Vec<(Instant, String)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        request.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.push_str(std::str::from_utf8(&body).unwrap());
    asked.lock().unwrap().push((Instant::now(), request));
    let write = |status: u16, body: &str| {
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
    };
    let said = says.lock().unwrap().clone();
    match said {
        Says::Token(life) => {
            let token = jwt(life);
            write(200, &format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"{token}"}}"#));
        }
        Says::Ended => write(200, r#"{"expires_on":"1000","access_token":"old"}"#),
        Says::Status(status, body) => write(status, &body),
        Says::Huge => {
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            while (&stream).write_all(&[b' '; 65_536]).is_ok() {}
        }
        Says::Nothing => {
            while matches!(*says.lock().unwrap(), Says::Nothing) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// An unsigned token as Kafka's own test validator takes it.
fn jwt(life_s: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"tokenweir","iat":{},"exp":{}}}"#, now - 1, now + life_s);
    format!("{}.{}.", part(r#"{"alg":"none"}"#.to_owned()), part(claims))
}

/// A publisher that can only ask: nobody listens where it would log in.
fn asking(source: TokenSource) -> (Rig, Publisher) {
    let (rig, broker) = (Rig::new(), Broker::mock());
    let brokers = "ns.servicebus.windows.net.localhost:1".to_owned();
    let config = Config { brokers, auth: Auth::Entra(source), ..broker.config() };
    let publisher = Publisher::start(config, rig.ledger.clone()).unwrap();
    (rig, publisher)
}

#[test]
fn workload_identity_is_asked_for_as_entra_wants_it_and_the_file_read_each_time() {
    let authority = Authority::new(Says::Token(2));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "kubernetes-one\n").unwrap();
    let (_rig, publisher) = asking(authority.workload(&file));
    eventually("asked", || !authority.asked().is_empty());
    std::fs::write(&file, "kubernetes-two\n").unwrap();
    eventually("renewed", || authority.asked().len() >= 3);
    let asked = authority.asked();
    let first = &asked[0].1;
    for part in [
        "POST /the-tenant/oauth2/v2.0/token HTTP/1.1",
        "client_id=the-client",
        "scope=https%3A%2F%2Fns.servicebus.windows.net.localhost%2F.default",
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        "client_assertion=kubernetes-one",
        "grant_type=client_credentials",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(asked.last().unwrap().1.contains("client_assertion=kubernetes-two"));
    // Each token holds 2 s: renewed after half its life at the earliest.
    let gaps = asked.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.min().unwrap() >= Duration::from_millis(900), "{asked:?}");
    assert_eq!(publisher.stats().token_failures, 0);
}

#[test]
fn app_service_is_asked_as_it_wants_it() {
    let authority = Authority::new(Says::Token(3_600));
    let (_rig, _publisher) = asking(authority.app_service());
    eventually("asked", || !authority.asked().is_empty());
    let request = authority.asked().remove(0).1;
    let line = request.lines().next().unwrap().to_owned();
    assert!(line.starts_with("GET /msi/token?") && line.contains("api-version=2019-08-01"), "{line}");
    assert!(line.contains("resource=https%3A%2F%2Fns.servicebus.windows.net.localhost"), "{line}");
    assert!(request.to_ascii_lowercase().contains("x-identity-header: the-header"), "{request}");
}

/// Every answer that brings no token: patience, and the next one is asked for soon.
#[test]
fn a_service_in_trouble_is_asked_with_patience_and_without_end() {
    let answers = [
        Says::Status(500, "oops".to_owned()),
        Says::Status(400, r#"{"error":"invalid_client","error_description":"AADSTS700213: x"}"#.to_owned()),
        Says::Status(200, "{".to_owned()),
        Says::Status(200, "{}".to_owned()),
        Says::Status(302, String::new()),
        Says::Ended,
        Says::Huge,
    ];
    std::thread::scope(|scope| {
        for says in answers {
            scope.spawn(move || {
                let authority = Authority::new(says.clone());
                let (_rig, publisher) = asking(authority.app_service());
                eventually("failed", || publisher.stats().token_failures >= 4);
                let asked = authority.asked();
                let took = asked[3].0 - asked[0].0;
                // 125 + 250 + 500 ms at the least.
                assert!(took >= Duration::from_millis(800), "{says:?}: four times in {took:?}");
                authority.say(Says::Token(3_600));
                let (back, before) = (Instant::now(), publisher.stats().token_failures);
                eventually("asked again", || authority.asked().last().unwrap().0 > back);
                assert!(back.elapsed() < Duration::from_secs(10));
                let asked = authority.asked().len();
                std::thread::sleep(Duration::from_millis(500));
                assert_eq!(authority.asked().len(), asked, "{says:?}: one token is enough");
                assert!(publisher.stats().token_failures <= before + 1);
            });
        }
    });
}

/// A stop does not wait for a service that says nothing.
#[test]
fn a_stop_does_not_wait_for_a_token() {
    let authority = Authority::new(Says::Nothing);
    let (rig, publisher) = asking(authority.app_service());
    rig.calls(5);
    eventually("asked", || !authority.asked().is_empty());
    let began = Instant::now();
    rig.ledger.finish().unwrap();
    assert_eq!(publisher.stop(Duration::from_millis(300)), 6);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    authority.say(Says::Token(1));
}

/// The broker that takes tokens, with a topic made on its plain listener.
fn oauth_broker(source: TokenSource) -> Option<(Broker, Config)> {
    let Ok(brokers) = std::env::var("TOKENWEIR_TEST_OAUTH_BROKERS") else {
        println!(
            "SKIPPED: no broker that takes tokens (TOKENWEIR_TEST_OAUTH_BROKERS, set by tests/kafka/run)"
        );
        return None;
    };
    let broker = Broker::any();
    let mut config = Config { brokers, auth: Auth::Entra(source), ..broker.config() };
    config.properties.push(("security.protocol".to_owned(), "SASL_PLAINTEXT".to_owned()));
    Some((broker, config))
}

/// Real logins with tokens that are renewed, and the service in all its troubles: slow, failing,
/// with tokens that have ended. What is published meanwhile is reported; publishing goes on within
/// ten seconds of its recovery.
#[test]
fn events_are_published_with_tokens_through_troubles_of_their_service() {
    let authority = Authority::new(Says::Token(6));
    let Some((broker, config)) = oauth_broker(authority.app_service()) else { return };
    let rig = Rig::new();
    let publisher = Publisher::start(config.clone(), rig.ledger.clone()).unwrap();
    rig.calls(100);
    rig.arrives(&broker);
    let by = vec![Key::Caller];
    let read = report(&ReportOptions { input: Input::Topic(config), by, from: None, to: None, prices: None })
        .unwrap();
    assert_eq!(read.total.calls, 100, "a reader logs in the same way");
    let troubles = [
        (Says::Nothing, if long() { 30 } else { 9 }),
        (Says::Status(500, String::new()), 9),
        (Says::Ended, 9),
    ];
    for (says, seconds) in troubles {
        authority.say(says.clone());
        let began = Instant::now();
        let mut answered = Duration::ZERO;
        // While the token at hand holds, deliveries are reported as ever.
        while began.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            rig.calls(5);
            eventually("delivered", || rig.ledger.stats().undelivered == 0);
            answered = answered.max(asked.elapsed());
        }
        assert!(answered < Duration::from_secs(2), "{says:?}: reports came after {answered:?}");
        std::thread::sleep(Duration::from_secs(seconds - 2));
        rig.calls(100);
        authority.say(Says::Token(6));
        let back = Instant::now();
        eventually("delivered", || rig.ledger.stats().undelivered == 0);
        println!("{says:?} for {seconds} s: delivered {:?} after its end", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(10), "{says:?}: {:?}", back.elapsed());
    }
    println!("{:?}", publisher.stats());
    assert!(publisher.stats().token_failures > 0);
    rig.arrives(&broker);
    rig.end(publisher);
}
