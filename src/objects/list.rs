//! Lists of what a caller may read of a bucket, a page at a time, at one level of folders or through all of them.
//!
//! A folder is no row: it is there as long as an object that the caller may read lies below. In the order of names a page
//! is read off the index of (bucket, name) in at most two statements: so many rows from the front, and, where folders
//! have swallowed some of them, a walk that leaps over each folder to what comes behind it. So a page costs what it shows,
//! however much lies below. Any other order has to look at all that lies under the prefix.

use super::Objects;
use super::find::Object;
use super::key::Key;
use crate::db::Row;
use crate::error::{Error, StorageCode};
use crate::model::{Action, Kind, Scalar};
use crate::policy::{Decision, Permit};
use crate::sql::{Alias, Sql};

/// How far a page in the order of names may begin to be read from the front; behind it, everything is counted by Postgres.
const NEAR: u64 = 10_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What keys begin with, as [`Key::prefix`] gives it.
    pub prefix: String,
    /// What goes on behind that, in capitals or not.
    pub search: String,
    /// What has another slash behind the prefix is told as one folder.
    pub folders: bool,
    pub order: Order,
    pub descending: bool,
    /// Entries at most.
    pub limit: u64,
    pub start: Start,
}

/// What decides which entry comes first. In orders of time folders, which have none, come before all objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Name,
    Created,
    Updated,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After so many entries.
    Offset(u64),
    After(Mark),
}

/// The last entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its whole key; that of a folder ends with a slash.
    pub name: String,
    /// The time by which it was put in order, in microseconds since the epoch.
    pub time: i64,
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Its whole name, with the slash at its end.
    Folder(String),
    Object(Box<Object>),
}

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// There are more behind this one.
    pub next: Option<Mark>,
}

impl Wish {
    /// The folder of an object, if it is told as one.
    fn folder<'n>(&self, name: &'n str) -> Option<&'n str> {
        let behind = name.get(self.prefix.len()..).filter(|_| self.folders)?;
        behind.find('/').and_then(|slash| name.get(..=self.prefix.len() + slash))
    }
}

/// Names from one on, and up to another one that is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    from: String,
    to: Option<String>,
}

impl Span {
    fn of(wish: &Wish) -> Span {
        let all = Span { from: wish.prefix.clone(), to: successor(&wish.prefix) };
        match &wish.start {
            Start::After(mark) if wish.order == Order::Name => all.behind(wish, &mark.name),
            Start::After(_) | Start::Offset(_) => all,
        }
    }

    /// What is left behind an entry.
    fn behind(self, wish: &Wish, name: &str) -> Span {
        let is_folder = name.ends_with('/');
        match (wish.descending, is_folder) {
            (true, _) => {
                Span { to: Some(self.to.map_or(name.to_owned(), |to| to.min(name.to_owned()))), ..self }
            }
            // No name has this character, which sorts before all others.
            (false, false) => Span { from: self.from.max(format!("{name}\u{1}")), ..self },
            (false, true) => match successor(name) {
                Some(from) => Span { from: self.from.max(from), ..self },
                None => self,
            },
        }
    }
}

/// The first text, byte by byte, behind all that begin with this one; none for the empty one.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

