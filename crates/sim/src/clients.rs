//! What simulated clients do beside submitting: they remember, retry and read.

use std::collections::BTreeMap;

use coco_types::{ReplicaId, limits};

use crate::counter::TOTALS;
use crate::history::{self, Action, Operation, Verdict};
use crate::invariants::Violation;
use crate::world::World;

/// A client that is not told how a submission ended asks again, once in so many.
const RETRIES_ONE_IN: u64 = 2;
impl World {
    pub(crate) fn called(&mut self, id: u64, name: &str) {
        self.submitted.insert(id, (name.to_owned(), self.history.len()));
        self.history.push(Operation {
            client: id,
            key: name.to_owned(),
            call: self.now_ms(),
            returned: None,
            action: Action::Add { amount: 1, total: None },
        });
    }

    pub(crate) fn returned(&mut self, id: u64, response: &[u8]) {
        let now_ms = self.now_ms();
        let Some((_, place)) = self.submitted.get(&id) else { return };
        let operation = &mut self.history[*place];
        let total = response.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
        (operation.returned, operation.action) = (Some(now_ms), Action::Add { amount: 1, total });
    }

    /// What a linearizable read sees of every counter.
    pub(crate) fn read_returned(&mut self, on: ReplicaId, token: u64) {
        let (now_ms, Some(call)) = (self.now_ms(), self.reads.called.remove(&token)) else { return };
        let Some(machines) = &self.nodes[&on].machines else { return };
        let state = machines.visible.state();
        let total = |name: &String| state.get(&TOTALS, name.as_bytes()).and_then(|total| total.first_chunk().copied());
        let names: BTreeMap<String, i64> = self
            .submitted
            .values()
            .map(|(name, _)| (name.clone(), total(name).map_or(0, i64::from_be_bytes)))
            .collect();
        self.history.extend(names.into_iter().map(|(key, total)| Operation {
            client: token,
            key,
            call,
            returned: Some(now_ms),
            action: Action::Total(total),
        }));
    }

    pub(crate) fn perhaps_retry(&mut self, id: u64) {
        if self.submitted.contains_key(&id) && self.random.one_in(RETRIES_ONE_IN) {
            self.to_retry.push(id);
        }
    }

    /// The same submission again, wherever somebody leads now.
    pub(crate) fn retry(&mut self) {
        let Some(to) = self.primary() else { return };
        if self.to_retry.is_empty() || !self.random.one_in(limits::TICK_MS) {
            return;
        }
        for id in std::mem::take(&mut self.to_retry) {
            let Some((name, _)) = self.submitted.get(&id).cloned() else { continue };
            self.note(|| format!("submission {id} is sent to {to} again"));
            self.count("client retries");
            self.answered.remove(&id);
            self.invariants.retried(id);
            self.submit_as(to, id, &name);
        }
    }

    /// One order explains what all clients saw: of so many operations. Of none if looking for it takes too long.
    pub(crate) fn ordered_operations(&self) -> Result<usize, Violation> {
        match history::check(&self.history) {
            Verdict::Linearizable => Ok(self.history.len()),
            Verdict::Unknown { .. } => Ok(0),
            Verdict::Broken { key, stuck_at } => {
                Err(Violation(format!("no order explains what clients saw of {key}: {stuck_at:?}")))
            }
        }
    }
}
