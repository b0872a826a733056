//! Checks brokers' addresses before a connection is made: each must be `host:port`.
//!
//! A refused address is repeated as far as it is a host and a port: a user, a password or a connection string that
//! stands here by mistake is not.

use std::net::Ipv6Addr;

/// Hosts of Event Hubs end so, ..
pub(super) const EVENT_HUBS: &str = ".servicebus.windows.net";

/// .. and listen for Kafka here only.
const EVENT_HUBS_PORT: &str = "9093";

/// Where Kafka listens by convention; only ever suggested.
const KAFKA_PORT: &str = "9092";

/// Characters between two dots of a name (RFC 1035 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Says what is wrong with one address; `None` if it is `host:port`.
pub(super) fn problem(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if ["sharedaccess", "endpoint="].iter().any(|word| text.to_ascii_lowercase().contains(word)) {
        return Some(format!(
            "holds a connection string, which is a secret: give that in TOKENWEIR_KAFKA_CONNECTION_STRING or \
             --kafka-connection-string-file, and here NAMESPACE{EVENT_HUBS}:{EVENT_HUBS_PORT}"
        ));
    }
    if text.contains('@') {
        return Some(
            "holds a user name (what stands before @), which has settings of its own; allowed: host:port"
                .to_owned(),
        );
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let (authority, more) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let more = if matches!(more, "" | "/") { more } else { "/.." };
        let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let shown = match shown(authority) {
            Some(authority) if plain => format!("\"{scheme}://{authority}{more}\""),
            _ => "an address".to_owned(),
        };
        return Some(format!("{shown} is a URL; allowed: host:port, here {}", completed(authority)));
    }
    let (host, port) = split(text);
    if !is_host(host) {
        return Some(match shown(text) {
            Some(text) => format!("{text:?} is not allowed: {host:?} is no host; allowed: host:port"),
            None => "an address is not allowed: it has no host; allowed: host:port".to_owned(),
        });
    }
    let Some(port) = port else {
        // A token or a key has the shape of a host.
        if ["eyJ", "sk-"].iter().any(|start| host.starts_with(start)) {
            return Some("an address has no port; allowed: host:port".to_owned());
        }
        return Some(match hub_address(host) {
            Some(hub) => format!("{text} has no port; Event Hubs listens for Kafka on {hub}"),
            None => format!("{text:?} has no port; allowed: host:port, such as {}", completed(text)),
        });
    };
    if !is_number(port) {
        return Some(format!("\"{host}:\" is not allowed: no port follows; allowed: host:1 to host:65535"));
    }
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Some(format!("{text:?} is not allowed: {port:?} is no port; allowed: host:1 to host:65535"));
    }
    let hub = hub_address(host).filter(|_| port != EVENT_HUBS_PORT)?;
    Some(format!("{host} has port {port}; Event Hubs listens for Kafka on {hub}"))
}

/// A host and a port, or one of them; `None`: it is something else.
fn shown(text: &str) -> Option<&str> {
    let (host, port) = split(text);
    let fine = (host.is_empty() || is_host(host)) && port.is_none_or(is_number);
    fine.then_some(text)
}

/// Digits, as many as a port may have by mistake.
fn is_number(port: &str) -> bool {
    port.len() <= 6 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Host and port; of an IPv6 address without brackets all of it is the host.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        _ if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// A name, an IPv4 address, or an IPv6 address; the last needs brackets only before a port.
pub(super) fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let label = |label: &str| label.len() <= LABEL_BYTES_MAX && label.bytes().all(name);
    inner.unwrap_or(host).parse::<Ipv6Addr>().is_ok() || (!host.is_empty() && host.split('.').all(label))
}

fn hub_address(host: &str) -> Option<String> {
    host.to_ascii_lowercase().ends_with(EVENT_HUBS).then(|| format!("{host}:{EVENT_HUBS_PORT}"))
}

/// The address that was probably meant: with brackets and with a port.
fn completed(text: &str) -> String {
    let (host, port) = split(text);
    if !is_host(host) || !port.is_none_or(is_number) {
        return format!("broker.example.org:{KAFKA_PORT}");
    }
    let bare = host.parse::<Ipv6Addr>().is_ok();
    let host = if bare { format!("[{host}]") } else { host.to_owned() };
    hub_address(&host).unwrap_or_else(|| format!("{host}:{}", port.unwrap_or(KAFKA_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for fine in [
            "127.0.0.1:9092",
            "kafka:1",
            "b-1.kafka_x.svc:65535",
            "[::1]:9092",
            " b:1 ",
            "",
            "ns.servicebus.windows.net:9093",
        ] {
            assert_eq!(problem(fine), None, "{fine}");
        }
        for (text, said) in [
            ("127.0.0.1", "\"127.0.0.1\" has no port; allowed: host:port, such as 127.0.0.1:9092"),
            ("kafka", "\"kafka\" has no port; allowed: host:port, such as kafka:9092"),
            ("::1", "\"::1\" has no port; allowed: host:port, such as [::1]:9092"),
            ("[::1]", "\"[::1]\" has no port; allowed: host:port, such as [::1]:9092"),
            ("kafka:", "\"kafka:\" is not allowed: \"\" is no port; allowed: host:1 to host:65535"),
            ("kafka:http", "\"kafka:\" is not allowed: no port follows; allowed: host:1 to host:65535"),
            ("kafka:0", "\"kafka:0\" is not allowed: \"0\" is no port; allowed: host:1 to host:65535"),
            (
                "kafka:65536",
                "\"kafka:65536\" is not allowed: \"65536\" is no port; allowed: host:1 to host:65535",
            ),
            (":9092", "\":9092\" is not allowed: \"\" is no host; allowed: host:port"),
            ("a b:9092", "an address is not allowed: it has no host; allowed: host:port"),
            ("a;b:1", "an address is not allowed: it has no host; allowed: host:port"),
            (
                "https://ns.servicebus.windows.net:9093",
                "\"https://ns.servicebus.windows.net:9093\" is a URL; allowed: host:port, here \
                 ns.servicebus.windows.net:9093",
            ),
            (
                "sb://ns.servicebus.windows.net/",
                "\"sb://ns.servicebus.windows.net/\" is a URL; allowed: host:port, here \
                 ns.servicebus.windows.net:9093",
            ),
            (
                "PLAINTEXT://kafka:9094",
                "\"PLAINTEXT://kafka:9094\" is a URL; allowed: host:port, here kafka:9094",
            ),
            (
                "NS.ServiceBus.Windows.Net:9092",
                "NS.ServiceBus.Windows.Net has port 9092; Event Hubs listens for Kafka on NS.ServiceBus.Windows.Net:9093",
            ),
        ] {
            assert_eq!(problem(text).as_deref(), Some(said));
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for text in [
            "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=hush",
            "SharedAccessSignature sr=hush",
            "user:hush@kafka:9092",
            "https://user:hush@kafka:9092",
            "endpoint=sb://ns/;sharedaccesskey=hush",
            "user:hush",
            "https://user:hush",
            "https://kafka:9092/hush",
            "https://kafka?hush",
            "hush key:9092",
            "hush://kafka x",
            "hush=",
            "eyJhbGciOiJub25lIn0.hush.c2ln",
            "sk-hush",
            &"hush".repeat(16),
        ] {
            assert!(!problem(text).unwrap().contains("hush"), "{text}");
        }
    }
}
