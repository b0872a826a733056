//! The commands, and lines that can be copied: for `--help` and for errors of the command line. `tests/cli` runs
//! those that need nothing but what is in the repository.

use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

/// A command of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Subcommand {
    Serve,
    Demo,
    Top,
    Tail,
    Events,
    Report,
    Verify,
    Reconcile,
    Close,
    Open,
    Drain,
    Account,
    Count,
    Check,
    Schema,
    Health,
    Completions,
    Man,
}

/// The examples of the program itself.
const EXAMPLES: &[&str] = &["tokenweir demo", "tokenweir serve --upstream https://NAME.openai.azure.com"];

impl Subcommand {
    /// Every command, in the order of `--help`.
    pub(super) fn all() -> Vec<Subcommand> {
        <Subcommand as VariantArray>::VARIANTS.to_vec()
    }

    /// The word that one types.
    pub(super) fn name(self) -> &'static str {
        self.into()
    }

    /// The command in use; the first line is the one that errors show.
    fn examples(self) -> &'static [&'static str] {
        match self {
            Subcommand::Serve => &[
                "tokenweir serve --upstream https://NAME.openai.azure.com",
                "tokenweir serve --config /etc/tokenweir.toml",
            ],
            Subcommand::Demo => &[
                "tokenweir demo --seconds 20",
                "tokenweir demo --page",
                "tokenweir demo --service-only --listen 127.0.0.1:8081",
            ],
            Subcommand::Top => &["tokenweir top", "tokenweir top --url http://localhost:9464 --once"],
            Subcommand::Tail => &[
                "tokenweir tail",
                "tokenweir tail --ledger /var/lib/tokenweir/ledger --format json",
                "tokenweir tail --kafka-brokers localhost:9092",
            ],
            Subcommand::Events => &[
                "tokenweir events --ledger /var/lib/tokenweir/ledger",
                "tokenweir events --ledger /var/lib/tokenweir/ledger --tail 10 --follow",
            ],
            Subcommand::Report => &[
                "tokenweir report --ledger /var/lib/tokenweir/ledger --by caller,day",
                "tokenweir report --kafka-brokers localhost:9092 --prices prices.csv --format csv",
                "tokenweir report archive/2026/11 --from 2026-11-01 --to 2026-12-01 --format json",
                "tokenweir report --from 2026-11 --to 2026-12 --format html --out november.html",
            ],
            Subcommand::Verify => &[
                "tokenweir verify --ledger /var/lib/tokenweir/ledger",
                "tokenweir verify --kafka-brokers localhost:9092 --allow-open --allow-repeats",
                "tokenweir events | tokenweir verify -",
                "tokenweir verify archive/usage --content archive/content --key auditor.pem",
            ],
            Subcommand::Reconcile => &[
                "tokenweir reconcile --ledger /var/lib/tokenweir/ledger --azure-metrics metrics.json",
                "tokenweir reconcile events.jsonl --cost-export focus.csv.gz --tolerance 1% --format csv",
            ],
            Subcommand::Close => &[
                "tokenweir close --month 2026-11 archive --prices prices.csv --out closed/2026-11",
                "tokenweir close --month 2026-11 archive --prices prices.csv --rates rates.csv --out closed",
            ],
            Subcommand::Open => &[
                "tokenweir open archive/2026/11 --key auditor.pem --caller team-a --from 2026-11-22 --to 2026-11-23",
                "tokenweir open archive --key auditor.pem --call ID --format raw --side response",
                "tokenweir open archive --unwrap-command 'vault-unwrap --key {kid}' --call ID",
            ],
            Subcommand::Drain => {
                &["tokenweir drain --ledger /var/lib/tokenweir/ledger --kafka-brokers localhost:9092"]
            }
            Subcommand::Account => &[
                "tokenweir account --explain fixtures/account/exchange.jsonl",
                "tokenweir account fixtures/account/session.jsonl",
                "tokenweir schema exchange",
            ],
            Subcommand::Count => &[
                "echo 'Hello, world' | tokenweir count --model gpt-4o",
                "tokenweir count --model gpt-4o FILE",
            ],
            Subcommand::Check => &[
                "tokenweir check --config /etc/tokenweir.toml --print",
                "tokenweir check --upstream https://NAME.openai.azure.com",
                "tokenweir check --config /etc/tokenweir.toml --connect",
            ],
            Subcommand::Schema => {
                &["tokenweir schema event", "tokenweir schema config", "tokenweir schema exchange"]
            }
            Subcommand::Health => {
                &["tokenweir health", "tokenweir health --url http://127.0.0.1:9464/readyz"]
            }
            Subcommand::Completions => &[
                "tokenweir completions bash > /etc/bash_completion.d/tokenweir",
                "tokenweir completions fish > ~/.config/fish/completions/tokenweir.fish",
            ],
            Subcommand::Man => {
                &["tokenweir man > /usr/local/share/man/man1/tokenweir.1", "tokenweir man serve | man -l -"]
            }
        }
    }
}

/// The examples of a command; those of the program for a word that is none.
pub(super) fn examples_of(command: &str) -> &'static [&'static str] {
    command.parse().map_or(EXAMPLES, Subcommand::examples)
}

/// The end of `--help`.
pub(super) fn examples_help(command: &str) -> String {
    let lines: Vec<String> = examples_of(command).iter().map(|line| format!("\n  {line}")).collect();
    format!("Examples:{}", lines.concat())
}
