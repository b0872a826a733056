//! The live page: `/` on the admin port, and the events that it draws.
//!
//! It names callers, which the metrics do not by default, so it is on where the admin port is on loopback, or somebody
//! asks for it. The page is one document that fetches nothing but its events. No answer of it waits for the data path,
//! and the data path for none of them.
//!
//! | file | idea |
//! |---|---|
//! | `switch` | whether the page is on |
//! | `host` | that a request is meant for this port, and no other site's |
//! | `document` | the page, from `page.html`, `page.css` and `page.js` |
//! | `live` | what the page is told, and how many may listen |
//! | `stream` | a body of server-sent events |

mod document;
mod host;
mod live;
mod stream;
mod switch;

pub use self::live::LivePage;
pub use self::switch::AdminPage;

pub(super) use self::document::document;
pub(super) use self::host::{is_foreign, is_of_another_site};
pub(super) use self::live::READERS_MAX;
pub(super) use self::stream::{EventBody, StreamKind};
