//! Every door to objects, for everybody, in every kind of bucket, against what the policies mean written a second time.
//!
//! The short form tries some of the writes, by a seed; `BASEWRIGHT_LONG=1` tries all of them.

mod deeds;
mod oracle;
mod strangers;

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use reqwest::Method;
use serde_json::{Value, json};

use self::deeds::{Client, from_to};
use self::oracle::{BUCKETS, EVERYBODY, MEMBERS, PROJECT, Row, Told, Who};
use crate::campaign::{Dice, long, seed};
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

/// Requests under way at once.
const AT_ONCE: usize = 12;

struct World {
    client: Client,
    database: Database,
    _server: Server,
    _folder: Folder,
}

impl World {
    async fn new() -> World {
        let folder = Folder::with(&[("project/a.yaml", PROJECT)]);
        let database = database().await;
        let (project, data, urls) = (folder.join("project"), folder.join("data"), database.urls.clone());
        let run = move || Server::dev(&project, &data, &urls);
        let server = tokio::task::spawn_blocking(run).await.unwrap();
        let owner = database.connect_owner().await;
        for (who, folder, level) in MEMBERS {
            let text = format!(
                "insert into members (\"user\", folder, level) values ('{}', '{folder}', {level})",
                who.id().unwrap()
            );
            owner.batch_execute(&text).await.unwrap();
        }
        // As the admin API makes them.
        let made = "insert into storage.buckets (id, public) values ('made', false), ('made-public', true)";
        owner.batch_execute(made).await.unwrap();
        World { client: Client::of(&server), database, _server: server, _folder: folder }
    }

    /// Puts objects there: stored by the secret key, and then given to their owners.
    async fn seed(&self, rows: &[Row]) {
        iter(rows.iter().filter(|row| oracle::exists(row.bucket)))
            .map(|row| async move {
                let path = format!("/object/{}/{}", row.bucket, row.name);
                let put = (Method::POST, false);
                let stored =
                    self.client.store(Some(Who::Secret), put, &path, row.mime, content(row.size)).await;
                assert_eq!(stored.told, Ok(Told::Done), "{row:?}");
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<()>>()
            .await;
        let owner = self.database.connect_owner().await;
        let give = "update storage.objects set owner = $1::text::uuid where bucket || '/' || name = any($2)";
        for who in EVERYBODY.into_iter().filter_map(Who::id) {
            let his: Vec<String> = rows
                .iter()
                .filter(|row| row.owner == Some(who))
                .map(|row| format!("{}/{}", row.bucket, row.name))
                .collect();
            owner.execute(give, &[&who, &his]).await.unwrap();
        }
    }

    /// What is stored, by bucket and name.
    async fn stored(&self) -> HashMap<(String, String), (Option<String>, i64, String)> {
        let rows = "select bucket, name, owner::text, size, mime from storage.objects";
        let rows = self.database.connect_owner().await.query(rows, &[]).await.unwrap();
        rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3), row.get(4)))).collect()
    }
}

fn content(size: usize) -> Vec<u8> {
    b"plain text, and nothing else. ".iter().copied().cycle().take(size).collect()
}

/// The kinds of objects that rules tell apart, with this word at the end of their names.
fn kinds(bucket: &'static str, word: &str) -> Vec<Row> {
    let (ada, bob) = (Who::Ada.id().unwrap(), Who::Bob.id().unwrap());
    let row =
        |folder: &str, owner, size, mime| Row { bucket, name: format!("{folder}/{word}"), owner, size, mime };
    vec![
        row(ada, Some(ada), 10, "text/plain"),
        row(bob, Some(bob), 2_000, "text/plain"),
        row("open", None, 10, "text/csv"),
        row("open", Some(ada), 10, "text/plain"),
        row(ada, Some(bob), 50, "text/plain"),
    ]
}

/// Cells that were tried, and those of which the answer was another one.
#[derive(Default)]
struct Ledger {
    tried: usize,
    wrong: Vec<String>,
    /// How often each answer was right.
    told: HashMap<Told, usize>,
}

