//! Second factors of users, as the operator sees, renames and removes them.

use serde_json::json;
use uuid::Uuid;

use super::{label, undone};
use crate::auth::audit::Event;
use crate::auth::desk::Visit;
use crate::auth::session;
use crate::auth::user::{self, Factor};
use crate::db::DbError;
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

impl Visit<'_> {
    /// A user's factors, for the operator.
    ///
    /// # Errors
    /// `user_not_found`.
    pub async fn factors_of(&self, user: Uuid) -> Result<Vec<Factor>, Error> {
        let found = user::first(&self.read(&user::select_by_id(user)).await?)?;
        Ok(found.ok_or(AuthCode::UserNotFound)?.factors)
    }

    /// Takes a factor of a user away, as the operator, and ends the sessions in which one was shown.
    ///
    /// # Errors
    /// `user_not_found`, `mfa_factor_not_found`.
    pub async fn remove_factor_of(&self, user: Uuid, factor: Uuid) -> Result<Factor, Error> {
        let tx = self.begin().await?;
        let user = user::lock(&tx, user).await?.ok_or(AuthCode::UserNotFound)?;
        let Some(found) = user.factors.iter().find(|known| known.id == factor) else {
            return undone(tx, AuthCode::FactorNotFound).await;
        };
        self.delete_factor(&tx, &user, found, None).await?;
        if found.is_verified() {
            session::end_raised(&tx, user.id).await?;
        }
        self.commit_known(tx).await?;
        if found.is_verified() {
            self.tell_of_factors(&user);
        }
        Ok(found.clone())
    }

    /// Gives a factor of a user another name, as the operator. Without one, it keeps its own.
    ///
    /// # Errors
    /// `user_not_found`, `mfa_factor_not_found`, `mfa_factor_name_conflict`, `validation_failed`.
    pub async fn rename_factor_of(
        &self,
        user: Uuid,
        factor: Uuid,
        name: Option<&str>,
    ) -> Result<Factor, Error> {
        let name = label("friendly_name", name)?;
        let tx = self.begin().await?;
        let found = user::lock(&tx, user).await?.ok_or(AuthCode::UserNotFound)?;
        if !found.factors.iter().any(|known| known.id == factor) {
            return undone(tx, AuthCode::FactorNotFound).await;
        }
        if let Some(name) = name {
            let is_taken = |known: &Factor| known.id != factor && known.friendly_name.as_ref() == Some(&name);
            if found.factors.iter().any(is_taken) {
                return undone(tx, AuthCode::FactorNameConflict).await;
            }
            let mut sql = Sql::new();
            sql.raw("update auth.factors set friendly_name = ")
                .bind_text(name)
                .raw(" where id = ")
                .bind(Kind::UUID, Some(factor.to_string()));
            tx.query(&sql).await.map_err(DbError::into_error)?;
            let entry = self.entry(Event::UserUpdated, Some(user), json!({ "factor": factor }));
            self.note(&tx, entry).await?;
        }
        let rows = tx.query(&user::select_by_id(user)).await.map_err(DbError::into_error)?;
        let after = user::first(&rows)?.ok_or(AuthCode::UserNotFound)?;
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(after.factors.into_iter().find(|known| known.id == factor).ok_or(AuthCode::FactorNotFound)?)
    }
}
