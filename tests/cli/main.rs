//! What people see who type something wrong, or too little: every word of it, its exit code, and on which
//! of the two outputs it stands.
//!
//! - this file: commands and what they say, help, and what the documents tell to type
//! - `connect`: `check --connect`, with what it tries there and away
//! - `places`: places where no ledger can be
//! - `demo`: the demo as a user starts it
//! - `getting_started`: the page for newcomers, followed literally
//! - `start`: the vocabularies are ready soon and small
//!
//! `tests/cli/*.txt` hold commands and what they say. A block is
//!
//!     $ a line for `sh`, in a directory of the file's own; {repo} is the repository
//!     ? the exit code, if it is not 0
//!     > a line of standard output
//!     ! a line of standard error
//!
//! `TOKENWEIR_UPDATE=1 cargo test --release --test cli` writes them anew; read the difference.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod connect;
mod demo;
mod getting_started;
mod places;
mod secrets;
mod start;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::files::root;
use support::skip;

/// A command that has not come to its end by then hangs; `report` waits 30 s for a broker.
const TIMEOUT_S: &str = "60";

/// The binary under its own name, whatever cargo calls its folder.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tokenweir"))
}

/// What a line says, as a block.
fn block(line: &str, dir: &Path) -> String {
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args([TIMEOUT_S, "sh", "-c", &line.replace("{repo}", root().to_str().unwrap())])
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .env("TMPDIR", dir)
        // A number for which the limit of open files is enough everywhere.
        .env("TOKENWEIR_MAX_CONNECTIONS", "20")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut said = format!("$ {line}\n");
    match output.status.code() {
        Some(0) => {}
        code => {
            said.push_str(&format!("? {}\n", code.map_or("a signal".to_owned(), |code| code.to_string())))
        }
    }
    for (mark, bytes) in [('>', &output.stdout), ('!', &output.stderr)] {
        for line in String::from_utf8_lossy(bytes).lines() {
            let within =
                if dir == root() { line.to_owned() } else { line.replace(dir.to_str().unwrap(), "{dir}") };
            let line = within.replace(root().to_str().unwrap(), "{repo}");
            said.push_str(format!("{mark} {line}").trim_end());
            said.push('\n');
        }
    }
    said
}

/// Runs every command of a file and holds what they say against it.
fn golden(name: &str) {
    let path: PathBuf = root().join("tests/cli").join(name);
    let text = fs::read_to_string(&path).unwrap();
    // On a disk: of a ledger in memory there would be a word more.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let mut said = String::new();
    for line in text.lines().filter(|line| !line.starts_with(['>', '!', '?'])) {
        match line.strip_prefix("$ ") {
            Some(command) => said.push_str(&block(command, &dir)),
            None => said.push_str(&format!("{line}\n")),
        }
    }
    if said == text {
        return;
    }
    if std::env::var_os("TOKENWEIR_UPDATE").is_some() {
        fs::write(&path, said).unwrap();
        return;
    }
    let differs = text.lines().zip(said.lines()).find(|(one, other)| one != other);
    panic!(
        "{} says something else (TOKENWEIR_UPDATE=1 writes it anew): {differs:#?}\n{said}",
        path.display()
    );
}

#[test]
fn a_command_that_lacks_what_it_needs() {
    golden("lacking.txt");
}

#[test]
fn a_configuration_that_cannot_be() {
    golden("config.txt");
}

#[test]
fn a_topic_that_cannot_be_read() {
    golden("kafka.txt");
}

#[test]
fn files_and_outputs_that_are_odd() {
    golden("files.txt");
}

#[test]
fn what_the_program_says_of_itself_and_of_what_it_needs() {
    golden("operators.txt");
}

#[test]
fn what_the_documents_tell_to_type() {
    golden("works.txt");
}

/// Every command that a page shows with what it prints: run as it stands, at the root of the repository.
#[test]
fn the_documents_can_be_followed_literally() {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    let docs = docs.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let pages = docs.chain([root().join("README.md")]);
    let text = pages.map(|page| fs::read_to_string(page).unwrap()).collect::<String>();
    let mut lines = text.lines().peekable();
    let mut seen = 0;
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("    $ ") else { continue };
        let mut expected = String::new();
        while let Some(shown) = lines.next_if(|line| line.starts_with("    ") && !line.starts_with("    $ "))
        {
            expected.push_str(&format!("> {}\n", &shown[4..]));
        }
        let said = block(command, root());
        let said = said.split_once('\n').unwrap().1;
        assert_eq!(said.trim_end().trim_end_matches("\n>"), expected.trim_end(), "{command}");
        seen += 1;
    }
    assert!(seen > 0, "no command was found: the search is broken");
}

/// The examples that `--help` and errors show are commands and flags that exist.
#[test]
fn every_command_has_help_with_examples_that_are_read() {
    let help = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = help(&["--help"]);
    let commands =
        whole.split("Commands:").nth(1).unwrap().lines().skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> =
        commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands.iter().filter(|command| !command.is_empty() && **command != "help") {
        let text = help(&[command, "--help"]);
        let examples =
            text.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{command} has no examples"));
        let lines: Vec<&str> =
            examples.lines().take_while(|line| line.starts_with("  ")).map(str::trim).collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains("tokenweir ")),
            "{command}: {lines:?}"
        );
        for flag in lines.iter().flat_map(|line| line.split(' ')).filter(|word| word.starts_with("--")) {
            let known = |text: &str| text.split([' ', '[', '\n']).any(|word| word == flag);
            assert!(known(&text) || commands.iter().any(|other| known(&help_of(other))), "{command}: {flag}");
        }
    }
}

fn help_of(command: &str) -> String {
    let output = Command::new(binary()).args([command, "--help"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// `health` asks the port that the configuration names, whatever else is wrong with it.
#[test]
fn health_asks_what_the_configuration_names() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..3 {
            let mut socket = port.accept().unwrap().0;
            let head = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            asked.push(head[0].clone());
        }
        asked
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    fs::write(&file, format!("admin_listen = \"0.0.0.0:{}\"\nthreads = 99\n", address.port())).unwrap();
    let health = || {
        let mut command = Command::new(binary());
        command.arg("health").env_clear();
        command
    };
    for command in [
        health().arg("--config").arg(&file),
        health().env("TOKENWEIR_CONFIG", &file),
        health().env("TOKENWEIR_ADMIN_LISTEN", address.to_string()),
    ] {
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(server.join().unwrap(), ["GET /livez HTTP/1.1"; 3]);
}
