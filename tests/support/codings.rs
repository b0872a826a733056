//! Bodies under a content coding.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Large bodies are coded in many tests.
const ZSTD_LEVEL: i32 = 1;

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

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, ZSTD_LEVEL).unwrap()
}

/// Pieces under a coding, flushed after each as a service flushes its events. Under a coding that is none of
/// these they are as they were.
pub(crate) fn in_pieces(coding: &str, pieces: &[&[u8]]) -> Vec<u8> {
    fn flushed<W: Write>(mut encoder: W, pieces: &[&[u8]]) -> W {
        for piece in pieces {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
        }
        encoder
    }
    let level = Compression::default();
    match coding {
        "gzip" => flushed(GzEncoder::new(Vec::new(), level), pieces).finish().unwrap(),
        "deflate" => flushed(ZlibEncoder::new(Vec::new(), level), pieces).finish().unwrap(),
        "zstd" => flushed(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).unwrap(), pieces)
            .finish()
            .unwrap(),
        "br" => brotli(pieces),
        _ => pieces.concat(),
    }
}

/// A brotli stream of uncompressed meta-blocks (RFC 7932, 9.2), which needs no encoder.
fn brotli(pieces: &[&[u8]]) -> Vec<u8> {
    // The first block's head begins with WBITS (one bit, 0: 16), then in each: not the last (0), four
    // nibbles of length (00), the length less one, uncompressed (1), and zeros up to a whole byte.
    let mut bytes = Vec::new();
    let mut shift = 1;
    for piece in pieces {
        let head = ((piece.len() as u32 - 1) << 3 | 1 << 19) << shift;
        bytes.extend(&head.to_le_bytes()[..3]);
        bytes.extend(*piece);
        shift = 0;
    }
    bytes.push(if pieces.is_empty() { 0b110 } else { 0b11 }); // last, and empty
    bytes
}
