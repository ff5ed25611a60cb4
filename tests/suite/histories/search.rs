//! The search for a sequence of the orders of a round that gives their answers and the stored rows.

use std::collections::BTreeSet;

use domain::{KeyConflict, Timestamp};

use super::orders::{Refusal, Told};
use super::rows::Rows;
use super::world::World;

/// The possible worlds after a round that began in one of these: each is the end of some sequence of the
/// orders with their answers, and has the rows that are stored. Empty if the round cannot have happened.
pub fn explain(worlds: &[World], told: &[Told], now: Timestamp, rows: &Rows) -> Vec<World> {
    let (in_progress, decided): (Vec<_>, Vec<_>) =
        told.iter().partition(|one| one.answer == Err(Refusal::Key(KeyConflict::InProgress)));
    // An order may get `InProgress` only if another order of the round has its key.
    if !in_progress.iter().all(|one| told.iter().filter(|other| one.order.shares_key(&other.order)).count() > 1) {
        return Vec::new();
    }
    let mut search = Search { told: decided, now, rows, seen: Vec::new(), ends: Vec::new() };
    for world in worlds {
        search.go_on((0..search.told.len()).collect(), world.clone());
    }
    search.ends
}

struct Search<'a> {
    told: Vec<&'a Told>,
    now: Timestamp,
    rows: &'a Rows,
    /// The visited states of the search: the orders left to explain, and the world.
    seen: Vec<(BTreeSet<usize>, World)>,
    ends: Vec<World>,
}

impl Search<'_> {
    /// Tries to explain the orders that are left, beginning in this world.
    fn go_on(&mut self, mut left: BTreeSet<usize>, world: World) {
        // Take an order that did nothing as soon as this world explains it: it does not change the
        // world for the orders after it.
        left.retain(|index| !(self.told[*index].did_nothing() && self.after(*index, &world).is_some()));
        let been_here = (left, world);
        if self.seen.contains(&been_here) {
            return;
        }
        let (left, world) = &been_here;
        if left.is_empty() && world.is_stored(self.rows) && !self.ends.contains(world) {
            self.ends.push(world.clone());
        }
        for index in left {
            if !self.told[*index].did_nothing()
                && let Some(next) = self.after(*index, world)
            {
                let mut rest = left.clone();
                rest.remove(index);
                self.go_on(rest, next);
            }
        }
        self.seen.push(been_here);
    }

    /// The world after one order was carried out next, if that explains its answer.
    fn after(&self, index: usize, world: &World) -> Option<World> {
        let Told { order, answer } = self.told[index];
        let mut next = world.clone();
        (next.carry_out(order, self.now, self.rows) == *answer).then_some(next)
    }
}
