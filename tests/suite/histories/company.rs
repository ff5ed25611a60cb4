//! Random histories that run in step, on events and users of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::RangeInclusive;

use adapter_sql::Sql;
use domain::ports::Events;
use domain::{Event, EventId, Timestamp, UserId};
use sea_orm::DatabaseConnection;

use super::orders::{Order, Told, Wish};
use super::rows::{Rows, number, of_event, query};
use super::search::explain;
use super::world::{WEEK_SECS, World};
use super::{COMPANY, ROUNDS};
use crate::harness::all_at_once;
use crate::harness::dice::Dice;

/// The most orders of a round that depend on each other: the search tries them in every sequence.
const TANGLE: usize = 6;

/// Histories in step, on events and users of their own.
pub struct Company {
    pub instants: [Timestamp; ROUNDS],
    pub histories: Vec<History>,
}

/// The orders of a few users about a few events.
pub struct History {
    pub rounds: Vec<Vec<Order>>,
    /// Events whose orders depend on each other, and their possible worlds by now.
    pub tangles: Vec<Tangle>,
}

pub struct Tangle {
    pub events: BTreeSet<EventId>,
    pub worlds: Vec<World>,
}

impl Company {
    /// Puts users and events into the database, and makes up random orders.
    pub async fn gather(past: &DatabaseConnection, sql: &Sql, now: Timestamp, dice: &mut Dice) -> Self {
        let instants = instants(now, dice);
        let casts: Vec<_> = (0..COMPANY).map(|_| (2 + dice.below(3), 2 + dice.below(4))).collect();
        let events = casts.iter().map(|(events, _)| events).sum();
        let users = casts.iter().map(|(_, users)| users).sum();
        let mut users = add_users(past, users, now).await.into_iter();
        let ids = add_events(past, events, &instants, dice).await;
        let mut events = sql.find_many(&ids).await.unwrap();
        events.sort_by_key(|event| event.id);
        let mut events = events.into_iter();
        let histories = casts
            .into_iter()
            .map(|(number_of_events, number_of_users)| {
                let events: Vec<_> = events.by_ref().take(number_of_events).collect();
                let users: Vec<_> = users.by_ref().take(number_of_users).collect();
                History::make_up(events, &users, dice)
            })
            .collect();
        Self { instants, histories }
    }

    /// The ids of its events, and of no others.
    pub fn events(&self) -> RangeInclusive<u64> {
        let ids = || self.histories.iter().flat_map(|history| &history.tangles).flat_map(|tangle| &tangle.events);
        ids().min().unwrap().get()..=ids().max().unwrap().get()
    }

    /// Sends all orders of a round at once; returns the answers by history.
    pub async fn round(&self, round: usize, instances: &[Sql], dice: &mut Dice) -> Vec<Vec<Told>> {
        let mut orders: Vec<_> = self
            .histories
            .iter()
            .enumerate()
            .flat_map(|(index, history)| history.rounds[round].iter().map(move |order| (index, order.clone())))
            .collect();
        shuffle(&mut orders, dice);
        let asking: Vec<_> = orders.into_iter().map(|(index, order)| ask(index, order, dice.pick(instances))).collect();
        let mut told = vec![Vec::new(); self.histories.len()];
        for (index, one) in all_at_once(asking).await {
            told[index].push(one);
        }
        told
    }
}

async fn ask(index: usize, order: Order, sql: Sql) -> (usize, Told) {
    let answer = order.ask(&sql).await;
    (index, Told { order, answer })
}

impl History {
    pub fn make_up(events: Vec<Event>, users: &[UserId], dice: &mut Dice) -> Self {
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        // Sometimes two events share keys.
        let entangled = dice.below(4) == 0;
        let knot = |event: EventId| if entangled && event == ids[1] { ids[0] } else { event };
        let mut rounds: Vec<Vec<Order>> = vec![Vec::new(); ROUNDS];
        // Most are short: 4 to 24 orders.
        for _ in 0..4 + dice.below(21).min(dice.below(21)) {
            let order = Self::order(&ids, users, &knot, rounds.concat().as_slice(), dice);
            let round = &mut rounds[dice.below(ROUNDS)];
            if round.iter().filter(|other| knot(other.event) == knot(order.event)).count() < TANGLE {
                round.push(order);
            }
        }
        let mut tangles: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in events {
            tangles.entry(knot(event.id)).or_default().push(event);
        }
        let tangles = tangles.into_values().map(|events| Tangle {
            events: events.iter().map(|event| event.id).collect(),
            worlds: vec![World::new(events)],
        });
        Self { rounds, tangles: tangles.collect() }
    }

