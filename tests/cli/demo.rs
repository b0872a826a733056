//! `tokenweir demo` as a user starts it: it tells its story, proves its own point, and leaves what its last lines name.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::skip;
use crate::support::turn;
use crate::support::wait::eventually;

/// Far more than the ledgers of ten seconds take, and less than the room that they kept in reserve.
const KEPT_BYTES_MAX: u64 = 12 << 20;

/// A key that found nothing to act on is pressed again after so long.
const AGAIN: Duration = Duration::from_millis(500);

/// The four numbers of `sent N = stored N = delivered N = counted N`.
fn numbers(proof: &str) -> Vec<u64> {
    let parts = proof.split(" = ").zip(["sent ", "stored ", "delivered ", "counted "]);
    parts.map(|(part, name)| part.strip_prefix(name).and_then(|n| n.parse().ok()).expect(proof)).collect()
}

/// The one number of the last line.
fn proven(said: &str) -> u64 {
    let numbers = numbers(said.lines().last().expect("a last line"));
    assert_eq!(numbers.len(), 4, "{said}");
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{said}");
    numbers[0]
}

#[test]
fn a_page_shows_what_goes_on_meanwhile() {
    let _turn = turn::alone();
    let scratch = tempfile::tempdir().expect("directory");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args(["demo", "--page"])
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("demo");
    let mut lines = BufReader::new(demo.stdout.take().expect("its output")).lines();
    let told =
        lines.find_map(|line| line.expect("text").split_once("http://").map(|(_, rest)| rest.to_owned()));
    let told = told.expect("the address of the page");
    let addr = told.trim_end_matches('/');
    let mut wire = TcpStream::connect(addr).expect(addr);
    write!(wire, "GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").expect("a request");
    let mut page = String::new();
    wire.read_to_string(&mut page).expect("a page");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("</html>"), "{page}");
    // As Ctrl-C does it: the demo takes its sidecars along.
    let interrupt = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().expect("kill");
    assert!(interrupt.success());
    demo.wait().expect("it ends");
}

#[test]
fn every_call_is_stored_delivered_and_counted_once() {
    // It keeps the machine busy, and `start` measures a time.
    let _turn = turn::alone();
    let scratch = tempfile::tempdir().expect("directory");
    let output = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args(["demo", "--seconds", "10"])
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .output()
        .expect("demo");
    let said = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);

    assert!(proven(&said) >= 90, "each lane of each caller calls more than once: {said}");
    assert!(!said.contains('\x1b'), "no terminal, no escapes: {said}");
    for told in ["broker is away", "broker is back", "kill -9 of sidecar 2", "back on its ledger"] {
        assert!(said.contains(told), "it did not happen: {told}\n{said}");
    }
    let callers = [
        "claims-desk",
        "code-review",
        "hr-helpdesk",
        "legal-drafts",
        "field-service",
        "night-batch",
        "phone-line",
        "research-lab",
        "tender-review",
    ];
    for caller in callers.into_iter().chain(["web-shop", "unattributed"]) {
        assert!(
            said.lines().any(|line| line.starts_with(&format!("{caller} "))),
            "{caller} is missing\n{said}"
        );
        let introduced = |line: &str| line.starts_with(&format!("  {caller} "));
        assert!(caller == "unattributed" || said.lines().any(introduced), "{caller} is not introduced");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("  ok ")).count(), 7, "{said}");
    bill_is_complete(&said);
    kept_is_small_and_private(scratch.path());
    commands_work(&said, scratch.path());
}

/// Departments, both currencies, and what is not known.
fn bill_is_complete(said: &str) {
    let bill = said.split("The bill").nth(1).expect("a bill").split("Look around").next().expect("a bill");
    assert!(!bill.contains("incomplete"), "every model has a price\n{bill}");
    for told in ["Claims", "Engineering", "(unattributed)", "USD", "EUR", "not known"] {
        assert!(bill.contains(told), "{told} is missing\n{bill}");
    }
}

/// One folder, for its owner alone, without the room that ledgers keep in reserve.
fn kept_is_small_and_private(scratch: &Path) {
    let kept: Vec<_> = fs::read_dir(scratch).expect("directory").map(|entry| entry.expect("entry")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].metadata().expect("metadata").permissions().mode() & 0o777, 0o700);
    let ledgers = ["ledger-1", "ledger-2"].map(|name| kept[0].path().join(name));
    let files = ledgers.iter().flat_map(|ledger| fs::read_dir(ledger).expect("a ledger"));
    let bytes: u64 = files.map(|file| file.expect("a file").metadata().expect("metadata").len()).sum();
    assert!(bytes < KEPT_BYTES_MAX, "{bytes} bytes are kept");
}

