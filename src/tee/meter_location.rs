//! Where the meter of a call is, and the notes that wait for it while it is away.

use metering::chunk::RequestFacts;
use metering::meter::{FramesRead, PromptCount};

use super::meter::{CallMeter, PromptLoss};

/// Where the meter is.
pub(super) enum MeterLocation<M> {
    Here(Box<M>),
    /// With the pool. It is told of these as soon as it is back.
    Away(Vec<MeterNote>),
    /// It panicked.
    Lost,
}

impl<M> MeterLocation<M> {
    pub(super) fn is_away(&self) -> bool {
        matches!(self, MeterLocation::Away(_))
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self, MeterLocation::Lost)
    }

    /// Takes the meter away, if it is here.
    pub(super) fn take(&mut self) -> Option<Box<M>> {
        match std::mem::replace(self, MeterLocation::Away(Vec::new())) {
            MeterLocation::Here(meter) => Some(meter),
            elsewhere => {
                *self = elsewhere;
                None
            }
        }
    }
}

/// Something about the call that was found out without the meter.
pub(super) enum MeterNote {
    /// The facts of a coded request.
    Read(RequestFacts),
    Counted(PromptCount),
    Lost(PromptLoss),
    /// How far the frames of its session could be read.
    FramesRead(FramesRead),
    /// Text may be missing in what it is shown.
    LeftOut,
}

impl MeterNote {
    pub(super) fn tell<M: CallMeter>(self, meter: &mut M) {
        match self {
            MeterNote::Read(facts) => meter.request_read(facts),
            MeterNote::Counted(count) => drop(meter.prompt_counted(count)), // the parts are not used
            MeterNote::Lost(loss) => meter.prompt_lost(loss),
            MeterNote::FramesRead(frames) => meter.frames_read(frames),
            MeterNote::LeftOut => meter.left_out(),
        }
    }
}
