//! Lines that can be copied, for `--help` and for whoever did not say enough. `tests/cli` runs those
//! that need nothing but what is in the repository.

/// What each command looks like in use; the first line is the one that errors show.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("", &["tokenweir demo", "tokenweir serve --upstream https://NAME.openai.azure.com"]),
    (
        "serve",
        &[
            "tokenweir serve --upstream https://NAME.openai.azure.com",
            "tokenweir serve --config /etc/tokenweir.toml",
        ],
    ),
    ("demo", &["tokenweir demo --seconds 20"]),
    (
        "events",
        &[
            "tokenweir events --ledger /var/lib/tokenweir/ledger",
            "tokenweir events --ledger /var/lib/tokenweir/ledger --follow",
        ],
    ),
    (
        "report",
        &[
            "tokenweir report --ledger /var/lib/tokenweir/ledger --by caller,day",
            "tokenweir report --kafka-brokers localhost:9092 --prices prices.csv --format csv",
        ],
    ),
    (
        "verify",
        &[
            "tokenweir verify --ledger /var/lib/tokenweir/ledger",
            "tokenweir verify --kafka-brokers localhost:9092 --allow-open --allow-repeats",
            "tokenweir events | tokenweir verify -",
        ],
    ),
    ("drain", &["tokenweir drain --ledger /var/lib/tokenweir/ledger --kafka-brokers localhost:9092"]),
    (
        "account",
        &["tokenweir account --explain fixtures/account/exchange.jsonl", "tokenweir schema exchange"],
    ),
    (
        "count",
        &["echo 'Hello, world' | tokenweir count --model gpt-4o", "tokenweir count --model gpt-4o FILE"],
    ),
    (
        "check",
        &[
            "tokenweir check --config /etc/tokenweir.toml --print",
            "tokenweir check --upstream https://NAME.openai.azure.com",
        ],
    ),
    ("schema", &["tokenweir schema event", "tokenweir schema config", "tokenweir schema exchange"]),
    ("health", &["tokenweir health", "tokenweir health --url http://127.0.0.1:9464/readyz"]),
];

/// The examples of a command; those of the program for a command that is none.
pub(super) fn of(command: &str) -> &'static [&'static str] {
    let named = |name: &str| EXAMPLES.iter().find(|(known, _)| *known == name).map(|(_, lines)| *lines);
    named(command).or_else(|| named("")).unwrap_or_default()
}

/// The commands that there are.
pub(super) fn commands() -> Vec<&'static str> {
    EXAMPLES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect()
}

/// The end of `--help`.
pub(super) fn help(command: &str) -> String {
    let lines: Vec<String> = of(command).iter().map(|line| format!("\n  {line}")).collect();
    format!("Examples:{}", lines.concat())
}
