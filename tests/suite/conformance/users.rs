//! Accounts.

use std::sync::Arc;

use domain::ports::{AccountChange, AddUserError, ProfilePatch, RotateError, UpdateUserError};
use domain::sample::{email, new_user, once, user_id};
use domain::{Command, PasswordHash, PersonName, RefreshDigest, Role, Standing, User, UserId};

use crate::harness::all_at_once;
use crate::harness::store::{Store, unknown_user};

on_both_databases!(
    an_account_is_found_by_id_and_by_address,
    an_unknown_user_is_not_found,
    an_address_belongs_to_one_account_whatever_its_case,
    of_many_who_sign_up_at_once_with_one_address_one_gets_it,
    a_profile_is_changed_in_part_or_in_whole,
    an_address_of_another_account_is_refused_and_nothing_changes,
    ones_own_address_is_not_taken,
    of_many_who_change_to_one_address_at_once_one_gets_it,
    every_change_of_one_profile_at_once_is_made,
    an_account_that_is_gone_has_no_profile_to_change,
    an_operator_changes_a_role_and_leaves_the_password,
    a_new_password_ends_every_session_of_its_account_alone,
    an_account_that_is_gone_is_not_reissued,
);

async fn an_account_is_found_by_id_and_by_address(store: Arc<Store>) {
    for (role, email) in [(Role::User, "ada@example.com"), (Role::Admin, "grace@example.com")] {
        let new = new_user(email, role, store.now());
        let user = store.users.add(new.clone()).await.unwrap();
        let expected =
            User { id: user.id, name: new.name, email: new.email, role, notifications: true, created_at: store.now() };
        assert_eq!(user, expected);
        assert_eq!(store.users.find(user.id).await.unwrap(), Some(expected.clone()));
        let created_at = user.created_at;
        assert_eq!(store.users.standing_of(user.id).await.unwrap(), Some(Standing { role, created_at }));
        let credentials = store.users.credentials(&expected.email).await.unwrap().unwrap();
        assert_eq!(credentials.user, expected);
        assert_eq!(credentials.password.expose(), new.password.expose());
    }
}

async fn an_unknown_user_is_not_found(store: Arc<Store>) {
    store.user().await;
    for id in [unknown_user(), user_id(domain::id::MAX_ID)] {
        assert_eq!(store.users.find(id).await.unwrap(), None);
        assert_eq!(store.users.standing_of(id).await.unwrap(), None);
    }
    let unknown = email("nobody@example.com");
    assert_eq!(store.users.credentials(&unknown).await.unwrap(), None);
}

async fn an_address_belongs_to_one_account_whatever_its_case(store: Arc<Store>) {
    let user = store.users.add(new_user("Ada@Example.COM", Role::User, store.now())).await.unwrap();
    let again = store.users.add(new_user("aDA@eXAMPLE.com", Role::Admin, store.now())).await;
    assert!(matches!(again, Err(AddUserError::EmailTaken)), "{again:?}");
    let found = store.users.credentials(&email("ADA@EXAMPLE.COM")).await.unwrap().unwrap();
    assert_eq!(found.user, user);
}

