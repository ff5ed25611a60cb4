//! Log-in sessions and their refresh tokens.

use std::sync::Arc;

use domain::ports::{ProfilePatch, RotateError};
use domain::{Command, PersonName, RefreshDigest, Role, UserId};

use crate::harness::all_at_once;
use crate::harness::store::Store;

on_both_databases!(
    a_token_is_exchanged_for_the_next_and_returns_its_user,
    a_rotation_returns_the_present_user,
    a_spent_token_that_comes_back_ends_the_whole_family,
    ending_one_family_leaves_the_others,
    a_session_ends_in_time_however_often_it_is_renewed,
    a_session_ends_with_any_token_of_its_family,
    an_unknown_token_has_no_session,
    of_two_who_spend_a_token_at_once_one_gets_the_next,
    a_session_revoked_while_it_is_renewed_has_no_valid_token,
    sessions_that_ended_are_forgotten_and_no_others,
);

const HOUR: u32 = 3600;

async fn a_token_is_exchanged_for_the_next_and_returns_its_user(store: Arc<Store>) {
    let user = store.user().await;
    open(&store, user.id, 1).await;
    for spent in 1..5 {
        assert_eq!(rotate(&store, spent, spent + 1).await.unwrap(), user);
    }
}

async fn a_rotation_returns_the_present_user(store: Arc<Store>) {
    let user = store.user().await;
    open(&store, user.id, 1).await;
    let what = ProfilePatch { name: Some(PersonName::parse("Grace").unwrap()), email: None, notifications: None };
    let renamed = store.users.update(Command { by: user.id, once: None, what }).await.unwrap().outcome;
    store.run_sql(&format!("UPDATE users SET role = 'admin' WHERE id = {}", user.id)).await.unwrap();
    let told = rotate(&store, 1, 2).await.unwrap();
    assert_eq!((told.name, told.role), (renamed.name, Role::Admin));
}

async fn a_spent_token_that_comes_back_ends_the_whole_family(store: Arc<Store>) {
    let user = store.user().await.id;
    open(&store, user, 1).await;
    rotate(&store, 1, 2).await.unwrap();
    rotate(&store, 2, 3).await.unwrap();
    let reused = rotate(&store, 1, 4).await;
    assert!(matches!(reused, Err(RotateError::Reused)), "{reused:?}");
    let present = rotate(&store, 3, 5).await;
    assert!(matches!(present, Err(RotateError::Invalid)), "{present:?}");
    let never_issued = rotate(&store, 4, 6).await;
    assert!(matches!(never_issued, Err(RotateError::Invalid)), "{never_issued:?}");
}

async fn ending_one_family_leaves_the_others(store: Arc<Store>) {
    let user = store.user().await.id;
    open(&store, user, 1).await;
    open(&store, user, 101).await;
    rotate(&store, 1, 2).await.unwrap();
    rotate(&store, 1, 3).await.unwrap_err();
    rotate(&store, 101, 102).await.unwrap();
    store.sessions.revoke(digest(2), store.now()).await.unwrap();
    rotate(&store, 102, 103).await.unwrap();
}

async fn a_session_ends_in_time_however_often_it_is_renewed(store: Arc<Store>) {
    let user = store.user().await.id;
    open(&store, user, 1).await;
    store.clock.advance_secs(HOUR - 1);
    rotate(&store, 1, 2).await.unwrap();
    store.clock.advance_secs(1);
    let late = rotate(&store, 2, 3).await;
    assert!(matches!(late, Err(RotateError::Invalid)), "{late:?}");
    store.clock.advance_secs(1);
    let later = rotate(&store, 2, 3).await;
    assert!(matches!(later, Err(RotateError::Invalid)), "{later:?}");
}

async fn a_session_ends_with_any_token_of_its_family(store: Arc<Store>) {
    let user = store.user().await.id;
    for (revoked, family) in [(1, 1), (12, 11)] {
        open(&store, user, family).await;
        rotate(&store, family, family + 1).await.unwrap();
        store.sessions.revoke(digest(revoked), store.now()).await.unwrap();
        store.sessions.revoke(digest(revoked), store.now()).await.unwrap();
        let ended = rotate(&store, family + 1, family + 2).await;
        assert!(matches!(ended, Err(RotateError::Invalid)), "{ended:?}");
    }
}

async fn an_unknown_token_has_no_session(store: Arc<Store>) {
    let user = store.user().await.id;
    open(&store, user, 1).await;
    let unknown = rotate(&store, 9, 10).await;
    assert!(matches!(unknown, Err(RotateError::Invalid)), "{unknown:?}");
    store.sessions.revoke(digest(9), store.now()).await.unwrap();
    rotate(&store, 1, 2).await.unwrap();
}

async fn of_two_who_spend_a_token_at_once_one_gets_the_next(store: Arc<Store>) {
    let user = store.user().await.id;
    for family in [1, 51, 101, 151, 201] {
        open(&store, user, family).await;
        let answers = all_at_once((1..=5).map(|turn| {
            let store = store.clone();
            async move { rotate(&store, family, family + turn).await }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        // The first of the others ends the family; those after it find it ended.
        let refused = |answer: &&Result<_, _>| matches!(answer, Err(RotateError::Reused | RotateError::Invalid));
        assert_eq!(answers.iter().filter(refused).count(), 4, "{answers:?}");
        assert!(answers.iter().any(|answer| matches!(answer, Err(RotateError::Reused))), "{answers:?}");
    }
}

async fn a_session_revoked_while_it_is_renewed_has_no_valid_token(store: Arc<Store>) {
    let user = store.user().await.id;
    for family in (1..=101).step_by(10) {
        open(&store, user, family).await;
        all_at_once((0..5).map(|turn| {
            let store = store.clone();
            async move {
                if turn == 0 {
                    store.sessions.revoke(digest(family), store.now()).await.unwrap();
                } else {
                    let answer = rotate(&store, family, family + turn).await;
                    let refused = matches!(answer, Err(RotateError::Reused | RotateError::Invalid));
                    assert!(refused || answer.is_ok(), "{answer:?}");
                }
            }
        }))
        .await;
        for token in family..family + 5 {
            let answer = rotate(&store, token, family + 9).await;
            assert!(matches!(answer, Err(RotateError::Reused | RotateError::Invalid)), "{answer:?}");
        }
    }
}

async fn sessions_that_ended_are_forgotten_and_no_others(store: Arc<Store>) {
    let user = store.user().await.id;
    open(&store, user, 1).await;
    rotate(&store, 1, 2).await.unwrap();
    store.clock.advance_secs(HOUR / 2);
    open(&store, user, 11).await;
    assert_eq!(store.sessions.purge(store.now()).await.unwrap(), 0);
    store.clock.advance_secs(HOUR / 2 + 1);
    assert_eq!(store.sessions.purge(store.now()).await.unwrap(), 1);
    assert_eq!(store.sessions.purge(store.now()).await.unwrap(), 0);
    let forgotten = rotate(&store, 1, 3).await;
    assert!(matches!(forgotten, Err(RotateError::Invalid)), "{forgotten:?}");
    rotate(&store, 11, 12).await.unwrap();
}

/// Begins a session of an hour with the token of this number.
async fn open(store: &Store, user: UserId, token: u8) {
    store.sessions.open(user, digest(token), store.now(), store.now().plus_secs(HOUR)).await.unwrap();
}

async fn rotate(store: &Store, spent: u8, next: u8) -> Result<domain::User, RotateError> {
    store.sessions.rotate(digest(spent), digest(next), store.now()).await
}

fn digest(token: u8) -> RefreshDigest {
    RefreshDigest::new([token; 32])
}