/// The lines to look around, as a shell takes them.
fn commands_work(said: &str, scratch: &Path) {
    let commands = said.split("Look around").nth(1).expect("commands").lines().skip(1);
    let commands: Vec<&str> = commands.take_while(|line| line.starts_with("  ")).collect();
    assert_eq!(commands.len(), 3, "{said}");
    let printed = ["dev.tokenweir.usage.v1", "complete: ", "(unattributed)"];
    for (command, printed) in commands.iter().zip(printed) {
        let output = Command::new("sh").args(["-c", command]).env("TMPDIR", scratch).output().expect("sh");
        let text = String::from_utf8(output.stdout).expect("text");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains(printed),
            "{command}: {}\n{text}{errors}",
            output.status
        );
    }
}

/// Keys act for real: at a pseudo-terminal, with `script` of util-linux.
#[test]
fn what_keys_do_stands_in_the_proof() {
    let _turn = turn::alone();
    let scratch = tempfile::tempdir().expect("directory");
    let demo = format!(
        "stty rows 24 cols 80; stty -a >before; TERM=xterm NO_COLOR=1 '{}' demo --seconds 600; code=$?; \
         stty -a >after; exit $code",
        env!("CARGO_BIN_EXE_tokenweir")
    );
    let script = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &demo, "/dev/null"])
        .current_dir(scratch.path())
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut script) = script else { return skip::test("`script` of util-linux") };
    let mut keys = script.stdin.take().expect("a pipe");
    let said = Arc::new(Mutex::new(Vec::new()));
    let (mut stdout, writes) = (script.stdout.take().expect("a pipe"), said.clone());
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(1..) = stdout.read(&mut bytes).inspect(|read| {
            writes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..*read]);
        }) {}
    });
    let text = || String::from_utf8_lossy(&said.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    // Long before the script of such a long demo takes anything away.
    for (key, told) in [
        ("", "open 2"),
        ("h", "your key hung up the call"),
        ("f", "your key forged the call forged-by-key-1"),
        ("b", "your key broke the broker"),
        ("k", "your key: kill -9 of sidecar 2"),
        ("r", "your key started sidecar 2 again"),
        ("b", "your key mended the broker"),
        ("q", "counted"),
    ] {
        keys.write_all(key.as_bytes()).expect("a key");
        let mut next = Instant::now() + AGAIN;
        eventually(&format!("{told}, of the key {key:?}"), || {
            // There may be no stream just then.
            if key == "h" && Instant::now() >= next {
                keys.write_all(b"h").expect("a key");
                next += AGAIN;
            }
            text().contains(told)
        });
    }
    drop(keys);
    let status = script.wait().expect("script");
    reader.join().expect("reader");
    let text = text();
    let end = text.split("What happened").nth(1).unwrap_or_default();
    let end = ["\r", "\x1b[K", "\x1b[J"].iter().fold(end.to_owned(), |text, sign| text.replace(sign, ""));
    assert!(status.success(), "{status}\n{end}");
    assert!(proven(end.trim_end()) > 0);
    for told in [
        "  ok your keys forged 1 call: 1 event came, 0 charged to anybody",
        "  ok your keys broke the broker once and mended it once",
        "  ok your keys killed sidecar 2 once and restarted it once",
    ] {
        assert!(end.contains(told), "{told}\n{end}");
    }
    let hung_up = hung_up(&end);
    assert!(hung_up[0] > 0 && hung_up[1] == hung_up[0], "{hung_up:?}");
    assert!(!text.contains("\x1b[32m"), "NO_COLOR is set");
    let modes = |name: &str| fs::read_to_string(scratch.path().join(name)).expect("modes");
    assert_eq!(modes("before"), modes("after"), "the terminal is as it was");
}

/// The numbers in what the end says of the calls that were hung up: calls, events, events with a lower bound.
fn hung_up(end: &str) -> Vec<u64> {
    let line = end.lines().find_map(|line| line.strip_prefix("  ok your keys hung up ")).expect(end);
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn too_short_a_demo_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args(["demo", "--seconds", "1"])
        .output()
        .expect("demo");
    assert!(!output.status.success());
}

#[test]
fn the_service_is_for_this_machine_alone() {
    for arguments in [&["--service-only", "--listen", "0.0.0.0:8081"][..], &["--listen", "127.0.0.1:8081"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_tokenweir")).arg("demo").args(arguments).output().expect("demo");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
