//! A response that is read on for what it reports, while the meter that counts its text is with another
//! thread or has been given up.

use super::body::MeteredBody;
use super::decode::ContentDecoder;

/// Reads a response on from where a [`super::Meter`] was: see [`super::Meter::lend`]. Its memory is constant.
///
/// It takes the decoder with it, since a response's coding can only be undone once and in order: the meter
/// is then shown the bytes that the skim gives back.
#[derive(Debug)]
pub struct Skim {
    pub(super) decoder: ContentDecoder,
    pub(super) body: MeteredBody,
}

impl Skim {
    /// The body has no coding: what is given back is what came.
    pub fn is_plain(&self) -> bool {
        self.decoder.is_plain()
    }

    /// The next bytes of the response body: as [`super::Meter::response_bytes`]. The decoded bytes, which
    /// the meter has to be shown, go to `decoded`.
    pub fn push(&mut self, bytes: &[u8], budget_bytes: usize, mut decoded: impl FnMut(&[u8])) -> usize {
        self.decoder.push(bytes, budget_bytes, |part| {
            self.body.push(part);
            decoded(part);
        })
    }

    /// Work that the response has caused so far: as [`super::Meter::work_bytes`].
    pub fn work_bytes(&self) -> u64 {
        self.decoder.work_bytes()
    }

    /// The whole response has been seen, to its end marker.
    pub fn is_whole(&self) -> bool {
        self.body.response.whole
    }
}
