//! The seal of captured content: parts are sealed to the public keys of those who may read them, and opened again by
//! whoever has a private one.
//!
//! The sidecar only seals. It holds public keys, and each data key for a minute, so what it has sealed it cannot read
//! back. Readers share [`open()`], which holds a part against what its seal says of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `content_key` | the key that content is encrypted with |
//! | `pem` | the blocks of a PEM file |
//! | `rsa_oaep` | wrapping such a key for an RSA key, and unwrapping it |
//! | `thumbprint` | the name of a key that has none |
//! | `jwk` | public keys as JSON Web Keys |
//! | `recipients` | the public keys of those who may read, as a file gives them |
//! | `data_key` | the content key of a minute, and its nonces |
//! | `protected_header` | what a seal says, held against what the part says in the clear |
//! | `sealer` | sealing parts |
//! | `decompress` | undoing the compression, within a bound |
//! | `unwrap` | whoever can unwrap a content key, and a cache of what was unwrapped |
//! | `private_keys` | private keys in files |
//! | `command_words` | a command line as words |
//! | `unwrap_command` | a command that asks an HSM or a vault |
//! | `opening` | opening parts |

mod command_words;
mod content_key;
mod data_key;
mod decompress;
mod jwk;
mod opening;
mod pem;
mod private_keys;
mod protected_header;
mod recipients;
mod rsa_oaep;
mod sealer;
#[cfg(test)]
mod tests;
mod thumbprint;
mod unwrap;
mod unwrap_command;

pub use content_key::ContentKey;
pub use opening::{OpenError, check_header, open};
pub use private_keys::PrivateKeys;
pub use recipients::Recipients;
pub use sealer::{SealError, SealMode, SealedContent, Sealer};
pub use unwrap::{CachedUnwrap, Unwrap, UnwrapError, WrappedKey};
pub use unwrap_command::UnwrapCommand;
