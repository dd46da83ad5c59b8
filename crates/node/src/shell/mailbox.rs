//! What wakes a machine's thread: orders of the node's other machines, and requests from outside.
//!
//! The machines order each other about in circles: a bounded queue between them would let two of them wait for each other for ever.
//! Orders therefore never wait. Their number is bounded by what the machines may have under way: one lead or stop at a time, and the
//! batches, deliveries and syncs that flow control lets through. Requests are as many as outsiders like: they come through a bounded
//! queue, and who finds it full is refused.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select, unbounded};

/// See the module's text.
pub struct Mailbox<T> {
    orders: Receiver<T>,
    requests: Receiver<T>,
}

/// The ways into a mailbox.
pub struct Slots<T> {
    pub orders: Sender<T>,
    /// Only for `try_send`.
    pub requests: Sender<T>,
}

impl<T> Mailbox<T> {
    pub fn new(requests_max: usize) -> (Slots<T>, Self) {
        let (to_orders, orders) = unbounded();
        let (to_requests, requests) = bounded(requests_max);
        (Slots { orders: to_orders, requests: to_requests }, Self { orders, requests })
    }

    /// The next event; orders come first.
    pub fn wait(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
        if let Some(event) = self.next() {
            return Ok(event);
        }
        let event = select! {
            recv(self.orders) -> event => event,
            recv(self.requests) -> event => event,
            default(patience) => return Err(RecvTimeoutError::Timeout),
        };
        event.map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// What is there already.
    pub fn next(&self) -> Option<T> {
        self.orders.try_recv().or_else(|_| self.requests.try_recv()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_never_wait_and_come_before_requests_which_are_refused_beyond_the_limit() {
        let (slots, mailbox) = Mailbox::new(2);
        assert!(slots.requests.try_send(1).is_ok());
        assert!(slots.requests.try_send(2).is_ok());
        assert!(slots.requests.try_send(3).is_err());
        for order in 10..10_010 {
            slots.orders.send(order).unwrap();
        }
        for order in 10..10_010 {
            assert_eq!(mailbox.wait(Duration::ZERO), Ok(order));
        }
        assert_eq!(mailbox.next(), Some(1));
        assert_eq!(mailbox.wait(Duration::ZERO), Ok(2));
        assert_eq!(mailbox.wait(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    }
}
