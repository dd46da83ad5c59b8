//! How long scripts may run.
//!
//! The interpreter asks after every 10,000 calls, jumps backwards and steps of a regular expression whether to go on. These *steps* are counted,
//! so that a script that never ends fails at the same place on every machine. Work inside a built-in function is not counted: there the
//! wall clock, asked at each step, is the backstop.

use std::cell::Cell;
use std::rc::Rc;

/// Milliseconds on the caller's clock.
pub(crate) type Wall = Rc<dyn Fn() -> u64>;

/// What is left of a run's steps and time.
pub(crate) struct Budget {
    steps_left: Cell<u64>,
    wall: Option<Wall>,
    wall_until_ms: u64,
    exceeded: Cell<Option<&'static str>>,
}

impl Budget {
    pub fn new(steps: u64, wall: Option<Wall>, wall_ms: u64) -> Rc<Self> {
        let wall_until_ms = wall.as_ref().map_or(0, |now| now().saturating_add(wall_ms));
        Rc::new(Self { steps_left: Cell::new(steps), wall, wall_until_ms, exceeded: Cell::new(None) })
    }

    /// One more step; `true` ends the script.
    pub fn step(&self) -> bool {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => self.steps_left.set(left),
            None => self.exceeded.set(Some("it ran longer than it may")),
        }
        if self.wall.as_ref().is_some_and(|now| now() > self.wall_until_ms) {
            self.exceeded.set(Some("it took longer than it may"));
        }
        self.exceeded.get().is_some()
    }

    pub fn exceeded(&self) -> Option<&'static str> {
        self.exceeded.get()
    }

    /// Takes steps that another budget has counted.
    pub fn spend(&self, steps: u64) {
        self.steps_left.set(self.steps_left.get().saturating_sub(steps));
    }

    pub fn steps_left(&self) -> u64 {
        self.steps_left.get()
    }
}
