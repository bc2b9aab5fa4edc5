//! The database file: opening it, refusing files of other programs, and its tables.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::fault::{Fault, Result};

/// `Dica`: tells the file from any other `SQLite` database.
const APPLICATION_ID: i64 = 0x4469_6361;
/// Version of the tables. A newer one is refused, an older one is brought up to date.
const VERSION: i64 = 1;
/// How long a statement waits for another program that holds the file, such as a backup.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes of a page of the file.
const PAGE: u64 = 8192;

/// Requests and results are apart, so that storing a result never rewrites a request. The primary key of `results` is what
/// makes a second result of one request impossible.
const TABLES: &str = "
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    form TEXT NOT NULL,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    options TEXT NOT NULL,
    idempotency TEXT,
    state INTEGER NOT NULL,
    keep_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    expires_ms INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (owner, idempotency) WHERE idempotency IS NOT NULL;
CREATE INDEX jobs_state ON jobs (state);
CREATE TABLE requests (
    job INTEGER NOT NULL,
    place INTEGER NOT NULL,
    line BLOB NOT NULL,
    PRIMARY KEY (job, place)
) STRICT;
CREATE TABLE results (
    job INTEGER NOT NULL,
    place INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (job, place)
) STRICT;
";

/// Opens the database at `path`, or makes one. `max_bytes` bounds the file.
///
/// The lock is on a file beside it and ends with this process, however it ends: two servers on one file would judge
/// everything twice.
pub(super) fn open(path: &Path, max_bytes: u64) -> Result<(Connection, File)> {
    let lock = lock(path)?;
    let connection = Connection::open(path)
        .map_err(|error| Fault::Io(format!("cannot open the job database {}: {error}", path.display())))?;
    prepare(&connection, max_bytes).map_err(|fault| place(fault, path))?;
    Ok((connection, lock))
}

/// A database in memory, for a server that keeps nothing.
pub(super) fn in_memory(max_bytes: u64) -> Result<Connection> {
    let connection = Connection::open_in_memory()?;
    prepare(&connection, max_bytes)?;
    Ok(connection)
}

fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name).map_err(|error| {
        Fault::Io(format!(
            "cannot write {}: {error}; does the folder exist, and may this user write there?",
            name.display()
        ))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Busy(format!(
            "the job database {} is in use by another server: give each server its own file",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(Fault::Io(format!("cannot lock {}: {error}", name.display()))),
    }
}

/// Adds the name of the file to a fault of opening it.
fn place(fault: Fault, path: &Path) -> Fault {
    let at = |message: String| format!("{}: {message}", path.display());
    match fault {
        Fault::Damaged(message) => Fault::Damaged(at(message)),
        Fault::Io(message) => Fault::Io(at(message)),
        Fault::Busy(message) => Fault::Busy(at(message)),
        other => other,
    }
}

fn prepare(connection: &Connection, max_bytes: u64) -> Result<()> {
    connection.busy_timeout(BUSY)?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = tables == 0;
    if !is_new {
        if number("application_id")? != APPLICATION_ID {
            return Err(Fault::Damaged("it is the database of another program: name another file".into()));
        }
        let version = number("user_version")?;
        if version != VERSION {
            return Err(Fault::Damaged(format!(
                "it was written by another version of Dicast (format {version}, this one reads {VERSION}): use that \
                 version, or name another file"
            )));
        }
    }
    if is_new {
        connection.pragma_update(None, "page_size", PAGE.cast_signed())?;
        // Room of deleted jobs goes back to the system, bit by bit.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // Readers and the writer do not wait for each other, and a kill at any moment leaves a whole database.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // What was acknowledged is on the disk, also after the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))?;
    let page = u64::try_from(number("page_size")?).unwrap_or(PAGE).max(512);
    let pages = i64::try_from((max_bytes / page).max(64)).unwrap_or(i64::MAX).min(0xffff_fffe);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    if is_new {
        // One transaction: a kill leaves all of it or nothing.
        let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}
