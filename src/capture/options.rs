//! How content is captured, as the operator has set it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::seal::SealMode;
use super::selection::{CaptureShare, CaptureSides};
use crate::tee::SampleRatio;

/// How content is captured. Each member is a setting of the same name, where its default and the reason for it stand.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The sides that are captured.
    pub sides: CaptureSides,
    /// The calls that are.
    pub share: CaptureShare,
    /// To whom they are sealed.
    pub seal: SealMode,
    /// Bytes of one side that are kept.
    pub side_bytes_max: u64,
    /// Bytes of a part, as they pass.
    pub part_bytes: u64,
    /// Memory that captured content may hold, all calls together.
    pub memory_bytes: usize,
    /// Directory of the spool; `None`: the ledger's.
    pub dir: Option<PathBuf>,
    /// Room that the spool may take.
    pub spool_bytes_max: u64,
    /// The spool's directory may lie on a network file system.
    pub network_fs: bool,
    /// How often a control event is written.
    pub control_interval: Duration,
    /// There is no call without a record.
    pub rejects: bool,
}

impl CaptureOptions {
    /// A spool that takes nothing, and is only delivered.
    pub fn of_nothing(
        dir: &Path,
        spool_bytes_max: u64,
        network_fs: bool,
        control_interval: Duration,
    ) -> CaptureOptions {
        CaptureOptions {
            sides: CaptureSides { request: false, response: false },
            share: CaptureShare { share: SampleRatio::default(), callers: None },
            seal: SealMode::Cleartext,
            side_bytes_max: 0,
            part_bytes: 0,
            memory_bytes: 0,
            dir: Some(dir.to_owned()),
            spool_bytes_max,
            network_fs,
            control_interval,
            rejects: false,
        }
    }
}
