//! All requests of clients with their answers, and the check whether all of them can be true.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

/// The longest time of a request, with any fault.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// What a client requests. A client sends one request after the other. It repeats a write whose outcome it does
/// not know, with the same key, until it knows the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Book {
        event: u64,
        key: String,
    },
    Cancel {
        event: u64,
        key: String,
    },
    /// The detail of an event.
    Look {
        event: u64,
    },
    /// The user's own registrations.
    Mine,
    /// A request of which only the answer's time and status are checked.
    Other(&'static str),
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A success, with the registration's id if it is a booking; the same bytes for the same key.
    Done { registration: Option<u64>, body: Vec<u8>, replayed: bool },
    /// The detail in the answer.
    Seen { confirmed: u64, available: u64, total: u64 },
    /// The confirmed registrations in the answer, as event and id.
    Held(Vec<(u64, u64)>),
    /// The rules forbid it, by this code.
    Refused(String),
    /// A 503 that promises that nothing was done, nor will be. With the seconds of `Retry-After`.
    Unavailable(Option<u64>),
    /// Something may have been done.
    Unknown,
    /// No answer came.
    Broken(String),
    /// An answer with an unexpected status or body.
    Odd(u16, String),
}

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    pub by: u64,
    pub wish: Wish,
    pub asked: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

/// A failover to a standby that lacked the last commits.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    /// Commits before this instant had reached the standby.
    pub since: Instant,
    /// Commits after this instant had not.
    pub cut: Instant,
    /// When the primary ended. Later requests go to the standby.
    pub until: Instant,
}

/// The rows of the tables at the end.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Each event's seats and free seats.
    pub events: BTreeMap<u64, (u64, u64)>,
    /// The confirmed registrations: id, user and event.
    pub confirmed: Vec<(u64, u64, u64)>,
    /// What the history tells of registrations, in its order.
    pub facts: Vec<SeatFact>,
}

/// A fact about a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatFact {
    pub id: String,
    pub user: u64,
    pub event: u64,
    /// Whether the registration became confirmed, or cancelled.
    pub confirmed: bool,
    /// The event's version.
    pub sequence: u64,
}

/// A broken promise to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// More seats are taken than there are.
    Oversold,
    /// Taken and free seats are not all seats.
    DoesNotAddUp,
    /// An acknowledged write is not there.
    Lost,
    /// A row or an answer shows a write that no client requested, or that was refused.
    FromNowhere,
    /// A user holds two seats of an event, or got a second one.
    BookedTwice,
    /// A key acted twice, or had two different answers.
    KeyActedTwice,
    /// A change without its fact, a fact without its change, or facts of an event out of order.
    Untold,
    /// An answer is older than a write that was acknowledged before the request.
    Stale,
    /// An answer came too late.
    Late,
    /// No answer came.
    Unanswered,
    /// A status that no fault explains, or a 503 without `Retry-After`.
    WrongStatus,
}

/// A breach, and where.
#[derive(Clone)]
pub struct Finding {
    pub breach: Breach,
    what: String,
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.breach, self.what)
    }
}

/// Checks all requests and answers against each other and against the tables at the end, and returns what
/// cannot be true. Requests during `cuts` may have no answer, because their server was killed. The writes
/// during `losses`, in their order, are gone after them.
pub fn check(entries: &[Entry], tables: &Tables, cuts: &[(Instant, Instant)], losses: &[Loss]) -> Vec<Finding> {
    let mut checker = Checker { findings: Vec::new() };
    for entry in entries {
        let cut = cuts.iter().any(|(from, until)| entry.asked <= *until && *from <= entry.ended);
        checker.answer(entry, cut);
    }
    checker.keys(entries);
    let lives = checker.lives(entries, losses);
    checker.reads(entries, &lives);
    checker.tables(tables, &lives);
    checker.facts(tables);
    checker.findings
}

struct Checker {
    findings: Vec<Finding>,
}

/// Whether a user may have held a seat of an event, and whether they may have held none, from an instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    booked: bool,
    free: bool,
}

const FREE: Known = Known { booked: false, free: true };
const BOOKED: Known = Known { booked: true, free: false };
const EITHER: Known = Known { booked: true, free: true };

