//! How long scripts may run.
//!
//! The interpreter asks after every 10,000 calls, jumps backwards and steps of a regular expression whether to go on. These *steps* are counted,
//! so that a script that never ends fails at the same place on every machine. Natives count by the bytes that they handle, and by what is
//! remembered of a read. Work inside other built-in functions is not counted: there the wall clock, asked at each step, is the backstop. A clock
//! may also run on while this process stands still, so that what it stops says nothing about the script.

use std::cell::Cell;
use std::rc::Rc;

/// Milliseconds on the caller's clock.
pub(crate) type Wall = Rc<dyn Fn() -> u64>;

/// As much of a native's work as one step.
pub(crate) const STEP_BYTES: usize = 64 << 10;

/// What a run came up against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// On every machine.
    Steps,
    /// On this one, this time.
    Wall,
}

/// What is left of a run's steps and time.
pub(crate) struct Budget {
    steps_left: Cell<u64>,
    /// Counted, and not yet a step.
    bytes: Cell<usize>,
    wall: Option<Wall>,
    wall_until_ms: u64,
    exceeded: Cell<Option<Limit>>,
}

impl Budget {
    pub fn new(steps: u64, wall: Option<Wall>, wall_ms: u64) -> Rc<Self> {
        let wall_until_ms = wall.as_ref().map_or(0, |now| now().saturating_add(wall_ms));
        Self::until(steps, wall, wall_until_ms)
    }

    fn until(steps: u64, wall: Option<Wall>, wall_until_ms: u64) -> Rc<Self> {
        let (steps_left, exceeded) = (Cell::new(steps), Cell::new(None));
        Rc::new(Self { steps_left, bytes: Cell::new(0), wall, wall_until_ms, exceeded })
    }

    /// One more step; `true` ends the script.
    pub fn step(&self) -> bool {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => self.steps_left.set(left),
            None => self.exceed(Limit::Steps),
        }
        if self.wall.as_ref().is_some_and(|now| now() > self.wall_until_ms) {
            self.exceed(Limit::Wall);
        }
        self.exceeded.get().is_some()
    }

    /// Work of a native; `true` ends the script.
    pub fn charge(&self, bytes: usize) -> bool {
        let counted = self.bytes.get().saturating_add(bytes);
        self.bytes.set(counted % STEP_BYTES);
        (0..counted / STEP_BYTES).any(|_| self.step()) || self.exceeded.get().is_some()
    }

    /// Runs something within this budget, on so many of its steps at most, which are spent.
    pub fn part<T>(&self, steps: u64, run: impl FnOnce(&Rc<Self>) -> T) -> T {
        let part = Self::until(steps.min(self.steps_left.get()), self.wall.clone(), self.wall_until_ms);
        let before = part.steps_left.get();
        let result = run(&part);
        self.spend(before - part.steps_left.get());
        if part.exceeded.get() == Some(Limit::Wall) {
            self.exceed(Limit::Wall);
        }
        result
    }

    pub fn exceeded(&self) -> Option<Limit> {
        self.exceeded.get()
    }

    /// Takes steps that another budget has counted.
    pub fn spend(&self, steps: u64) {
        self.steps_left.set(self.steps_left.get().saturating_sub(steps));
    }

    pub fn steps_left(&self) -> u64 {
        self.steps_left.get()
    }

    fn exceed(&self, limit: Limit) {
        if self.exceeded.get().is_none() {
            self.exceeded.set(Some(limit));
        }
    }
}
