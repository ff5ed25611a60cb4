//! Accounts.

use std::sync::Arc;

use domain::ports::{AddUserError, ProfilePatch, UpdateUserError};
use domain::{Command, EmailAddress, PersonName, Role, User, UserId};

use crate::harness::all_at_once;
use crate::harness::store::{Store, new_user, nobody, once};

on_both_databases!(
    an_account_is_found_by_id_and_by_address,
    what_never_was_is_not_found,
    an_address_belongs_to_one_account_whatever_its_case,
    of_many_who_sign_up_at_once_with_one_address_one_gets_it,
    a_profile_is_changed_in_part_or_in_whole,
    an_address_of_somebody_else_is_refused_and_nothing_changes,
    ones_own_address_is_not_taken,
    of_many_who_change_to_one_address_at_once_one_gets_it,
    an_account_that_is_gone_has_no_profile_to_change,
);

async fn an_account_is_found_by_id_and_by_address(store: Arc<Store>) {
    for (role, email) in [(Role::User, "ada@example.com"), (Role::Admin, "grace@example.com")] {
        let new = new_user(email, role, store.now());
        let user = store.users.add(new.clone()).await.unwrap();
        let expected = User { id: user.id, name: new.name, email: new.email, role, created_at: store.now() };
        assert_eq!(user, expected);
        assert_eq!(store.users.find(user.id).await.unwrap(), Some(expected.clone()));
        assert_eq!(store.users.role_of(user.id).await.unwrap(), Some(role));
        let credentials = store.users.credentials(&expected.email).await.unwrap().unwrap();
        assert_eq!(credentials.user, expected);
        assert_eq!(credentials.password.expose(), new.password.expose());
    }
}

async fn what_never_was_is_not_found(store: Arc<Store>) {
    store.user().await;
    for id in [nobody(), UserId::new(domain::id::MAX_ID).unwrap()] {
        assert_eq!(store.users.find(id).await.unwrap(), None);
        assert_eq!(store.users.role_of(id).await.unwrap(), None);
    }
    let unknown = EmailAddress::parse("nobody@example.com").unwrap();
    assert_eq!(store.users.credentials(&unknown).await.unwrap(), None);
}

async fn an_address_belongs_to_one_account_whatever_its_case(store: Arc<Store>) {
    let user = store.users.add(new_user("Ada@Example.COM", Role::User, store.now())).await.unwrap();
    let again = store.users.add(new_user("aDA@eXAMPLE.com", Role::Admin, store.now())).await;
    assert!(matches!(again, Err(AddUserError::EmailTaken)), "{again:?}");
    let found = store.users.credentials(&EmailAddress::parse("ADA@EXAMPLE.COM").unwrap()).await.unwrap().unwrap();
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
    let email = EmailAddress::parse("grace@example.com").unwrap();
    for (what, expected) in [
        (ProfilePatch::default(), user.clone()),
        (ProfilePatch { name: Some(name.clone()), email: None }, User { name: name.clone(), ..user.clone() }),
        (
            ProfilePatch { name: None, email: Some(email.clone()) },
            User { name: name.clone(), email: email.clone(), ..user.clone() },
        ),
        (ProfilePatch { name: Some(user.name.clone()), email: Some(user.email.clone()) }, user.clone()),
    ] {
        let updated = store.users.update(Command { by: user.id, once: None, what }).await.unwrap();
        assert_eq!((updated.outcome, updated.replayed), (expected.clone(), false));
        assert_eq!(store.users.find(user.id).await.unwrap(), Some(expected));
    }
    assert_eq!(store.users.credentials(&email).await.unwrap(), None, "the old address is free");
}

async fn an_address_of_somebody_else_is_refused_and_nothing_changes(store: Arc<Store>) {
    let (user, other) = (store.user().await, store.user().await);
    let what = ProfilePatch { name: Some(PersonName::parse("Grace").unwrap()), email: Some(other.email.clone()) };
    for once in [None, once("k", 1)] {
        let refused = store.users.update(Command { by: user.id, once, what: what.clone() }).await;
        assert!(matches!(refused, Err(UpdateUserError::EmailTaken)), "{refused:?}");
    }
    assert_eq!(store.users.find(user.id).await.unwrap().as_ref(), Some(&user));
    let free = ProfilePatch { name: None, email: Some(EmailAddress::parse("free@example.com").unwrap()) };
    let done = store.users.update(Command { by: user.id, once: once("k", 1), what: free }).await.unwrap();
    assert!(!done.replayed, "a refusal is not kept");
}

async fn ones_own_address_is_not_taken(store: Arc<Store>) {
    let user = store.user().await;
    let what = ProfilePatch { name: None, email: Some(user.email.clone()) };
    assert_eq!(store.users.update(Command { by: user.id, once: None, what }).await.unwrap().outcome, user);
}

async fn of_many_who_change_to_one_address_at_once_one_gets_it(store: Arc<Store>) {
    let email = EmailAddress::parse("wanted@example.com").unwrap();
    let users = store.users(10).await;
    let answers = all_at_once(users.into_iter().map(|by| {
        let (store, what) = (store.clone(), ProfilePatch { name: None, email: Some(email.clone()) });
        async move { store.users.update(Command { by, once: None, what }).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let taken = answers.iter().filter(|answer| matches!(answer, Err(UpdateUserError::EmailTaken))).count();
    assert_eq!(taken, 9, "{answers:?}");
}

async fn an_account_that_is_gone_has_no_profile_to_change(store: Arc<Store>) {
    let what = ProfilePatch { name: Some(PersonName::parse("Grace").unwrap()), email: None };
    for once in [None, once("k", 1)] {
        let refused = store.users.update(Command { by: nobody(), once, what: what.clone() }).await;
        assert!(matches!(refused, Err(UpdateUserError::AuthorGone)), "{refused:?}");
    }
}