impl Objects<'_> {
    /// A page of what the caller may read of a bucket. That whoever knows an object's key may read it lets nobody list it.
    ///
    /// # Errors
    /// `NoSuchBucket`; `AccessDenied` where no rule lets the caller read.
    pub async fn list(&self, bucket: &str, wish: &Wish) -> Result<Page, Error> {
        let permit = match self.decide(Action::Read, bucket) {
            Decision::Permit(permit) => permit,
            Decision::Denied | Decision::Unknown => return Err(self.denied(bucket).await),
        };
        self.noted(Some(&permit));
        let page = match (wish.order, &wish.start) {
            (Order::Name, Start::Offset(..=NEAR) | Start::After(_)) => {
                self.front(bucket, wish, &permit).await?
            }
            (Order::Name | Order::Created | Order::Updated, _) => self.sorted(bucket, wish, &permit).await?,
        };
        if page.entries.is_empty() && self.bucket_row(bucket).await?.is_none() {
            return Err(StorageCode::NoSuchBucket.into());
        }
        Ok(page)
    }

    /// A page in the order of names.
    async fn front(&self, bucket: &str, wish: &Wish, permit: &Permit) -> Result<Page, Error> {
        let offset = match wish.start {
            Start::Offset(offset) => offset,
            Start::After(_) => 0,
        };
        // One more says whether there is a next page.
        let wanted = wish.limit.saturating_add(offset).saturating_add(1);
        let span = Span::of(wish);
        let rows = self.read(&self.scan(bucket, wish, permit, &span, wanted)).await?;
        let may_be_more = rows.len() as u64 >= wanted;
        let mut entries = Vec::new();
        gather(&mut entries, rows, wish)?;
        let missing = wanted.saturating_sub(entries.len() as u64);
        if let (true, 1.., Some(last)) = (may_be_more, missing, entries.last()) {
            let rest = span.behind(wish, last.name());
            let rows = self.read(&self.walk(bucket, wish, permit, &rest, missing)).await?;
            gather(&mut entries, rows, wish)?;
        }
        entries.drain(..entries.len().min(usize::try_from(offset).unwrap_or(usize::MAX)));
        Ok(page(entries.into_iter().map(|entry| (entry, 0)).collect(), wish.limit))
    }

    /// So many rows, folders or not.
    fn scan(&self, bucket: &str, wish: &Wish, permit: &Permit, span: &Span, count: u64) -> Sql {
        let mut sql = Sql::new();
        let row = sql.fresh();
        sql.raw("select ");
        Object::columns_of_many(&mut sql, row);
        sql.raw(" from storage.objects ").alias(row).raw(" where ");
        self.within(&mut sql, row, bucket, wish, permit, Some(&span.from), span.to.as_deref());
        direct(sql.raw(" order by ").alias(row).raw(".name"), wish).raw(" limit ");
        sql.bind(Kind::BIGINT, Some(count.to_string()));
        sql
    }

    /// The first row of each of so many entries.
    fn walk(&self, bucket: &str, wish: &Wish, permit: &Permit, span: &Span, count: u64) -> Sql {
        let mut sql = Sql::new();
        let [walk, row, next, ahead] = std::array::from_fn(|_| sql.fresh());
        sql.raw("with recursive ").alias(walk).raw(" as ((select ");
        Object::columns_of_many(&mut sql, row);
        sql.raw(", ")
            .alias(row)
            .raw(".name as stand, 1::bigint as step from storage.objects ")
            .alias(row)
            .raw(" where ");
        self.within(&mut sql, row, bucket, wish, permit, Some(&span.from), span.to.as_deref());
        direct(sql.raw(" order by ").alias(row).raw(".name"), wish).raw(" limit 1) union all select ");
        sql.alias(ahead)
            .raw(".*, ")
            .alias(walk)
            .raw(".step + 1 from ")
            .alias(walk)
            .raw(" cross join lateral (select ");
        Object::columns_of_many(&mut sql, next);
        sql.raw(", ").alias(next).raw(".name as stand from storage.objects ").alias(next).raw(" where ");
        let (from, to) = match wish.descending {
            true => (Some(span.from.as_str()), None),
            false => (None, span.to.as_deref()),
        };
        self.within(&mut sql, next, bucket, wish, permit, from, to);
        sql.raw(" and ").alias(next).raw(".name ").raw(if wish.descending { "< " } else { ">= " });
        sql.raw("case when ");
        is_below(&mut sql, walk, wish);
        sql.raw(" then ");
        folder(&mut sql, walk, wish);
        // Behind `a/` comes `a0`, and behind a name whatever is longer.
        match wish.descending {
            true => sql.raw(" || '/' else ").alias(walk).raw(".stand end"),
            false => sql.raw(" || '0' else ").alias(walk).raw(".stand || chr(1) end"),
        };
        direct(sql.raw(" order by ").alias(next).raw(".name"), wish).raw(" limit 1) ").alias(ahead);
        sql.raw(" where ").alias(walk).raw(".step < ").bind(Kind::BIGINT, Some(count.to_string()));
        sql.raw(") select * from ").alias(walk);
        sql
    }

    /// A page in any order, out of all that lies under the prefix.
    async fn sorted(&self, bucket: &str, wish: &Wish, permit: &Permit) -> Result<Page, Error> {
        let mut sql = Sql::new();
        let [seen, row, place, entry] = std::array::from_fn(|_| sql.fresh());
        let span = Span::of(wish);
        sql.raw("with ").alias(row).raw(" as (select ");
        Object::columns_of_many(&mut sql, seen);
        sql.raw(", ").alias(seen).raw(".name as stand, (extract(epoch from ").alias(seen);
        sql.raw(if wish.order == Order::Created { ".created_at" } else { ".updated_at" });
        sql.raw(") * 1000000)::bigint as moment from storage.objects ").alias(seen).raw(" where ");
        self.within(&mut sql, seen, bucket, wish, permit, Some(&span.from), span.to.as_deref());
        sql.raw("), ").alias(place).raw(" as (select *, case when ");
        is_below(&mut sql, row, wish);
        sql.raw(" then ");
        folder(&mut sql, row, wish);
        sql.raw(" || '/' end as folder from ").alias(row).raw(") select * from (select * from ").alias(place);
        sql.raw(" where folder is null union all select ");
        for _ in 0..Object::WIDTH {
            sql.raw("null, ");
        }
        sql.raw("folder, null, folder from (select distinct folder from ").alias(place);
        sql.raw(" where folder is not null) as folders) as ").alias(entry).raw(" where ");
        let offset = match &wish.start {
            Start::Offset(offset) => {
                sql.raw("true");
                *offset
            }
            Start::After(mark) => {
                let beyond = if wish.descending { " < " } else { " > " };
                match (mark.name.ends_with('/'), wish.order) {
                    (_, Order::Name) => drop(sql.raw("stand").raw(beyond).bind_text(&mark.name)),
                    (true, _) => {
                        sql.raw("(folder is null or stand").raw(beyond).bind_text(&mark.name).raw(")");
                    }
                    (false, _) => {
                        sql.raw("folder is null and (moment, stand)").raw(beyond).raw("(");
                        sql.bind(Kind::BIGINT, Some(mark.time.to_string()))
                            .raw(", ")
                            .bind_text(&mark.name)
                            .raw(")");
                    }
                }
                0
            }
        };
        sql.raw(" order by ");
        if wish.order != Order::Name {
            direct(sql.raw("folder is null, moment"), wish).raw(", ");
        }
        direct(sql.raw("stand"), wish).raw(" limit ").bind(Kind::BIGINT, Some((wish.limit + 1).to_string()));
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        sql.raw(" offset ").bind(Kind::BIGINT, Some(offset.to_string()));

        let rows = self.read(&sql).await?;
        let entries = rows.iter().map(|row| {
            Ok(match row.text(Object::WIDTH + 2) {
                Some(folder) => (Entry::Folder(folder.to_owned()), 0),
                None => (Entry::of(row)?, row.integer(Object::WIDTH + 1).unwrap_or_default()),
            })
        });
        Ok(page(entries.collect::<Result<_, Error>>()?, wish.limit))
    }

    /// Writes which rows may be told of at all.
    #[expect(clippy::too_many_arguments, reason = "the bounds differ where a walk has one of its own")]
    fn within(
        &self,
        sql: &mut Sql,
        row: Alias,
        bucket: &str,
        wish: &Wish,
        permit: &Permit,
        from: Option<&str>,
        to: Option<&str>,
    ) {
        sql.alias(row).raw(".bucket = ").bind_text(bucket);
        if let Some(from) = from {
            sql.raw(" and ").alias(row).raw(".name >= ").bind_text(from);
        }
        if let Some(to) = to {
            sql.raw(" and ").alias(row).raw(".name < ").bind_text(to);
        }
        sql.raw(" and ");
        // The rules first: how long a search takes must not tell of what they hide.
        self.when(sql, permit, row);
        if !wish.search.is_empty() {
            sql.raw(" and starts_with(lower(substr(").alias(row).raw(".name, ");
            begin(sql, wish)
                .raw(") collate \"default\"), lower(")
                .bind_text(&wish.search)
                .raw(" collate \"default\"))");
        }
    }
}

