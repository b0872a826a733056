//! Recovery: calls that a dead process left open become events, before anything else happens.
//!
//! One transaction, so a crash within it leaves nothing of it: running it again gives the same
//! calls the same ids, and nothing of the first attempt was ever published.

use jiff::Timestamp;
use uuid::Uuid;

use super::batch::stamp;
use super::error::StoreError;
use super::log::{BootTotals, Log};
use super::sql::sql;
use super::store::{Append, Store};
use metering::caller::{Caller, Trust};
use metering::usage::{Deferral, Progress, Settled, Target, Usage};

/// The result of a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Calls of earlier boots that were open.
    pub(super) crashed: u64,
    /// Events that are neither delivered nor refused.
    pub(super) undelivered: u64,
}

/// Begins a boot: settles the open calls of the boot before it and writes that boot's last control
/// event, unless it has one. With `stored_counts`, what is stored here needs no delivery. With
/// `was_degraded`, sums may have been lost with the last process, and the next control event says so.
pub(super) fn recover(
    store: &mut Store,
    source: &str,
    boot: Uuid,
    stored_counts: bool,
    was_degraded: bool,
) -> Result<(Log, Recovered), StoreError> {
    let found = store.log()?;
    // The events of the database that this one replaces are not accounted for here.
    let lost_one = found.is_none() && store.replaces()?.is_some();
    let mut log = found.unwrap_or_else(|| Log::new(boot));
    let stored_counts = stored_counts && log.mark == log.last;
    let swept = log.swept;
    let mut previous = std::mem::replace(&mut log.boot, BootTotals::new(boot));
    let mut append = store.begin(log, source)?;
    drop_settled(&append, swept)?;
    let crashed = settle_open(&mut append, boot)?;
    append.tx.execute_batch("DELETE FROM open; DELETE FROM progress;")?;
    append.log.swept = append.log.last;
    append.log.boot.degraded |= lost_one;
    if previous.id == boot {
        append.log.boot.degraded |= was_degraded; // the ledger is new
    } else if previous.finished {
        append.log.boot.degraded |= was_degraded;
        append.log.boot.previous = Some(previous.last_control());
    } else {
        previous.settled += crashed;
        previous.degraded |= was_degraded;
        append.control_event(previous.control(0, true, append.key))?;
        append.log.boot.previous = Some(previous.as_previous());
    }
    if stored_counts {
        append.log.mark = append.log.last;
    }
    let log = append.commit()?;
    let undelivered = log.last - log.mark;
    Ok((log, Recovered { crashed, undelivered }))
}

/// Deletes the rows of calls that were settled but not yet swept. Where there are none, no event is
/// read: no sweep may have said for long how far they are over.
fn drop_settled(append: &Append<'_>, swept: u64) -> Result<(), StoreError> {
    let some: bool = append.tx.query_row("SELECT EXISTS (SELECT 1 FROM open)", [], |row| row.get(0))?;
    if !some {
        return Ok(());
    }
    for table in ["open", "progress"] {
        let delete = format!(
            "DELETE FROM {table} WHERE number IN
             (SELECT call FROM event WHERE position > ?1 AND call IS NOT NULL)"
        );
        append.tx.execute(&delete, [sql(swept)])?;
    }
    Ok(())
}

/// The number of an open call, its event, and the work that it began.
type OpenRow = (i64, Settled, Option<Deferral>);

/// Appends a `crashed` event for every call that is still open.
fn settle_open(append: &mut Append<'_>, boot: Uuid) -> Result<u64, StoreError> {
    let (boot, mut after, mut crashed) = (boot.to_string(), 0_i64, 0);
    while let Some((number, settled, deferral)) = next_open(append, after, &boot)? {
        append.closed(None, &settled, deferral.as_ref())?;
        (after, crashed) = (number, crashed + 1);
    }
    Ok(crashed)
}

fn next_open(append: &Append<'_>, after: i64, boot: &str) -> Result<Option<OpenRow>, StoreError> {
    let mut next = append.tx.prepare_cached(
        "SELECT open.number, id, draft, body FROM open LEFT JOIN progress USING (number)
         WHERE open.number > ?1 ORDER BY open.number LIMIT 1",
    )?;
    let mut rows = next.query([after])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let number: i64 = row.get(0)?;
    let id = Uuid::from_bytes(row.get(1)?);
    let (draft, body): (String, Option<String>) = (row.get(2)?, row.get(3)?);
    let draft = serde_json::from_str(&draft).unwrap_or_else(|error| unreadable(id, &error));
    let progress: Option<Progress> = body.and_then(|body| {
        let parsed = serde_json::from_str(&body);
        parsed.inspect_err(|error| tracing::error!(%id, %error, "a checkpoint cannot be read")).ok()
    });
    let deferral = progress.as_ref().and_then(|progress| progress.deferral.clone());
    let mut usage = draft.crashed(progress);
    stamp(&mut usage, boot);
    Ok(Some((number, Settled { id, time: Timestamp::now(), usage }, deferral)))
}

/// The draft of a call whose own cannot be read: the call still gives one event.
fn unreadable(id: Uuid, error: &serde_json::Error) -> Usage {
    tracing::error!(%id, %error, "an open call cannot be read; its event names nobody");
    Usage::draft(Caller::unattributed(Trust::None), Target::default())
}
