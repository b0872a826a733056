//! The kind of a file, by how it begins: names say little, and are often wrong.

/// Bytes that are enough to tell.
pub(super) const HEAD_BYTES: usize = 16;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Text, or what will show itself to be none.
    Lines,
    Gzip,
    Avro,
    /// A kind that is known and not read, by its name.
    Other(&'static str),
}

/// Files of some kinds begin with these bytes.
const MAGIC: [(&[u8], FileKind); 10] = [
    (b"\x1f\x8b", FileKind::Gzip),
    (b"Obj\x01", FileKind::Avro),
    (b"PAR1", FileKind::Other("Parquet")),
    (b"PK\x03\x04", FileKind::Other("a ZIP archive")),
    (b"\x28\xb5\x2f\xfd", FileKind::Other("compressed with zstd")),
    (b"BZh", FileKind::Other("compressed with bzip2")),
    (b"\xfd7zXZ\x00", FileKind::Other("compressed with xz")),
    (b"SQLite format 3\0", FileKind::Other("a database; a ledger is given as --ledger with its folder")),
    (b"\xff\xfe", FileKind::Other("UTF-16")),
    (b"\xfe\xff", FileKind::Other("UTF-16")),
];

impl FileKind {
    /// The kind of a file that begins so.
    pub(super) fn of(head: &[u8]) -> FileKind {
        let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
        known.map_or(FileKind::Lines, |(_, kind)| *kind)
    }
}
