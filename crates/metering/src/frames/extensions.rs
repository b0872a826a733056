//! The compression that a handshake agreed upon: `permessage-deflate` in the `Sec-WebSocket-Extensions` of the
//! response (RFC 7692 section 7.1).

/// Bits of the largest window that DEFLATE has (RFC 7692 7.1.2).
const WINDOW_BITS_MAX: u8 = 15;

/// The smallest window that may be agreed upon.
const WINDOW_BITS_MIN: u8 = 8;

/// The compression of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Bits of the window that its sender keeps.
    pub(super) window_bits: u8,
    /// Each message begins with an empty window.
    pub(super) forgets: bool,
}

/// The compression that was agreed upon, for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The compression of the messages that the client sends.
    pub client: Option<Compression>,
    /// The compression of the messages that the server sends.
    pub server: Option<Compression>,
}

impl Extensions {
    /// The extensions that these values of `Sec-WebSocket-Extensions` name, which are the server's. Others than
    /// compression, and one whose parameters make no sense, count as not agreed upon.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Extensions {
        let named = values.into_iter().flat_map(|value| value.split(','));
        named.map(str::trim).find_map(deflate).unwrap_or_default()
    }
}

/// The two directions of a `permessage-deflate`; `None`: it is another extension, or is malformed.
fn deflate(extension: &str) -> Option<Extensions> {
    let mut parts = extension.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let whole = Compression { window_bits: WINDOW_BITS_MAX, forgets: false };
    let (mut client, mut server) = (whole, whole);
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("client_no_context_takeover", None) => client.forgets = true,
            ("server_no_context_takeover", None) => server.forgets = true,
            ("client_max_window_bits", Some(bits)) => client.window_bits = window_bits(bits)?,
            ("server_max_window_bits", Some(bits)) => server.window_bits = window_bits(bits)?,
            _ => return None,
        }
    }
    Some(Extensions { client: Some(client), server: Some(server) })
}

fn window_bits(text: &str) -> Option<u8> {
    text.parse().ok().filter(|bits| (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_each_direction() {
        let of = |value: &str| {
            let Extensions { client, server } = Extensions::of([value]);
            let said = |one: Compression| (one.window_bits, one.forgets);
            client.map(said).zip(server.map(said))
        };
        for (value, expected) in [
            ("permessage-deflate", Some(((15, false), (15, false)))),
            ("Permessage-Deflate ; client_no_context_takeover", Some(((15, true), (15, false)))),
            ("permessage-deflate; server_no_context_takeover", Some(((15, false), (15, true)))),
            (
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits = \"10\"",
                Some(((10, false), (9, false))),
            ),
            ("x-own; a=b, permessage-deflate", Some(((15, false), (15, false)))),
            ("", None),
            ("x-own", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits", None),
            ("permessage-deflate; of_the_future", None),
        ] {
            assert_eq!(of(value), expected, "{value}");
        }
        assert!(Extensions::of([]).client.is_none());
        assert!(Extensions::of(["x", "permessage-deflate"]).client.is_some());
    }
}
