//! The departments of the callers, by the caller map of the demo.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use metering::caller::{CallerMap, Reload};

/// Stands for a department that a caller does not have.
const NONE: &str = "-";

/// Who pays for whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Departments(Option<Arc<Reload<CallerMap>>>);

impl Departments {
    /// The caller map in a file.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    pub(super) fn read(path: &Path) -> anyhow::Result<Departments> {
        let map = Reload::file(path).map_err(anyhow::Error::msg)?;
        Ok(Departments(Some(Arc::new(map))))
    }

    /// The map, for a sidecar.
    pub(super) fn map(&self) -> Option<Arc<Reload<CallerMap>>> {
        self.0.clone()
    }

    /// The department of a caller, as of now.
    pub(super) fn of(&self, caller: &str) -> String {
        let department =
            self.0.as_ref().and_then(|map| map.current().place_of(caller, Timestamp::now()).department);
        department.map_or_else(|| NONE.to_owned(), |department| department.to_string())
    }
}
