//! The program itself: what it says of a configuration that cannot be, and that it tells no secret.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::endpoint::{CANARY, Endpoint, Mode};
use crate::support::eventually;
use crate::support::sidecar::signal;

fn tokenweir(arguments: &[&str], variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenweir"));
    // What the machine of the test has must not count.
    for name in ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST"] {
        command.env_remove(name);
    }
    command.env_remove("IDENTITY_ENDPOINT").env_remove("IDENTITY_HEADER");
    command.args(arguments).envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn an_environment_that_says_half_of_it_is_a_configuration_error() {
    let hub = "ns.servicebus.windows.net:9093";
    let entra = ["check", "--upstream", "http://127.0.0.1:1", "--kafka-auth", "entra", "--kafka-brokers"];
    for (brokers, variables, needles) in [
        (hub, vec![("AZURE_FEDERATED_TOKEN_FILE", "f")], vec!["AZURE_TENANT_ID", "AZURE_CLIENT_ID"]),
        (hub, vec![("IDENTITY_ENDPOINT", "http://127.0.0.1:1/")], vec!["IDENTITY_HEADER"]),
        (hub, vec![("IDENTITY_ENDPOINT", "http://example.org/"), ("IDENTITY_HEADER", CANARY)], vec!["https"]),
        ("kafka:9093", vec![], vec!["--kafka-entra-scope"]),
        (hub, vec![("TOKENWEIR_KAFKA_SASL_PASSWORD", CANARY)], vec!["--kafka-auth", "password"]),
    ] {
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let output = tokenweir(&[&entra[..], &[brokers]].concat(), &variables).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{variables:?}: {told}");
        assert!(needles.iter().all(|needle| told.contains(needle)), "{needles:?}: {told}");
        assert!(!told.contains(CANARY), "{told}");
    }
    let fine = tokenweir(&[&entra[..], &[hub]].concat(), &[]).output().unwrap();
    assert_eq!(fine.status.code(), Some(0), "{}", String::from_utf8_lossy(&fine.stderr));
}

/// All that the program and librdkafka say at their loudest, through failures and success.
#[test]
fn no_token_assertion_or_header_is_told() {
    std::thread::scope(|scope| {
        for of_workload in [true, false] {
            scope.spawn(move || {
                let (dir, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::new(Mode::Status(500)));
                let workload = of_workload.then(|| endpoint.workload(dir.path()));
                let variables = workload.unwrap_or_else(|| endpoint.identity());
                tells_no_secret(&endpoint, dir.path(), &variables);
            });
        }
    });
}

fn tells_no_secret(endpoint: &Endpoint, dir: &Path, variables: &[(&str, String)]) {
    let brokers = std::env::var("TOKENWEIR_TEST_OAUTH_BROKERS").unwrap_or("127.0.0.1:1".to_owned());
    let ledger = format!("--ledger={}", dir.join("ledger").display());
    let brokers = format!("--kafka-brokers={brokers}");
    let roots = std::env::var(super::ROOTS)
        .map_or("client.id=x".to_owned(), |roots| format!("ssl.ca.location={roots}"));
    let roots = format!("--kafka-property={roots}");
    let arguments = [
        "serve",
        "--upstream=http://127.0.0.1:1",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        &ledger,
        &brokers,
        "--kafka-auth=entra",
        "--log-level=trace",
        &roots,
        "--kafka-property=debug=security,broker,protocol,feature",
        "--kafka-entra-scope=api://x/.default",
    ];
    let child = tokenweir(&arguments, variables).spawn().unwrap();
    let before = endpoint.requests().len();
    eventually("a failure", || endpoint.requests().len() > before);
    endpoint.set(Mode::Body(b"no JSON".to_vec()));
    eventually("an answer that cannot be read", || endpoint.requests().len() > before + 2);
    endpoint.set(Mode::Token(Duration::from_secs(4)));
    let good = endpoint.requests().len();
    eventually("a token and its successor", || endpoint.requests().len() > good + 2);
    signal(child.id(), "TERM");
    let output = child.wait_with_output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("Entra ID") && told.contains("temporarily_unavailable"), "{told}");
    assert!(told.contains("OAUTHBEARER (builtin)"), "librdkafka was heard: {told}");
    // Claims begin so in every token: base64 of {" .
    for secret in [CANARY, "eyJhbGciOiJub25lIn0"] {
        assert!(!told.contains(secret), "{}", told.lines().find(|line| line.contains(secret)).unwrap());
    }
}