async fn of_many_who_sign_up_at_once_with_one_address_one_gets_it(store: Arc<Store>) {
    let answers = all_at_once((0..20).map(|_| {
        let store = store.clone();
        async move { store.users.add(new_user("ada@example.com", Role::User, store.now())).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let taken = answers.iter().filter(|answer| matches!(answer, Err(AddUserError::EmailTaken))).count();
    assert_eq!(taken, 19, "{answers:?}");
}

async fn a_profile_is_changed_in_part_or_in_whole(store: Arc<Store>) {
    let user = store.user().await;
    let name = PersonName::parse("Grace Hopper").unwrap();
    let email = email("grace@example.com");
    for (what, expected) in [
        (ProfilePatch::default(), user.clone()),
        (
            ProfilePatch { name: Some(name.clone()), email: None, notifications: None },
            User { name: name.clone(), ..user.clone() },
        ),
        (
            ProfilePatch { name: None, email: Some(email.clone()), notifications: None },
            User { name: name.clone(), email: email.clone(), ..user.clone() },
        ),
        (
            ProfilePatch { name: Some(user.name.clone()), email: Some(user.email.clone()), notifications: None },
            user.clone(),
        ),
        (
            ProfilePatch { notifications: Some(false), ..ProfilePatch::default() },
            User { notifications: false, ..user.clone() },
        ),
        (ProfilePatch { notifications: Some(true), ..ProfilePatch::default() }, user.clone()),
    ] {
        let updated = store.users.update(Command { by: user.id, once: None, what }).await.unwrap();
        assert_eq!((updated.outcome, updated.replayed), (expected.clone(), false));
        assert_eq!(store.users.find(user.id).await.unwrap(), Some(expected));
    }
    assert_eq!(store.users.credentials(&email).await.unwrap(), None, "the old address is free");
}

async fn an_address_of_another_account_is_refused_and_nothing_changes(store: Arc<Store>) {
    let (user, other) = (store.user().await, store.user().await);
    let what = ProfilePatch {
        name: Some(PersonName::parse("Grace").unwrap()),
        email: Some(other.email.clone()),
        notifications: None,
    };
    for once in [None, once("k", 1)] {
        let refused = store.users.update(Command { by: user.id, once, what: what.clone() }).await;
        assert!(matches!(refused, Err(UpdateUserError::EmailTaken)), "{refused:?}");
    }
    assert_eq!(store.users.find(user.id).await.unwrap().as_ref(), Some(&user));
    let free = ProfilePatch { name: None, email: Some(email("free@example.com")), notifications: None };
    let done = store.users.update(Command { by: user.id, once: once("k", 1), what: free }).await.unwrap();
    assert!(!done.replayed, "a refusal is not kept");
}

async fn ones_own_address_is_not_taken(store: Arc<Store>) {
    let user = store.user().await;
    let what = ProfilePatch { name: None, email: Some(user.email.clone()), notifications: None };
    assert_eq!(store.users.update(Command { by: user.id, once: None, what }).await.unwrap().outcome, user);
}

async fn of_many_who_change_to_one_address_at_once_one_gets_it(store: Arc<Store>) {
    let email = email("wanted@example.com");
    let users = store.users(10).await;
    let answers = all_at_once(users.into_iter().map(|by| {
        let (store, what) =
            (store.clone(), ProfilePatch { name: None, email: Some(email.clone()), notifications: None });
        async move { store.users.update(Command { by, once: None, what }).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let taken = answers.iter().filter(|answer| matches!(answer, Err(UpdateUserError::EmailTaken))).count();
    assert_eq!(taken, 9, "{answers:?}");
}

async fn every_change_of_one_profile_at_once_is_made(store: Arc<Store>) {
    let user = store.user().await;
    let answers = all_at_once((0..20).map(|turn| {
        let (store, by) = (store.clone(), user.id);
        let name = Some(PersonName::parse(&format!("Ada {turn}")).unwrap());
        let what = ProfilePatch { name, email: Some(email(&format!("ada{turn}@example.com"))), notifications: None };
        async move { store.users.update(Command { by, once: once(&format!("k{turn}"), 1), what }).await }
    }))
    .await;
    let changed: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().outcome).collect();
    assert!(changed.contains(&store.users.find(user.id).await.unwrap().unwrap()));
}

async fn an_account_that_is_gone_has_no_profile_to_change(store: Arc<Store>) {
    let what = ProfilePatch { name: Some(PersonName::parse("Grace").unwrap()), email: None, notifications: None };
    for once in [None, once("k", 1)] {
        let refused = store.users.update(Command { by: unknown_user(), once, what: what.clone() }).await;
        assert!(matches!(refused, Err(UpdateUserError::AuthorGone)), "{refused:?}");
    }
}

async fn an_operator_changes_a_role_and_leaves_the_password(store: Arc<Store>) {
    let before = store.users.add(new_user("ada@example.com", Role::User, store.now())).await.unwrap();
    let digest = open_session(&store, before.id, 1).await;
    let change = AccountChange { role: Some(Role::Admin), password: None };
    let after = store.users.reissue(before.id, change, store.now()).await.unwrap();
    assert_eq!(after, Some(User { role: Role::Admin, ..before.clone() }));
    let standing = store.users.standing_of(before.id).await.unwrap();
    assert_eq!(standing.map(|standing| standing.role), Some(Role::Admin));
    let credentials = store.users.credentials(&before.email).await.unwrap().unwrap();
    assert_eq!(credentials.password, new_user("ada@example.com", Role::User, store.now()).password);
    store.sessions.rotate(digest, RefreshDigest::new([9; 32]), store.now()).await.unwrap();
}

async fn a_new_password_ends_every_session_of_its_account_alone(store: Arc<Store>) {
    let ada = store.users.add(new_user("ada@example.com", Role::Admin, store.now())).await.unwrap();
    let grace = store.users.add(new_user("grace@example.com", Role::User, store.now())).await.unwrap();
    let of_ada = [open_session(&store, ada.id, 1).await, open_session(&store, ada.id, 2).await];
    let of_grace = open_session(&store, grace.id, 3).await;
    let password = PasswordHash::new("another hash".to_owned());
    let change = AccountChange { role: None, password: Some(password.clone()) };
    assert_eq!(store.users.reissue(ada.id, change, store.now()).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.users.credentials(&ada.email).await.unwrap().unwrap().password, password);
    for digest in of_ada {
        let refused = store.sessions.rotate(digest, RefreshDigest::new([9; 32]), store.now()).await;
        assert!(matches!(refused, Err(RotateError::Invalid)), "{refused:?}");
    }
    store.sessions.rotate(of_grace, RefreshDigest::new([9; 32]), store.now()).await.unwrap();
}

async fn an_account_that_is_gone_is_not_reissued(store: Arc<Store>) {
    let change = AccountChange { role: Some(Role::Admin), password: None };
    assert_eq!(store.users.reissue(unknown_user(), change, store.now()).await.unwrap(), None);
}

/// A session of the user, by the digest of its first token.
async fn open_session(store: &Store, user: UserId, number: u8) -> RefreshDigest {
    let digest = RefreshDigest::new([number; 32]);
    let until = store.now().plus_secs(60);
    store.sessions.open(user, digest, store.now(), until).await.unwrap();
    digest
}
