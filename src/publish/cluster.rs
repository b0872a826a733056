//! The brokers of the cluster, as the client's own statistics show them.

use std::collections::BTreeMap;

use rdkafka::statistics::Statistics;

/// One broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its number in the cluster.
    pub id: i32,
    /// There is a connection that works.
    pub up: bool,
    /// 99 of 100 requests of late were answered within this time, in seconds. `None`: there were none.
    pub round_trip_s: Option<f64>,
}

/// Microseconds, in which librdkafka measures, in a second.
const SECOND_US: f64 = 1e6;

/// The states in which a connection is ready for requests (STATISTICS.md of librdkafka).
fn is_up(state: &str) -> bool {
    matches!(state, "UP" | "UPDATE")
}

/// A connection to a broker works, be it an address to begin with or a member of the cluster.
pub(super) fn is_reachable(statistics: &Statistics) -> bool {
    statistics.brokers.values().any(|broker| is_up(&broker.state))
}

/// Counts connections that were tried and never came to work, since name, TCP, TLS, protocol or login failed. The client
/// counts tries only, so what became of them is seen by the state of each broker from one statistic to the next.
#[derive(Debug, Default)]
pub(super) struct FailedConnections {
    /// By the client's name for the broker: its tries, and whether the last was under way.
    seen: BTreeMap<String, (i64, bool)>,
}

impl FailedConnections {
    /// Those that failed since the last statistics.
    pub(super) fn since(&mut self, statistics: &Statistics) -> u64 {
        let failed = statistics.brokers.iter().map(|(name, broker)| {
            let tries = broker.connects.unwrap_or(0);
            let at_rest = matches!(broker.state.as_str(), "INIT" | "DOWN" | "TRY_CONNECT");
            let now = (tries, !at_rest && !is_up(&broker.state));
            let (tries_before, under_way) = self.seen.insert(name.clone(), now).unwrap_or_default();
            let ended = tries - tries_before + i64::from(under_way) - i64::from(!at_rest);
            u64::try_from(ended).unwrap_or(0)
        });
        failed.sum()
    }
}

/// The brokers of the cluster, by number. Addresses to begin with have none, and are left out.
pub(super) fn brokers(statistics: &Statistics) -> Vec<Broker> {
    let known = statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
    let mut brokers: Vec<Broker> = known
        .map(|broker| Broker {
            id: broker.nodeid,
            up: is_up(&broker.state),
            round_trip_s: broker
                .rtt
                .as_ref()
                .filter(|window| window.cnt > 0)
                .map(|window| window.p99 as f64 / SECOND_US),
        })
        .collect();
    brokers.sort_by_key(|broker| broker.id);
    brokers
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::statistics::{Broker as Seen, Window};

    #[test]
    fn a_connection_that_never_worked_has_failed_and_one_that_ended_has_not() {
        let mut failed = FailedConnections::default();
        let mut since = |state: &str, connects| {
            let broker = Seen { state: state.to_owned(), connects: Some(connects), ..Seen::default() };
            let brokers = [("b".to_owned(), broker)].into();
            failed.since(&Statistics { brokers, ..Statistics::default() })
        };
        for (state, connects, expected) in [
            ("INIT", 0, 0),
            ("CONNECT", 1, 0),     // the first is under way,
            ("CONNECT", 1, 0),     // and still is,
            ("CONNECT", 2, 1),     // and has failed
            ("TRY_CONNECT", 5, 4), // as has the second, with three more
            ("UP", 6, 0),
            ("UP", 6, 0),
            ("INIT", 6, 0), // an idle connection was closed,
            ("UP", 7, 0),   // and another one made
            ("APIVERSION_QUERY", 10, 2),
            ("UP", 10, 0),
            ("TRY_CONNECT", 12, 2),
        ] {
            assert_eq!(since(state, connects), expected, "{state} {connects}");
        }
    }

    #[test]
    fn brokers_of_the_cluster_are_shown_by_number_with_times_in_seconds() {
        let broker = |nodeid, state: &str, rtt: Option<(i64, i64)>| Seen {
            nodeid,
            state: state.to_owned(),
            rtt: rtt.map(|(cnt, p99)| Window { cnt, p99, ..Window::default() }),
            ..Seen::default()
        };
        let all =
            [broker(7, "UP", Some((12, 2_500))), broker(-1, "UP", None), broker(3, "CONNECT", Some((0, 0)))];
        let named = all.into_iter().enumerate().map(|(n, broker)| (n.to_string(), broker));
        let statistics = Statistics { brokers: named.collect(), ..Statistics::default() };
        assert!(is_reachable(&statistics) && !is_reachable(&Statistics::default()));
        assert_eq!(
            brokers(&statistics),
            [
                Broker { id: 3, up: false, round_trip_s: None },
                Broker { id: 7, up: true, round_trip_s: Some(0.0025) },
            ]
        );
    }
}
