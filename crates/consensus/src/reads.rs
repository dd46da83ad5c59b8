//! Linearizable reads: a quorum confirms, after the question, that this primary still leads.
//!
//! Questions are gathered into numbered rounds, one in flight. The crate drops a round without a trace before the first
//! commit of a term, so an unanswered one is repeated under a new number; the answer to any round confirms every question
//! asked before that round began.

use std::collections::VecDeque;

use crate::ReadOutcome;

#[derive(Default)]
pub(crate) struct Reads {
    /// (token, the first round that may answer it).
    waiting: VecDeque<(u64, u64)>,
    /// (token, index): confirmed, but the index is not applied yet.
    confirmed: VecDeque<(u64, u64)>,
    lost: Vec<u64>,
    round: u64,
    in_flight: bool,
    ticks_since_round: usize,
}

impl Reads {
    pub(crate) fn ask(&mut self, token: u64) {
        self.waiting.push_back((token, self.round + 1));
    }

    /// The context of a round to start now, if one is due.
    pub(crate) fn next_round(&mut self) -> Option<[u8; 8]> {
        if self.in_flight || self.waiting.is_empty() {
            return None;
        }
        self.in_flight = true;
        self.ticks_since_round = 0;
        self.round += 1;
        Some(self.round.to_be_bytes())
    }

    pub(crate) fn tick(&mut self, repeat_ticks: usize) {
        self.ticks_since_round += 1;
        if self.ticks_since_round >= repeat_ticks {
            self.in_flight = false;
        }
    }

    pub(crate) fn answered(&mut self, context: &[u8], index: u64) {
        let Ok(round) = context.try_into().map(u64::from_be_bytes) else { return };
        if round == self.round {
            self.in_flight = false;
        }
        while let Some((token, _)) = self.waiting.pop_front_if(|(_, first)| *first <= round) {
            self.confirmed.push_back((token, index));
        }
    }

    pub(crate) fn lose(&mut self) {
        self.lost.extend(self.waiting.drain(..).map(|(token, _)| token));
        self.in_flight = false;
    }

    pub(crate) fn take(&mut self, applied: u64) -> Vec<ReadOutcome> {
        let mut outcomes: Vec<_> = self.lost.drain(..).map(|token| ReadOutcome::Lost { token }).collect();
        while let Some((token, index)) = self.confirmed.pop_front_if(|(_, index)| *index <= applied) {
            outcomes.push(ReadOutcome::Confirmed { token, index });
        }
        outcomes
    }
}
