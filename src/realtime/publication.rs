//! [`Published`]: what the publication holds, and whether it was altered: what is not published is not streamed, and
//! nothing in the stream says so.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::db::{DbError, Pool};
use crate::sql::Sql;

/// The publication `basewright` at one moment, down to the rows of the system tables, so that what was altered and
/// put back is noticed too. Its text form is read back by [`FromStr`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `None` where there is none.
    publication: Option<Publication>,
    /// By schema, then by name.
    tables: BTreeMap<String, BTreeMap<String, Table>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Publication {
    oid: String,
    /// The transaction that last wrote its row: adding and dropping tables does not.
    xmin: String,
    /// Insert, update, delete, truncate.
    operations: [bool; 4],
    all_tables: bool,
    via_root: bool,
    /// Whole schemas: the oid and the transaction of each entry.
    schemas: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    oid: String,
    /// The oid of its entry in the publication, and the transaction that last wrote it; `None` where a schema or all
    /// tables are published.
    entry: Option<(String, String)>,
    filtered: bool,
    some_columns: bool,
    identity: String,
}

/// The tables whose changes may have been missed between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Altered {
    #[default]
    None,
    /// Those of these schemas and names.
    Tables(BTreeSet<(String, String)>),
    /// Of any table.
    All,
}

impl Altered {
    pub fn is_empty(&self) -> bool {
        *self == Altered::None
    }

    /// Changes of this table may have been missed.
    pub fn touches(&self, schema: &str, table: &str) -> bool {
        match self {
            Altered::None => false,
            Altered::All => true,
            Altered::Tables(tables) => {
                tables.iter().any(|(s, t)| (s.as_str(), t.as_str()) == (schema, table))
            }
        }
    }
}

impl Published {
    /// Looks, in one statement.
    pub async fn read(pool: &Pool) -> Result<Published, DbError> {
        let mut sql = Sql::new();
        sql.raw(
            "select jsonb_build_object(
  'publication', (
    select jsonb_build_object(
      'oid', p.oid::text, 'xmin', p.xmin::text,
      'operations', jsonb_build_array(p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate),
      'all_tables', p.puballtables, 'via_root', p.pubviaroot,
      'schemas', coalesce((
        select jsonb_agg(jsonb_build_array(s.oid::text, s.xmin::text) order by s.oid)
        from pg_publication_namespace s where s.pnpubid = p.oid), '[]'))
    from pg_publication p where p.pubname = 'basewright'),
  'tables', coalesce((
    select jsonb_object_agg(schema, tables) from (
      select t.schemaname as schema, jsonb_object_agg(t.tablename, jsonb_build_object(
        'oid', c.oid::text,
        'entry', case when r.oid is not null then jsonb_build_array(r.oid::text, r.xmin::text) end,
        'filtered', r.prqual is not null, 'some_columns', r.prattrs is not null,
        'identity', c.relreplident)) as tables
      from pg_publication_tables t
      join pg_namespace n on n.nspname = t.schemaname
      join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
      left join pg_publication_rel r on r.prrelid = c.oid
        and r.prpubid = (select oid from pg_publication where pubname = 'basewright')
      where t.pubname = 'basewright'
      group by t.schemaname) by_schema), '{}'))::text",
        );
        let rows = pool.read(&sql).await?;
        let read = rows.first().and_then(|row| row.text(0)?.parse().ok());
        read.ok_or_else(|| DbError::driver("the publication's state cannot be understood"))
    }

    /// Which tables' changes may have been missed since an earlier look: those that left the publication, for a
    /// moment or for good, whose entry or replica identity is another one, or that are other tables now. One that
    /// joined is none of them: nobody could follow it before.
    pub fn altered_since(&self, earlier: &Published) -> Altered {
        if self.publication != earlier.publication {
            return Altered::All;
        }
        let mut altered = BTreeSet::new();
        for (schema, tables) in &earlier.tables {
            for (name, before) in tables {
                let now = self.tables.get(schema).and_then(|tables| tables.get(name));
                if now != Some(before) {
                    altered.insert((schema.clone(), name.clone()));
                }
            }
        }
        if altered.is_empty() { Altered::None } else { Altered::Tables(altered) }
    }
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

impl FromStr for Published {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Published, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(tables: &[(&str, &str)]) -> Published {
        let publication = Publication {
            oid: "1".to_owned(),
            xmin: "700".to_owned(),
            operations: [true; 4],
            all_tables: false,
            via_root: false,
            schemas: Vec::new(),
        };
        let table = |oid: &str| Table {
            oid: oid.to_owned(),
            entry: Some((format!("9{oid}"), "701".to_owned())),
            filtered: false,
            some_columns: false,
            identity: "f".to_owned(),
        };
        let tables = tables.iter().map(|(name, oid)| ((*name).to_owned(), table(oid))).collect();
        Published { publication: Some(publication), tables: [("public".to_owned(), tables)].into() }
    }

    fn altered(before: &Published, after: &Published) -> Altered {
        // As a node finds it after a restart.
        after.altered_since(&before.to_string().parse().unwrap())
    }

    fn only(table: &str) -> Altered {
        Altered::Tables([("public".to_owned(), table.to_owned())].into())
    }

    #[test]
    fn a_table_that_joins_alters_nothing() {
        let before = published(&[("a", "1")]);
        assert_eq!(altered(&before, &before), Altered::None);
        assert_eq!(altered(&before, &published(&[("a", "1"), ("b", "2")])), Altered::None);
    }

    #[test]
    fn a_table_that_left_or_is_another_one_is_altered() {
        let before = published(&[("a", "1"), ("b", "2")]);
        assert_eq!(altered(&before, &published(&[("a", "1")])), only("b"));
        assert_eq!(altered(&before, &published(&[("a", "1"), ("b", "3")])), only("b"));
        let change = |with: fn(&mut Table)| {
            let mut after = before.clone();
            with(after.tables.get_mut("public").unwrap().get_mut("a").unwrap());
            altered(&before, &after)
        };
        // Out, and in again.
        assert_eq!(change(|table| table.entry = Some(("91".into(), "800".into()))), only("a"));
        assert_eq!(change(|table| table.filtered = true), only("a"));
        assert_eq!(change(|table| table.some_columns = true), only("a"));
        assert_eq!(change(|table| table.identity = "d".into()), only("a"));
    }

    #[test]
    fn another_publication_alters_everything() {
        let before = published(&[("a", "1")]);
        let mut gone = before.clone();
        gone.publication = None;
        assert_eq!(altered(&before, &gone), Altered::All);
        let mut fewer = before.clone();
        fewer.publication.as_mut().unwrap().operations[2] = false;
        assert_eq!(altered(&before, &fewer), Altered::All);
        assert!(Altered::All.touches("public", "x") && !Altered::All.is_empty());
        assert!(only("a").touches("public", "a") && !only("a").touches("public", "b"));
    }
}
