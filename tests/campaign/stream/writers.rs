//! Five writers who want different things of the same rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use super::super::Dice;
use super::world::{MOVING, connect};
use crate::support::caller::Caller;

/// What writers are told, and tell.
pub struct Shared {
    pub stop: AtomicBool,
    /// Transactions that were acknowledged.
    pub done: AtomicU64,
    /// Amounts of records made over REST; the others take theirs from a sequence.
    pub amounts: AtomicI32,
    pub admin_url: String,
    pub users: Vec<Uuid>,
    pub rooms: Vec<Uuid>,
    /// The users as callers of the server that runs now.
    pub callers: watch::Receiver<Vec<Caller>>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A value list for a new row: owner, room, state, rank, amount, note, secret, pad.
const NEW: &str = "insert into items (owner, room, state, rank, amount, note, secret, pad) \
    select $1::text::uuid, $2::text::uuid, $3, $4 + n, nextval('audit.amounts'), $5, $6, $7 from generate_series(1, $8::integer) n";
/// As many rows as are asked for, wherever they are.
const SOME: &str = "id in (select id from items order by random() limit $1::integer)";

pub async fn sql(number: usize, mut dice: Dice, shared: Arc<Shared>) {
    let mut client: Option<Client> = None;
    while !shared.stopped() {
        let Some(open) = client.as_mut().filter(|client| !client.is_closed()) else {
            match connect(&shared.admin_url).await {
                Ok(opened) => client = Some(opened),
                // Its Postgres was killed, and will be back.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            continue;
        };
        let done = match number {
            0 => one(open, &mut dice, &shared).await,
            1 => many(open, &mut dice, &shared).await,
            2 => savepoints(open, &mut dice, &shared).await,
            _ => mover(open, &mut dice, &shared).await,
        };
        // Deadlocks are among what writers do to each other.
        if done.is_ok() {
            shared.done.fetch_add(1, Ordering::Relaxed);
        }
        // A debug build tells twenty listeners more slowly than this would write, and what lasts for minutes would
        // outrun the replay window.
        tokio::time::sleep(Duration::from_millis(if number == 1 { 60 } else { 15 })).await;
    }
}

async fn insert(
    client: &impl tokio_postgres::GenericClient,
    dice: &mut Dice,
    shared: &Shared,
    count: i32,
) -> Result<u64, Error> {
    let owner = dice.pick(&shared.users).to_string();
    let room = (!dice.one_in(3)).then(|| dice.pick(&shared.rooms).to_string());
    let state = dice.pick(&["open", "draft"]);
    let rank = i32::try_from(dice.below(100)).unwrap();
    let note = (!dice.one_in(3)).then_some("a note");
    let secret = dice.pick(&[None, Some("abc"), Some("xyz")]);
    // Now and then so long that it is stored beside its row, and is not in the WAL of an update.
    let pad = dice.one_in(6).then(|| {
        (0..4_000).map(|_| char::from(b'a' + u8::try_from(dice.below(26)).unwrap())).collect::<String>()
    });
    client.execute(NEW, &[&owner, &room, &state, &rank, &note, &secret, &pad, &count]).await
}

async fn update(
    client: &impl tokio_postgres::GenericClient,
    dice: &mut Dice,
    what: &str,
    count: i32,
) -> Result<u64, Error> {
    let set = match dice.below(4) {
        0 => "note = coalesce(note, '') || 'n'",
        1 => "rank = (rank * 7 + 11) % 100",
        2 => "secret = case when secret like 'a%' then 'x' else 'a' end",
        _ => what,
    };
    let text = format!("update items set amount = nextval('audit.amounts'), {set} where {SOME}");
    client.execute(text.as_str(), &[&count]).await
}

const TURN: &str = "state = case state when 'open' then 'draft' else 'open' end";

async fn delete(client: &impl tokio_postgres::GenericClient, count: i32) -> Result<u64, Error> {
    client.execute(format!("delete from items where {SOME}").as_str(), &[&count]).await
}

async fn one(client: &mut Client, dice: &mut Dice, shared: &Shared) -> Result<u64, Error> {
    match dice.below(5) {
        0 | 1 => insert(client, dice, shared, 1).await,
        2 | 3 => update(client, dice, TURN, 1).await,
        _ => delete(client, 1).await,
    }
}

async fn many(client: &mut Client, dice: &mut Dice, shared: &Shared) -> Result<u64, Error> {
    let count = 2 + i32::try_from(dice.below(18)).unwrap();
    match dice.below(4) {
        0 => insert(client, dice, shared, count / 2).await,
        1 | 2 => update(client, dice, TURN, count).await,
        _ => delete(client, count / 2).await,
    }
}

/// A transaction of which parts, or all, never happened.
async fn savepoints(client: &mut Client, dice: &mut Dice, shared: &Shared) -> Result<u64, Error> {
    let mut transaction = client.transaction().await?;
    insert(&transaction, dice, shared, 1).await?;
    for _ in 0..1 + dice.below(3) {
        let part = transaction.transaction().await?;
        match dice.below(3) {
            0 => insert(&part, dice, shared, 2).await?,
            1 => update(&part, dice, TURN, 3).await?,
            _ => delete(&part, 1).await?,
        };
        if dice.one_in(2) {
            part.rollback().await?;
        } else {
            part.commit().await?;
        }
    }
    if dice.one_in(3) {
        transaction.rollback().await?;
    } else {
        transaction.commit().await?;
    }
    Ok(0)
}

/// Moves rows in and out of what others see: by their own fields, and by who is in a room.
async fn mover(client: &mut Client, dice: &mut Dice, shared: &Shared) -> Result<u64, Error> {
    let transaction = client.transaction().await?;
    let owner = format!("owner = '{}'", dice.pick(&shared.users));
    let room = format!("room = '{}'", dice.pick(&shared.rooms));
    match dice.below(6) {
        0 => update(&transaction, dice, &owner, 2).await?,
        1 | 2 => update(&transaction, dice, &room, 2).await?,
        3 | 4 => update(&transaction, dice, TURN, 4).await?,
        _ => {
            let (room, user) = (dice.pick(&shared.rooms[..MOVING]), dice.pick(&shared.users));
            let leave = format!("delete from members where room = '{room}' and \"user\" = '{user}'");
            let gone = transaction.execute(leave.as_str(), &[]).await?;
            if gone == 0 {
                let enter = format!("insert into members (room, \"user\") values ('{room}', '{user}')");
                transaction.execute(enter.as_str(), &[]).await?;
            }
            update(&transaction, dice, TURN, 2).await?
        }
    };
    transaction.commit().await?;
    Ok(0)
}

/// Users who write what is theirs over REST.
pub async fn rest(mut dice: Dice, shared: Arc<Shared>) {
    let mut callers = shared.callers.clone();
    let mut own: Vec<(usize, String)> = Vec::new();
    while !shared.stopped() {
        let all = callers.borrow_and_update().clone();
        let amount = shared.amounts.fetch_add(1, Ordering::Relaxed);
        let known = (!own.is_empty() && !dice.one_in(2))
            .then(|| own.swap_remove(usize::try_from(dice.below(own.len() as u64)).unwrap()));
        let answer = match &known {
            None => {
                let user = usize::try_from(dice.below(all.len() as u64)).unwrap();
                let body = json!({
                    "owner": shared.users[user].to_string(), "room": dice.pick(&shared.rooms).to_string(), "amount": amount,
                    "state": dice.pick(&["open", "draft"]), "rank": dice.below(100), "note": "over REST"
                });
                let prefer = [("prefer", "return=representation")];
                let answer = all[user].try_send(Method::POST, "items?select=id", &prefer, Some(&body)).await;
                if let Ok(answer) = &answer
                    && let Some(id) = answer.body[0]["id"].as_str()
                {
                    own.push((user, id.to_owned()));
                }
                answer
            }
            Some((user, id)) if dice.one_in(3) => {
                all[*user].try_send(Method::DELETE, &format!("items?id=eq.{id}"), &[], None).await
            }
            Some((user, id)) => {
                let body = json!({ "amount": amount, "state": dice.pick(&["open", "draft"]), "rank": dice.below(100) });
                let answer =
                    all[*user].try_send(Method::PATCH, &format!("items?id=eq.{id}"), &[], Some(&body)).await;
                own.push((*user, id.clone()));
                answer
            }
        };
        match answer {
            Ok(answer) if answer.status < 300 => {
                shared.done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            // Killed: there will be another.
            Err(_) => {
                let _ = tokio::time::timeout(Duration::from_millis(200), callers.changed()).await;
            }
        }
    }
}
