//! The words in which the data path tells of a session.

use smol_str::SmolStr;

/// How far the frames of a session could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FramesRead {
    /// All of them.
    #[default]
    All,
    /// Not all that the caller sent: of what the service said nothing was missed.
    NotTheCallers,
    /// Not all that the service sent: what it reported may have been missed.
    NotTheServices,
}

/// The names that a session gives itself. They may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionNames {
    /// Its id.
    pub id: Option<SmolStr>,
    /// The model that responds.
    pub model: Option<SmolStr>,
    /// The model that writes down what was heard: on Azure the name of its deployment.
    pub transcription_model: Option<SmolStr>,
    /// The last error that was no response's.
    pub error: Option<SmolStr>,
}
