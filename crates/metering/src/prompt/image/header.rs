//! The size of an image, from the first bytes of its file.
//!
//! The bytes are read where they stand in the base64 text of a `data:` URL, a few at a time: nothing
//! is decoded that is not looked at, however large the image. A header that is cut, or that is none,
//! has no size.

/// Segments of a JPEG that are skipped before its frame header. Files have some ten; EXIF data and a
/// colour profile of many parts make up to a hundred.
const JPEG_SEGMENTS_MAX: usize = 1_000;

/// Width and height in pixels, as stored: a picture that EXIF turns is charged the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    /// `None` if there is nothing to see.
    fn new(width: impl Into<u32>, height: impl Into<u32>) -> Option<Size> {
        let size = Size { width: width.into(), height: height.into() };
        (size.width > 0 && size.height > 0).then_some(size)
    }
}

/// The size of a PNG, JPEG, WebP or GIF; `None` if the text does not start with the header of one.
pub(super) fn size(base64: &str) -> Option<Size> {
    let file = Base64(base64.as_bytes());
    match file.bytes(0)? {
        [0x89, b'P'] => png(file),
        [0xFF, 0xD8] => jpeg(file),
        [b'R', b'I'] => webp(file),
        [b'G', b'I'] => gif(file),
        _ => None,
    }
}

/// A file as base64 text.
#[derive(Clone, Copy)]
struct Base64<'a>(&'a [u8]);

impl Base64<'_> {
    /// The bytes at an offset of the file; `None` beyond its end or where the text is no base64.
    fn bytes<const LEN: usize>(self, at: usize) -> Option<[u8; LEN]> {
        let mut out = [0; LEN];
        for (place, byte) in out.iter_mut().enumerate() {
            *byte = self.byte(at.checked_add(place)?)?;
        }
        Some(out)
    }

    /// Each byte lies in two neighbouring digits: four digits hold three bytes.
    fn byte(self, at: usize) -> Option<u8> {
        let first = (at / 3).checked_mul(4)?.checked_add(at % 3)?;
        let pair = u16::from(self.digit(first)?) << 6 | u16::from(self.digit(first.checked_add(1)?)?);
        let [_, byte] = (pair >> (4 - 2 * (at % 3))).to_be_bytes();
        Some(byte)
    }

    fn digit(self, at: usize) -> Option<u8> {
        match *self.0.get(at)? {
            digit @ b'A'..=b'Z' => Some(digit - b'A'),
            digit @ b'a'..=b'z' => Some(digit - b'a' + 26),
            digit @ b'0'..=b'9' => Some(digit - b'0' + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        }
    }
}

/// The header chunk comes first and starts with the size.
fn png(file: Base64<'_>) -> Option<Size> {
    let start = file.bytes::<16>(0)?;
    let is_png = start.starts_with(b"\x89PNG\r\n\x1A\n") && start.ends_with(b"IHDR");
    let size = || Size::new(u32::from_be_bytes(file.bytes(16)?), u32::from_be_bytes(file.bytes(20)?));
    if is_png { size() } else { None }
}

/// The size of the canvas comes right after the version.
fn gif(file: Base64<'_>) -> Option<Size> {
    let version = file.bytes::<6>(0)?;
    let size = || Size::new(u16::from_le_bytes(file.bytes(6)?), u16::from_le_bytes(file.bytes(8)?));
    if matches!(&version, b"GIF87a" | b"GIF89a") { size() } else { None }
}

/// Segments, each with its length, up to the frame header. Which comes late in photos: EXIF data with
/// a small picture and colour profiles stand before it.
fn jpeg(file: Base64<'_>) -> Option<Size> {
    let mut at = 2;
    for _ in 0..JPEG_SEGMENTS_MAX {
        let [prefix, marker] = file.bytes(at)?;
        at += match (prefix, marker) {
            // Any number of fill bytes may stand before a marker.
            (0xFF, 0xFF) => 1,
            // Markers without content.
            (0xFF, 0x01 | 0xD0..=0xD8) => 2,
            // Frame headers of all kinds, among them progressive ones; in between other tables.
            (0xFF, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) => {
                let height = u16::from_be_bytes(file.bytes(at + 5)?);
                return Size::new(u16::from_be_bytes(file.bytes(at + 7)?), height);
            }
            // The picture starts, or ends, without a frame header.
            (0xFF, 0x00 | 0xD9 | 0xDA) => return None,
            (0xFF, _) => 2 + usize::from(u16::from_be_bytes(file.bytes(at + 2)?)),
            _ => return None,
        };
    }
    None
}

