//! Which objects a caller may sign addresses of: those that he may read.

use std::collections::HashMap;

use uuid::Uuid;

use super::Objects;
use super::key::Key;
use crate::error::Error;
use crate::model::{Action, Kind, Scalar};
use crate::sql::{Sql, array_literal};

impl Objects<'_> {
    /// Those of these keys under which lies what the caller may read, by a rule or because the bucket is public, and what
    /// object that is.
    ///
    /// # Errors
    /// 503 where the database cannot be reached.
    pub async fn readable_keys(&self, bucket: &str, keys: &[Key]) -> Result<HashMap<String, Uuid>, Error> {
        let permit = self.permit(Action::Read, bucket);
        self.noted(permit.as_ref());
        let mut sql = Sql::new();
        let (row, place) = (sql.fresh(), sql.fresh());
        sql.raw("select ")
            .alias(row)
            .raw(".name, ")
            .alias(row)
            .raw(".id::text from storage.objects ")
            .alias(row);
        sql.raw(" join storage.buckets ").alias(place).raw(" on ").alias(place).raw(".id = ");
        sql.alias(row).raw(".bucket where ").alias(row).raw(".bucket = ").bind_text(bucket);
        sql.raw(" and ").alias(row).raw(".name = any(");
        sql.bind(Kind::many(Scalar::Text), Some(array_literal(keys.iter().map(|key| Some(key.as_str())))));
        sql.raw(") and (").alias(place).raw(".public");
        if let Some(permit) = &permit {
            sql.raw(" or ");
            self.when(&mut sql, permit, row);
        }
        sql.raw(")");
        let rows = self.read(&sql).await?;
        Ok(rows
            .iter()
            .filter_map(|row| Some((row.text(0)?.to_owned(), row.text(1)?.parse().ok()?)))
            .collect())
    }
}
