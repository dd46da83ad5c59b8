//! Copying the best log, and making it durable.

use bytes::Bytes;
use coco_consensus::{ResumeEntry, ResumeState};
use coco_types::{Digest, ReplicaId, limits};

use super::message::{Ask, Reply};
use super::{Plan, Returning};

impl Returning {
    /// A request for entries, if one is due.
    pub(super) fn ask_for_entries(&mut self, now_ms: u64) -> Vec<(ReplicaId, Bytes)> {
        let (Some(plan), Some(first_index)) = (&self.plan, self.next_index) else { return Vec::new() };
        if self.copying_since_ms.is_some_and(|since| now_ms < since + limits::COMEBACK_FRESH_MS) {
            return Vec::new();
        }
        self.copying_since_ms = Some(now_ms);
        vec![(plan.best, Ask::Entries { plan: plan.id, first_index }.encode())]
    }

    /// Entries of this log for another of the same plan.
    pub(super) fn entries_for(&self, plan: Digest, first_index: u64) -> Option<Bytes> {
        let own = self.plan.as_ref().filter(|own| own.id == plan && own.best == self.origin.replica)?;
        let entries = self.origin.log.as_ref()?.read_entries(first_index, limits::COMEBACK_COPY_BYTES);
        match entries {
            Ok(entries) => Some(Reply::Entries { first_index, entries }.encode()),
            Err(error) => {
                tracing::error!(%error, plan = %own.id, "reading the log for others");
                None
            }
        }
    }

    /// Takes in what [`Returning::ask_for_entries`] asked for.
    pub(super) fn copy(&mut self, first_index: u64, entries: Vec<ResumeEntry>, now_ms: u64) {
        if self.next_index != Some(first_index) || self.adopted || entries.is_empty() {
            return;
        }
        self.copying_since_ms = None;
        self.plan_since_ms = now_ms;
        self.copied.push((first_index, entries));
    }

    /// One step of copying and adopting; `false` if it waits for entries.
    pub(super) fn adopt_when_copied(&mut self, plan: &Plan, now_ms: u64) -> Result<bool, coco_consensus::Error> {
        let best = match plan.best == self.origin.replica {
            true => None,
            false => match self.state_of_best(plan) {
                Some(state) => Some(state),
                None => return Ok(false),
            },
        };
        let Some(log) = &mut self.origin.log else { return Ok(false) };
        if let Some(best) = best {
            // Entries that it acknowledged may go now: it is not what it was.
            self.made_way &= self.copied.is_empty();
            for (first_index, entries) in std::mem::take(&mut self.copied) {
                let count = entries.len() as u64;
                log.replace_tail(first_index - 1, entries)?;
                self.next_index = Some(first_index + count);
            }
            let next = match self.next_index {
                Some(next) => next,
                None => {
                    // The coordinator looked: there is a common entry.
                    let Some(common) = self.state.as_ref().and_then(|own| own.common_with(&best)) else {
                        return Ok(false);
                    };
                    if common == best.last_index {
                        self.made_way = false;
                        log.replace_tail(common, Vec::new())?;
                    }
                    common + 1
                }
            };
            self.next_index = Some(next);
            if next <= best.last_index {
                return Ok(false);
            }
        }
        self.made_way = false;
        log.adopt(plan.view)?;
        self.state = Some(log.state());
        self.adopted = true;
        self.next_index = None;
        self.plan_since_ms = now_ms;
        self.ask_at_ms = 0;
        Ok(true)
    }

    /// As of the life that the plan names: nothing changes it but the plan itself.
    fn state_of_best(&self, plan: &Plan) -> Option<ResumeState> {
        let life = plan.participants.iter().find(|one| one.replica == plan.best)?.life;
        let (_, card) = self.others.get(&plan.best)?.card.as_ref()?;
        card.state.clone().filter(|_| card.life == life)
    }
}
