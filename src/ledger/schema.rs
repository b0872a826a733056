//! The tables, their versions, and the way from each version to the next.
//!
//! `user_version` says which version a database has. An older one is brought up to date when the
//! ledger is opened, before anything else is done with it, in one transaction: a crash within it
//! leaves the old version whole. Stored events are never rewritten: their bytes are final. A newer
//! one is refused, because only a newer program knows what it means.
//!
//! Readers take older ones as they are, since the tables of events, of open calls and of the log have never changed: a step that
//! changes them must say so in `reader.rs`.
//!
//! To change the tables: change [`TABLES`] or add others, add one to [`VERSION`], add a step to [`STEPS`], and
//! keep the old version as SQL text in `fixtures/ledger/`, which tests open, migrate and compare.

use rusqlite::{Connection, Transaction};
use uuid::Uuid;

use super::error::StoreError;

/// `user_version` of [`TABLES`].
pub(super) const VERSION: i64 = 2;

/// `application_id`: the bytes `twlg`, so that `file` and people can tell what this is.
pub(super) const APPLICATION_ID: i64 = 0x7477_6c67;

const TABLES: &str = "
    -- Final events. `position` is never used again; `call` is the row in `open` that it settles.
    CREATE TABLE event (
        position INTEGER PRIMARY KEY, stored_ms INTEGER NOT NULL, call INTEGER, body TEXT NOT NULL
    ) STRICT;
    -- Calls that outlived the batch in which they began, as they began.
    CREATE TABLE open (number INTEGER PRIMARY KEY, id BLOB NOT NULL, draft TEXT NOT NULL) STRICT;
    -- What was last known of them.
    CREATE TABLE progress (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    -- Events that the broker refuses for good.
    CREATE TABLE refused (position INTEGER PRIMARY KEY, reason TEXT NOT NULL) STRICT;
    -- `ledger`: its UUID. `log`: everything that changes with each commit. `replaces`: what became
    -- of the database that was here before, where one was moved aside.
    CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The tables of `deferred.rs`, which came with version 2.
const DEFERRED_TABLES: &str = "
    -- Work that goes on after its call. `due`: its bill is still to come. `detail`: who began it, as long as it
    -- is due, then when its bill was stored; of an output file the batch.
    CREATE TABLE deferred (
        number INTEGER PRIMARY KEY, stored_ms INTEGER NOT NULL, resource TEXT NOT NULL, kind TEXT NOT NULL,
        id TEXT NOT NULL, due INTEGER NOT NULL, detail TEXT, UNIQUE (id, resource, kind)
    ) STRICT;
    -- The same of responses of sessions, which are remembered for as long as a session can last.
    CREATE TABLE session_bill (
        number INTEGER PRIMARY KEY, stored_ms INTEGER NOT NULL, resource TEXT NOT NULL, kind TEXT NOT NULL,
        id TEXT NOT NULL, due INTEGER NOT NULL, detail TEXT, UNIQUE (id, resource, kind)
    ) STRICT;
";

/// Brings a database to the next version.
pub(super) type Migration = fn(&Transaction<'_>) -> Result<(), StoreError>;

/// The first leads from version 1 to version 2, and so on up to [`VERSION`].
pub(super) const STEPS: &[Migration] = &[|tx| Ok(tx.execute_batch(DEFERRED_TABLES)?)];

const _: () = assert!(VERSION == STEPS.len() as i64 + 1, "each version but the first needs a step");

/// A version number, seen by a program that knows versions up to `known`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing was written yet.
    Empty,
    /// It can be brought up to date.
    Older,
    Current,
    /// Only a newer program knows.
    Newer,
    /// No program ever wrote it.
    Impossible,
}

/// See [`Standing`].
pub(super) fn standing(found: i64, known: i64) -> Standing {
    match found {
        ..0 => Standing::Impossible,
        0 => Standing::Empty,
        _ if found < known => Standing::Older,
        _ if found == known => Standing::Current,
        _ => Standing::Newer,
    }
}

/// The version of a database; 0 if it is new.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables of a new ledger, in one transaction. `replaces` names the database that was
/// moved aside for it, if one was.
pub(super) fn create(db: &mut Connection, replaces: Option<&str>) -> Result<(), StoreError> {
    let tx = db.transaction()?;
    tx.execute_batch(TABLES)?;
    tx.execute_batch(DEFERRED_TABLES)?;
    let mut state = tx.prepare("INSERT INTO state VALUES (?1, ?2)")?;
    state.execute(["ledger", &Uuid::new_v4().to_string()])?;
    if let Some(replaces) = replaces {
        state.execute(["replaces", replaces])?;
    }
    drop(state);
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    Ok(())
}

/// Brings a database of version `from` up to date, in one transaction: `steps[n]` leads from
/// version n + 1 to n + 2. On an error the database is as it was.
pub(super) fn migrate(db: &mut Connection, from: i64, steps: &[Migration]) -> Result<(), StoreError> {
    let tx = db.transaction()?;
    let mut version = from;
    for step in steps.iter().skip(usize::try_from(from - 1).unwrap_or(0)) {
        step(&tx)?;
        version += 1;
    }
    tx.pragma_update(None, "user_version", version)?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of version 1, as it lay on a disk after a crash.
    const V1: &str = include_str!("../../fixtures/ledger/v1.sql");
    /// The same of version 2.
    const V2: &str = include_str!("../../fixtures/ledger/v2.sql");

    fn lay_down(sql: &str) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(sql).unwrap();
        db
    }

    fn v1() -> Connection {
        lay_down(V1)
    }

    fn bodies(db: &Connection) -> Vec<(i64, String)> {
        let mut query = db.prepare("SELECT position, body FROM event ORDER BY position").unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn shape(db: &Connection) -> Vec<(String, String)> {
        let sql = "SELECT m.name, group_concat(c.name || ' ' || c.type || c.\"notnull\" || c.pk, ', ')
                   FROM sqlite_schema m, pragma_table_info(m.name) c GROUP BY m.name ORDER BY m.name";
        let mut query = db.prepare(sql).unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    /// Steps that no release has: what a later version might do.
    const LATER: &[Migration] = &[
        |tx| Ok(tx.execute_batch("ALTER TABLE event ADD COLUMN kind TEXT; UPDATE event SET kind = 'u'")?),
        |tx| Ok(tx.execute_batch("CREATE TABLE note (text TEXT) STRICT; INSERT INTO note VALUES ('3')")?),
    ];

    #[test]
    fn the_fixture_of_each_version_ends_in_the_tables_of_the_current_one() {
        let mut new = Connection::open_in_memory().unwrap();
        create(&mut new, None).unwrap();
        assert_eq!(version(&new).unwrap(), VERSION);
        for (from, sql) in [(1, V1), (2, V2)] {
            let mut old = lay_down(sql);
            assert_eq!(version(&old).unwrap(), from);
            migrate(&mut old, from, STEPS).unwrap();
            assert_eq!((shape(&old), version(&old).unwrap()), (shape(&new), VERSION));
        }
    }

    #[test]
    fn steps_run_in_order_once_each_and_leave_the_bodies_alone() {
        let mut db = v1();
        let before = bodies(&db);
        migrate(&mut db, 1, &LATER[..1]).unwrap();
        assert_eq!(version(&db).unwrap(), 2);
        // The first step would fail if it ran again: the column is there.
        migrate(&mut db, 2, LATER).unwrap();
        assert_eq!((version(&db).unwrap(), bodies(&db)), (3, before.clone()));
        let mut at_once = v1();
        migrate(&mut at_once, 1, LATER).unwrap();
        assert_eq!((shape(&at_once), bodies(&at_once)), (shape(&db), before));
    }

    #[test]
    fn a_step_that_fails_leaves_the_database_as_it_was() {
        let mut db = v1();
        let before = (shape(&db), bodies(&db), version(&db).unwrap());
        let failing: &[Migration] = &[LATER[0], |tx| Ok(tx.execute_batch("INSERT INTO nowhere VALUES (1)")?)];
        migrate(&mut db, 1, failing).unwrap_err();
        assert_eq!((shape(&db), bodies(&db), version(&db).unwrap()), before);
    }

    #[test]
    fn a_version_number_says_what_can_be_done() {
        let of = |found| standing(found, 3);
        assert_eq!([of(-1), of(0), of(1)], [Standing::Impossible, Standing::Empty, Standing::Older]);
        assert_eq!([of(2), of(3), of(4)], [Standing::Older, Standing::Current, Standing::Newer]);
    }
}
