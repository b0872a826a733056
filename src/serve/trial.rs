//! Everything that a start needs, tried once: for `check --connect`. Nothing is sent to a service or a topic, and nothing is
//! left on the disk. All of it runs side by side, so that the whole takes as long as the slowest.

use std::io::{Error, ErrorKind};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::capture::key_names;
use super::config::Config;
use crate::capture::CaptureOptions;
use crate::ledger;
use crate::proxy::{self, Upstream};
use crate::publish::KafkaConfig;

/// How long brokers may take: a connection has ten seconds by itself.
const KAFKA_MAX: Duration = Duration::from_secs(12);

/// Bytes of a gibibyte.
const GIB: f64 = (1_u64 << 30) as f64;

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The thing.
    pub what: String,
    /// What was found there, or what is wrong.
    pub found: Result<String, String>,
}

/// Tries everything.
pub fn try_all(config: &Config) -> Vec<Trial> {
    std::thread::scope(|scope| {
        let services = config.proxy.upstreams.iter();
        let services = services.map(|upstream| scope.spawn(move || service(upstream, &config.proxy)));
        let mut running: Vec<_> = services.collect();
        if let Some(kafka) = &config.publish {
            running.push(scope.spawn(move || brokers(kafka)));
        }
        running.push(scope.spawn(|| place("ledger", &config.ledger.dir)));
        if let Some(kafka) = &config.publish_capture {
            running.push(scope.spawn(move || brokers(kafka)));
        }
        if let Some(dir) = config.capture.as_ref().and_then(|capture| capture.dir.as_ref()) {
            running.push(scope.spawn(move || place("capture-dir", dir)));
        }
        let mut trials: Vec<Trial> = running.into_iter().filter_map(|trial| trial.join().ok()).collect();
        trials.extend(config.capture.as_ref().and_then(keys));
        trials.extend(ports(config));
        trials
    })
}

fn service(upstream: &Upstream, config: &proxy::Config) -> Trial {
    let met = upstream.reach(config.tls.as_ref(), &config.limits);
    let found = met.map(|met| {
        let tls = met
            .tls
            .map_or(String::new(), |tls| format!(", {} with a certificate for {}", tls.version, tls.names));
        format!("{} in {}{tls}", met.peer, shown(met.time))
    });
    Trial { what: format!("upstream {}", upstream.resource()), found }
}

fn brokers(kafka: &KafkaConfig) -> Trial {
    let found = kafka.look(KAFKA_MAX).map(|seen| {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let (brokers, partitions) = (seen.brokers, seen.partitions);
        format!("{brokers} broker{}, {partitions} partition{}", plural(brokers), plural(partitions))
    });
    Trial { what: format!("kafka {}, topic {}", kafka.brokers, kafka.topic), found }
}

/// The keys were read with the configuration; this says which they are.
fn keys(capture: &CaptureOptions) -> Option<Trial> {
    let keys = key_names(&capture.seal)?;
    Some(Trial { what: "capture-key-file".to_owned(), found: Ok(format!("content is sealed to {keys}")) })
}

fn place(what: &str, dir: &Path) -> Trial {
    let found = ledger::examine(dir).map(|place| {
        let room = format!("{}, {:.1} GiB free", place.filesystem, place.free_bytes as f64 / GIB);
        let written = match place.sync_time {
            Some(took) => format!("written and synced in {}", shown(took)),
            None => "made at the start".to_owned(),
        };
        match place.owner {
            None => format!("{room}, {written}"),
            Some(pid) => {
                let process = pid.map_or(String::new(), |pid| format!(" {pid}"));
                format!("{room}, {written}; in use by process{process}")
            }
        }
    });
    let found = found.map_err(|(path, error)| format!("{}: {error}", path.display()));
    Trial { what: format!("{what} {}", dir.display()), found }
}

/// Both ports at once, so that one address for both is found too.
fn ports(config: &Config) -> [Trial; 2] {
    let (calls, admin) = (config.proxy.listen, config.admin_listen);
    let (held, other) = (TcpListener::bind(calls), TcpListener::bind(admin));
    [("listen", calls, &held), ("admin-listen", admin, &other)].map(|(setting, address, bound)| {
        let found = match bound {
            Ok(_) if address.port() == 0 => Ok("a free port is taken at the start".to_owned()),
            Ok(_) => Ok("free".to_owned()),
            Err(error) => Err(bind_problem(error)),
        };
        Trial { what: format!("{setting} {address}"), found }
    })
}

fn bind_problem(error: &Error) -> String {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "; does `tokenweir serve` run already?",
        ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    };
    format!("{error}{why}")
}

/// A time in whole milliseconds, one at least.
fn shown(time: Duration) -> String {
    format!("{} ms", time.as_millis().max(1))
}
