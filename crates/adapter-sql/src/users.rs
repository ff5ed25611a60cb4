//! Accounts.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::ports::{AddUserError, Credentials, NewUser, ProfilePatch, StoreError, UpdateUserError, Users};
use domain::{Command, Committed, EmailAddress, Role, User, UserId};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, SelectExt, Statement};

use crate::entity::{Row, stored, user};
use crate::error::{failed, is_duplicate};
use crate::tx::{Tx, for_update};
use crate::work::{Reading, Writing};
use crate::{Sql, idempotency};

#[async_trait]
impl Users for Sql {
    async fn find(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read("find_user", move |Reading { db, .. }| async move { find(&db, id).await }).await
    }

    async fn role_of(&self, id: UserId) -> Result<Option<Role>, StoreError> {
        Ok(self.roles_of(&[id]).await?.remove(&id))
    }

    async fn roles_of(&self, ids: &[UserId]) -> Result<HashMap<UserId, Role>, StoreError> {
        let ids = ids.to_vec();
        self.read("roles_of_users", move |reading| roles_of(reading, ids)).await
    }

    async fn credentials(&self, email: &EmailAddress) -> Result<Option<Credentials>, StoreError> {
        let email = email.clone();
        self.read("credentials", move |reading| credentials(reading, email)).await
    }

    async fn add(&self, user: NewUser) -> Result<User, AddUserError> {
        self.write("add_user", move |writing| add(writing, user)).await
    }

    async fn update(&self, command: Command<ProfilePatch>) -> Result<Committed<User>, UpdateUserError> {
        self.write("update_user", move |writing| update(writing, command)).await
    }
}

/// The user as they are now.
pub(crate) async fn find(db: &impl ConnectionTrait, id: UserId) -> Result<Option<User>, StoreError> {
    let row = user::Entity::find_by_id(stored(id.get()))
        .into_partial_model::<user::Profile>()
        .one(db)
        .await
        .map_err(failed)?;
    row.map(User::try_from).transpose()
}

/// Whether the account is there.
pub(crate) async fn stands(db: &impl ConnectionTrait, id: UserId) -> Result<bool, StoreError> {
    user::Entity::find_by_id(stored(id.get())).exists(db).await.map_err(failed)
}

async fn roles_of(Reading { db, engine }: Reading, ids: Vec<UserId>) -> Result<HashMap<UserId, Role>, StoreError> {
    let sql = format!("SELECT id, role FROM users WHERE {}", engine.is_one_of("id", 1));
    let values = [engine.numbers(ids.iter().map(|id| stored(id.get())))];
    let rows = db.query_all_raw(Statement::from_sql_and_values(engine.backend(), sql, values)).await.map_err(failed)?;
    let role = |row: &QueryResult| {
        let (id, role): (i64, String) = row.try_get_many_by_index().map_err(failed)?;
        let at = Row { table: "users", id };
        Ok((at.user_id("id", id)?, user::role(&role, at)?))
    };
    rows.iter().map(role).collect()
}

async fn credentials(Reading { db, .. }: Reading, email: EmailAddress) -> Result<Option<Credentials>, StoreError> {
    let row = user::Entity::find().filter(user::Column::Email.eq(email.as_str())).one(&db).await.map_err(failed)?;
    row.map(Credentials::try_from).transpose()
}

async fn add(writing: Writing, user: NewUser) -> Result<User, AddUserError> {
    let tx = writing.begin().await?;
    let added = add_in(&tx, user).await;
    tx.finish(added).await
}

async fn add_in(tx: &Tx, user: NewUser) -> Result<User, AddUserError> {
    let row = user::ActiveModel {
        name: Set(user.name.as_str().to_owned()),
        email: Set(user.email.as_str().to_owned()),
        password: Set(user.password.expose().to_owned()),
        role: Set(user.role.as_str().to_owned()),
        created_at: Set(user.created_at.as_datetime()),
        ..Default::default()
    };
    match user::Entity::insert(row).exec_with_returning(&**tx).await {
        Ok(row) => Ok(user::Profile::from(row).try_into()?),
        Err(error) if is_duplicate(&error) => Err(AddUserError::EmailTaken),
        Err(error) => Err(failed(error).into()),
    }
}

async fn update(writing: Writing, command: Command<ProfilePatch>) -> Result<Committed<User>, UpdateUserError> {
    let tx = writing.begin().await?;
    let updated = update_in(&tx, &command).await;
    tx.finish(updated).await
}

/// The row is locked before the key is claimed: claiming takes a share of the user's row, and two
/// who hold a share and want the row for themselves would wait for each other.
async fn update_in(tx: &Tx, command: &Command<ProfilePatch>) -> Result<Committed<User>, UpdateUserError> {
    let row = for_update(user::Entity::find_by_id(stored(command.by.get()))).one(&**tx).await.map_err(failed)?;
    let row = user::Profile::from(row.ok_or(UpdateUserError::AuthorGone)?);
    if let Some(replay) = idempotency::claim::<_, user::Profile, _>(tx, command).await? {
        return Ok(replay);
    }
    let ProfilePatch { name, email } = &command.what;
    let revised = user::Profile {
        name: name.as_ref().map_or_else(|| row.name.clone(), |name| name.as_str().to_owned()),
        email: email.as_ref().map_or_else(|| row.email.clone(), |email| email.as_str().to_owned()),
        ..row.clone()
    };
    idempotency::keep(tx, command, &revised).await?;
    if revised != row {
        let changed = user::ActiveModel {
            name: Set(revised.name.clone()),
            email: Set(revised.email.clone()),
            ..Default::default()
        };
        match user::Entity::update_many().set(changed).filter(user::Column::Id.eq(row.id)).exec(&**tx).await {
            Ok(_) => {}
            Err(error) if is_duplicate(&error) => return Err(UpdateUserError::EmailTaken),
            Err(error) => return Err(failed(error).into()),
        }
    }
    Ok(Committed { outcome: revised.try_into()?, replayed: false })
}
