//! Many clients at once that count how each of their requests ended.

use super::http::Client;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Clients at work until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    last_call: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Tally>>,
}

/// How requests ended.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that were sent and got no whole answer, with what happened.
    pub lost: Vec<String>,
}

impl Load {
    /// Keep-alive clients that send this request again and again. A client whose connection was
    /// closed by announcement opens a new one.
    pub fn start(port: u16, clients: usize, request: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let last_call = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|_| {
                let request = request.to_owned();
                let (stop, last_call) = (Arc::clone(&stop), Arc::clone(&last_call));
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || work(port, &request, &stop, &last_call, &answered))
            })
            .collect();
        Self { stop, last_call, answered, clients }
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// From here on no client opens a connection; each goes on until its own is closed.
    pub fn last_call(&self) {
        self.last_call.store(true, Ordering::Relaxed);
    }

    /// Lets every client finish its request; what they saw.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until every client has ended by itself; what they saw.
    pub fn join(self) -> Tally {
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("a client thread");
            for (status, count) in tally.statuses {
                *sum.statuses.entry(status).or_default() += count;
            }
            sum.lost.extend(tally.lost);
        }
        sum
    }
}

impl Tally {
    /// Answers with this status.
    pub fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// Answers with any other status.
    pub fn others(&self, status: u16) -> u64 {
        self.statuses.iter().filter(|(found, _)| **found != status).map(|(_, count)| count).sum()
    }
}

fn work(
    port: u16,
    request: &str,
    stop: &AtomicBool,
    last_call: &AtomicBool,
    answered: &AtomicU64,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let mut client = match connection.take() {
            Some(client) => client,
            None if last_call.load(Ordering::Relaxed) => break,
            None => match Client::try_connect(port) {
                Ok(client) => client,
                Err(error) => {
                    tally.lost.push(format!("not connected: {error}"));
                    break;
                }
            },
        };
        match exchange(&mut client, request) {
            Ok((status, is_last)) => {
                *tally.statuses.entry(status).or_default() += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                if !is_last {
                    connection = Some(client);
                }
            }
            Err(error) => tally.lost.push(format!("{error:?}")),
        }
    }
    tally
}

fn exchange(client: &mut Client, request: &str) -> io::Result<(u16, bool)> {
    client.try_send(request)?;
    let response = client.try_response("GET")?;
    Ok((response.status, response.says_close()))
}
