//! Content codings (RFC 9110, 8.4), undone on the meter's copy only and in bounded steps, so that
//! no response, however small it looks, can hold up the stream that it came in.

use std::fmt;
use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

/// Codings on top of each other. No service uses two; each more is a bomb within a bomb.
const CODINGS_MAX: usize = 2;

/// Decoded bytes in one step.
const STEP_BYTES: usize = 4 << 10;

/// The least cost of one step, in bytes of work: a block or a member may be empty, yet it takes a
/// microsecond to pass over it.
const STEP_WORK_BYTES: usize = 256;

/// Work between two looks at what a body has cost so far.
const PULL_WORK_BYTES_MAX: usize = 64 << 10;

/// Work that any body may cause, and what each of its bytes may cause on top. JSON shrinks to a tenth,
/// a stream of like chunks to a thirtieth; a bomb to a thousandth and less.
const WORK_BYTES_MIN: u64 = 16 << 20;
const WORK_PER_CODED_BYTE: u64 = 64;

/// Largest zstd window, as a power of two: 8 MiB, the limit of RFC 9659.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The body is not what its coding promises, or we do not know the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadCoding;

impl From<io::Error> for BadCoding {
    fn from(_: io::Error) -> BadCoding {
        BadCoding
    }
}

/// Undoes the codings of one body.
#[derive(Debug, Default)]
pub(super) struct ContentDecoder {
    /// In the order in which they are undone; none for a plain body.
    stages: Vec<CodingStage>,
    /// Bytes that were used and yet left with the caller, so that it comes again: see [`ContentDecoder::push`].
    owed: usize,
    bad: bool,
    /// Bytes of the body that were read so far.
    read_bytes: u64,
    /// The work that was done for them: bytes that were read or given, by all stages.
    work_bytes: u64,
}

/// The outcome of one pull at the last stage.
enum Pulled {
    Bytes(usize),
    /// More input is needed.
    Dry,
    /// The budget is used up, by work that gave nothing.
    Tired,
}

#[derive(Debug)]
struct CodingStage {
    codec: Codec,
    /// Bytes that the stage before has given and `codec` has not used: `inbox[used..]`.
    inbox: Vec<u8>,
    used: usize,
}

enum Codec {
    Gzip(HeldOutput<MultiGzDecoder<Vec<u8>>>),
    /// `deflate` before its first byte: some senders leave out the zlib wrapper.
    AnyDeflate,
    Zlib(HeldOutput<ZlibDecoder<Vec<u8>>>),
    Deflate(HeldOutput<DeflateDecoder<Vec<u8>>>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd {
        decoder: Box<zstd::stream::raw::Decoder<'static>>,
        /// It has given all that its input allows. Asking again and again would be an error to zstd.
        drained: bool,
    },
}

/// A decoder that writes into a vector, and how much of that has been handed on.
struct HeldOutput<D> {
    decoder: D,
    used: usize,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Gzip(_) => "gzip",
            Codec::AnyDeflate | Codec::Zlib(_) | Codec::Deflate(_) => "deflate",
            Codec::Brotli(_) => "br",
            Codec::Zstd { .. } => "zstd",
        })
    }
}

/// The codings of a body, as its head names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codings {
    /// In the order in which they were applied.
    known: [Option<Coding>; CODINGS_MAX],
    /// There is one more that we do not know, or one too many.
    bad: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Codings {
    /// Those of a body with these headers.
    pub(super) fn of(headers: &HeaderMap) -> Codings {
        let (mut codings, mut count) = (Codings::default(), 0);
        let names = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
        for name in names.flat_map(|list| list.split(',')).map(str::trim) {
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            match (codings.known.get_mut(count), Coding::by_name(name)) {
                (Some(place), Some(coding)) => *place = Some(coding),
                _ => {
                    codings.bad = true;
                    break;
                }
            }
            count += 1;
        }
        codings
    }

    /// There are none.
    pub(super) fn is_plain(self) -> bool {
        self == Codings::default()
    }

    /// The stages that undo them.
    pub(super) fn decoder(self) -> ContentDecoder {
        let mut decoder = ContentDecoder { bad: self.bad, ..ContentDecoder::default() };
        // The last coding named was applied last, and is undone first.
        for coding in self.known.into_iter().rev().flatten() {
            match coding.codec() {
                Some(codec) => decoder.stages.push(CodingStage { codec, inbox: Vec::new(), used: 0 }),
                None => decoder.bad = true,
            }
        }
        decoder
    }
}

