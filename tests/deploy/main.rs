//! What stands in `deploy/` is well-formed, and uses the names that the program uses; so do the documents.
//!
//! - this file: names of settings, headers, ports and paths
//! - `apim`: the policy of API Management
//! - `context`: what Docker gets to see of the repository
//! - `docker`, `kubernetes`: the image and the manifests
//! - `engines`: the recipes that make sums and bills of events
//! - `eventhubs`: the template of the hub and its archive
//! - `prometheus`, `grafana`: rules, runbooks and dashboards; `promql` reads what they ask for, `series` has what
//!   there is to ask

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod apim;
mod context;
mod docker;
mod engines;
mod eventhubs;
mod grafana;
mod kubernetes;
mod prometheus;
mod promql;
mod series;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::certs;
use support::files::root;
use tokenweir::config::settings;

/// Where calls arrive in a container, and where health and metrics answer.
const PORT: u16 = 8080;
/// See [`PORT`]; also the default that `tokenweir health` asks.
const ADMIN_PORT: u16 = 9464;
/// Paths of the admin port that probes may use.
const LIVE: &str = "/livez";
/// See [`LIVE`].
const READY: &str = "/readyz";

fn is_setting(name: &str) -> bool {
    let name = name.replace('_', "-").to_ascii_lowercase();
    name == "config" || settings::find(&name).is_some()
}

/// The flags that the help of each command names.
fn flags_of_commands() -> BTreeSet<String> {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tokenweir")).args(arguments).output();
        String::from_utf8(output.expect("the binary runs").stdout).expect("help is text")
    };
    let whole = help(&["--help"]);
    let commands = whole.split("Commands:").nth(1).expect("a list of commands").lines().skip(1);
    let commands = commands.map_while(|line| line.trim().split(' ').next().filter(|name| !name.is_empty()));
    let texts = commands.map(|command| help(&[command, "--help"]));
    let words = texts.flat_map(|text| {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        words.filter_map(|word| word.strip_prefix("--").map(str::to_owned)).collect::<Vec<_>>()
    });
    words.filter(|flag| !flag.is_empty()).collect()
}

/// Whether the binary has a program of that name.
fn is_program(name: &str) -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_tokenweir")).args([name, "--help"]).output();
    help.expect("the binary runs").status.success()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder of `deploy/` whose names end in `.{extension}`, in order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("deploy").join(folder)).expect("the folder exists");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("and can be read").path())
        .filter(|path| path.extension().is_some_and(|own| own == extension))
        .collect();
    files.sort();
    files
}

/// A subcommand and its flags, as a container or a pod gives them.
fn check_command(args: &[String]) {
    let program = args.first().expect("a command names a program");
    assert!(is_program(program), "no program `{program}`");
    for flag in args.iter().filter_map(|arg| arg.strip_prefix("--")) {
        assert!(is_setting(flag.split('=').next().unwrap_or(flag)), "no flag --{flag}");
    }
}

#[test]
fn every_variable_that_is_named_exists() {
    const FOLDERS: [&str; 12] = [
        "adx",
        "apim",
        "clickhouse",
        "connect",
        "docker",
        "duckdb",
        "eventhubs",
        "flink",
        "grafana",
        "kafka",
        "kubernetes",
        "prometheus",
    ];
    let texts = FOLDERS.into_iter().flat_map(|folder| {
        let readmes = files(folder, "md");
        readmes.into_iter().chain(files(folder, "yaml")).map(read)
    });
    let text = texts.chain([read("deploy/docker/Dockerfile"), read("deploy/README.md")]).collect::<String>();
    let mut seen = 0;
    for rest in text.split("TOKENWEIR_").skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        // A host of the gateway's configuration, and a variable of the build.
        if !matches!(name.as_str(), "" | "HOST" | "COMMIT") {
            assert!(is_setting(&name), "no setting has the variable TOKENWEIR_{name}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no variable was found: the search is broken");
}

#[test]
fn every_flag_that_the_documents_name_exists() {
    // Of the program itself, of cargo, the benches and other people's programs.
    const OTHERS: &[&str] = &[
        "aggregation",
        "algorithm",
        "bench",
        "beside",
        "block-download",
        "data-file",
        "data-type",
        "encoding",
        "file",
        "filter",
        "focus-dataset",
        "interval",
        "kty",
        "locked",
        "metrics",
        "name",
        "no-buffer",
        "nocapture",
        "ops",
        "output",
        "path",
        "query",
        "release",
        "replicas",
        "resource",
        "rounds",
        "scenario",
        "show-error",
        "silent",
        "size",
        "test",
        "tls",
        "ulimit",
        "validate-version",
        "value",
        "vault-name",
        "version",
    ];
    let flags = flags_of_commands();
    let docs = fs::read_dir(root().join("docs")).expect("the folder of the pages");
    let docs = docs.map(|page| format!("docs/{}", page.expect("a page").file_name().display()));
    let docs = docs.filter(|page| page.ends_with(".md")); // a picture names no flag
    let pages = docs.chain(["README.md", "ARCHITECTURE.md"].map(str::to_owned));
    let text = pages.map(read).collect::<String>();
    let mut seen = 0;
    for word in text.split(|c: char| !(c.is_ascii_lowercase() || c == '-')) {
        if let Some(flag) = word.strip_prefix("--").filter(|flag| flag.starts_with(char::is_alphabetic)) {
            assert!(is_setting(flag) || flags.contains(flag) || OTHERS.contains(&flag), "no flag --{flag}");
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} flags were found: the search is broken");
}
