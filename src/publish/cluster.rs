//! The brokers of the cluster, as the client's own statistics show them.

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

/// The brokers of the cluster, by number. Addresses to begin with have none, and are left out.
pub(super) fn brokers(statistics: &Statistics) -> Vec<Broker> {
    let known = statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
    let mut brokers: Vec<Broker> = known
        .map(|broker| Broker {
            id: broker.nodeid,
            // The states in which a connection is ready for requests (STATISTICS.md of librdkafka).
            up: matches!(broker.state.as_str(), "UP" | "UPDATE"),
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
        assert_eq!(
            brokers(&statistics),
            [
                Broker { id: 3, up: false, round_trip_s: None },
                Broker { id: 7, up: true, round_trip_s: Some(0.0025) },
            ]
        );
    }
}
