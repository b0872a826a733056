//! Captured content is opened by those who have a key: by `tokenweir open`, and by readers that share no code with it.
//!
//! - `rig`: calls whose parts are sealed
//! - `opening`: `tokenweir open`, as somebody runs it
//! - `foreign`: a JOSE library, and OpenSSL's own command

mod foreign;
mod opening;
mod rig;

use super::support;
