//! What other threads want of the agent: left in a box, and whoever waits for it is woken.

use super::Wish;
use crate::shared::renewals::RenewOrder;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// One thing that is wanted.
pub enum Message {
    /// These are the certificates to keep from now on.
    Follow(Wish),
    /// This one is wanted now.
    Renew(RenewOrder),
    /// End.
    Stop,
}

/// The box. Cheap to clone.
#[derive(Clone, Default)]
pub struct Inbox {
    shared: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    messages: Vec<Message>,
    stops: bool,
    waker: Option<Waker>,
}

impl Inbox {
    /// Leaves `message`; never blocks.
    pub fn send(&self, message: Message) {
        let mut waiting = self.lock();
        waiting.stops |= matches!(message, Message::Stop);
        waiting.messages.push(message);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Everything that is wanted, oldest first; at once, also when it is nothing.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.lock().messages)
    }

    /// Waits until there is something to take.
    pub async fn filled(&self) {
        self.until(|waiting| !waiting.messages.is_empty()).await;
    }

    /// Waits until the end is wanted.
    pub async fn stopped(&self) {
        self.until(|waiting| waiting.stops).await;
    }

    async fn until(&self, is_so: impl Fn(&Waiting) -> bool) {
        poll_fn(|context| {
            let mut waiting = self.lock();
            if is_so(&waiting) {
                return Poll::Ready(());
            }
            // Only the agent waits, and for one thing at a time.
            waiting.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A vector is whole at every moment.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
