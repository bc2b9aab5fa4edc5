//! Jobs and their requests and results in one `SQLite` file: acknowledged data survives any kill, and no request has two
//! results.
//!
//! A job is open while requests are uploaded, running once it was started, and then finished or cancelled. Which
//! requests are being judged is known only to the process and never stored: after a kill, requests without a result are
//! judged again, and the primary key of the results refuses a second one.
//!
//! Every call blocks, but only shortly: its time is bounded by its arguments, not by the size of the job. `now` is in
//! milliseconds since 1970.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::fault::{Fault, Result};
pub use super::job::{Claim, Counts, JobInfo, NewJob, Outcome, State, StoreLimits, Stored};
use super::schema;

const COLUMNS: &str = "number, id, owner, form, name, model, options, state, created_ms, started_ms, ended_ms, expires_ms, \
                       total, done, failed";

fn info(row: &Row<'_>) -> rusqlite::Result<JobInfo> {
    let whole = |index: usize| row.get::<_, i64>(index).map(unsigned);
    let some = |index: usize| row.get::<_, Option<i64>>(index).map(|value| value.map(unsigned));
    Ok(JobInfo {
        number: row.get(0)?,
        id: row.get(1)?,
        owner: row.get(2)?,
        form: row.get(3)?,
        name: row.get(4)?,
        model: row.get(5)?,
        options: row.get(6)?,
        state: State::of(row.get(7)?),
        created_ms: whole(8)?,
        started_ms: some(9)?,
        ended_ms: some(10)?,
        expires_ms: whole(11)?,
        total: whole(12)?,
        done: whole(13)?,
        failed: whole(14)?,
    })
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of rows, as SQL takes it.
fn count(rows: usize) -> i64 {
    i64::try_from(rows.min(1 << 20)).unwrap_or(1)
}

/// The store. Only one thread may use it at a time.
pub struct Store {
    connection: Connection,
    limits: StoreLimits,
    /// Held until the process ends.
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in the file at `path`, or makes one.
    ///
    /// # Errors
    /// [`Fault::Busy`] if another process has it open, [`Fault::Damaged`] for a file of another program or another
    /// version, [`Fault::Io`].
    pub fn open(path: &Path, limits: StoreLimits) -> Result<Self> {
        let (connection, lock) = schema::open(path, limits.max_bytes)?;
        Ok(Self { connection, limits, _lock: Some(lock) })
    }

    /// A store that ends with the process.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn in_memory(limits: StoreLimits) -> Result<Self> {
        Ok(Self { connection: schema::in_memory(limits.max_bytes)?, limits, _lock: None })
    }

    /// Its bounds.
    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    fn write(&mut self) -> Result<Transaction<'_>> {
        // At once: a transaction that turns from reading to writing could fail halfway.
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Makes an open job. If the owner has one with the same idempotency key, returns that one and `false`.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if the owner has the most jobs allowed.
    pub fn create(&mut self, new: &NewJob, now: u64) -> Result<(JobInfo, bool)> {
        let (max_jobs, open_ms) = (self.limits.max_jobs, self.limits.open_ms);
        let keep = new.keep_ms.min(self.limits.max_keep_ms);
        let transaction = self.write()?;
        if let Some(key) = &new.idempotency {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE owner = ?1 AND idempotency = ?2 AND state <> 4");
            if let Some(job) = transaction.query_row(&sql, params![new.owner, key], info).optional()? {
                return Ok((job, false));
            }
        }
        let jobs: i64 = transaction.query_row(
            "SELECT count(*) FROM jobs WHERE owner = ?1 AND state <> 4",
            params![new.owner],
            |row| row.get(0),
        )?;
        if jobs >= i64::from(max_jobs) {
            return Err(Fault::TooLarge(format!("there are {jobs} jobs, which is the limit: delete some first")));
        }
        let id = new_id(&transaction)?;
        transaction.execute(
            "INSERT INTO jobs (id, owner, form, name, model, options, idempotency, state, keep_ms, created_ms, expires_ms, \
             total, done, failed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10, 0, 0, 0)",
            params![
                id,
                new.owner,
                new.form,
                new.name,
                new.model,
                new.options,
                new.idempotency,
                signed(keep),
                signed(now),
                signed(now.saturating_add(open_ms)),
            ],
        )?;
        let job = by_number(&transaction, transaction.last_insert_rowid())?;
        transaction.commit()?;
        Ok((job, true))
    }

    /// Adds requests to an open job: all or none. `from`, if given, is the number of requests that the caller expects in the
    /// job, so that an upload that is sent again is not stored twice. Returns the new number.
    ///
    /// # Errors
    /// [`Fault::Unknown`], [`Fault::State`] for a job that was started or a wrong `from`, [`Fault::TooLarge`],
    /// [`Fault::Full`].
    pub fn upload(&mut self, owner: &str, id: &str, from: Option<u64>, lines: &[Vec<u8>], now: u64) -> Result<u64> {
        let (most, open_ms) = (u64::from(self.limits.max_requests), self.limits.open_ms);
        let transaction = self.write()?;
        let job = find(&transaction, owner, id)?;
        if job.state != State::Open {
            let state = job.state.name();
            return Err(Fault::State(format!("the job is {state}: upload requests before it is started")));
        }
        if let Some(from) = from
            && from != job.total
        {
            return Err(Fault::State(format!("the job has {} requests, not {from}: continue from there", job.total)));
        }
        let total = job.total + lines.len() as u64;
        if total > most {
            return Err(Fault::TooLarge(format!("a job has at most {most} requests, but this one would have {total}")));
        }
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO requests (job, place, line) VALUES (?1, ?2, ?3)")?;
            for (place, line) in (job.total..).zip(lines) {
                insert.execute(params![job.number, signed(place), line])?;
            }
        }
        transaction.execute(
            "UPDATE jobs SET total = ?2, expires_ms = ?3 WHERE number = ?1",
            params![job.number, signed(total), signed(now.saturating_add(open_ms))],
        )?;
        transaction.commit()?;
        Ok(total)
    }

    /// Starts an open job. Has no effect on a job that was already started.
    ///
    /// # Errors
    /// [`Fault::Unknown`], [`Fault::State`] for a job without requests.
    pub fn start(&mut self, owner: &str, id: &str, now: u64) -> Result<JobInfo> {
        let transaction = self.write()?;
        let job = find(&transaction, owner, id)?;
        if job.state != State::Open {
            return Ok(job);
        }
        if job.total == 0 {
            return Err(Fault::State("the job has no requests: upload some first".into()));
        }
        transaction.execute(
            "UPDATE jobs SET state = 1, started_ms = ?2 WHERE number = ?1",
            params![job.number, signed(now)],
        )?;
        let job = by_number(&transaction, job.number)?;
        transaction.commit()?;
        Ok(job)
    }

    /// The running jobs, oldest first.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn running(&self) -> Result<Vec<JobInfo>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE state = 1 ORDER BY number");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let jobs = statement.query_map([], info)?.collect::<rusqlite::Result<_>>()?;
        Ok(jobs)
    }

    /// The next requests of a running job without a result, from place `from` on: at most `most`, about `bytes` in size, and
    /// at least one. The caller remembers which ones it has taken. None if the job is not running.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn claim(&self, job: i64, from: i64, most: usize, bytes: usize) -> Result<Vec<Claim>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT place, line FROM requests AS request WHERE job = ?1 AND place >= ?2 \
             AND EXISTS (SELECT 1 FROM jobs WHERE number = ?1 AND state = 1) \
             AND NOT EXISTS (SELECT 1 FROM results WHERE job = ?1 AND place = request.place) ORDER BY place LIMIT ?3",
        )?;
        let mut rows = statement.query(params![job, from, count(most)])?;
        let (mut claims, mut size) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let claim = Claim { job, place: row.get(0)?, line: row.get(1)? };
            size += claim.line.len();
            claims.push(claim);
            if size >= bytes {
                break;
            }
        }
        Ok(claims)
    }

    /// Stores outcomes, all or none. Outcomes of jobs that are no longer running are dropped, and so are second outcomes.
    ///
    /// # Errors
    /// [`Fault::Full`], [`Fault::Busy`], [`Fault::Io`]: nothing was stored, and the same outcomes may be stored again.
    pub fn finish(&mut self, outcomes: &[Outcome], now: u64) -> Result<Stored> {
        let transaction = self.write()?;
        let mut stored = Stored::default();
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO results (job, place, failed, line) SELECT ?1, ?2, ?3, ?4 \
                 WHERE EXISTS (SELECT 1 FROM jobs WHERE number = ?1 AND state = 1)",
            )?;
            let mut tally = transaction
                .prepare_cached("UPDATE jobs SET done = done + 1, failed = failed + ?2 WHERE number = ?1")?;
            for Outcome { job, place, failed, line } in outcomes {
                if insert.execute(params![job, place, failed, line])? == 1 {
                    tally.execute(params![job, i64::from(*failed)])?;
                    stored.stored += 1;
                }
            }
            let mut end = transaction.prepare_cached(
                "UPDATE jobs SET state = 2, ended_ms = ?2, expires_ms = ?2 + keep_ms \
                 WHERE number = ?1 AND state = 1 AND done = total",
            )?;
            let mut jobs: Vec<i64> = outcomes.iter().map(|outcome| outcome.job).collect();
            jobs.sort_unstable();
            jobs.dedup();
            for job in jobs {
                if end.execute(params![job, signed(now)])? == 1 {
                    stored.finished.push(job);
                }
            }
        }
        transaction.commit()?;
        Ok(stored)
    }

    /// One job.
    ///
    /// # Errors
    /// [`Fault::Unknown`].
    pub fn get(&self, owner: &str, id: &str) -> Result<JobInfo> {
        find(&self.connection, owner, id)
    }

    /// Jobs of an owner, newest first, at most `most`, of those made before job `before`. `form` leaves only those of one
    /// interface.
    ///
    /// # Errors
    /// [`Fault::Unknown`] if `before` is not a job of the owner.
    pub fn list(&self, owner: &str, form: Option<&str>, before: Option<&str>, most: usize) -> Result<Vec<JobInfo>> {
        let before = match before {
            Some(id) => find(&self.connection, owner, id)?.number,
            None => i64::MAX,
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE owner = ?1 AND number < ?2 AND state <> 4 AND (?3 IS NULL OR form = ?3) \
             ORDER BY number DESC LIMIT ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![owner, before, form, count(most)], info)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Places and results of a job in order, from place `from` on, at most `most` requests and about `bytes` of text, and at
    /// least one. `None` is a request that has no result.
    ///
    /// # Errors
    /// [`Fault::Unknown`].
    pub fn results(
        &self,
        owner: &str,
        id: &str,
        from: u64,
        most: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, Option<String>)>> {
        let job = find(&self.connection, owner, id)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT request.place, result.line FROM requests AS request \
             LEFT JOIN results AS result ON result.job = request.job AND result.place = request.place \
             WHERE request.job = ?1 AND request.place >= ?2 ORDER BY request.place LIMIT ?3",
        )?;
        let mut rows = statement.query(params![job.number, signed(from), count(most)])?;
        let (mut all, mut size) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let line: Option<String> = row.get(1)?;
            size += line.as_ref().map_or(16, String::len);
            all.push((unsigned(row.get(0)?), line));
            if size >= bytes {
                break;
            }
        }
        Ok(all)
    }

    /// Requests of a job in order, as uploaded: see [`Store::results`].
    ///
    /// # Errors
    /// [`Fault::Unknown`].
    pub fn requests(&self, owner: &str, id: &str, from: u64, most: usize, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let job = find(&self.connection, owner, id)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT place, line FROM requests WHERE job = ?1 AND place >= ?2 ORDER BY place LIMIT ?3",
        )?;
        let mut rows = statement.query(params![job.number, signed(from), count(most)])?;
        let (mut all, mut size) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let line: Vec<u8> = row.get(1)?;
            size += line.len();
            all.push((unsigned(row.get(0)?), line));
            if size >= bytes {
                break;
            }
        }
        Ok(all)
    }

    /// Cancels a job that is open or running; its results are kept. Has no effect on other jobs.
    ///
    /// # Errors
    /// [`Fault::Unknown`].
    pub fn cancel(&mut self, owner: &str, id: &str, now: u64) -> Result<JobInfo> {
        let transaction = self.write()?;
        let job = find(&transaction, owner, id)?;
        transaction.execute(
            "UPDATE jobs SET state = 3, ended_ms = ?2, expires_ms = ?2 + keep_ms WHERE number = ?1 AND state IN (0, 1)",
            params![job.number, signed(now)],
        )?;
        let job = by_number(&transaction, job.number)?;
        transaction.commit()?;
        Ok(job)
    }

    /// Deletes a job in any state. It is gone for every caller at once; [`Store::sweep`] frees its room.
    ///
    /// # Errors
    /// [`Fault::Unknown`].
    pub fn delete(&mut self, owner: &str, id: &str) -> Result<JobInfo> {
        let transaction = self.write()?;
        let job = find(&transaction, owner, id)?;
        transaction.execute("UPDATE jobs SET state = 4, idempotency = NULL WHERE number = ?1", params![job.number])?;
        transaction.commit()?;
        Ok(job)
    }

    /// Deletes all jobs of an owner that were made through one interface. Gives their numbers.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn clear(&mut self, owner: &str, form: &str) -> Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE jobs SET state = 4, idempotency = NULL WHERE owner = ?1 AND form = ?2 AND state <> 4 RETURNING number",
        )?;
        let rows = statement.query_map(params![owner, form], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes expired jobs and frees the room of deleted ones, at most `rows` rows. True while there is more to do.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn sweep(&mut self, now: u64, rows: usize) -> Result<bool> {
        let rows = rows.clamp(1, 1 << 20);
        let transaction = self.write()?;
        transaction.execute(
            "UPDATE jobs SET state = 4, idempotency = NULL WHERE state IN (0, 2, 3) AND expires_ms <= ?1",
            params![signed(now)],
        )?;
        let doomed: Option<i64> = transaction
            .query_row("SELECT number FROM jobs WHERE state = 4 ORDER BY number LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let Some(job) = doomed else {
            transaction.commit()?;
            return Ok(false);
        };
        let mut left = rows;
        for table in ["results", "requests"] {
            let sql = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE job = ?1 ORDER BY place LIMIT ?2)"
            );
            left -= transaction.execute(&sql, params![job, count(left)])?.min(left);
        }
        if left > 0 {
            transaction.execute("DELETE FROM jobs WHERE number = ?1", params![job])?;
        }
        transaction.commit()?;
        // Pages of one step go back to the file system.
        let mut vacuum = self.connection.prepare_cached("PRAGMA incremental_vacuum(4096)")?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
        Ok(true)
    }

    /// Jobs that are open, running, and over, and requests without a result in running jobs.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn counts(&self) -> Result<Counts> {
        Ok(self.connection.query_row(
            "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), \
             count(*) FILTER (WHERE state IN (2, 3)), coalesce(sum(total - done) FILTER (WHERE state = 1), 0) FROM jobs",
            [],
            |row| {
                let whole = |index: usize| row.get::<_, i64>(index).map(unsigned);
                Ok(Counts { open: whole(0)?, running: whole(1)?, ended: whole(2)?, waiting: whole(3)? })
            },
        )?)
    }
}

fn find(connection: &Connection, owner: &str, id: &str) -> Result<JobInfo> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1 AND owner = ?2 AND state <> 4");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params![id, owner], info).optional()?.ok_or_else(|| Fault::unknown(id))
}

fn by_number(connection: &Connection, number: i64) -> Result<JobInfo> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE number = ?1");
    Ok(connection.query_row(&sql, params![number], info)?)
}

/// An id that cannot be guessed, as a UUID of version 4. `SQLite`'s generator is seeded by the system.
fn new_id(connection: &Connection) -> Result<String> {
    let mut bytes: [u8; 16] = connection.query_row("SELECT randomblob(16)", [], |row| row.get(0))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests;
