//! The operation of a recorded call, where its target is known (RFC 9112, 3.2): as `serve` finds it in the table of APIs.

use http::Method;
use smol_str::SmolStr;

use crate::api::{Api, Operation, Treatment, word};

/// The operation that the path of a target ends in.
#[derive(Debug)]
pub(super) struct RecordedOperation {
    row: &'static Operation,
    pub(super) treatment: Treatment,
    /// `None`: its path tells nothing of it.
    pub(super) api: Option<Api>,
    /// The object that is asked for, where that is work which another call began.
    pub(super) polled: Option<SmolStr>,
}

impl RecordedOperation {
    /// The operation of a call by this method to this target, whose query says nothing of it.
    pub(super) fn of(method: &Method, target: &str) -> RecordedOperation {
        let path = target.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).map(word).collect();
        let row = Operation::of(method, &segments);
        let treatment = row.treatment.by_method(&row.method, method);
        let polled = if treatment.is_poll() { row.object(&segments).map(SmolStr::from) } else { None };
        let api = Some(row.api(&segments)).filter(|api| api.is_known());
        RecordedOperation { row, treatment, api, polled }
    }

    /// OpenTelemetry `gen_ai.operation.name`, where it is not that of the API.
    pub(super) fn name(&self) -> Option<SmolStr> {
        self.row.name().map(SmolStr::new_static)
    }
}
