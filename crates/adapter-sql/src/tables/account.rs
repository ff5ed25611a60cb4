//! A user's account, as other tables' transactions read it.

use domain::ports::StoreError;
use domain::{User, UserId};
use sea_orm::{ConnectionTrait, EntityTrait};

use crate::access::error::failed;
use crate::tables::rows::{stored, user};

/// The user as they are now.
pub(crate) async fn find(db: &impl ConnectionTrait, id: UserId) -> Result<Option<User>, StoreError> {
    let row = user::Entity::find_by_id(stored(id.get()))
        .into_partial_model::<user::Profile>()
        .one(db)
        .await
        .map_err(failed)?;
    row.map(User::try_from).transpose()
}
