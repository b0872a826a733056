//! Each response of a session begins with a draft, as if it had come by HTTP: caller and target are its session's, and the
//! session's names say the rest.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use smol_str::SmolStr;

use super::sink::BegunResponse;
use crate::api::{TRANSCRIPTION, Treatment};
use crate::meter::SessionNames;
use crate::usage::Usage;

/// The beginnings of a session's responses.
#[derive(Debug)]
pub struct ResponseDrafts {
    /// Boxed, since sessions are many and most of them wait.
    session: Box<Usage>,
    headers: HeaderMap,
    names: SessionNames,
}

impl ResponseDrafts {
    /// Those of a session with this draft, whose handshake was answered with these fields that name what served it.
    pub fn new(session: Usage, headers: HeaderMap) -> ResponseDrafts {
        ResponseDrafts { session: Box::new(session), headers, names: SessionNames::default() }
    }

    /// The draft of the session itself.
    pub fn session(&self) -> &Usage {
        &self.session
    }

    /// Takes in the names that the session gives itself.
    pub fn named(&mut self, names: &SessionNames) {
        self.names.clone_from(names);
    }

    /// How each response is accounted for.
    pub fn treatment(&self) -> Treatment {
        match self.session.target.api.rules() {
            Some(_) => Treatment::Metered,
            None => Treatment::ReportedOnly,
        }
    }

    /// The draft of a response that begins.
    pub fn draft(&self, response: &BegunResponse) -> Usage {
        let mut draft = Usage::clone(&self.session);
        let began_at = draft.timing.started_at;
        draft.timing.started_at = began_at.and_then(|at| at.checked_add(response.since).ok()).or(began_at);
        draft.ids.session_id.clone_from(&self.names.id);
        if response.is_transcription {
            // Another model writes down what was heard, on Azure another deployment.
            draft.target.operation = Some(SmolStr::new_static(TRANSCRIPTION));
            let deployment = self.names.transcription_model.clone();
            draft.target.deployment = deployment.or(draft.target.deployment.take());
        } else {
            // The names that it has even if the process dies before its first checkpoint.
            draft.ids.response_id.clone_from(&response.id);
            draft.target.model.clone_from(&self.names.model);
        }
        draft
    }

    /// The fields of the head that a response would have had by HTTP.
    pub fn headers(&self, response: &BegunResponse) -> HeaderMap {
        let mut headers = self.headers.clone();
        let kind = if response.status.is_success() { "text/event-stream" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers
    }
}