impl Ledger {
    fn check(&mut self, cell: impl Fn() -> String, expected: &[Told], told: &Result<Told, String>) {
        self.tried += 1;
        match told {
            Ok(told) if expected.contains(told) => *self.told.entry(*told).or_default() += 1,
            Ok(_) | Err(_) => self.wrong.push(format!("{}: expected {expected:?}, told {told:?}", cell())),
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, cell: impl Fn() -> String, expected: &T, found: &T) {
        self.tried += 1;
        if expected != found {
            self.wrong.push(format!("{}: expected {expected:?}, found {found:?}", cell()));
        }
    }

    fn close(self, name: &str, least: usize, answers: &[Told]) {
        let shown: Vec<&String> = self.wrong.iter().take(40).collect();
        assert!(self.wrong.is_empty(), "{} of {} deviate\n{shown:#?}", self.wrong.len(), self.tried);
        assert!(self.tried >= least, "{}", self.tried);
        // What is never answered is not tried.
        for told in answers {
            assert!(self.told.get(told).is_some_and(|count| *count >= 20), "{told:?} in {:?}", self.told);
        }
        println!("PASS {name} {} cells, 0 deviations: {:?}", self.tried, self.told);
    }
}

/// A caller, a bucket and an object in it, there or not.
fn readings(word: &str) -> Vec<(Who, &'static str, String, Option<Row>)> {
    let mut all = Vec::new();
    for who in EVERYBODY {
        for bucket in BUCKETS {
            // Each in a folder of its own kind: two kinds share one.
            for (at, mut row) in kinds(bucket, word).into_iter().enumerate() {
                row.name = format!("{}-{at}", row.name);
                all.push((who, bucket, row.name.clone(), Some(row).filter(|_| oracle::exists(bucket))));
            }
            for folder in ["open", Who::Ada.id().unwrap()] {
                all.push((who, bucket, format!("{folder}/absent-{word}"), None));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_reads_what_he_may_by_every_door_and_nothing_else() {
    let world = World::new().await;
    let cells = readings("r");
    let mut rows: Vec<Row> =
        cells.iter().filter(|cell| cell.0 == Who::Secret).filter_map(|cell| cell.3.clone()).collect();
    world.seed(&rows).await;
    let client = &world.client;
    let mut ledger = Ledger::default();
    let answers = iter(&cells)
        .map(|(who, bucket, name, row)| async move {
            let mut found = Vec::new();
            let (expected, who_is) = (oracle::read(*who, bucket, row.as_ref()), Some(*who));
            for door in ["/object", "/object/authenticated", "/object/info", "/object/info/authenticated"] {
                let path = format!("{door}/{bucket}/{name}");
                let answer = client.get(who_is, &path, &[]).await;
                let whole = !door.contains("info") && answer.told == Ok(Told::Done);
                let content = whole.then_some(answer.body);
                found.push((format!("GET {path}"), vec![expected], answer.told, content));
                let head = match client.head(who_is, &path).await {
                    200 => Ok(Told::Done),
                    400 if expected != Told::Done => Ok(expected),
                    status => Err(status.to_string()),
                };
                found.push((format!("HEAD {path}"), vec![expected], head, None));
            }
            let path = format!("/object/{bucket}/{name}");
            let part = client.get(who_is, &path, &[("range", "bytes=1-4")]).await;
            let status = part.status;
            let told = part.told.and_then(|told| match (told, status) {
                (Told::Done, 206) | (Told::NoSuchBucket | Told::NoSuchKey, 400) => Ok(told),
                _ => Err(format!("{status}")),
            });
            found.push((format!("GET {path} range"), vec![expected], told, None));
            let public = oracle::read_public(bucket, row.as_ref());
            for who in [Some(*who), None] {
                for door in ["/object/public", "/object/info/public"] {
                    let path = format!("{door}/{bucket}/{name}");
                    found.push((
                        format!("GET {path}"),
                        vec![public],
                        client.get(who, &path, &[]).await.told,
                        None,
                    ));
                }
            }
            let path = format!("/object/sign/{bucket}/{name}");
            let signed = client.ask(who_is, Method::POST, &path, Some(json!({ "expiresIn": 60 }))).await;
            let url = signed.json()["signedURL"].as_str().map(str::to_owned);
            found.push((format!("POST {path}"), vec![expected], signed.told, None));
            if let Some(url) = url {
                // Whoever has it may open this one.
                let opened = client.get(None, &url, &[]).await;
                found.push((format!("GET {url}"), vec![Told::Done], opened.told, Some(opened.body)));
                let other = url.replacen(name.as_str(), "open/r-2", 1);
                if other != url {
                    let opened = client.get(None, &other, &[]).await;
                    let refused = opened.json()["code"] == "InvalidSignature";
                    found.push((
                        format!("GET {other}"),
                        vec![Told::AccessDenied],
                        if refused { Ok(Told::AccessDenied) } else { opened.told },
                        None,
                    ));
                }
            }
            (who, row, found)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (who, row, found) in answers {
        for (what, expected, told, body) in found {
            ledger.check(|| format!("{who:?} {what}"), &expected, &told);
            if let (Some(body), Some(row)) = (body, row) {
                ledger.same(|| format!("{who:?} {what}"), &content(row.size), &body);
            }
        }
    }
    for who in EVERYBODY {
        for bucket in BUCKETS {
            rows.sort_by(|a, b| a.name.cmp(&b.name));
            let here: Vec<&Row> = rows.iter().filter(|row| row.bucket == bucket).collect();
            let all: Vec<String> =
                here.iter().map(|row| row.name.clone()).chain(["open/absent".to_owned()]).collect();
            let path = format!("/object/sign/{bucket}");
            let signed = client
                .ask(Some(who), Method::POST, &path, Some(json!({ "expiresIn": 60, "paths": all })))
                .await;
            ledger.check(|| format!("{who:?} POST {path}"), &[Told::Done], &signed.told);
            let given: Vec<String> = signed
                .json()
                .as_array()
                .into_iter()
                .flatten()
                .filter(|one| one["signedURL"].is_string())
                .map(|one| one["path"].as_str().unwrap().to_owned())
                .collect();
            let expected: Vec<String> =
                here.iter().filter(|row| oracle::visible(who, row)).map(|row| row.name.clone()).collect();
            ledger.same(|| format!("{who:?} POST {path}"), &expected, &given);

            let expected = oracle::list(who, bucket);
            for folder in ["open", Who::Ada.id().unwrap(), Who::Bob.id().unwrap()] {
                let mine = |row: &&&Row| row.name.starts_with(folder) && oracle::listed(who, row);
                let names: Vec<String> = here.iter().filter(mine).map(|row| row.name.clone()).collect();
                let names = if expected == Told::Done { names } else { Vec::new() };
                let path = format!("/object/list/{bucket}");
                for (search, wanted) in [("", names.clone()), ("r-", names.clone()), ("nothing", Vec::new())]
                {
                    let body = json!({ "prefix": folder, "search": search, "limit": 100 });
                    let list = client.ask(Some(who), Method::POST, &path, Some(body)).await;
                    ledger.check(
                        || format!("{who:?} POST {path} {folder} {search}"),
                        &[expected],
                        &list.told,
                    );
                    let found = list
                        .json()
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|row| format!("{folder}/{}", row["name"].as_str().unwrap()))
                        .collect();
                    ledger.same(|| format!("{who:?} POST {path} {folder} {search}"), &wanted, &found);
                }
                let path = format!("/object/list-v2/{bucket}");
                let list = client
                    .ask(Some(who), Method::POST, &path, Some(json!({ "prefix": format!("{folder}/") })))
                    .await;
                ledger.check(|| format!("{who:?} POST {path} {folder}"), &[expected], &list.told);
                let found = list.json()["objects"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|row| row["name"].as_str().unwrap().to_owned())
                    .collect();
                ledger.same(|| format!("{who:?} POST {path} {folder}"), &names, &found);
            }
            // A folder is there as long as something in it is.
            let list = client
                .ask(
                    Some(who),
                    Method::POST,
                    &format!("/object/list/{bucket}"),
                    Some(json!({ "prefix": "" })),
                )
                .await;
            let found: Vec<String> = list
                .json()
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| row["name"].as_str().unwrap().to_owned())
                .collect();
            let mut folders: Vec<String> = here
                .iter()
                .filter(|row| expected == Told::Done && oracle::listed(who, row))
                .map(|row| row.name.split('/').next().unwrap().to_owned())
                .collect();
            folders.dedup();
            ledger.same(|| format!("{who:?} folders of {bucket}"), &folders, &found);
        }
    }
    // Nobody at all opens what is not public.
    for path in [
        "/object/own/open/r-2",
        "/object/authenticated/open/open/r-2",
        "/object/info/own/open/r-2",
        "/object/own/nothing",
    ] {
        let answer = client.get(None, path, &[]).await;
        ledger.same(|| format!("nobody GET {path}"), &false, &(answer.status < 400));
    }
    ledger.close("storage_reads", 5_000, &[Told::Done, Told::NoSuchBucket, Told::NoSuchKey]);
}

/// What is done in a cell, to the object of a key or to one that is not there.
#[derive(Clone, Debug)]
enum Deed {
    /// By POST, by POST that may replace, by PUT: size and type of what is stored.
    Create(usize, &'static str),
    Upsert(usize, &'static str),
    Replace(usize, &'static str),
    /// To which bucket, under which folder, and whether something lies there.
    Move(&'static str, &'static str, bool),
    Copy(&'static str, &'static str, bool),
    Delete,
    DeleteMany,
    /// An upload that is granted, and made by whoever has the token; it may replace an object or not.
    Granted(bool),
    /// An upload in pieces; it may replace an object or not.
    Pieces(bool),
}

/// One question about writing.
#[derive(Clone, Debug)]
struct Cell {
    who: Who,
    bucket: &'static str,
    name: String,
    old: Option<Row>,
    deed: Deed,
    /// What lies where it is moved or copied to.
    there: Option<Row>,
}

impl Cell {
    fn to(&self) -> String {
        match self.deed {
            Deed::Move(_, folder, _) | Deed::Copy(_, folder, _) => {
                format!("{folder}/to-{}", self.name.replace('/', "_"))
            }
            _ => self.name.clone(),
        }
    }

    /// The row that the deed makes, if it is done.
    fn made(&self) -> Row {
        let (bucket, name) = (self.bucket, self.name.clone());
        let owner = self.who.id();
        match (&self.deed, &self.old) {
            (Deed::Create(size, mime), _) => Row { bucket, name, owner, size: *size, mime },
            (Deed::Upsert(size, mime) | Deed::Replace(size, mime), old) => {
                // What is replaced stays whose it is.
                let owner = old.as_ref().map_or(owner, |old| old.owner);
                Row { bucket, name, owner, size: *size, mime }
            }
            (Deed::Move(to, ..), Some(old)) => Row { bucket: to, name: self.to(), ..old.clone() },
            (Deed::Copy(to, ..), Some(old)) => Row { bucket: to, name: self.to(), owner, ..old.clone() },
            (Deed::Move(to, ..) | Deed::Copy(to, ..), None) => {
                Row { bucket: to, name: self.to(), owner, size: 0, mime: "text/plain" }
            }
            (Deed::Granted(upserts) | Deed::Pieces(upserts), old) => {
                let owner = old.as_ref().filter(|_| *upserts).map_or(owner, |old| old.owner);
                Row { bucket, name, owner, size: 5, mime: "text/plain" }
            }
            (Deed::Delete | Deed::DeleteMany, _) => Row { bucket, name, owner, size: 0, mime: "" },
        }
    }

    fn expected(&self) -> Vec<Told> {
        let (who, bucket, old, new) = (self.who, self.bucket, self.old.as_ref(), self.made());
        match self.deed {
            Deed::Create(..) | Deed::Granted(false) | Deed::Pieces(false) => {
                oracle::create(who, &new, old.is_some())
            }
            Deed::Upsert(..) | Deed::Granted(true) | Deed::Pieces(true) => oracle::upsert(who, &new, old),
            Deed::Replace(..) => oracle::replace(who, &new, old),
            Deed::Move(..) => oracle::relocate(who, bucket, old, &new, self.there.is_some()),
            Deed::Copy(..) => oracle::copy(who, bucket, old, &new, self.there.is_some()),
            Deed::Delete => oracle::delete(who, bucket, old),
            Deed::DeleteMany => vec![oracle::delete_many(who, bucket)],
        }
    }

    async fn ask(&self, client: &Client) -> Result<Told, String> {
        let (who, name, new) = (Some(self.who), &self.name, self.made());
        let path = format!("/object/{}/{name}", self.bucket);
        let store = async |method: Method, upserts: bool| {
            client.store(who, (method, upserts), &path, new.mime, content(new.size)).await.told
        };
        match self.deed {
            Deed::Create(..) => store(Method::POST, false).await,
            Deed::Upsert(..) => store(Method::POST, true).await,
            Deed::Replace(..) => store(Method::PUT, false).await,
            Deed::Move(to, ..) => {
                let body = from_to(self.bucket, name, to, &self.to());
                client.ask(who, Method::POST, "/object/move", Some(body)).await.told
            }
            Deed::Copy(to, ..) => {
                let body = from_to(self.bucket, name, to, &self.to());
                client.ask(who, Method::POST, "/object/copy", Some(body)).await.told
            }
            Deed::Delete => client.ask(who, Method::DELETE, &path, None).await.told,
            Deed::DeleteMany => {
                let body = json!({ "prefixes": [name, "open/absent"] });
                let path = format!("/object/{}", self.bucket);
                let answer = client.ask(who, Method::DELETE, &path, Some(body)).await;
                let gone = answer.json().as_array().map_or(0, Vec::len);
                let goes = usize::from(self.old.as_ref().is_some_and(|old| oracle::goes(self.who, old)));
                match answer.told {
                    Ok(Told::Done) if gone != goes => Err(format!("{gone} deleted, and {goes} may go")),
                    told => told,
                }
            }
            Deed::Granted(upserts) => {
                let path = format!("/object/upload/sign/{}/{name}", self.bucket);
                let granted = client.grant(self.who, &path, upserts).await;
                let Some(url) = granted.json()["url"].as_str().map(str::to_owned) else {
                    return granted.told;
                };
                client.store(None, (Method::PUT, false), &url, new.mime, content(new.size)).await.told
            }
            Deed::Pieces(upserts) => {
                let begun = client.begin(self.who, upserts, (self.bucket, name), new.mime, new.size).await;
                let Some(at) = begun.headers.get("location").map(|at| at.to_str().unwrap().to_owned()) else {
                    return begun.told;
                };
                let whole = content(new.size);
                let first = client.go_on(self.who, Method::PATCH, &at, 0, &whole[..2]).await;
                assert_eq!(first.status, 204, "{self:?}");
                client.go_on(self.who, Method::PATCH, &at, 2, &whole[2..]).await.told
            }
        }
    }

    /// What lies there afterwards, of what lay there before.
    fn leaves(&self, done: bool) -> Vec<Row> {
        let mut rows: Vec<Row> = self.there.iter().cloned().collect();
        let gone = done
            && match self.deed {
                Deed::Delete | Deed::Move(..) | Deed::Upsert(..) | Deed::Replace(..) => true,
                Deed::Granted(upserts) | Deed::Pieces(upserts) => upserts,
                Deed::DeleteMany => self.old.as_ref().is_some_and(|old| oracle::goes(self.who, old)),
                Deed::Create(..) | Deed::Copy(..) => false,
            };
        rows.extend(self.old.iter().filter(|_| !gone).cloned());
        if done && !matches!(self.deed, Deed::Delete | Deed::DeleteMany) {
            rows.push(self.made());
        }
        rows
    }
}

fn writings(dice: &mut Dice, one_in: u64) -> Vec<Cell> {
    let (ada, bob) = (Who::Ada.id().unwrap(), Who::Bob.id().unwrap());
    let mut deeds = vec![Deed::Delete, Deed::DeleteMany];
    for upserts in [false, true] {
        deeds.extend([Deed::Granted(upserts), Deed::Pieces(upserts)]);
    }
    for (size, mime) in [(5, "text/plain"), (3_000, "text/plain"), (5, "text/csv")] {
        deeds.extend([Deed::Create(size, mime), Deed::Upsert(size, mime), Deed::Replace(size, mime)]);
    }
    for folder in [ada, bob, "open"] {
        for taken in [false, true] {
            for to in ["", "open", "own", "prefix", "small", "drop-box", "closed", "made", "nowhere"] {
                deeds.extend([Deed::Move(to, folder, taken), Deed::Copy(to, folder, taken)]);
            }
        }
    }
    let mut cells = Vec::new();
    for who in EVERYBODY {
        for bucket in BUCKETS {
            for deed in &deeds {
                for kind in 0..8 {
                    if !dice.one_in(one_in) {
                        continue;
                    }
                    let word = format!("w{}", cells.len());
                    let old = kinds(bucket, &word).into_iter().nth(kind).filter(|_| oracle::exists(bucket));
                    let folder = [ada, bob, "open"][kind % 3];
                    let name =
                        old.as_ref().map_or_else(|| format!("{folder}/{word}"), |old| old.name.clone());
                    let deed = match deed.clone() {
                        Deed::Move("", folder, taken) => Deed::Move(bucket, folder, taken),
                        Deed::Copy("", folder, taken) => Deed::Copy(bucket, folder, taken),
                        // The same again.
                        Deed::Move(to, ..) | Deed::Copy(to, ..) if to == bucket => continue,
                        deed => deed,
                    };
                    let mut cell = Cell { who, bucket, name, old, deed, there: None };
                    if let Deed::Move(to, _, true) | Deed::Copy(to, _, true) = cell.deed
                        && oracle::exists(to)
                    {
                        let name = cell.to();
                        cell.there =
                            Some(Row { bucket: to, name, owner: Some(bob), size: 7, mime: "text/plain" });
                    }
                    cells.push(cell);
                }
            }
        }
    }
    cells
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_writes_what_he_may_by_every_door_and_nothing_else() {
    let mut dice = Dice(seed());
    let cells = writings(&mut dice, if long() { 1 } else { 16 });
    let world = World::new().await;
    let rows: Vec<Row> = cells.iter().flat_map(|cell| cell.old.iter().chain(&cell.there).cloned()).collect();
    world.seed(&rows).await;
    let client = &world.client;
    let answers: Vec<(usize, Result<Told, String>)> = iter(cells.iter().enumerate())
        .map(|(at, cell)| async move { (at, cell.ask(client).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut ledger = Ledger::default();
    let mut left: Vec<Row> = Vec::new();
    for (at, told) in &answers {
        let cell = &cells[*at];
        ledger.check(|| format!("{cell:?}"), &cell.expected(), told);
        left.extend(cell.leaves(*told == Ok(Told::Done)));
    }
    // What was refused has left everything as it was, and what was done has done that and nothing else.
    let stored = world.stored().await;
    ledger.same(|| "objects that are there".to_owned(), &left.len(), &stored.len());
    for row in left {
        let expected = (row.owner.map(str::to_owned), row.size as i64, row.mime.to_owned());
        let found = stored.get(&(row.bucket.to_owned(), row.name.clone()));
        ledger.same(|| format!("{}/{}", row.bucket, row.name), &Some(&expected), &found);
    }
    let all = [Told::Done, Told::NoSuchBucket, Told::NoSuchKey, Told::AccessDenied, Told::KeyAlreadyExists];
    ledger.close("storage_writes", 3_000, &all);
}

/// The members of a JSON array, none of anything else.
fn members(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
