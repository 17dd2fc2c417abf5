//! Certificates that somebody wants renewed now: from the control loop to whoever renews them.

use super::mail::CertTicket;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// One certificate, wanted now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenewOrder {
    /// The name it is for.
    pub name: String,
    /// What the answer is called: [`super::mail::ControlMessage::CertsDone`].
    pub ticket: CertTicket,
}

/// Where orders go.
#[derive(Default)]
pub struct Renewals {
    taker: Mutex<Option<Taker>>,
}

type Taker = Box<dyn Fn(RenewOrder) + Send>;

impl Renewals {
    /// Orders go to `taker` from now on, which does not block, and sees that each is answered once.
    pub fn attach(&self, taker: impl Fn(RenewOrder) + Send + 'static) {
        *self.taker.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(taker));
    }

    /// Hands `order` over. False when there is nobody: then it is never answered.
    pub fn order(&self, order: RenewOrder) -> bool {
        let taker = self.taker.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(take) = &*taker else { return false };
        take(order);
        true
    }
}

impl fmt::Debug for Renewals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Renewals")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn orders_reach_whoever_is_attached() {
        let renewals = Renewals::default();
        let order = RenewOrder { name: "a.x".to_owned(), ticket: CertTicket(7) };
        assert!(!renewals.order(order.clone()));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let takes = Arc::clone(&taken);
        renewals.attach(move |order| takes.lock().unwrap().push(order));
        assert!(renewals.order(order.clone()));
        assert_eq!(*taken.lock().unwrap(), [order]);
    }
}
