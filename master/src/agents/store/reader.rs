//! The thread that reads beside the writer. It decides nothing that has to be written, and copes with
//! no trouble: both go to the writer.

use super::open;
use super::place::Place;
use super::rows;
use super::trouble::Trouble;
use crate::reactor::clock::Clock;
use crate::shared::store::{ReadJob, StoreAnswer, StoreOrder, StoreQueue};
use rip::session::look;
use rip::time::UnixMillis;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Serves what only reads until the queue is closed. `lives` counts how often the writer has opened the
/// store; 0 when it is shut.
pub fn run(place: &Place, queue: &StoreQueue, lives: &AtomicU64) {
    let mut open: Option<(u64, Connection)> = None;
    let mut clock = Clock::new();
    while let Some(job) = queue.take_read() {
        clock.refresh();
        let conn = match place {
            // Nobody else can look into a database in memory.
            Place::Memory => None,
            Place::File(path) => connection(&mut open, path, lives.load(Ordering::Acquire)),
        };
        let answer = match &job {
            ReadJob::Order(job) => conn
                .and_then(|conn| answer(conn, &job.order, clock.wall()).ok().flatten())
                .map(Answer::Order),
            ReadJob::Count(_) => {
                conn.and_then(|conn| rows::session_count(conn).ok()).map(Answer::Count)
            }
        };
        match (job, answer) {
            (ReadJob::Order(job), Some(Answer::Order(answer))) => job.answer(answer),
            (ReadJob::Count(ask), Some(Answer::Count(count))) => ask.answer(Some(count)),
            (job, _) => {
                open = open.filter(|(_, conn)| conn.is_autocommit());
                match job {
                    ReadJob::Order(job) => queue.pass_on(job),
                    ReadJob::Count(ask) => queue.pass_count_on(ask),
                }
            }
        }
    }
}

enum Answer {
    Order(StoreAnswer),
    Count(u64),
}

fn connection<'c>(
    open: &'c mut Option<(u64, Connection)>,
    path: &Path,
    life: u64,
) -> Option<&'c Connection> {
    if life == 0 {
        *open = None;
    } else if open.as_ref().is_none_or(|(of, _)| *of != life) {
        *open = open::connect_reader(path).ok().map(|conn| (life, conn));
    }
    open.as_ref().map(|(_, conn)| conn)
}

/// The answer, if nothing has to be written for it. All of it is of one moment.
fn answer(
    conn: &Connection,
    order: &StoreOrder,
    now: UnixMillis,
) -> Result<Option<StoreAnswer>, Trouble> {
    let moment = conn.unchecked_transaction()?;
    let answer = match order {
        StoreOrder::Look(order) => {
            let step = look::look(order, rows::load(&moment, &order.load())?, now);
            step.writes.is_empty().then(|| StoreAnswer::Look(Box::new(step.reply)))
        }
        StoreOrder::Page { session, after, count } => {
            Some(StoreAnswer::Page(Ok(rows::page(&moment, *session, *after, *count)?)))
        }
        _ => None,
    };
    moment.finish()?;
    Ok(answer)
}