    fn order(
        events: &[EventId],
        users: &[UserId],
        knot: &impl Fn(EventId) -> EventId,
        before: &[Order],
        dice: &mut Dice,
    ) -> Order {
        let keyed: Vec<_> = before.iter().filter(|order| order.key.is_some()).collect();
        if !keyed.is_empty() && dice.below(4) == 0 {
            return dice.pick(&keyed).clone();
        }
        // The first event is wanted most.
        let event = events[dice.below(events.len()).min(dice.below(events.len()))];
        let wish = match dice.below(24) {
            0..=13 => Wish::Book,
            14..=20 => Wish::Cancel,
            21 | 22 => Wish::Resize(u8::try_from(1 + dice.below(4)).unwrap()),
            _ => Wish::Delete,
        };
        let by = match wish {
            Wish::Book | Wish::Cancel => dice.pick(users),
            Wish::Resize(_) | Wish::Delete => users[0],
        };
        let key = (dice.below(3) == 0).then(|| format!("{}/{}", knot(event), dice.below(2)));
        Order { by, event, wish, key }
    }

    /// Computes the possible worlds after a round, or reports the round that has none.
    pub fn follow(&mut self, told: &[Told], now: Timestamp, rows: &Rows) -> Result<(), String> {
        for tangle in &mut self.tangles {
            let told: Vec<_> = told.iter().filter(|one| tangle.events.contains(&one.order.event)).cloned().collect();
            let after = explain(&tangle.worlds, &told, now, rows);
            if after.is_empty() {
                return Err(tangle.report(&told, now, rows));
            }
            tangle.worlds = after;
        }
        Ok(())
    }
}

impl Tangle {
    fn report(&self, told: &[Told], now: Timestamp, rows: &Rows) -> String {
        let mut text = format!("no order explains what was told at {now}:\n");
        for Told { order, answer } in told {
            let _ = writeln!(text, "  {order:?}\n    -> {answer:?}");
        }
        let _ = writeln!(text, "It began as one of {:#?}\nStored is", self.worlds);
        for id in &self.events {
            let _ = writeln!(text, "  event {id}: {:?}", rows.events.get(id));
            for registration in of_event(&rows.registrations, *id) {
                let _ = writeln!(text, "    {registration:?}");
            }
        }
        text
    }
}

/// When the rounds are. Keys may outlive their outcome in between, by a second or not quite.
fn instants(now: Timestamp, dice: &mut Dice) -> [Timestamp; ROUNDS] {
    let pause = dice.pick(&[600, 600, 600, WEEK_SECS, WEEK_SECS + 1]);
    let long = dice.below(ROUNDS);
    let mut at = now;
    std::array::from_fn(|round| {
        at = at.plus_secs(if round == long { pause } else { 600 });
        at
    })
}

pub fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for end in (1..list.len()).rev() {
        list.swap(end, dice.below(end + 1));
    }
}

async fn add_users(past: &DatabaseConnection, count: usize, now: Timestamp) -> Vec<UserId> {
    let at = instant(now);
    let rows: Vec<_> = (0..count)
        .map(|number| format!("('Ada', '{number}.{}@example.com', 'no hash', 'user', '{at}')", now.unix_secs()))
        .collect();
    let sql =
        format!("INSERT INTO users (name, email, password, role, created_at) VALUES {} RETURNING id", rows.join(", "));
    let mut ids: Vec<_> = query(past, &sql).await.iter().map(|row| UserId::new(number(row, "id")).unwrap()).collect();
    ids.sort();
    ids
}

/// Events of a few seats. Some start at a round or between two.
async fn add_events(
    past: &DatabaseConnection,
    count: usize,
    instants: &[Timestamp; ROUNDS],
    dice: &mut Dice,
) -> Vec<EventId> {
    let at = instant(instants[0]);
    let rows: Vec<_> = (0..count)
        .map(|_| {
            let starts_at = match dice.below(4) {
                0 => dice.pick(&instants[1..]).plus_secs(dice.pick(&[0, 300])),
                _ => instants[ROUNDS - 1].plus_secs(30 * 24 * 3600),
            };
            let seats = 1 + dice.below(4);
            format!("('Concert', '{}', 'Opera', {seats}, {seats}, '{at}', '{at}', 'concert')", instant(starts_at))
        })
        .collect();
    let sql = format!(
        "INSERT INTO events (title, date, venue, total_seats, available_seats, created_at, updated_at, title_folded) \
         VALUES {} RETURNING id",
        rows.join(", ")
    );
    let mut ids: Vec<_> = query(past, &sql).await.iter().map(|row| EventId::new(number(row, "id")).unwrap()).collect();
    ids.sort();
    ids
}

/// An instant as both databases read it.
fn instant(at: Timestamp) -> String {
    at.to_string().replace('Z', "+00:00")
}
