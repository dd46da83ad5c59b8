//! One after the other: transactions that this node signs for the same account. Each has to find the one before in the pool, or both would get
//! the same nonce.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::Address;
use parking_lot::Mutex;

type Job = Box<dyn FnOnce(Turn) + Send>;

/// Who waits, by account; an account that is here has its turn taken.
#[derive(Default)]
pub struct Turns {
    waiting: Mutex<BTreeMap<Address, VecDeque<Job>>>,
}

/// Nobody else signs for the account until this is dropped.
pub struct Turn {
    turns: Arc<Turns>,
    account: Address,
}

impl Turns {
    /// Runs a job when it is its turn: at once, if nobody else has it.
    pub fn take(self: &Arc<Self>, account: Address, job: impl FnOnce(Turn) + Send + 'static) {
        let mut waiting = self.waiting.lock();
        if let Some(queue) = waiting.get_mut(&account) {
            return queue.push_back(Box::new(job));
        }
        waiting.insert(account, VecDeque::new());
        drop(waiting);
        job(Turn { turns: self.clone(), account });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.turns.waiting.lock();
        let next = waiting.get_mut(&self.account).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.remove(&self.account);
        }
        drop(waiting);
        if let Some(next) = next {
            next(Self { turns: self.turns.clone(), account: self.account });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_signs_one_after_the_other() {
        let turns = Arc::new(Turns::default());
        let held = Arc::new(Mutex::new(Vec::new()));
        let (one, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        for (account, number) in [(one, 0), (one, 1), (other, 2), (one, 3)] {
            let held = held.clone();
            turns.take(account, move |turn| held.lock().push((number, turn)));
        }
        let mut order = Vec::new();
        while let Some((number, turn)) = { held.lock().pop() } {
            order.push(number);
            drop(turn);
        }
        assert_eq!(order, [2, 0, 1, 3]);
        assert!(turns.waiting.lock().is_empty());
    }
}
