//! Values of a Kafka client.

use rdkafka::ClientConfig;

/// Sets each.
pub(super) fn set_all(client: &mut ClientConfig, values: &[(&str, &str)]) {
    for (key, value) in values {
        client.set(*key, *value);
    }
}
