//! Any bytes as what one side of a WebSocket sends: any split says the same as the whole, and that is what a
//! second reader finds, who has all of it before him.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::frames::{Extensions, Frames};
use tokenweir_fuzz::Cuts;

/// What can be said of a direction: something has begun and not ended, a whole close frame has gone by, all
/// of it was frames.
type Said = (bool, bool, bool);

const BETWEEN: Said = (false, false, true);
const OPEN: Said = (true, false, true);
const CLOSED: Said = (false, true, true);
const UNREADABLE: Said = (false, false, false);

const CLOSE: u8 = 8;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let (masked, extended) = (kind & 1 != 0, kind & 2 != 0);
    let (mut cuts, bytes) = Cuts::take(rest);
    let agreed = if extended { Extensions::of(["permessage-deflate"]) } else { Extensions::default() };
    let start = || if masked { Frames::of_client(agreed.client) } else { Frames::of_server(agreed.server) };
    let mut whole = start();
    assert_eq!(whole.push(bytes, &mut 0, &mut ()), bytes.len());
    assert_eq!(said(&whole), read(bytes, masked, extended));
    let (mut frames, mut seen) = (start(), 0);
    for piece in cuts.pieces(bytes) {
        assert_eq!(frames.push(piece, &mut 0, &mut ()), piece.len());
        seen += piece.len();
        // What is closed or unreadable stays so.
        assert_eq!(said(&frames), read(&bytes[..seen], masked, extended), "after {seen}");
    }
    let mut other = Frames::unreadable();
    other.push(bytes, &mut 0, &mut ());
    assert_eq!(said(&other), UNREADABLE);
});

fn said(frames: &Frames) -> Said {
    (frames.is_open(), frames.is_closed(), frames.is_readable())
}

/// RFC 6455 5.2 to 5.5, frame by frame.
fn read(mut bytes: &[u8], masked: bool, extended: bool) -> Said {
    let mut within_message = false;
    loop {
        let (first, second) = match bytes {
            [] if within_message => return OPEN,
            [] => return BETWEEN,
            [_] => return OPEN,
            [first, second, ..] => (*first, *second),
        };
        let (last, opcode, short) = (first & 0x80 != 0, first & 15, second & 0x7f);
        let is_control = opcode >= CLOSE;
        let known = matches!(opcode, 0..=2 | CLOSE..=10);
        let may_be_compressed = extended && matches!(opcode, 1 | 2);
        let reserved = first & 0x70 & if may_be_compressed { !0x40 } else { !0 };
        let in_order = is_control || (opcode == 0) == within_message;
        let control_fits = !is_control || (last && short <= 125);
        if !known || reserved != 0 || !in_order || !control_fits || (second & 0x80 != 0) != masked {
            return UNREADABLE;
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let head_bytes = 2 + length_bytes + if masked { 4 } else { 0 };
        if bytes.len() < head_bytes {
            return OPEN;
        }
        let mut length = [0; 8];
        length[8 - length_bytes..].copy_from_slice(&bytes[2..2 + length_bytes]);
        let length = if length_bytes == 0 { u64::from(short) } else { u64::from_be_bytes(length) };
        if length > u64::MAX >> 1 {
            return UNREADABLE;
        }
        let payload = &bytes[head_bytes..];
        if (payload.len() as u64) < length {
            return OPEN;
        }
        if opcode == CLOSE {
            return CLOSED;
        }
        if !is_control {
            within_message = !last;
        }
        bytes = &payload[usize::try_from(length).unwrap()..];
    }
}