/// What is known of one user at one event.
#[derive(Debug, Default)]
struct Life {
    /// In order; free before the first.
    turns: Vec<(Instant, Known)>,
    /// Since when the registration's row is known. It never changes.
    registration: Option<(Instant, u64)>,
    /// From when until when writes were under way.
    writes: Vec<(Instant, Instant)>,
}

impl Life {
    fn now(&self) -> Known {
        self.turns.last().map_or(FREE, |(_, known)| *known)
    }

    /// The possible states between two instants.
    fn between(&self, from: Instant, to: Instant) -> Known {
        let before = self.turns.iter().rev().find(|(at, _)| *at <= from).map_or(FREE, |(_, known)| *known);
        let during = self.turns.iter().filter(|(at, _)| from < *at && *at <= to).map(|(_, known)| *known);
        during.fold(before, |sum, known| Known { booked: sum.booked || known.booked, free: sum.free || known.free })
    }

    /// Undoes the writes that were lost.
    fn lose(&mut self, loss: &Loss) {
        let under_way = self.writes.iter().any(|(asked, ended)| *asked <= loss.until && loss.until <= *ended);
        let left = if under_way { EITHER } else { self.between(loss.since, loss.cut) };
        self.turns.retain(|(at, _)| *at <= loss.until);
        self.turns.push((loss.until, left));
        self.registration = self.registration.filter(|(known, _)| *known < loss.since);
    }
}

/// Undoes the writes that were lost, of each user and event.
fn lose(lives: &mut BTreeMap<(u64, u64), Life>, loss: &Loss) {
    for life in lives.values_mut() {
        life.lose(loss);
    }
}

impl Checker {
    fn find(&mut self, breach: Breach, what: impl Into<String>) {
        self.findings.push(Finding { breach, what: what.into() });
    }

    fn answer(&mut self, entry: &Entry, cut: bool) {
        let took = entry.ended - entry.asked;
        // A client whose server is killed may wait for its answer until it gives up.
        let given_up = cut && matches!(entry.outcome, Outcome::Broken(_));
        if took > ANSWERED_WITHIN && !given_up {
            self.find(Breach::Late, format!("{entry:?} took {took:?}"));
        }
        match &entry.outcome {
            Outcome::Broken(_) if !cut => self.find(Breach::Unanswered, format!("{entry:?}")),
            Outcome::Odd(..) | Outcome::Unavailable(None | Some(0)) => {
                self.find(Breach::WrongStatus, format!("{entry:?}"));
            }
            Outcome::Seen { confirmed, available, total } => {
                if confirmed > total {
                    self.find(Breach::Oversold, format!("{entry:?}"));
                }
                if confirmed + available != *total {
                    self.find(Breach::DoesNotAddUp, format!("{entry:?}"));
                }
            }
            Outcome::Held(held) => {
                let events: BTreeSet<_> = held.iter().map(|(event, _)| event).collect();
                if events.len() < held.len() {
                    self.find(Breach::BookedTwice, format!("{entry:?}"));
                }
            }
            _ => {}
        }
    }

    fn keys(&mut self, entries: &[Entry]) {
        let mut told: BTreeMap<&str, (&[u8], u32)> = BTreeMap::new();
        for entry in entries {
            let (Wish::Book { key, .. } | Wish::Cancel { key, .. }) = &entry.wish else { continue };
            let Outcome::Done { body, replayed, .. } = &entry.outcome else { continue };
            let (first, acted) = told.entry(key).or_insert((body, 0));
            *acted += u32::from(!replayed);
            if *acted > 1 || body != first {
                self.find(Breach::KeyActedTwice, format!("{entry:?}"));
            }
        }
    }