impl Coding {
    fn by_name(name: &str) -> Option<Coding> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Coding::Gzip),
            () if is("deflate") => Some(Coding::Deflate),
            () if is("br") => Some(Coding::Brotli),
            () if is("zstd") => Some(Coding::Zstd),
            () => None,
        }
    }

    fn codec(self) -> Option<Codec> {
        Some(match self {
            Coding::Gzip => Codec::Gzip(HeldOutput::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Codec::AnyDeflate,
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Codec::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).ok()?;
                Codec::Zstd { decoder: Box::new(decoder), drained: true }
            }
        })
    }
}

impl ContentDecoder {
    /// The decoder for a body with these headers.
    pub(super) fn new(headers: &HeaderMap) -> ContentDecoder {
        Codings::of(headers).decoder()
    }

    /// Nothing more can be read.
    pub(super) fn is_bad(&self) -> bool {
        self.bad
    }

    /// There is no coding to undo.
    pub(super) fn is_plain(&self) -> bool {
        self.stages.is_empty() && !self.bad
    }

    /// The work that was done so far, in bytes: those of a plain body, or those that decoding read and gave.
    pub(super) fn work_bytes(&self) -> u64 {
        self.work_bytes
    }

    /// The next bytes of the body; decoded bytes go to `sink`. Stops after about `budget_bytes` of
    /// those and returns how many of `bytes` it took. A decoder can have used all its input and
    /// still owe output; one byte is then left with the caller, as a reason to come again.
    pub(super) fn push(&mut self, bytes: &[u8], budget_bytes: usize, mut sink: impl FnMut(&[u8])) -> usize {
        let budget_bytes = budget_bytes.max(1);
        if self.bad || bytes.is_empty() {
            return bytes.len();
        }
        if self.stages.is_empty() {
            let taken = bytes.len().min(budget_bytes);
            self.work_bytes += taken as u64;
            sink(&bytes[..taken]);
            return taken;
        }
        let mut input = &bytes[self.owed..];
        self.owed = 0;
        let (mut out, mut left) = ([0; STEP_BYTES], budget_bytes);
        while left > 0 {
            let room = STEP_BYTES.min(left);
            let (unread, share) = (input.len(), left.min(PULL_WORK_BYTES_MAX));
            let mut unused = share;
            let pulled = pull(&mut self.stages, &mut input, &mut out[..room], &mut unused);
            left -= share - unused;
            self.read_bytes += (unread - input.len()) as u64;
            self.work_bytes += (share - unused) as u64;
            let allowed = WORK_BYTES_MIN.saturating_add(self.read_bytes.saturating_mul(WORK_PER_CODED_BYTE));
            self.bad = self.work_bytes > allowed;
            match pulled {
                // The rest of the input follows the coded body.
                Ok(Pulled::Dry) => return bytes.len(),
                Ok(Pulled::Tired) if !self.bad => {}
                Ok(Pulled::Bytes(count)) if !self.bad => sink(&out[..count]),
                Ok(_) | Err(BadCoding) => {
                    self.give_up();
                    return bytes.len();
                }
            }
        }
        self.owed = usize::from(input.is_empty());
        bytes.len() - input.len() - self.owed
    }

    /// Nothing more is read: the memory that the codings hold is given back.
    fn give_up(&mut self) {
        self.bad = true;
        self.stages = Vec::new();
    }

    /// The body has ended. `Err` if its coding has not, or a checksum is wrong.
    pub(super) fn finish(&mut self) -> Result<(), BadCoding> {
        if self.bad {
            return Err(BadCoding);
        }
        for stage in &mut self.stages {
            if let Codec::Gzip(held) = &mut stage.codec {
                held.decoder.try_finish()?;
            }
        }
        Ok(())
    }
}

