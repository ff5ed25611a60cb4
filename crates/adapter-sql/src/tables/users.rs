//! Accounts.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::happening::Change;
use domain::ports::{
    AccountChange, AddUserError, Credentials, NewUser, ProfilePatch, StoreError, UpdateUserError, Users,
};
use domain::{Author, Command, Committed, EmailAddress, Happening, PersonName, Standing, Timestamp, User, UserId};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, Statement};

use crate::Sql;
use crate::access::error::{failed, is_duplicate};
use crate::access::operation::{Reading, Writing};
use crate::access::timeline::COLUMN as TIMELINE;
use crate::access::transaction::{Tx, for_update};
use crate::tables::account;
use crate::tables::idempotency;
use crate::tables::rows::{Row, Text, stored, user};
use crate::tables::sessions;

#[async_trait]
impl Users for Sql {
    async fn find(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read("find_user", move |Reading { db, .. }| async move { account::find(&db, id).await }).await
    }

    async fn standing_of(&self, id: UserId) -> Result<Option<Standing>, StoreError> {
        Ok(self.standings_of(&[id]).await?.remove(&id))
    }

    async fn standings_of(&self, ids: &[UserId]) -> Result<HashMap<UserId, Standing>, StoreError> {
        let ids = ids.to_vec();
        self.read("standings_of_users", move |reading| standings_of(reading, ids)).await
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

    async fn reissue(&self, id: UserId, change: AccountChange, now: Timestamp) -> Result<Option<User>, StoreError> {
        self.write("reissue_user", move |writing| reissue(writing, id, change, now)).await
    }
}

/// Where there is none of them, there still is a row that says who answered.
async fn standings_of(reading: Reading, ids: Vec<UserId>) -> Result<HashMap<UserId, Standing>, StoreError> {
    let Reading { sql: store, db, engine } = reading;
    let sql = format!(
        "SELECT users.id, users.role, users.created_at, server.{TIMELINE} FROM (SELECT {} AS {TIMELINE}) AS server \
         LEFT JOIN users ON {}",
        engine.timeline(),
        engine.is_one_of("users.id", 1)
    );
    let values = [engine.numbers(ids.iter().map(|id| stored(id.get())))];
    let rows = db.query_all_raw(Statement::from_sql_and_values(engine.backend(), sql, values)).await.map_err(failed)?;
    let mut standings = HashMap::new();
    for row in &rows {
        store.timeline_of(row)?;
        if let Some((id, standing)) = standing(row)? {
            standings.insert(id, standing);
        }
    }
    Ok(standings)
}

fn standing(row: &QueryResult) -> Result<Option<(UserId, Standing)>, StoreError> {
    let Some(id) = row.try_get::<Option<i64>>("", "id").map_err(failed)? else { return Ok(None) };
    let at = Row { table: "users", id };
    let role: String = row.try_get("", "role").map_err(failed)?;
    let created_at: DateTimeUtc = row.try_get("", "created_at").map_err(failed)?;
    let standing = Standing { role: user::role(&role, at)?, created_at: Timestamp::stored(created_at) };
    Ok(Some((at.user_id("id", id)?, standing)))
}

/// The address may be stored with capitals, from before the tables refused them. Of several that differ in nothing else,
/// the one in lower case counts, or else the oldest.
async fn credentials(
    Reading { db, engine, .. }: Reading,
    email: EmailAddress,
) -> Result<Option<Credentials>, StoreError> {
    let lower = Expr::cust(engine.lower_case("email"));
    let row = user::Entity::find()
        .filter(lower.eq(email.as_str()))
        .order_by_desc(user::Column::Email.eq(email.as_str()))
        .order_by_asc(user::Column::Id)
        .one(&db)
        .await
        .map_err(failed)?;
    row.map(Credentials::try_from).transpose()
}

async fn add(writing: Writing, user: NewUser) -> Result<User, AddUserError> {
    let tx = writing.begin().await?;
    let added = add_in(&tx, user).await;
    tx.finish(added).await
}

async fn add_in(tx: &Tx, user: NewUser) -> Result<User, AddUserError> {
    let by = user.by;
    let row = user::ActiveModel {
        name: Set(user.name.as_str().into()),
        email: Set(user.email.as_str().into()),
        password: Set(user.password.expose().to_owned()),
        role: Set(user.role.as_str().to_owned()),
        notifications: Set(true),
        created_at: Set(user.created_at.as_datetime()),
        ..Default::default()
    };
    match user::Entity::insert(row).exec_with_returning(&**tx).await {
        Ok(row) => {
            let user = User::try_from(user::Profile::from(row))?;
            let by = by.unwrap_or(user.id.into());
            tx.happened(vec![Happening { by, what: Change::UserCreated(user.id) }]);
            Ok(user)
        }
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
    if let Some(replay) = idempotency::claim(tx, command).await? {
        return Ok(replay);
    }
    let ProfilePatch { name, email, notifications } = &command.what;
    let (name, email) = (name.as_ref().map(PersonName::as_str), email.as_ref().map(EmailAddress::as_str));
    let revised = user::Profile {
        name: name.map_or_else(|| row.name.clone(), Text::from),
        email: email.map_or_else(|| row.email.clone(), Text::from),
        notifications: notifications.unwrap_or(row.notifications),
        ..row.clone()
    };
    let user = User::try_from(revised.clone())?;
    idempotency::keep(tx, command, &user).await?;
    if revised != row {
        // What stays is not written: the tables refuse an invalid value only when it is.
        let changed = user::ActiveModel {
            name: name.map_or(NotSet, |name| Set(name.into())),
            email: email.map_or(NotSet, |email| Set(email.into())),
            notifications: notifications.map_or(NotSet, Set),
            ..Default::default()
        };
        match user::Entity::update_many().set(changed).filter(user::Column::Id.eq(row.id)).exec(&**tx).await {
            Ok(_) => {}
            Err(error) if is_duplicate(&error) => return Err(UpdateUserError::EmailTaken),
            Err(error) => return Err(failed(error).into()),
        }
        tx.happened(vec![Happening { by: command.by.into(), what: Change::UserUpdated(user.id) }]);
    }
    Ok(Committed { outcome: user, replayed: false })
}

async fn reissue(
    writing: Writing,
    id: UserId,
    change: AccountChange,
    now: Timestamp,
) -> Result<Option<User>, StoreError> {
    let tx = writing.begin().await?;
    let changed = reissue_in(&tx, id, change, now).await;
    tx.finish(changed).await
}

async fn reissue_in(tx: &Tx, id: UserId, change: AccountChange, now: Timestamp) -> Result<Option<User>, StoreError> {
    let row = for_update(user::Entity::find_by_id(stored(id.get()))).one(&**tx).await.map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let AccountChange { role, password } = change;
    let changes = password.is_some() || role.is_some();
    if password.is_some() {
        sessions::end_all_of(tx, row.id, now).await?;
    }
    if changes {
        // What stays is not written: the tables refuse an invalid value only when it is.
        let columns = user::ActiveModel {
            role: role.map_or(NotSet, |role| Set(role.as_str().to_owned())),
            password: password.map_or(NotSet, |hash| Set(hash.expose().to_owned())),
            ..Default::default()
        };
        let those = user::Entity::update_many().set(columns).filter(user::Column::Id.eq(row.id));
        those.exec(&**tx).await.map_err(failed)?;
    }
    if role.is_some_and(|role| role.as_str() != row.role) {
        tx.happened(vec![Happening { by: Author::System, what: Change::UserUpdated(id) }]);
    }
    account::find(&**tx, id).await
}