    /// What is known of each user's seats, and when, from the answers to their own writes.
    fn lives(&mut self, entries: &[Entry], losses: &[Loss]) -> BTreeMap<(u64, u64), Life> {
        let mut wishes: Vec<_> = entries.iter().collect();
        wishes.sort_by_key(|entry| entry.asked);
        let mut losses = losses.iter().peekable();
        let mut lives = BTreeMap::<(u64, u64), Life>::new();
        for entry in wishes {
            while let Some(loss) = losses.next_if(|loss| loss.until < entry.asked) {
                lose(&mut lives, loss);
            }
            let (event, after) = match entry.wish {
                Wish::Book { event, .. } => (event, BOOKED),
                Wish::Cancel { event, .. } => (event, FREE),
                _ => continue,
            };
            let life = lives.entry((entry.by, event)).or_default();
            life.writes.push((entry.asked, entry.ended));
            let before = life.now();
            let meanwhile = Known { booked: before.booked || after.booked, free: before.free || after.free };
            match &entry.outcome {
                Outcome::Done { registration, replayed, .. } => {
                    // A replay is the outcome of an earlier try that had no answer.
                    let possible = if *replayed {
                        after.booked && before.booked || after.free && before.free
                    } else {
                        after.booked && before.free || after.free && before.booked
                    };
                    let known = life.registration.map(|(_, id)| id);
                    let other = registration.is_some() && known.is_some() && known != *registration;
                    if !possible && after == BOOKED && !replayed || other {
                        self.find(Breach::BookedTwice, format!("{entry:?}"));
                    } else if !possible {
                        self.find(Breach::FromNowhere, format!("{entry:?}"));
                    }
                    life.registration = life.registration.or(registration.map(|id| (entry.ended, id)));
                    life.turns.push((entry.asked, meanwhile));
                    life.turns.push((entry.ended, after));
                }
                Outcome::Refused(code) => {
                    let told = match code.as_str() {
                        "already_registered" => BOOKED,
                        "sold_out" | "registration_not_found" => FREE,
                        _ => EITHER,
                    };
                    let possible = Known { booked: before.booked && told.booked, free: before.free && told.free };
                    if possible.booked || possible.free {
                        life.turns.push((entry.ended, possible));
                    } else {
                        let breach = if told == FREE { Breach::Lost } else { Breach::FromNowhere };
                        self.find(breach, format!("{entry:?}"));
                    }
                }
                Outcome::Unknown | Outcome::Broken(_) => life.turns.push((entry.asked, meanwhile)),
                // Nothing was done, nor will be.
                _ => {}
            }
        }
        for loss in losses {
            lose(&mut lives, loss);
        }
        lives
    }

