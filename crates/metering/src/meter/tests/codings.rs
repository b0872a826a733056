//! Bodies under a content coding, for the tests of the meter.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// A stream of uncompressed meta-blocks (RFC 7932, 9.2), which needs no encoder.
pub(crate) fn brotli(bytes: &[u8]) -> Vec<u8> {
    // The first block's head begins with WBITS (one bit, 0: 16), then in each: not the last (0), four
    // nibbles of length (00), the length less one, uncompressed (1), and zeros up to a whole byte.
    let mut coded = Vec::new();
    let mut shift = 1;
    for block in bytes.chunks(1 << 16) {
        let head = ((block.len() as u32 - 1) << 3 | 1 << 19) << shift;
        coded.extend(&head.to_le_bytes()[..3]);
        coded.extend(block);
        shift = 0;
    }
    coded.push(if bytes.is_empty() { 0b110 } else { 0b11 }); // last, and empty
    coded
}