impl Entry {
    fn of(row: &Row) -> Result<Entry, Error> {
        let object = Object::of(row, 0)?.ok_or_else(|| Error::internal("an object without an id"))?;
        Ok(Entry::Object(Box::new(object)))
    }

    /// Its whole key.
    pub fn name(&self) -> &str {
        match self {
            Entry::Folder(name) => name,
            Entry::Object(object) => &object.name,
        }
    }
}

/// Adds rows in the order of names: those of one folder are one entry.
fn gather(entries: &mut Vec<Entry>, rows: Vec<Row>, wish: &Wish) -> Result<(), Error> {
    for row in rows {
        let name = row.text(Object::NAME).unwrap_or_default();
        match wish.folder(name) {
            Some(folder) if entries.last().is_some_and(|last| last.name() == folder) => {}
            Some(folder) => entries.push(Entry::Folder(folder.to_owned())),
            None => entries.push(Entry::of(&row)?),
        }
    }
    Ok(())
}

/// A page out of one entry more, if there are as many. Each comes with its time.
fn page(mut entries: Vec<(Entry, i64)>, limit: u64) -> Page {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| is_more);
    let next = last.map(|(entry, time)| Mark { name: entry.name().to_owned(), time: *time });
    Page { entries: entries.into_iter().map(|(entry, _)| entry).collect(), next }
}