/// One of three kinds of first chunk: lossy, lossless, or a header of its own.
fn webp(file: Base64<'_>) -> Option<Size> {
    let start = file.bytes::<16>(0)?;
    if !start.starts_with(b"RIFF") || &start[8..12] != b"WEBP" {
        return None;
    }
    match &start[12..] {
        b"VP8 " => {
            let [.., 0x9D, 0x01, 0x2A] = file.bytes::<6>(20)? else { return None };
            let side = |at| Some(u16::from_le_bytes(file.bytes(at)?) & 0x3FFF);
            Size::new(side(26)?, side(28)?)
        }
        b"VP8L" => {
            let [0x2F] = file.bytes(20)? else { return None };
            let sides = u32::from_le_bytes(file.bytes(21)?);
            Size::new((sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1)
        }
        b"VP8X" => {
            let side = |at| {
                let [low, middle, high] = file.bytes(at)?;
                Some(u32::from_le_bytes([low, middle, high, 0]) + 1)
            };
            Size::new(side(24)?, side(27)?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// Headers of each kind and how many of their bytes are needed to tell the size.
    fn headers() -> Vec<(&'static str, Vec<u8>, usize, Size)> {
        let size = |width, height| Size { width, height };
        let mut png = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR".to_vec();
        png.extend([0, 0, 0x12, 0x34, 0, 1, 0, 5, 8, 6, 0, 0, 0]);
        let mut jpeg = b"\xFF\xD8\xFF\xE1\x00\x10Exif\0\0MM\0*\0\0\0\x08".to_vec();
        // A picture within EXIF data is not the picture.
        jpeg.extend(b"\xFF\xE1\x00\x0D\xFF\xD8\xFF\xC0\x00\x11\x08\x00\x01\x00\x01");
        jpeg.extend(b"\xFF\xC4\x00\x04ab\xFF\xFF\xFF");
        let progressive = [jpeg.clone(), b"\xFF\xC2\x00\x11\x08\x02\x80\x01\xE0\x03\x01".to_vec()].concat();
        let baseline = b"\xFF\xD8\xFF\xC0\x00\x11\x08\x00\x07\x00\x09\x03".to_vec();
        let lossy = b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0\x30\x01\0\x9D\x01\x2A\x40\x81\xF0\x40\0".to_vec();
        let lossless = b"RIFF\x24\0\0\0WEBPVP8L\x18\0\0\0\x2F\xFF\xC1\x3F\x00\0\0".to_vec();
        let extended = b"RIFF\x24\0\0\0WEBPVP8X\x0A\0\0\0\x10\0\0\0\x0F\x27\x00\xFF\x00\x00\0".to_vec();
        vec![
            ("png", png, 24, size(0x1234, 0x0001_0005)),
            ("gif87", b"GIF87a\x05\x00\x00\x01\xF7".to_vec(), 10, size(5, 256)),
            ("gif89", b"GIF89a\xFF\xFF\x01\x00\xF7".to_vec(), 10, size(65_535, 1)),
            ("progressive", progressive.clone(), progressive.len() - 2, size(480, 640)),
            ("baseline", baseline, 11, size(9, 7)),
            ("lossy", lossy, 30, size(0x140, 0xF0)),
            ("lossless", lossless, 25, size(512, 256)),
            ("extended", extended, 30, size(10_000, 256)),
        ]
    }

    #[test]
    fn a_header_cut_anywhere_has_no_size_or_the_right_one() {
        for (kind, bytes, needed, expected) in headers() {
            for len in 0..=bytes.len() {
                let found = size(&STANDARD.encode(&bytes[..len]));
                assert_eq!(found, (len >= needed).then_some(expected), "{kind}, {len} bytes");
            }
            // The text may as well be cut within its last four digits.
            let text = STANDARD.encode(&bytes);
            for len in 0..text.len() {
                let found = size(&text[..len]);
                assert!(found.is_none() || found == Some(expected), "{kind}, {len} digits");
            }
        }
    }

    #[test]
    fn garbage_never_panics() {
        let mut state = 7u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let headers = headers();
        for round in 0..20_000 {
            let (_, mut bytes, ..) = headers[round % headers.len()].clone();
            for _ in 0..=random() % 6 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
            bytes.truncate(random() as usize % (bytes.len() + 1));
            let mut text = STANDARD.encode(&bytes);
            if random() % 4 == 0 {
                text.insert(random() as usize % (text.len() + 1), '\u{e9}');
            }
            let _ = size(&text);
        }
    }

    #[test]
    fn nothing_else_has_a_size() {
        for bytes in [
            &b""[..],
            b"\x89PNG",
            b"\xFF\xD8\xFF\xDA\x00\x08aaaaaaaa",
            b"\xFF\xD8\xFF\xC0\x00\x11\x08\x00\x00\x00\x09\x03",
            b"<svg width=\"1\"/>",
            b"RIFF\x24\0\0\0WAVEfmt aaaaaaaaaaaaaaaaaaa",
            b"BM aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(size(&STANDARD.encode(bytes)), None);
        }
        assert_eq!(size("not base64"), None);
    }

    #[test]
    fn long_jpegs_take_little_time() {
        // Fill bytes and empty segments to the end of a large file: given up after a bounded number.
        for pattern in [&b"\xFF"[..], b"\xFF\xE1\x00\x00", b"\xFF\xD0"] {
            let bytes = [b"\xFF\xD8".to_vec(), pattern.repeat(1 << 18)].concat();
            assert_eq!(size(&STANDARD.encode(bytes)), None);
        }
        // Segments of the greatest length before the frame header are skipped, not read.
        let segment = [b"\xFF\xE2\xFF\xFF".to_vec(), vec![0xFF; 65_533]].concat();
        let bytes =
            [b"\xFF\xD8".to_vec(), segment.repeat(60), b"\xFF\xC1\x00\x11\x08\x00\x07\x00\x09".to_vec()];
        assert_eq!(size(&STANDARD.encode(bytes.concat())), Some(Size { width: 9, height: 7 }));
    }
}
