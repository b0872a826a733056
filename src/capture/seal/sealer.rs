//! Sealing parts, each of which is a JWE (RFC 7516) that any JOSE library opens.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use metering::caller::Reload;
use metering::usage::{Jwe, JweRecipient, PartFacts};
use openssl::error::ErrorStack;

use super::data_key::DataKey;
use super::protected_header::protected;
use super::recipients::Recipients;

/// To whom parts are sealed.
#[derive(Clone, Debug)]
pub enum SealMode {
    /// To the owners of these keys.
    To(Arc<Reload<Recipients>>),
    /// To nobody, since the operator has allowed it: whoever reads the topic reads the content.
    Cleartext,
}

/// Seals parts, and keeps the key of the minute.
pub struct Sealer {
    mode: SealMode,
    data_key: Option<DataKey>,
}

/// The members of a part that hold its content: one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedContent {
    /// The content, sealed.
    pub jwe: Option<Jwe>,
    /// The compressed content in base64.
    pub cleartext: Option<String>,
}

/// A part cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// OpenSSL gives no random bytes, or refuses a key.
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// Its protected header cannot be written.
    #[error("the protected header: {0}")]
    Header(#[from] serde_json::Error),
}

impl Sealer {
    /// A sealer without a data key yet.
    pub fn new(mode: SealMode) -> Sealer {
        Sealer { mode, data_key: None }
    }

    /// Seals the compressed content of the part with this id.
    ///
    /// # Errors
    /// If OpenSSL refuses.
    pub fn seal(
        &mut self,
        id: &str,
        facts: &PartFacts,
        compressed: &[u8],
        now: Instant,
    ) -> Result<SealedContent, SealError> {
        let SealMode::To(recipients) = &self.mode else {
            let cleartext = Some(BASE64_STANDARD.encode(compressed));
            return Ok(SealedContent { jwe: None, cleartext });
        };
        let recipients = recipients.current();
        let protected = protected(id, facts)?;
        let key = self.key_for(recipients, compressed.len(), now)?;
        let sealed = key.encrypt(protected.as_bytes(), compressed)?;
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let mut jwe = Jwe {
            protected,
            recipients: Vec::new(),
            header: None,
            encrypted_key: None,
            iv: text(&sealed.nonce),
            ciphertext: text(&sealed.ciphertext),
            tag: text(&sealed.tag),
        };
        name_recipients(&mut jwe, &key.wrapped);
        Ok(SealedContent { jwe: Some(jwe), cleartext: None })
    }

    /// Wipes the data key if its time is over, so that it does not live on while nothing is sealed.
    pub fn wipe_old_key(&mut self, now: Instant) {
        self.data_key.take_if(|key| key.is_old(now));
    }

    fn key_for(
        &mut self,
        recipients: Arc<Recipients>,
        bytes: usize,
        now: Instant,
    ) -> Result<&mut DataKey, ErrorStack> {
        let key = match self.data_key.take().filter(|key| key.serves(&recipients, bytes, now)) {
            Some(key) => key,
            None => DataKey::new(recipients, now)?,
        };
        Ok(self.data_key.insert(key))
    }
}

/// Flattened for one recipient, general for several (RFC 7516, section 7.2).
fn name_recipients(jwe: &mut Jwe, wrapped: &[JweRecipient]) {
    match wrapped {
        [one] => {
            jwe.header = Some(one.header.clone());
            jwe.encrypted_key = Some(one.encrypted_key.clone());
        }
        several => jwe.recipients = several.to_vec(),
    }
}