    fn reads(&mut self, entries: &[Entry], lives: &BTreeMap<(u64, u64), Life>) {
        for entry in entries {
            match (&entry.wish, &entry.outcome) {
                (Wish::Look { event }, Outcome::Seen { confirmed, .. }) => {
                    let of_event = lives.iter().filter(|((_, of), _)| of == event);
                    let known: Vec<_> = of_event.map(|(_, life)| life.between(entry.asked, entry.ended)).collect();
                    let least = known.iter().filter(|known| !known.free).count() as u64;
                    let most = known.iter().filter(|known| known.booked).count() as u64;
                    if !(least..=most).contains(confirmed) {
                        let what = format!("{entry:?}, and there were {least} to {most} bookings");
                        self.find(Breach::Stale, what);
                    }
                }
                (Wish::Mine, Outcome::Held(held)) => {
                    for ((_, event), life) in lives.iter().filter(|((by, _), _)| *by == entry.by) {
                        let known = life.between(entry.asked, entry.ended);
                        let told = held.iter().any(|(of, _)| of == event);
                        if told && !known.booked || !told && !known.free {
                            self.find(Breach::Stale, format!("{entry:?}, and event {event} is {known:?}"));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn tables(&mut self, tables: &Tables, lives: &BTreeMap<(u64, u64), Life>) {
        let mut rows = BTreeMap::<(u64, u64), u64>::new();
        for (id, user, event) in &tables.confirmed {
            if rows.insert((*user, *event), *id).is_some() {
                self.find(Breach::BookedTwice, format!("user {user} holds event {event} twice"));
            }
        }
        for (event, (total, available)) in &tables.events {
            let taken = tables.confirmed.iter().filter(|(_, _, of)| of == event).count() as u64;
            if taken > *total {
                self.find(Breach::Oversold, format!("event {event} has {taken} bookings of {total} seats"));
            }
            if taken + available != *total {
                self.find(
                    Breach::DoesNotAddUp,
                    format!("event {event}: {taken} taken, {available} free, {total} in all"),
                );
            }
        }
        for (whose, life) in lives {
            let row = rows.remove(whose);
            let known = life.now();
            if row.is_none() && !known.free {
                self.find(Breach::Lost, format!("user and event {whose:?} has no booking, and was told of one"));
            }
            if row.is_some() && !known.booked {
                self.find(Breach::FromNowhere, format!("user and event {whose:?} has a booking, and was told of none"));
            }
            if let (Some(row), Some((_, told))) = (row, life.registration)
                && row != told
            {
                self.find(
                    Breach::Lost,
                    format!("user and event {whose:?} has registration {row}, and was told {told}"),
                );
            }
        }
        for whose in rows.keys() {
            self.find(Breach::FromNowhere, format!("user and event {whose:?} has a booking that no client requested"));
        }
    }

    /// Facts of one registration take turns, and the last one tells what the row is.
    fn facts(&mut self, tables: &Tables) {
        let rows: BTreeSet<_> = tables.confirmed.iter().map(|(_, user, event)| (*user, *event)).collect();
        let (mut held, mut sequences, mut ids) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        for fact in &tables.facts {
            let whose = (fact.user, fact.event);
            let took_its_turn = if fact.confirmed { held.insert(whose) } else { held.remove(&whose) };
            if !took_its_turn || !ids.insert(&fact.id) {
                self.find(Breach::Untold, format!("{fact:?} has no change, or one before it was not told"));
            }
            if sequences.insert(fact.event, fact.sequence).is_some_and(|earlier| earlier > fact.sequence) {
                self.find(Breach::Untold, format!("{fact:?} is told after a later one"));
            }
        }
        for whose in rows.symmetric_difference(&held) {
            self.find(Breach::Untold, format!("user and event {whose:?}: the last fact tells otherwise than the row"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: u64 = 7;

    /// Entries one after the other, a second each.
    struct History {
        begun: Instant,
        entries: Vec<Entry>,
        losses: Vec<Loss>,
        tables: Tables,
    }

    impl History {
        fn new() -> Self {
            let tables = Tables { events: BTreeMap::from([(EVENT, (2, 2))]), ..Tables::default() };
            Self { begun: Instant::now(), entries: Vec::new(), losses: Vec::new(), tables }
        }

        fn add(mut self, by: u64, wish: Wish, outcome: Outcome) -> Self {
            let asked = self.begun + Duration::from_secs(self.entries.len() as u64);
            self.entries.push(Entry { by, wish, asked, ended: asked + Duration::from_millis(500), outcome });
            self
        }

        /// The primary ends now, and the commits of the last so many requests are lost.
        fn lose(mut self, requests: u64) -> Self {
            let now = self.entries.len() as u64;
            // Between the end of the request before, which takes half a second, and the next one.
            let before = |requests: u64| self.begun + Duration::from_millis(1_000 * (now - requests) - 100);
            self.losses.push(Loss { since: before(requests), cut: before(requests), until: before(0) });
            self
        }

        /// With registrations of these users in the tables.
        fn holders(mut self, holders: &[u64]) -> Self {
            self.tables.events = BTreeMap::from([(EVENT, (2, 2_u64.saturating_sub(holders.len() as u64)))]);
            self.tables.confirmed = holders.iter().map(|user| (user + 100, *user, EVENT)).collect();
            self.tables.facts = holders.iter().zip(1..).map(|(user, version)| fact(*user, true, version)).collect();
            self
        }

        fn breaches(&self) -> Vec<Breach> {
            let mut breaches: Vec<_> =
                check(&self.entries, &self.tables, &[], &self.losses).iter().map(|finding| finding.breach).collect();
            breaches.dedup();
            breaches
        }
    }

    fn fact(user: u64, confirmed: bool, sequence: u64) -> SeatFact {
        SeatFact { id: format!("{sequence}-{user}"), user, event: EVENT, confirmed, sequence }
    }

    fn book(key: &str) -> Wish {
        Wish::Book { event: EVENT, key: key.to_owned() }
    }

    fn cancel(key: &str) -> Wish {
        Wish::Cancel { event: EVENT, key: key.to_owned() }
    }

    fn booked(by: u64) -> Outcome {
        Outcome::Done { registration: Some(by + 100), body: vec![1], replayed: false }
    }

    fn replayed(by: u64) -> Outcome {
        Outcome::Done { registration: Some(by + 100), body: vec![1], replayed: true }
    }

    fn cancelled() -> Outcome {
        Outcome::Done { registration: None, body: vec![2], replayed: false }
    }

    fn look() -> Wish {
        Wish::Look { event: EVENT }
    }

    fn seen(confirmed: u64) -> Outcome {
        Outcome::Seen { confirmed, available: 2 - confirmed, total: 2 }
    }

    fn refused(code: &str) -> Outcome {
        Outcome::Refused(code.to_owned())
    }

    #[test]
    fn a_true_ledger_has_no_findings() {
        let history = History::new()
            .add(1, look(), seen(0))
            .add(1, book("a"), booked(1))
            .add(2, look(), seen(1))
            .add(1, Wish::Mine, Outcome::Held(vec![(EVENT, 101)]))
            .add(1, book("b"), refused("already_registered"))
            .add(2, book("c"), Outcome::Unknown)
            .add(3, look(), seen(2))
            .add(4, look(), seen(1))
            .add(2, book("c"), replayed(2))
            .add(3, book("d"), refused("sold_out"))
            .add(1, cancel("e"), Outcome::Unavailable(Some(1)))
            .add(1, cancel("e"), cancelled())
            .add(1, Wish::Mine, Outcome::Held(vec![]))
            .holders(&[2]);
        assert_eq!(history.breaches(), []);
    }

    #[test]
    fn commits_lost_with_a_primary_are_gone_and_nothing_else() {
        let before =
            || History::new().add(1, book("a"), booked(1)).add(2, book("b"), booked(2)).add(1, look(), seen(2));
        let after = before().lose(2).add(1, look(), seen(1)).add(2, Wish::Mine, Outcome::Held(vec![]));
        assert_eq!(after.holders(&[1]).breaches(), []);
        let after = before().lose(2).add(2, book("c"), booked(2)).add(1, look(), seen(2));
        assert_eq!(after.holders(&[1, 2]).breaches(), []);
        assert_eq!(before().lose(2).add(1, look(), seen(2)).holders(&[1]).breaches(), [Breach::Stale]);
        assert_eq!(before().lose(2).holders(&[1, 2]).breaches(), [Breach::FromNowhere]);
        assert_eq!(before().lose(2).holders(&[]).breaches(), [Breach::Lost]);
        assert_eq!(before().holders(&[1]).breaches(), [Breach::Lost]);
    }

    #[test]
    fn seats_that_are_sold_twice_are_found() {
        let history = History::new().add(1, book("a"), booked(1)).add(2, book("b"), booked(2));
        let history = history.add(3, book("c"), booked(3)).holders(&[1, 2, 3]);
        assert_eq!(history.breaches(), [Breach::Oversold, Breach::DoesNotAddUp]);
        let told = Outcome::Seen { confirmed: 3, available: 0, total: 2 };
        assert!(History::new().add(1, look(), told).breaches().contains(&Breach::Oversold));
    }

    #[test]
    fn an_answer_that_does_not_add_up_is_found() {
        let told = Outcome::Seen { confirmed: 0, available: 1, total: 2 };
        assert_eq!(History::new().add(1, look(), told).breaches(), [Breach::DoesNotAddUp]);
    }

    #[test]
    fn an_acknowledged_booking_that_is_lost_is_found() {
        let history = History::new().add(1, book("a"), booked(1));
        assert_eq!(history.holders(&[]).breaches(), [Breach::Lost]);
        let history =
            History::new().add(1, book("a"), booked(1)).add(1, cancel("b"), refused("registration_not_found"));
        assert!(history.holders(&[]).breaches().contains(&Breach::Lost));
    }

    #[test]
    fn a_cancellation_that_is_lost_is_found() {
        let history = History::new().add(1, book("a"), booked(1)).add(1, cancel("b"), cancelled());
        assert_eq!(history.holders(&[1]).breaches(), [Breach::FromNowhere]);
    }

    #[test]
    fn a_refusal_that_acts_all_the_same_is_found() {
        let history = History::new().add(1, book("a"), Outcome::Unavailable(Some(1)));
        assert_eq!(history.holders(&[1]).breaches(), [Breach::FromNowhere]);
    }

    #[test]
    fn a_user_with_two_registrations_is_found() {
        let history = History::new().add(1, book("a"), booked(1)).add(1, book("b"), booked(1));
        assert!(history.holders(&[1]).breaches().contains(&Breach::BookedTwice));
        let twice = Outcome::Held(vec![(EVENT, 101), (EVENT, 102)]);
        assert!(History::new().add(1, Wish::Mine, twice).breaches().contains(&Breach::BookedTwice));
        let history = History::new().add(1, book("a"), booked(1)).holders(&[1, 1]);
        assert!(history.breaches().contains(&Breach::BookedTwice));
    }

    #[test]
    fn a_key_that_acts_or_speaks_twice_is_found() {
        let twice =
            History::new().add(1, book("a"), booked(1)).add(1, cancel("b"), cancelled()).add(1, book("a"), booked(1));
        assert_eq!(twice.holders(&[1]).breaches(), [Breach::KeyActedTwice]);
        let other = Outcome::Done { registration: Some(101), body: vec![9], replayed: true };
        let history = History::new().add(1, book("a"), booked(1)).add(1, book("a"), other);
        assert_eq!(history.holders(&[1]).breaches(), [Breach::KeyActedTwice]);
    }

    #[test]
    fn a_replay_of_a_request_that_was_never_made_is_found() {
        let history = History::new().add(1, book("a"), Outcome::Unavailable(Some(1))).add(1, book("a"), replayed(1));
        assert_eq!(history.holders(&[1]).breaches(), [Breach::FromNowhere]);
    }

    #[test]
    fn a_read_older_than_an_acknowledged_write_is_found() {
        let history = History::new().add(1, book("a"), booked(1)).add(2, look(), seen(0));
        assert_eq!(history.holders(&[1]).breaches(), [Breach::Stale]);
        let history = History::new().add(1, book("a"), booked(1)).add(1, Wish::Mine, Outcome::Held(vec![]));
        assert_eq!(history.holders(&[1]).breaches(), [Breach::Stale]);
        let history = History::new().add(1, book("a"), booked(1)).add(1, cancel("b"), cancelled());
        assert_eq!(history.add(2, look(), seen(1)).holders(&[]).breaches(), [Breach::Stale]);
    }

    #[test]
    fn a_fact_that_is_lost_made_up_or_out_of_order_is_found() {
        let told = |facts: &[SeatFact]| {
            let booked = History::new().add(1, book("a"), booked(1)).add(2, book("b"), booked(2)).holders(&[1, 2]);
            History { tables: Tables { facts: facts.to_vec(), ..booked.tables.clone() }, ..booked }.breaches()
        };
        let (one, two) = (fact(1, true, 1), fact(2, true, 2));
        assert_eq!(told(&[one.clone(), two.clone()]), []);
        for wrong in [
            vec![one.clone()],
            vec![two.clone(), one.clone()],
            vec![one.clone(), two.clone(), two.clone()],
            vec![one.clone(), two.clone(), fact(1, false, 3)],
            vec![one.clone(), two.clone(), fact(3, false, 3)],
        ] {
            assert_eq!(told(&wrong), [Breach::Untold], "{wrong:?}");
        }
    }

    #[test]
    fn an_answer_that_is_late_missing_or_wrong_is_found() {
        let mut late = History::new().add(1, look(), seen(0));
        late.entries[0].ended += ANSWERED_WITHIN;
        assert_eq!(late.breaches(), [Breach::Late]);
        let broken = History::new().add(1, look(), Outcome::Broken("reset".to_owned()));
        assert_eq!(broken.breaches(), [Breach::Unanswered]);
        let (asked, ended) = (broken.entries[0].asked, broken.entries[0].ended);
        let while_it_was_asked = [(asked, asked + Duration::from_secs(1))];
        assert!(check(&broken.entries, &broken.tables, &while_it_was_asked, &[]).is_empty(), "its server was killed");
        let later = [(ended + Duration::from_secs(1), ended + Duration::from_secs(2))];
        assert_eq!(check(&broken.entries, &broken.tables, &later, &[]).len(), 1);
        for wrong in [Outcome::Odd(500, String::new()), Outcome::Unavailable(None)] {
            assert_eq!(History::new().add(1, look(), wrong).breaches(), [Breach::WrongStatus]);
        }
    }
}
