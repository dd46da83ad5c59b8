//! So much at once and no more. Who takes some of it has a share, and gives it back by dropping that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Room {
    taken: AtomicUsize,
    max: usize,
}

/// What was taken.
pub struct Share {
    room: Arc<Room>,
    amount: usize,
}

impl Room {
    pub fn of(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    /// `None` if so much is not left.
    pub fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let more = |taken: usize| taken.checked_add(amount).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Share { room: self.clone(), amount })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::of(3);
        let two = room.take(2).unwrap();
        assert!(room.take(2).is_none() && room.take(usize::MAX).is_none());
        let one = room.take(1).unwrap();
        assert!(room.take(1).is_none());
        drop(two);
        assert!(room.take(2).is_some());
        drop(one);
        assert!(room.take(3).is_some());
    }
}
