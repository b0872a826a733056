//! The one table of settings. Flag, TOML key, environment name, default, range, `--help`, the JSON Schema of a
//! configuration file and the table in `docs/settings.md` all come from here, and every setting is read by its
//! constant. A row is `CONSTANT: type = kind("name", range..) or "default", "one sentence";`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::choices::{
    CallerTrust, CaptureCleartext, CaptureMode, EndOfTurn, IncludeUsageMode, KafkaAuth, NetworkFs,
    OnCaptureFailure, OnClientDisconnect, OnLedgerFailure, OnOddPath, OnUntrusted, Streaming,
};
pub use super::kind::Kind;
pub use super::setting::{AnySetting, Setting};
use crate::admin::AdminPage;
use crate::proxy::ApiKey;
use crate::tee::SampleRatio;
use crate::telemetry::PerCaller;
use crate::telemetry::log::{LogCalls, LogFormat, LogLevel};
use metering::caller::UserIds;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
const DAY: Duration = seconds(86_400);
const TEN_YEARS: Duration = seconds(3_650 * 86_400);
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Makes a constant of each row, and the list of them all. A heading stands above the rows of its group.
macro_rules! table {
    ($(#$heading:literal $($constant:ident: $type:ty = $kind:ident($($argument:expr),+) $(or $default:literal)?, $help:literal;)+)+) => {
        $($(
            #[doc = $help]
            pub const $constant: Setting<$type> =
                Setting::<$type>::$kind($($argument),+)$(.default_text($default))?.help($heading, $help);
        )+)+

        /// Every setting, in the order in which people meet them.
        pub const SETTINGS: &[&AnySetting] = &[$($($constant.any()),+),+];
    };
}

table! {
    # "Service and ports"
    UPSTREAM: Vec<String> = repeated("upstream", "[NAME=]http(s)://host[:port]"),
        "The service to forward to. With a NAME the first path segment picks it and is removed; several need names.";
    LISTEN: SocketAddr = address("listen") or "127.0.0.1:8080",
        "Where calls are accepted. Port 0 picks a free one; the start line names it.";
    LISTEN_CERT_FILE: PathBuf = path("listen-cert-file"),
        "PEM file with the certificate chain of the port for calls; with it the port speaks TLS. Read again when it changes.";
    LISTEN_KEY_FILE: PathBuf = path("listen-key-file"),
        "PEM file with the private key of that certificate.";
    LISTEN_CLIENT_CA_FILE: PathBuf = path("listen-client-ca-file"),
        "PEM file with the roots of client certificates; with it every connection must present one (mTLS). Read again when it changes: connections that new roots do not cover end behind their present answer.";
    ADMIN_LISTEN: SocketAddr = address("admin-listen") or "127.0.0.1:9464",
        "Where /livez, /readyz and /metrics answer.";
    ADMIN_PAGE: AdminPage = choice("admin-page") or "auto",
        "The live page, / on the admin port: callers, tokens, quality, ledger and Kafka, as it happens. It names callers, so auto has it only where the admin port is on loopback.";
    METRICS_PER_CALLER: PerCaller = choice("metrics-per-caller") or "off",
        "Adds a metric with the tokens of each department of the caller map, or of each caller: 500 at most, then other.";

    # "Ledger"
    LEDGER: PathBuf = path("ledger") or "./tokenweir-ledger",
        "Directory of the ledger. One process at a time; keep it on a disk that outlives the process.";
    LEDGER_KEEP: Duration = time("ledger-keep", seconds(60), TEN_YEARS) or "7d",
        "How long delivered events stay in the ledger. Undelivered ones always stay.";
    LEDGER_MAX_BYTES: u64 = size("ledger-max-bytes", 16 * MIB, TIB) or "10GiB",
        "Room for the ledger. Above 80% delivered events go oldest first; full of undelivered ones, calls are summed.";
    LEDGER_NETWORK_FS: NetworkFs = choice("ledger-network-fs") or "refuse",
        "A ledger on NFS, SMB, FUSE and the like, whose locks and syncs may not hold.";
    CONTROL_INTERVAL: Duration = time("control-interval", seconds(1), DAY) or "60s",
        "How often control totals are written.";
    CONTROL_HMAC_KEY_FILE: PathBuf = path("control-hmac-key-file"),
        "File with a key (openssl rand -hex 32) that signs control events: with it, verify tells what was forged from what was damaged. Give every instance the same, and keep it from whoever can write to the topic or its archive.";
    CONTROL_HMAC_KEY: String = secret("control-hmac-key"),
        "The key that signs control events.";
    MAX_CALLS: usize = count("max-calls", 1, 1_000_000) or "65536",
        "Calls that the ledger tracks at once. Beyond it calls are forwarded and only summed.";
    ON_LEDGER_FAILURE: OnLedgerFailure = choice("on-ledger-failure") or "forward",
        "What a call gets that the ledger has no room for: forwarded and summed, or 503 with Retry-After.";

    # "Kafka"
    KAFKA_BROKERS: Vec<String> = list("kafka-brokers", "host:port[,host:port..]"),
        "Kafka or Event Hubs. Without it nothing is published and the ledger keeps the events.";
    KAFKA_TOPIC: String = text("kafka-topic", "a topic name") or "ai-usage",
        "The topic of the events.";
    KAFKA_AUTH: KafkaAuth = choice("kafka-auth") or "none",
        "sasl: SASL_SSL with PLAIN; give a connection string (Event Hubs), or a user name and password. entra: tokens of Entra ID, from the workload or managed identity that Azure describes in the environment.";
    KAFKA_ENTRA_SCOPE: String = text("kafka-entra-scope", "https://../.default"),
        "What tokens of Entra ID are for. Event Hubs needs none: it is the namespace that kafka-brokers names.";
    KAFKA_SASL_USERNAME: String = text("kafka-sasl-username", "a user name"),
        "SASL user name. A connection string brings its own.";
    KAFKA_SASL_PASSWORD_FILE: PathBuf = path("kafka-sasl-password-file"),
        "File with the SASL password. Read again every 30 s, and when a login is denied.";
    KAFKA_SASL_PASSWORD: String = secret("kafka-sasl-password"),
        "The SASL password.";
    KAFKA_CONNECTION_STRING_FILE: PathBuf = path("kafka-connection-string-file"),
        "File with the Event Hubs connection string. Read again every 30 s, and when a login is denied.";
    KAFKA_CONNECTION_STRING: String = secret("kafka-connection-string"),
        "The Event Hubs connection string.";
    KAFKA_PROPERTY: Vec<String> = repeated("kafka-property", "key=value"),
        "Any other librdkafka property. Secrets are refused, and what would break the delivery promise, send a login without TLS or leave a broker unverified.";

    # "Content"
    CAPTURE: CaptureMode = choice("capture") or "off",
        "Keeps what passes for those who may read it: requests as they come from callers, responses as they go to them, or both, sealed to public keys before anything is written. WebSockets are not captured.";
    CAPTURE_KEY_FILE: PathBuf = path("capture-key-file"),
        "File with the public keys of those who may read it: RSA of 3072 bits or more, PEM, JWK or a JWK Set, 16 at most. Read again when it changes.";
    CAPTURE_CLEARTEXT: CaptureCleartext = choice("capture-cleartext") or "refuse",
        "allow: content is kept without a key, and whoever reads the spool or the topic reads it. Every part says so.";
    CAPTURE_TOPIC: String = text("capture-topic", "a topic name") or "ai-content",
        "The topic of captured content, on the brokers of --kafka-brokers. Another than that of the usage events.";
    CAPTURE_SHARE: SampleRatio = share("capture-share") or "100%",
        "Share of the calls that are captured, both sides together, chosen by a keyed hash of the call's id.";
    CAPTURE_CALLERS_FILE: PathBuf = path("capture-callers-file"),
        "CSV with the share of some callers from a date on: columns caller, share, from, to. 0% is an answer. Read again when it changes.";
    CAPTURE_MAX_BYTES: u64 = size("capture-max-bytes", 64 << 10, 1024 * MIB) or "32MiB",
        "How much of one side of a call is kept; then it is truncated, and says so.";
    CAPTURE_PART_BYTES: u64 = size("capture-part-bytes", 64 << 10, 512 << 10) or "512KiB",
        "Content in one part, as it passes: sealed, in base64, it stays below the megabyte that a broker takes.";
    CAPTURE_MEMORY: usize = memory("capture-memory", MIB, TIB) or "256MiB",
        "Memory for content that is not stored yet, all calls together. Over it content is cut or lost, and says so; calls go on.";
    CAPTURE_DIR: PathBuf = path("capture-dir"),
        "Directory of the spool of captured content; without it that of the ledger.";
    CAPTURE_SPOOL_MAX_BYTES: u64 = size("capture-spool-max-bytes", 16 * MIB, 64 * TIB) or "20GiB",
        "Room for content that is not delivered yet. Full, further content is lost, and counted.";
    ON_CAPTURE_FAILURE: OnCaptureFailure = choice("on-capture-failure") or "forward",
        "What a call gets whose record has no room: forwarded, or 503 with Retry-After. With reject a WebSocket gets 503 too, since none is captured.";

    # "Callers"
    CALLER_SOURCES: Vec<String> = list("caller-sources", "apim-subscription | header:NAME[:whole] | entra-app | entra-user | client-cert | api-key, in order") or "apim-subscription,entra-app,api-key",
        "Where the caller's id comes from; the first that names one wins. A list in a header names nobody; with :whole commas are part of the name.";
    CALLER_TAGS: Vec<String> = list("caller-tags", "NAME=HEADER[:plain], 8 at most"),
        "Second keys of a call, such as its end user: headers whose values stand in the event as caller.tags, each as a keyed hash unless :plain is added. They name no payer, and are removed before the call goes on.";
    CALLER_TRUST: CallerTrust = choice("caller-trust") or "none",
        "How the hop that names the caller proves itself. A hop that fails is unattributed.";
    CALLER_SHARED_SECRET_FILE: PathBuf = path("caller-shared-secret-file"),
        "File with the gateway's secret (header x-tokenweir-auth), one a line; two may be active at once. One that can be guessed is refused: openssl rand -hex 32. Read again when it changes.";
    CALLER_SHARED_SECRET: String = secret("caller-shared-secret"),
        "The gateway's secret; two, separated by a comma, may be active at once.";
    CALLER_NETWORKS: Vec<String> = list("caller-networks", "CIDRs, such as 10.1.0.0/16,fd00::/8"),
        "Networks of the gateway, for --caller-trust network.";
    CALLER_CERT_NAMES: Vec<String> = list("caller-cert-names", "DNS names or URIs"),
        "Names of which the client certificate must carry one, for --caller-trust mtls. Without it any certificate of the given roots will do.";
    ON_UNTRUSTED: OnUntrusted = choice("on-untrusted") or "unattributed",
        "What a call gets whose hop fails the test of --caller-trust: forwarded as unattributed, or 403.";
    CALLER_MAP_FILE: PathBuf = path("caller-map-file"),
        "CSV that gives callers a cost centre and a department from a date on: columns caller, from, to, cost_center, department. Read again when it changes.";
    CALLER_USER_IDS: UserIds = choice("caller-user-ids") or "hash",
        "How ids of people (x-apim-user-id, entra-user) stand in events.";
    API_KEY: ApiKey = choice("api-key") or "pass",
        "What becomes of api-key and x-api-key, in headers and query: passed on, removed, or a call that carries one gets 403.";
    CALLER_HASH_KEY_FILE: PathBuf = path("caller-hash-key-file"),
        "File with the key of the hashes of API keys, of ids of people and of tags. Without one a random key is made in the ledger's directory.";
    CALLER_HASH_KEY: String = secret("caller-hash-key"),
        "The key of the hashes.";
    GATEWAY_APP_IDS: Vec<String> = list("gateway-app-ids", "application ids"),
        "Entra applications that are the gateway itself and never a caller.";
    SUBSCRIPTION_KEY_NAMES: Vec<String> = list("subscription-key-names", "header and query names") or "Ocp-Apim-Subscription-Key,subscription-key",
        "The gateway's own keys: removed from headers and query before the call goes on.";

    # "TLS to the service"
    UPSTREAM_CA_FILE: PathBuf = path("upstream-ca-file"),
        "PEM file with the roots to trust instead of the system's.";
    UPSTREAM_CERT_FILE: PathBuf = path("upstream-cert-file"),
        "PEM file with the certificate chain that is shown to a service that asks for one.";
    UPSTREAM_KEY_FILE: PathBuf = path("upstream-key-file"),
        "PEM file with its private key.";

    # "What touches traffic"
    INCLUDE_USAGE: IncludeUsageMode = choice("include-usage") or "observe",
        "inject: streams that did not ask for usage ask for it, and the event that answers is taken out of the stream.";
    ON_CLIENT_DISCONNECT: OnClientDisconnect = choice("on-client-disconnect") or "abort",
        "When a caller hangs up: end the call at the service too, or read it to its end for the usage, within the three bounds below.";
    DISCONNECT_DRAIN_TIMEOUT: Duration = time("disconnect-drain-timeout", seconds(1), seconds(3600)) or "60s",
        "How long one abandoned stream is read on.";
    DISCONNECT_DRAIN_BYTES: u64 = size("disconnect-drain-bytes", 1 << 10, 1024 * MIB) or "4MiB",
        "How much of one abandoned stream is read on.";
    DISCONNECT_DRAIN_CALLS: usize = count("disconnect-drain-calls", 1, 100_000) or "64",
        "Abandoned streams that are read on at once; beyond it they are ended.";
    STREAMING: Streaming = choice("streaming") or "allow",
        "deny: a request for a stream gets 403 in the service's error shape. So does one whose body cannot be read, or is in a content coding: two readers could read it differently.";
    ON_ODD_PATH: OnOddPath = choice("on-odd-path") or "forward",
        "What a request gets whose path two services may read in two ways (an escape of what needs none, a dot segment, ;, a backslash, a control character, two deployments): forwarded as it is and metered, with the reason odd_path, or 400.";
    MAX_INSPECT: usize = memory("max-inspect", 1 << 10, 64 * MIB) or "1MiB",
        "How much of a request body --streaming deny and --include-usage inject wait for. Longer ones are refused by the former and left alone by the latter.";

    # "Limits and times"
    MAX_CONNECTIONS: usize = count("max-connections", 1, 1_000_000) or "20000",
        "Connections of callers at once; more wait to be accepted. Each takes a file descriptor, and one more upstream; a start and check warn of a limit (ulimit -n) that is too low, and then as many are taken as it is enough for.";
    MAX_IN_FLIGHT: usize = count("max-in-flight", 1, 1_000_000) or "20000",
        "Calls at once; beyond it 503 with Retry-After. Bounds the memory that calls hold.";
    MAX_HEADER_BYTES: usize = memory("max-header-bytes", 8 << 10, MIB) or "64KiB",
        "Request line and header fields of one request; larger ones get 431. An Entra token takes 2 to 8 KiB. An answer may have as much, and 64 KiB in any case; then 502.";
    MAX_HEADERS: usize = count("max-headers", 16, 1000) or "100",
        "Header fields of one request; more get 431. An answer may have as many; then 502.";
    HEADER_TIMEOUT: Duration = time("header-timeout", seconds(1), seconds(3600)) or "30s",
        "From the first byte of a request's head to its last, against callers that trickle it. TLS handshakes have the same time.";
    IDLE_TIMEOUT: Duration = time("idle-timeout", seconds(1), DAY) or "300s",
        "How long a connection waits for its next request. Longer than the gateway keeps idle connections, so that it closes first.";
    CALLER_IDLE_TIMEOUT: Duration = time("caller-idle-timeout", Duration::ZERO, DAY) or "0s",
        "How long a caller that is waited for may send nothing of a request's body (then 408), or take nothing of an answer; then the call is ended, outcome timeout, reason caller_idle. The service's own time never counts, and a tunnel has none. 0s: no limit, since slow readers are legal, and a gateway has limits of its own.";
    CONNECT_TIMEOUT: Duration = time("connect-timeout", Duration::from_millis(100), seconds(300)) or "10s",
        "Name, connection and TLS handshake of a service; then 502.";
    RESPONSE_TIMEOUT: Duration = time("response-timeout", Duration::ZERO, DAY) or "0s",
        "From the request's last byte to the head of the answer; then 504. 0s: no limit, since reasoning takes minutes and the gateway has its own.";
    STREAM_IDLE_TIMEOUT: Duration = time("stream-idle-timeout", Duration::ZERO, DAY) or "0s",
        "Silence within an answer; then the call is broken off. 0s: no limit, since a model may think for minutes.";
    TCP_KEEPALIVE: Duration = time("tcp-keepalive", seconds(1), seconds(7200)) or "60s",
        "Idle time after which TCP probes the peer, both sides. Azure's load balancers cut silent connections after 4 minutes.";

    # "Counting"
    PROMPT_MEMORY: usize = memory("prompt-memory", 0, TIB) or "256MiB",
        "Memory for request bodies that are kept to be counted; 0 keeps none. Over it the input is null, reason prompt_not_kept. One caller gets 15 of 16 parts at most, and so of --answer-memory.";
    ANSWER_MEMORY: usize = memory("answer-memory", 0, TIB) or "32MiB",
        "Memory for long answers (JSON, or one event) that are held to be read as a whole, beside the first 16KiB of each. Over it an answer is read as it passes: what the service reports is not lost, our own count is null, reason meter_overload.";
    DRIFT_SAMPLE: SampleRatio = share("drift-sample") or "1%",
        "Share of the calls with reported usage whose prompt is counted as well, to see whether the rules still hold.";
    END_OF_TURN: EndOfTurn = choice("end-of-turn") or "auto",
        "Whether the service bills the token that ends a turn. auto: not at api.openai.com, else yes.";

    # "Process and log"
    THREADS: usize = count("threads", 1, 64) or "1",
        "Network threads. One carries tens of thousands of chunks a second.";
    DRAIN_TIMEOUT: Duration = time("drain-timeout", Duration::ZERO, DAY) or "300s",
        "After SIGTERM: how long running streams may go on.";
    FLUSH_TIMEOUT: Duration = time("flush-timeout", Duration::ZERO, seconds(3600)) or "20s",
        "After the streams: how long events may take to be delivered.";
    LOG_LEVEL: LogLevel = choice("log-level") or "info",
        "How much is logged. Content and credentials never are.";
    LOG_FORMAT: LogFormat = choice("log-format") or "auto",
        "How lines are written: JSON for programs, text for people. auto: text on a terminal, else JSON.";
    LOG_CALLS: LogCalls = choice("log-calls") or "on",
        "Whether each call has a line at level info. sampled: the first call, and then one of 100.";
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static AnySetting> {
    SETTINGS.iter().copied().find(|setting| setting.name == name)
}

/// The settings as tables in Markdown, one for each group.
pub fn markdown() -> String {
    let mut table = String::new();
    let mut heading = "";
    for setting in SETTINGS {
        if setting.heading != heading {
            let gap = if heading.is_empty() { "" } else { "\n" };
            heading = setting.heading;
            table.push_str(&format!(
                "{gap}## {heading}\n\n| flag | default | allowed | what it does |\n|---|---|---|---|\n"
            ));
        }
        let name = setting.flag().unwrap_or_else(|| format!("{} (environment only)", setting.env()));
        let allowed = setting.kind.allowed().replace('|', "\\|");
        let default = setting.default.map_or(String::new(), |d| format!("`{d}`"));
        table.push_str(&format!("| `{name}` | {default} | {allowed} | {} |\n", setting.help));
    }
    table
}
