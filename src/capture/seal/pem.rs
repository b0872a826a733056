//! The blocks of a PEM file (RFC 7468), in order. Text around them is a remark.

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// A block: its label, and its lines with those that enclose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PemBlock<'a> {
    pub(super) label: &'a str,
    pub(super) text: &'a str,
}

/// The blocks of a text.
///
/// # Errors
/// Says which block is not ended.
pub(super) fn pem_blocks(text: &str) -> Result<Vec<PemBlock<'_>>, String> {
    let (mut blocks, mut rest) = (Vec::new(), text);
    while let Some(begin) = rest.find(BEGIN) {
        let number = blocks.len() + 1;
        let after_label = &rest[begin + BEGIN.len()..];
        let label = after_label.split_once(DASHES).map_or("", |(label, _)| label);
        let end_line = format!("{END}{label}{DASHES}");
        let end = rest[begin..].find(&end_line).map(|end| begin + end + end_line.len());
        let Some(end) = end else { return Err(format!("block {number} of PEM has no end")) };
        blocks.push(PemBlock { label, text: &rest[begin..end] });
        rest = &rest[end..];
    }
    Ok(blocks)
}
