//! Frames of WebSockets (RFC 6455) as tests write and read them: whole messages of less than 64 KiB.

use std::io::{self, Read};

const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
/// The length that says that two bytes of length follow.
const LONGER: u8 = 126;

/// A close frame of a service, and one of a client.
pub(crate) const CLOSE: &[u8] = b"\x88\x02\x03\xe8";
pub(crate) const MASKED_CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// A text of a service.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&head(text.len(), 0)[..], text.as_bytes()].concat()
}

/// A text of a client, under a mask.
pub(crate) fn masked_text(text: &str, mask: [u8; 4]) -> Vec<u8> {
    let masked = text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [&head(text.len(), MASKED)[..], &mask].concat().into_iter().chain(masked).collect()
}

fn head(length: usize, masked: u8) -> Vec<u8> {
    match u8::try_from(length).ok().filter(|&length| length < LONGER) {
        Some(length) => vec![TEXT, masked | length],
        None => {
            let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
            vec![TEXT, masked | LONGER, high, low]
        }
    }
}

/// The next text of the other side, without its mask; `None` if it closes.
pub(crate) fn read_text(from: &mut impl Read) -> io::Result<Option<String>> {
    let mut head = [0; 2];
    from.read_exact(&mut head)?;
    let [opcode, length] = head;
    let mut length_bytes = [0; 2];
    let length = match length & !MASKED {
        LONGER => {
            from.read_exact(&mut length_bytes)?;
            u16::from_be_bytes(length_bytes)
        }
        short => u16::from(short),
    };
    let mut mask = [0; 4];
    if head[1] & MASKED != 0 {
        from.read_exact(&mut mask)?;
    }
    let mut payload = vec![0; usize::from(length)];
    from.read_exact(&mut payload)?;
    payload.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((opcode == TEXT).then(|| String::from_utf8(payload).unwrap()))
}
