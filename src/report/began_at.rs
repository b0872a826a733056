//! The time that the id of a call tells.

use jiff::Timestamp;
use uuid::Uuid;

/// When the call with this id began (UUIDv7, RFC 9562, section 5.7); `None` if it is of another kind.
pub(super) fn began_at(call: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = call.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}
