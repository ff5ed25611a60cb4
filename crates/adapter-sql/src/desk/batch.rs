//! Many commands in one transaction: rows are locked, loaded, decided on and written with a few
//! statements, however many commands there are.
//!
//! The order of locks is the same everywhere: events by id, then idempotency keys by user and
//! key, then registrations, which the lock on their event covers. So transactions over the same
//! events and keys wait for each other and never in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use domain::ports::StoreError;
use domain::{Author, EventId, Timestamp, UserId};

use super::command::DeskCommand;
use super::keys::{self, Keys};
use super::progress::{Part, Progress};
use super::store::{Books, Locking, Store};
use crate::access::error::Obstacle;
use crate::access::operation::Writing;
use crate::access::transaction::Tx;

/// Decides all the commands and commits what was decided.
pub(super) async fn transact(
    writing: Writing,
    commands: Arc<[Arc<dyn DeskCommand>]>,
    locking: Locking,
    progress: Arc<Progress>,
) -> Result<Vec<Part>, StoreError> {
    // Whatever an earlier attempt came to was not committed.
    progress.take();
    let tx = writing.begin().await?;
    let decided = Batch { writing: &writing, tx: &tx, commands: &commands, locking }.decide(&progress).await;
    match decided {
        Ok(Decided { parts, changed: false }) => {
            // Only locks to let go: a rollback spares the flush.
            tx.discard().await;
            Ok(parts)
        }
        Ok(Decided { parts, changed: true }) => tx.finish(Ok(parts)).await,
        Err(error) => tx.finish(Err(error)).await,
    }
}

struct Decided {
    parts: Vec<Part>,
    changed: bool,
}

struct Batch<'a> {
    writing: &'a Writing,
    tx: &'a Tx,
    commands: &'a [Arc<dyn DeskCommand>],
    locking: Locking,
}

impl Batch<'_> {
    async fn decide(&self, progress: &Progress) -> Result<Decided, StoreError> {
        let store = Store::new(self.tx, self.writing.engine);
        let wanted = self.commands.iter().map(|command| command.event()).collect();
        let (mut books, held) = store.lock_events(&wanted, self.locking, progress).await?;
        // A command is open as long as it has no part yet.
        let mut parts = self.first_parts(&held);
        self.load(&store, &mut books, &mut parts).await?;
        // After the authors: a key belongs to the account.
        let keys = self.claim_keys(&store, &mut parts).await?;

        let now = self.tx.now();
        for (command, part) in self.commands.iter().zip(&mut parts) {
            if part.is_none() {
                match books.get(command.event()) {
                    Ok(book) => {
                        command.decide(book, now);
                    }
                    Err(error) => command.fail(Obstacle::Store(error)),
                }
            }
        }
        store.write(self.writing, &books).await?;
        // A command may have changed nothing and still have an outcome.
        let kept = keys::keep_outcomes(&store, &keys, self.commands).await?;

        let parts: Vec<_> = parts.into_iter().map(|part| part.unwrap_or(Part::Decided)).collect();
        let changed = books.is_changed() || kept || keys.taken_over;
        let seats = books.seats_left().collect();
        let happened = books.into_happened();
        let mut known = progress.known();
        known.parts = Some(parts.clone());
        known.seats = seats;
        known.happened.clone_from(&happened);
        drop(known);
        self.tx.happened(happened);
        Ok(Decided { parts, changed })
    }

    /// Leaves some commands to another transaction.
    fn first_parts(&self, held: &HashSet<EventId>) -> Vec<Option<Part>> {
        let mut keys = HashSet::new();
        let mut parts = Vec::with_capacity(self.commands.len());
        for command in self.commands {
            parts.push(match command.author().user().zip(command.once()) {
                _ if held.contains(&command.event()) => Some(Part::Held),
                Some((user, once)) => (!keys.insert((user, once.key.as_str()))).then_some(Part::Later),
                None => None,
            });
        }
        parts
    }

    /// Loads what open commands need, and decides those of authors whose account is gone.
    async fn load(&self, store: &Store<'_>, books: &mut Books, parts: &mut [Option<Part>]) -> Result<(), StoreError> {
        // Whether a new registration may be made, by user and event.
        let mut wanted: BTreeMap<(UserId, EventId), bool> = BTreeMap::new();
        let mut authors = BTreeSet::new();
        for (command, _) in self.commands.iter().zip(&*parts).filter(|(_, part)| part.is_none()) {
            let needs = command.needs();
            for user in needs.registrations {
                *wanted.entry((user, command.event())).or_default() |= needs.new_registrations;
            }
            authors.extend(command.author().user());
        }
        let mut accounts = store.load_registrations(books, &wanted).await?;
        for (user, _) in wanted.keys() {
            authors.remove(user);
        }
        accounts.extend(store.load_accounts(&authors).await?);
        for (command, part) in self.commands.iter().zip(parts) {
            if part.is_none() && !has_account(command.author(), &accounts) {
                command.fail(Obstacle::AuthorGone);
                *part = Some(Part::Decided);
            }
        }
        Ok(())
    }

    /// Claims the keys of open commands, and decides those that need not be carried out.
    async fn claim_keys(&self, store: &Store<'_>, parts: &mut [Option<Part>]) -> Result<Keys, StoreError> {
        let open: Vec<_> = parts.iter().map(Option::is_none).collect();
        let wanted = keys::wanted(self.commands, &open);
        if wanted.is_empty() {
            return Ok(Keys::default());
        }
        // A lone command that was tried before waits for its key as long as for any lock.
        let patient = self.commands.len() == 1 && self.locking == Locking::Wait;
        let (keys, decided) = keys::claim(store, wanted, self.commands, patient).await?;
        for place in decided {
            if let Some(part) = parts.get_mut(place) {
                *part = Some(Part::Decided);
            }
        }
        Ok(keys)
    }
}