fn direct<'s>(sql: &'s mut Sql, wish: &Wish) -> &'s mut Sql {
    sql.raw(if wish.descending { " desc" } else { "" })
}

/// Writes at which character of a name what is behind the prefix begins.
fn begin<'s>(sql: &'s mut Sql, wish: &Wish) -> &'s mut Sql {
    let characters = i64::try_from(wish.prefix.chars().count()).unwrap_or(i64::MAX - 1);
    sql.bind(Kind::one(Scalar::Integer), Some((characters + 1).to_string()))
}

/// Writes whether the name at which `row` stands is in a folder.
fn is_below(sql: &mut Sql, row: Alias, wish: &Wish) {
    if wish.folders {
        sql.raw("position('/' in substr(").alias(row).raw(".stand, ");
        begin(sql, wish).raw(")) > 0");
    } else {
        sql.raw("false");
    }
}

/// Writes that folder, without the slash at its end.
fn folder(sql: &mut Sql, row: Alias, wish: &Wish) {
    sql.bind_text(&wish.prefix).raw(" || split_part(substr(").alias(row).raw(".stand, ");
    begin(sql, wish).raw("), '/', 1)");
}

impl Mark {
    /// A mark that somebody shows: whatever is in it, it only says where a page begins.
    ///
    /// # Errors
    /// `InvalidParameter`, for what no list has.
    pub fn shown(name: &str, time: i64) -> Result<Mark, Error> {
        let key = Key::parse(name.strip_suffix('/').unwrap_or(name));
        // Up to the year 10000.
        if key.is_err() || !(0..253_402_300_800_000_000).contains(&time) {
            return Err(Error::with(StorageCode::InvalidParameter, "The cursor is not one of this list"));
        }
        Ok(Mark { name: name.to_owned(), time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(prefix: &str, descending: bool) -> Wish {
        Wish {
            prefix: prefix.to_owned(),
            search: String::new(),
            folders: true,
            order: Order::Name,
            descending,
            limit: 10,
            start: Start::Offset(0),
        }
    }

    #[test]
    fn a_span_ends_behind_all_that_begin_alike() {
        for (prefix, to) in [
            ("", None),
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ] {
            assert_eq!(successor(prefix).as_deref(), to, "{prefix:?}");
        }
    }

    #[test]
    fn what_is_left_behind_an_entry_never_has_it_again() {
        for (prefix, name, descending, from, to) in [
            ("", "a", false, "a\u{1}", None),
            ("", "a/", false, "a0", None),
            ("x/", "x/a/", false, "x/a0", Some("x0")),
            ("x/", "x/a", true, "x/", Some("x/a")),
            ("x/", "x/a/", true, "x/", Some("x/a/")),
            // A mark from elsewhere leads out of no prefix.
            ("x/", "a", false, "x/", Some("x0")),
            ("x/", "y", true, "x/", Some("x0")),
        ] {
            let wish = wish(prefix, descending);
            let span = Span::of(&wish).behind(&wish, name);
            assert_eq!((span.from.as_str(), span.to.as_deref()), (from, to), "{prefix} {name}");
        }
    }

    #[test]
    fn a_folder_is_what_stands_before_the_next_slash() {
        let wish = wish("x/", false);
        assert_eq!(wish.folder("x/a"), None);
        assert_eq!(wish.folder("x/a/b/c"), Some("x/a/"));
        assert_eq!(Wish { folders: false, ..wish }.folder("x/a/b"), None);
    }

    #[test]
    fn a_mark_is_a_place_and_nothing_else() {
        for (name, time, holds) in [
            ("a", 0, true),
            ("a/b/", 0, true),
            ("", 0, false),
            ("/", 0, false),
            ("a\0", 0, false),
            ("a//", 0, false),
            ("a", -1, false),
            ("a", i64::MAX, false),
        ] {
            assert_eq!(Mark::shown(name, time).is_ok(), holds, "{name:?} {time}");
        }
    }
}
