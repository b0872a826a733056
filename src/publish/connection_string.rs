//! Checks an Event Hubs connection string before the broker denies it.
//!
//! `Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=..;SharedAccessKey=..` and, for
//! the key of a single event hub, `;EntityPath=..`.

use super::brokers::is_host;

/// Says what is wrong with a connection string, without repeating a secret; `None` if nothing is.
/// `hosts` are the brokers'.
pub(super) fn problem(text: &str, topic: &str, hosts: &[&str]) -> Option<String> {
    let part = |name: &str| {
        let parts = text.split(';').filter_map(|part| part.split_once('='));
        let mut named = parts.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    if text.starts_with("SharedAccessSignature ") || part("SharedAccessSignature").is_some() {
        return Some(
            "is a SAS token, which Event Hubs does not take for Kafka; use one with a SharedAccessKey"
                .to_owned(),
        );
    }
    let endpoint = part("Endpoint").and_then(|url| url.strip_prefix("sb://"));
    let Some(endpoint) = endpoint else {
        return Some("has no Endpoint=sb://..; copy the whole of it from the portal".to_owned());
    };
    for name in ["SharedAccessKeyName", "SharedAccessKey"] {
        if part(name).is_none() {
            return Some(format!("has no {name}=..; copy the whole of it from the portal"));
        }
    }
    if let Some(entity) = part("EntityPath").filter(|entity| *entity != topic) {
        // A text that cannot be the name of one is not repeated: a part of the string may be misplaced.
        let shown =
            |name: &str| if is_host(name) { format!("{name:?}") } else { "of another name".to_owned() };
        return Some(format!(
            "is for the event hub {} (EntityPath), but kafka_topic is {}",
            shown(entity),
            shown(topic)
        ));
    }
    let namespace = endpoint.split(['/', ':']).next().unwrap_or_default();
    if !hosts.is_empty() && !hosts.iter().any(|host| host.eq_ignore_ascii_case(namespace)) {
        let shown = if is_host(namespace) { namespace } else { "no host" };
        return Some(format!("is for {shown}, but kafka_brokers names {}", hosts.join(", ")));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen_is_told_and_the_key_is_not() {
        let start = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=hush=";
        let host = "ns.servicebus.windows.net";
        for (text, needle) in [
            (start.to_owned(), None),
            (format!("{start};EntityPath=ai-usage"), None),
            (start.to_ascii_lowercase().replace("hush=", "HUSH="), None),
            (format!("{start};EntityPath=other"), Some("\"other\" (EntityPath)")),
            (start.replace("//ns.", "//away."), Some("away.servicebus.windows.net")),
            (start.replace("sb://", "https://"), Some("Endpoint=sb://")),
            (start.replace("SharedAccessKeyName=send;", ""), Some("SharedAccessKeyName")),
            (start.replace("hush=", ""), Some("SharedAccessKey=")),
            ("SharedAccessSignature sr=hush&sig=hush&se=1&skn=send".to_owned(), Some("SAS token")),
            (format!("Endpoint=sb://{host}/;SharedAccessSignature=hush"), Some("SAS token")),
            ("hush".to_owned(), Some("Endpoint")),
        ] {
            let told = problem(&text, "ai-usage", &[host]);
            assert_eq!(told.is_some(), needle.is_some(), "{text}: {told:?}");
            let told = told.unwrap_or_default();
            assert!(told.contains(needle.unwrap_or_default()) && !told.contains("hush"), "{text}: {told}");
        }
        assert_eq!(problem(start, "ai-usage", &[]), None, "a broker behind a name of its own");
    }
}