fn has_account(author: Author, accounts: &HashMap<UserId, Timestamp>) -> bool {
    match author {
        Author::User(holder) => accounts.get(&holder.user).is_some_and(|since| holder.signed_up.admits(*since)),
        Author::System => true,
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::{Events, Users};
    use domain::sample::{draft, new_user, now, once};
    use domain::{BookSeat, CancelSeat, Command, Committed, Registration, Role, SeatCommandError};
    use tokio::sync::oneshot::Receiver;

    use super::super::command::submit;
    use super::*;

    /// What became of a command that was told: whether it is a replay. `None` if it was not told, or not carried out.
    fn replayed<R>(mut answered: Receiver<Result<Committed<Registration>, SeatCommandError<R>>>) -> Option<bool> {
        Some(answered.try_recv().ok()?.ok()?.replayed)
    }

    /// Taken one by one, commands get the same answers; so whether they went together shows only here.
    #[tokio::test]
    async fn commands_with_keys_and_without_go_together() {
        let (sql, _folder) = crate::sample::sqlite().await;
        let mut users = Vec::new();
        for number in 0..3 {
            let new = new_user(&format!("user{number}@example.com"), Role::User, now());
            users.push(sql.add(new).await.unwrap().id);
        }
        let draft = draft("Concert", 10, now());
        let event = sql.create(Command { by: users[0], once: None, what: draft }).await.unwrap().outcome.id;

        let book = |user: UserId, once| submit(Command { by: user.into(), once, what: BookSeat { event, user } });
        let together = async || {
            let (first, first_answer) = book(users[0], once("a", 1));
            let (second, second_answer) = book(users[0], once("a", 1));
            let (third, third_answer) = book(users[1], None);
            let (fourth, fourth_answer) = book(users[2], once("a", 1));
            let what = CancelSeat { event, user: users[1] };
            let (fifth, fifth_answer) = submit(Command { by: users[1].into(), once: once("b", 1), what });
            let commands: Arc<[_]> = [first, second, third, fourth, fifth].into();
            let (batch, progress) = (Arc::clone(&commands), Arc::new(Progress::default()));
            let work = move |writing| transact(writing, batch, Locking::SkipHeld, progress);
            let parts = sql.write("test", work).await.unwrap();
            assert!(matches!(parts[1], Part::Later), "{parts:?}");
            commands.iter().for_each(|command| command.tell(None));
            let booked = [first_answer, second_answer, third_answer, fourth_answer].map(replayed);
            (booked, replayed(fifth_answer))
        };
        assert_eq!(together().await, ([Some(false), None, Some(false), Some(false)], Some(false)));
        assert_eq!(together().await, ([Some(true), None, Some(false), Some(true)], Some(true)));
    }
}
