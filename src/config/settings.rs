//! The one table of settings. Flag, TOML key, environment name, default, range, `--help` and the
//! table in the README all come from here.

use super::value::{format_duration, format_size};
use std::time::Duration;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes; the TOML key has `_` for `-`, the environment name is
    /// `TOKENWEIR_` and the same in capitals.
    pub name: &'static str,
    /// What a value may be.
    pub kind: Kind,
    /// The value where nobody gives one.
    pub default: Option<&'static str>,
    /// One sentence.
    pub help: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `host:port`.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Count(u64, u64),
    /// A duration with its unit, in this range.
    Time(Duration, Duration),
    /// A size with its unit, in bytes, in this range.
    Size(u64, u64),
    /// A percentage with its sign.
    Share,
    /// A path.
    Path,
    /// Any text; the note says what it should look like.
    Text(&'static str),
    /// Values separated by commas.
    List(&'static str),
    /// A flag that may be given more than once; an array in TOML, commas in the environment.
    Repeated(&'static str),
    /// Never on a flag: from the environment, or from the file that the setting `..-file` names.
    Secret,
}

impl Setting {
    /// `--name`, or nothing for a secret.
    pub fn flag(&self) -> Option<String> {
        (!matches!(self.kind, Kind::Secret)).then(|| format!("--{}", self.name))
    }

    /// The key in a configuration file.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The environment variable.
    pub fn env(&self) -> String {
        format!("TOKENWEIR_{}", self.key().to_ascii_uppercase())
    }
}

impl Kind {
    /// What is allowed, for messages and tables.
    pub fn allowed(self) -> String {
        match self {
            Kind::Address => "host:port".to_owned(),
            Kind::Choice(words) => words.join(" | "),
            Kind::Count(min, max) => format!("{min} to {max}"),
            Kind::Time(min, max) => format!("{} to {}", format_duration(min), format_duration(max)),
            Kind::Size(min, max) => format!("{} to {}", format_size(min), format_size(max)),
            Kind::Share => "0% to 100%".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Text(note) | Kind::List(note) | Kind::Repeated(note) => note.to_owned(),
            Kind::Secret => "a secret".to_owned(),
        }
    }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
const DAY_S: u64 = 86_400;
const MIB: u64 = 1 << 20;

/// Every setting, in the order in which people meet them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "upstream",
        kind: Kind::Repeated("[NAME=]http(s)://host[:port]"),
        default: None,
        help: "The service to forward to. With a NAME the first path segment picks it and is removed; several need names.",
    },
    Setting {
        name: "listen",
        kind: Kind::Address,
        default: Some("127.0.0.1:8080"),
        help: "Where calls are accepted. Port 0 picks a free one; the start line names it.",
    },
    Setting {
        name: "listen-cert-file",
        kind: Kind::Path,
        default: None,
        help: "PEM file with the certificate chain of the port for calls; with it the port speaks TLS. Read again when it changes.",
    },
    Setting {
        name: "listen-key-file",
        kind: Kind::Path,
        default: None,
        help: "PEM file with the private key of that certificate.",
    },
    Setting {
        name: "listen-client-ca-file",
        kind: Kind::Path,
        default: None,
        help: "PEM file with the roots of client certificates; with it every connection must present one (mTLS). Read again when it changes: connections that new roots do not cover end behind their present answer.",
    },
    Setting {
        name: "admin-listen",
        kind: Kind::Address,
        default: Some("127.0.0.1:9464"),
        help: "Where /livez, /readyz and /metrics answer.",
    },
    Setting {
        name: "metrics-per-caller",
        kind: Kind::Choice(&["off", "department", "caller"]),
        default: Some("off"),
        help: "Adds a metric with the tokens of each department of the caller map, or of each caller: 500 at most, then other.",
    },
    Setting {
        name: "ledger",
        kind: Kind::Path,
        default: Some("./tokenweir-ledger"),
        help: "Directory of the ledger. One process at a time; keep it on a disk that outlives the process.",
    },
    Setting {
        name: "ledger-keep",
        kind: Kind::Time(seconds(60), seconds(3650 * DAY_S)),
        default: Some("7d"),
        help: "How long delivered events stay in the ledger. Undelivered ones always stay.",
    },
    Setting {
        name: "ledger-max-bytes",
        kind: Kind::Size(16 * MIB, 1024 * 1024 * MIB),
        default: Some("10GiB"),
        help: "Room for the ledger. Above 80% delivered events go oldest first; full of undelivered ones, calls are summed.",
    },
    Setting {
        name: "ledger-network-fs",
        kind: Kind::Choice(&["refuse", "allow"]),
        default: Some("refuse"),
        help: "A ledger on NFS, SMB, FUSE and the like, whose locks and syncs may not hold.",
    },
    Setting {
        name: "control-interval",
        kind: Kind::Time(seconds(1), seconds(DAY_S)),
        default: Some("60s"),
        help: "How often control totals are written.",
    },
    Setting {
        name: "max-calls",
        kind: Kind::Count(1, 1_000_000),
        default: Some("65536"),
        help: "Calls that the ledger tracks at once. Beyond it calls are forwarded and only summed.",
    },
    Setting {
        name: "on-ledger-failure",
        kind: Kind::Choice(&["forward", "reject"]),
        default: Some("forward"),
        help: "What a call gets that the ledger has no room for: forwarded and summed, or 503 with Retry-After.",
    },
    Setting {
        name: "kafka-brokers",
        kind: Kind::List("host:port[,host:port..]"),
        default: None,
        help: "Kafka or Event Hubs. Without it nothing is published and the ledger keeps the events.",
    },
    Setting {
        name: "kafka-topic",
        kind: Kind::Text("a topic name"),
        default: Some("ai-usage"),
        help: "The topic of the events.",
    },
    Setting {
        name: "kafka-auth",
        kind: Kind::Choice(&["none", "sasl", "entra"]),
        default: Some("none"),
        help: "sasl: SASL_SSL with PLAIN; give a connection string (Event Hubs), or a user name and password. entra: tokens of Entra ID, from the workload or managed identity that Azure describes in the environment.",
    },
    Setting {
        name: "kafka-entra-scope",
        kind: Kind::Text("https://../.default"),
        default: None,
        help: "What tokens of Entra ID are for. Event Hubs needs none: it is the namespace that kafka-brokers names.",
    },
    Setting {
        name: "kafka-sasl-username",
        kind: Kind::Text("a user name"),
        default: None,
        help: "SASL user name. A connection string brings its own.",
    },
    Setting {
        name: "kafka-sasl-password-file",
        kind: Kind::Path,
        default: None,
        help: "File with the SASL password. Read again every 30 s, and when a login is denied.",
    },
    Setting { name: "kafka-sasl-password", kind: Kind::Secret, default: None, help: "The SASL password." },
    Setting {
        name: "kafka-connection-string-file",
        kind: Kind::Path,
        default: None,
        help: "File with the Event Hubs connection string. Read again every 30 s, and when a login is denied.",
    },
    Setting {
        name: "kafka-connection-string",
        kind: Kind::Secret,
        default: None,
        help: "The Event Hubs connection string.",
    },
    Setting {
        name: "kafka-property",
        kind: Kind::Repeated("key=value"),
        default: None,
        help: "Any other librdkafka property. Secrets are refused, and what would break the delivery promise, send a login without TLS or leave a broker unverified.",
    },
    Setting {
        name: "caller-sources",
        kind: Kind::List(
            "apim-subscription | header:NAME[:whole] | entra-app | entra-user | client-cert | api-key, in order",
        ),
        default: Some("apim-subscription,entra-app,api-key"),
        help: "Where the caller's id comes from; the first that names one wins. A list in a header names nobody; with :whole commas are part of the name.",
    },
    Setting {
        name: "caller-trust",
        kind: Kind::Choice(&["none", "shared-secret", "mtls", "network"]),
        default: Some("none"),
        help: "How the hop that names the caller proves itself. A hop that fails is unattributed.",
    },
    Setting {
        name: "caller-shared-secret-file",
        kind: Kind::Path,
        default: None,
        help: "File with the gateway's secret (header x-tokenweir-auth), one a line; two may be active at once. One that can be guessed is refused: openssl rand -hex 32. Read again when it changes.",
    },
    Setting {
        name: "caller-shared-secret",
        kind: Kind::Secret,
        default: None,
        help: "The gateway's secret; two, separated by a comma, may be active at once.",
    },
    Setting {
        name: "caller-networks",
        kind: Kind::List("CIDRs, such as 10.1.0.0/16,fd00::/8"),
        default: None,
        help: "Networks of the gateway, for --caller-trust network.",
    },
    Setting {
        name: "caller-cert-names",
        kind: Kind::List("DNS names or URIs"),
        default: None,
        help: "Names of which the client certificate must carry one, for --caller-trust mtls. Without it any certificate of the given roots will do.",
    },
    Setting {
        name: "on-untrusted",
        kind: Kind::Choice(&["unattributed", "reject"]),
        default: Some("unattributed"),
        help: "What a call gets whose hop fails the test of --caller-trust: forwarded as unattributed, or 403.",
    },
    Setting {
        name: "caller-map-file",
        kind: Kind::Path,
        default: None,
        help: "CSV that gives callers a cost centre and a department from a date on: columns caller, from, to, cost_center, department. Read again when it changes.",
    },
    Setting {
        name: "caller-user-ids",
        kind: Kind::Choice(&["plain", "hash", "drop"]),
        default: Some("hash"),
        help: "How ids of people (x-apim-user-id, entra-user) stand in events.",
    },
    Setting {
        name: "api-key",
        kind: Kind::Choice(&["pass", "strip", "deny"]),
        default: Some("pass"),
        help: "What becomes of api-key, in headers and query: passed on, removed, or a call that carries one gets 403.",
    },
    Setting {
        name: "caller-hash-key-file",
        kind: Kind::Path,
        default: None,
        help: "File with the key of the hashes of API keys and of ids of people. Without one a random key is made in the ledger's directory.",
    },
    Setting { name: "caller-hash-key", kind: Kind::Secret, default: None, help: "The key of the hashes." },
    Setting {
        name: "gateway-app-ids",
        kind: Kind::List("application ids"),
        default: None,
        help: "Entra applications that are the gateway itself and never a caller.",
    },
    Setting {
        name: "subscription-key-names",
        kind: Kind::List("header and query names"),
        default: Some("Ocp-Apim-Subscription-Key,subscription-key"),
        help: "The gateway's own keys: removed from headers and query before the call goes on.",
    },
    Setting {
        name: "upstream-ca-file",
        kind: Kind::Path,
        default: None,
        help: "PEM file with the roots to trust instead of the system's.",
    },
    Setting {
        name: "upstream-cert-file",
        kind: Kind::Path,
        default: None,
        help: "PEM file with the certificate chain that is shown to a service that asks for one.",
    },
    Setting {
        name: "upstream-key-file",
        kind: Kind::Path,
        default: None,
        help: "PEM file with its private key.",
    },
    Setting {
        name: "include-usage",
        kind: Kind::Choice(&["observe", "inject"]),
        default: Some("observe"),
        help: "inject: streams that did not ask for usage ask for it, and the event that answers is taken out of the stream.",
    },
    Setting {
        name: "on-client-disconnect",
        kind: Kind::Choice(&["abort", "drain"]),
        default: Some("abort"),
        help: "When a caller hangs up: end the call at the service too, or read it to its end for the usage, within the three bounds below.",
    },
    Setting {
        name: "disconnect-drain-timeout",
        kind: Kind::Time(seconds(1), seconds(3600)),
        default: Some("60s"),
        help: "How long one abandoned stream is read on.",
    },
    Setting {
        name: "disconnect-drain-bytes",
        kind: Kind::Size(1 << 10, 1024 * MIB),
        default: Some("4MiB"),
        help: "How much of one abandoned stream is read on.",
    },
    Setting {
        name: "disconnect-drain-calls",
        kind: Kind::Count(1, 100_000),
        default: Some("64"),
        help: "Abandoned streams that are read on at once; beyond it they are ended.",
    },
    Setting {
        name: "streaming",
        kind: Kind::Choice(&["allow", "deny"]),
        default: Some("allow"),
        help: "deny: a request for a stream gets 403 in the service's error shape. So does one whose body cannot be read, or is in a content coding: two readers could read it differently.",
    },
    Setting {
        name: "on-odd-path",
        kind: Kind::Choice(&["forward", "reject"]),
        default: Some("forward"),
        help: "What a request gets whose path two services may read in two ways (an escape of what needs none, a dot segment, ;, a backslash, a control character, two deployments): forwarded as it is and metered, with the reason odd_path, or 400.",
    },
    Setting {
        name: "max-inspect",
        kind: Kind::Size(1 << 10, 64 * MIB),
        default: Some("1MiB"),
        help: "How much of a request body --streaming deny and --include-usage inject wait for. Longer ones are refused by the former and left alone by the latter.",
    },
    Setting {
        name: "max-connections",
        kind: Kind::Count(1, 1_000_000),
        default: Some("20000"),
        help: "Connections of callers at once; more wait to be accepted. Each takes a file descriptor, and one more upstream; a start and check warn of a limit (ulimit -n) that is too low, and then as many are taken as it is enough for.",
    },
    Setting {
        name: "max-in-flight",
        kind: Kind::Count(1, 1_000_000),
        default: Some("20000"),
        help: "Calls at once; beyond it 503 with Retry-After. Bounds the memory that calls hold.",
    },
    Setting {
        name: "max-header-bytes",
        kind: Kind::Size(8 << 10, MIB),
        default: Some("64KiB"),
        help: "Request line and header fields of one request; larger ones get 431. An Entra token takes 2 to 8 KiB. An answer may have as much, and 64 KiB in any case; then 502.",
    },
    Setting {
        name: "max-headers",
        kind: Kind::Count(16, 1000),
        default: Some("100"),
        help: "Header fields of one request; more get 431. An answer may have as many; then 502.",
    },
    Setting {
        name: "header-timeout",
        kind: Kind::Time(seconds(1), seconds(3600)),
        default: Some("30s"),
        help: "From the first byte of a request's head to its last, against callers that trickle it. TLS handshakes have the same time.",
    },
    Setting {
        name: "idle-timeout",
        kind: Kind::Time(seconds(1), seconds(DAY_S)),
        default: Some("300s"),
        help: "How long a connection waits for its next request. Longer than the gateway keeps idle connections, so that it closes first.",
    },
    Setting {
        name: "caller-idle-timeout",
        kind: Kind::Time(Duration::ZERO, seconds(DAY_S)),
        default: Some("0s"),
        help: "How long a caller that is waited for may send nothing of a request's body (then 408), or take nothing of an answer; then the call is ended, outcome timeout, reason caller_idle. The service's own time never counts, and a tunnel has none. 0s: no limit, since slow readers are legal, and a gateway has limits of its own.",
    },
    Setting {
        name: "connect-timeout",
        kind: Kind::Time(Duration::from_millis(100), seconds(300)),
        default: Some("10s"),
        help: "Name, connection and TLS handshake of a service; then 502.",
    },
    Setting {
        name: "response-timeout",
        kind: Kind::Time(Duration::ZERO, seconds(DAY_S)),
        default: Some("0s"),
        help: "From the request's last byte to the head of the answer; then 504. 0s: no limit, since reasoning takes minutes and the gateway has its own.",
    },
    Setting {
        name: "stream-idle-timeout",
        kind: Kind::Time(Duration::ZERO, seconds(DAY_S)),
        default: Some("0s"),
        help: "Silence within an answer; then the call is broken off. 0s: no limit, since a model may think for minutes.",
    },
    Setting {
        name: "tcp-keepalive",
        kind: Kind::Time(seconds(1), seconds(7200)),
        default: Some("60s"),
        help: "Idle time after which TCP probes the peer, both sides. Azure's load balancers cut silent connections after 4 minutes.",
    },
    Setting {
        name: "prompt-memory",
        kind: Kind::Size(0, 1024 * 1024 * MIB),
        default: Some("256MiB"),
        help: "Memory for request bodies that are kept to be counted; 0 keeps none. Over it the input is null, reason prompt_not_kept. One caller gets 15 of 16 parts at most, and so of --answer-memory.",
    },
    Setting {
        name: "answer-memory",
        kind: Kind::Size(0, 1024 * 1024 * MIB),
        default: Some("32MiB"),
        help: "Memory for long answers (JSON, or one event) that are held to be read as a whole, beside the first 16KiB of each. Over it an answer is read as it passes: what the service reports is not lost, our own count is null, reason meter_overload.",
    },
    Setting {
        name: "drift-sample",
        kind: Kind::Share,
        default: Some("1%"),
        help: "Share of the calls with reported usage whose prompt is counted as well, to see whether the rules still hold.",
    },
    Setting {
        name: "end-of-turn",
        kind: Kind::Choice(&["auto", "0", "1"]),
        default: Some("auto"),
        help: "Whether the service bills the token that ends a turn. auto: not at api.openai.com, else yes.",
    },
    Setting {
        name: "threads",
        kind: Kind::Count(1, 64),
        default: Some("1"),
        help: "Network threads. One carries tens of thousands of chunks a second.",
    },
    Setting {
        name: "drain-timeout",
        kind: Kind::Time(Duration::ZERO, seconds(DAY_S)),
        default: Some("300s"),
        help: "After SIGTERM: how long running streams may go on.",
    },
    Setting {
        name: "flush-timeout",
        kind: Kind::Time(Duration::ZERO, seconds(3600)),
        default: Some("20s"),
        help: "After the streams: how long events may take to be delivered.",
    },
    Setting {
        name: "log-level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        default: Some("info"),
        help: "How much is logged. Content and credentials never are.",
    },
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The settings as the README's table.
pub fn markdown() -> String {
    let mut table = String::from("| flag | default | allowed | what it does |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let name = setting.flag().unwrap_or_else(|| format!("{} (environment only)", setting.env()));
        let allowed = setting.kind.allowed().replace('|', "\\|");
        let default = setting.default.map_or(String::new(), |d| format!("`{d}`"));
        table.push_str(&format!("| `{name}` | {default} | {allowed} | {} |\n", setting.help));
    }
    table
}