/// Decoded bytes of the last of `stages`, which draws on the ones before it. All work is taken off `left`.
fn pull(
    stages: &mut [CodingStage],
    input: &mut &[u8],
    out: &mut [u8],
    left: &mut usize,
) -> Result<Pulled, BadCoding> {
    let Some((stage, earlier)) = stages.split_last_mut() else { return Ok(Pulled::Dry) };
    while *left > 0 {
        if !earlier.is_empty() && stage.used == stage.inbox.len() {
            stage.inbox.resize(STEP_BYTES, 0);
            let pulled = pull(earlier, input, &mut stage.inbox, left);
            stage.inbox.truncate(if let Ok(Pulled::Bytes(count)) = pulled { count } else { 0 });
            stage.used = 0;
            if matches!(pulled?, Pulled::Tired) {
                break;
            }
        }
        let source = if earlier.is_empty() { *input } else { &stage.inbox[stage.used..] };
        // A little at a time: what looks like much work for nothing must not all be done in one step.
        let source = &source[..source.len().min(STEP_BYTES)];
        let (read, written) = stage.codec.run(source, out)?;
        debug_assert!(read <= STEP_BYTES && written <= out.len(), "a step is bounded");
        if earlier.is_empty() {
            *input = &input[read..];
        } else {
            stage.used += read;
        }
        if written == 0 && read == 0 {
            return Ok(Pulled::Dry);
        }
        let cost = if written == 0 { read.max(STEP_WORK_BYTES) } else { read.max(written) };
        *left = left.saturating_sub(cost);
        if written > 0 {
            return Ok(Pulled::Bytes(written));
        }
    }
    Ok(Pulled::Tired)
}

impl Codec {
    /// One bounded step: bytes read and bytes written.
    fn run(&mut self, source: &[u8], out: &mut [u8]) -> Result<(usize, usize), BadCoding> {
        match self {
            Codec::Gzip(held) => held.run(source, out, |decoder| decoder.get_mut()),
            Codec::Zlib(held) => held.run(source, out, |decoder| decoder.get_mut()),
            Codec::Deflate(held) => held.run(source, out, |decoder| decoder.get_mut()),
            Codec::AnyDeflate => {
                let Some(first) = source.first() else { return Ok((0, 0)) };
                // RFC 1950, 2.2: the low four bits of a zlib stream are 8. A raw stream would have to
                // begin with a stored block whose padding is not zero to look like that.
                *self = if first & 0x0F == 8 {
                    Codec::Zlib(HeldOutput::new(ZlibDecoder::new(Vec::new())))
                } else {
                    Codec::Deflate(HeldOutput::new(DeflateDecoder::new(Vec::new())))
                };
                self.run(source, out)
            }
            Codec::Brotli(state) => brotli_step(state, source, out),
            Codec::Zstd { drained: true, .. } if source.is_empty() => Ok((0, 0)),
            Codec::Zstd { decoder, drained } => {
                let room = out.len();
                let (mut input, mut output) = (InBuffer::around(source), OutBuffer::around(out));
                decoder.run(&mut input, &mut output)?;
                *drained = output.pos() < room;
                Ok((input.pos(), output.pos()))
            }
        }
    }
}

fn brotli_step(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    source: &[u8],
    out: &mut [u8],
) -> Result<(usize, usize), BadCoding> {
    let (mut to_read, mut read, mut room, mut written, mut total) = (source.len(), 0, out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut to_read,
        &mut read,
        source,
        &mut room,
        &mut written,
        out,
        &mut total,
        state,
    );
    match result {
        BrotliResult::ResultFailure => Err(BadCoding),
        _ => Ok((read, written)),
    }
}

impl<D: Write> HeldOutput<D> {
    fn new(decoder: D) -> HeldOutput<D> {
        HeldOutput { decoder, used: 0 }
    }

    /// One write, which inflates at most the 32 KiB of flate2's buffer and window, or a part of what
    /// the last one gave.
    fn run(
        &mut self,
        source: &[u8],
        out: &mut [u8],
        buffer: impl Fn(&mut D) -> &mut Vec<u8>,
    ) -> Result<(usize, usize), BadCoding> {
        let mut read = 0;
        if self.used == buffer(&mut self.decoder).len() {
            buffer(&mut self.decoder).clear();
            self.used = 0;
            if source.is_empty() {
                return Ok((0, 0));
            }
            read = self.decoder.write(source)?;
            self.decoder.flush()?;
        }
        let waiting = &buffer(&mut self.decoder)[self.used..];
        let count = waiting.len().min(out.len());
        out[..count].copy_from_slice(&waiting[..count]);
        self.used += count;
        Ok((read, count))
    }
}

#[cfg(test)]
mod tests;
