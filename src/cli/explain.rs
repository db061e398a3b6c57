//! `basewright policy explain`: why somebody may do something, or may not.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use super::policy::session;
use super::tables::block_on;
use super::{Failure, Place, project};
use crate::catalog::Catalog;
use crate::db::{DataLock, Embedded, Pool, Row, Target, Urls};
use crate::model::{Action, Collection, FieldId, Kind, Name, SERVICE_ROLE, Value};
use crate::project::Project;
use crate::project::tests::{Act, Caller, Case, Expect, named_uuid};
use crate::records::trial;
use crate::sql::Sql;

/// Say why somebody may do something with a record, or may not
///
/// Asks the project's database (DATABASE_URL, else the private Postgres of the data folder, beside a running
/// `dev` too) as the role that serves requests, by the statements that serve requests. What is tried is undone.
/// Exits with 0 whether it is allowed or denied.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright policy explain examples/blog --as anon read posts/00000000-0000-4000-8000-000000000001
  basewright policy explain examples/blog --as user:ada@example.test+editor update posts/ID status=published
  basewright policy explain examples/blog --as user:UUID create posts title=Hi slug=hi

  basewright policy explain my-app --as user:UUID read storage.objects/avatars/ada/me.png
  basewright policy explain my-app --as user:UUID create storage.objects bucket=avatars name=ada/me.png

  basewright policy explain my-app --as user:UUID --claims '{\"org\": \"acme\"}' read invoices/ID

WHO is a user's id or his address; what `auth.user_roles` grants is added to the roles written here. `auth.email`
is the user's address, `auth.claims.NAME` and what else a token says are what --claims says. A key or a value of
kind uuid may be a name of the project's tests.")]
pub(super) struct Explain {
    /// The project's folder
    project: PathBuf,
    /// Where keys and the private Postgres are kept [default: PROJECT/.basewright]
    #[arg(long, env = "BASEWRIGHT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Who asks: `anon`, `service`, `user:WHO` or `user:WHO+ROLE`
    #[arg(long = "as", value_name = "CALLER")]
    caller: String,
    /// What the user's token says besides: a JSON object, of which `email`, `aal` and `is_anonymous` are known
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// `read`, `create`, `update` or `delete`
    action: String,
    /// A record as COLLECTION/KEY, or a COLLECTION to create one of
    target: String,
    /// The values sent: `null` is null, lists are written as JSON
    #[arg(value_name = "FIELD=VALUE")]
    values: Vec<String>,
}

/// Explains one request.
///
/// # Errors
/// The command line is at fault, the project is, or its database cannot be asked.
pub(super) fn run(command: &Explain) -> Result<(), Failure> {
    let project = project::load(&command.project)?;
    let catalog = project.catalog(1).map_err(Failure::fault)?;
    let act = act(command, &catalog)?;
    let claims = claims(command)?;
    if let Some(urls) = Urls::from_env() {
        return block_on(explain(command, &project, &catalog, (act, claims), &urls));
    }
    let data = Place { project: command.project.clone(), data: command.data.clone() }.data();
    if !data.join("lock").is_file() {
        let text = format!("there is no database under {}: `basewright dev` makes one", data.display());
        return Err(Failure::fault(text));
    }
    match DataLock::acquire(&data) {
        // A server runs, and its Postgres with it.
        Err(_) => {
            let urls = Embedded::urls_beside(&data).map_err(Failure::fault)?;
            block_on(explain(command, &project, &catalog, (act, claims), &urls))
        }
        Ok(lock) => {
            drop(lock);
            let cluster = Embedded::start(&data, None).map_err(Failure::fault)?;
            let outcome = block_on(explain(command, &project, &catalog, (act, claims), &cluster.urls()));
            cluster.stop();
            outcome
        }
    }
}

async fn explain(
    command: &Explain,
    project: &Project,
    catalog: &Catalog,
    (act, claims): (Act, Claims),
    urls: &Urls,
) -> Result<(), Failure> {
    let target = Target::parse(&urls.runtime, &session(project)).map_err(Failure::fault)?;
    let pool = Pool::open(&target, 1).map_err(Failure::fault)?;
    let caller = caller(&command.caller, claims, project, &pool).await?;
    let act = of_objects(&command.target, act, &caller, catalog, &pool).await?;
    let names = match &caller {
        Caller::User { name, id, .. } => HashMap::from([(*id, name.clone())]),
        Caller::Anonymous | Caller::Service => HashMap::new(),
    };
    let title = format!("{} {} {}", command.caller, command.action, command.target);
    let expect = Expect::Denied { because: None };
    let case = Case { line: 0, title, caller, act, expect };
    let explained = trial::explain(&pool, catalog, &case, names).await;
    pool.close();
    let explained = explained.map_err(Failure::fault)?;
    let mut word = if explained.allowed { "ALLOWED" } else { "DENIED" };
    let mut text = String::new();
    for line in &explained.lines {
        text += &format!("{word:<7} {line}\n");
        word = "";
    }
    if text.is_empty() {
        text = format!("{word}\n");
    }
    // Whoever pipes this into `head` has seen enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

pub(super) type Claims = serde_json::Map<String, serde_json::Value>;

/// What the caller's token says besides id and roles.
fn claims(command: &Explain) -> Result<Claims, Failure> {
    let Some(text) = &command.claims else { return Ok(Claims::new()) };
    if !command.caller.starts_with("user:") {
        return Err(Failure::usage(format!("`{}` has no claims: they are a user's", command.caller)));
    }
    serde_json::from_str(text).map_err(|_| Failure::usage(format!("--claims is no JSON object: {text}")))
}

/// What is asked.
fn act(command: &Explain, catalog: &Catalog) -> Result<Act, Failure> {
    let action = Action::ALL.into_iter().find(|action| action.as_str() == command.action);
    let Some(action) = action else {
        let text = format!("`{}` is no action: read, create, update or delete", command.action);
        return Err(Failure::usage(text));
    };
    let (name, key) = match command.target.split_once('/') {
        Some((name, key)) => (name, Some(key)),
        None => (command.target.as_str(), None),
    };
    let Some(collection) = catalog.collections.titled(name) else {
        return Err(Failure::fault(format!("the project has no collection `{name}`")));
    };
    let declared = catalog.collection(collection);
    let values = values(&command.values, declared)?;
    if matches!(action, Action::Read | Action::Delete) && !values.is_empty() {
        return Err(Failure::usage(format!("a `{}` sends no values", action.as_str())));
    }
    match (action, key) {
        (Action::Create, None) => Ok(Act::Create { collection, values, filled: Vec::new() }),
        (Action::Create, Some(_)) => Err(Failure::usage("a `create` names a collection alone")),
        (Action::Read | Action::Update | Action::Delete, None) => {
            Err(Failure::usage(format!("which record? as in {name}/KEY")))
        }
        (Action::Update, Some(_)) if values.is_empty() => {
            Err(Failure::usage("an `update` changes something, as in title=hi"))
        }
        (Action::Update, Some(text)) => Ok(Act::Update { collection, key: key_of(text, declared)?, values }),
        (Action::Read, Some(text)) => Ok(Act::Read { collection, key: key_of(text, declared)? }),
        (Action::Delete, Some(text)) => Ok(Act::Delete { collection, key: key_of(text, declared)? }),
    }
}

/// An act on objects, as whoever stores one knows them: by bucket and name, and with what an upload brings along.
async fn of_objects(
    target: &str,
    act: Act,
    caller: &Caller,
    catalog: &Catalog,
    pool: &Pool,
) -> Result<Act, Failure> {
    let collection = act.collection();
    if collection != catalog.collections.objects() {
        return Ok(act);
    }
    let named = target.split_once('/').and_then(|(_, key)| key.split_once('/'));
    let found = match named {
        Some((bucket, name)) => {
            let mut sql = Sql::new();
            sql.raw("select id::text from storage.objects where bucket = ").bind_text(bucket);
            sql.raw(" and name = ").bind_text(name);
            let rows = pool.read(&sql).await.map_err(Failure::fault)?;
            let id = rows.first().and_then(|row| Uuid::try_parse(row.text(0)?).ok());
            let none = || Failure::fault(format!("there is no object `{name}` in the bucket `{bucket}`"));
            Some(vec![Value::Uuid(id.ok_or_else(none)?)])
        }
        None => None,
    };
    Ok(match (act, found) {
        (Act::Read { .. }, Some(key)) => Act::Read { collection, key },
        (Act::Update { values, .. }, Some(key)) => Act::Update { collection, key, values },
        (Act::Delete { .. }, Some(key)) => Act::Delete { collection, key },
        (Act::Create { mut values, .. }, _) => {
            let objects = catalog.collection(collection);
            let mut brought = |field: &str, value: Value| {
                let field =
                    objects.field_id(field).filter(|field| !values.iter().any(|(known, _)| known == field));
                values.extend(field.map(|field| (field, value)));
            };
            if let Caller::User { id, .. } = caller {
                brought("owner", Value::Uuid(*id));
            }
            brought("size", Value::Integer(0));
            brought("mime", Value::text("application/octet-stream"));
            brought("etag", Value::text("0".repeat(64)));
            Act::Create { collection, values, filled: Vec::new() }
        }
        (act, _) => act,
    })
}

fn key_of(text: &str, collection: &Collection) -> Result<Vec<Value>, Failure> {
    let parts: Vec<&str> = text.split(',').collect();
    let key = collection.primary_key.iter().zip(&parts).map(|(field, part)| {
        let kind = collection.field(*field).kind;
        named(part.trim(), kind)
    });
    match key.collect::<Option<Vec<Value>>>() {
        Some(key) if parts.len() == collection.primary_key.len() => Ok(key),
        Some(_) | None => Err(Failure::fault(format!("`{text}` is no key of `{}`", collection.title()))),
    }
}

/// A value of a kind, where a name of the tests stands for a uuid.
fn named(text: &str, kind: Kind) -> Option<Value> {
    Value::parse(kind, text).or_else(|| (kind == Kind::UUID).then(|| Value::Uuid(named_uuid(text))))
}

fn values(sent: &[String], collection: &Collection) -> Result<Vec<(FieldId, Value)>, Failure> {
    let mut values: Vec<(FieldId, Value)> = Vec::new();
    for text in sent {
        let Some((name, text)) = text.split_once('=') else {
            return Err(Failure::usage(format!("`{text}` is no FIELD=VALUE")));
        };
        let Some(field) = collection.field_id(name) else {
            return Err(Failure::fault(format!("`{}` has no field `{name}`", collection.title())));
        };
        if values.iter().any(|(known, _)| *known == field) {
            return Err(Failure::usage(format!("`{name}` is sent twice")));
        }
        let kind = collection.field(field).kind;
        let value = match text {
            "null" => Some(Value::Null),
            text if kind.array => {
                serde_json::from_str(text).ok().and_then(|list| Value::from_json(kind, &list))
            }
            text => named(text, kind),
        };
        match value {
            Some(value) => values.push((field, value)),
            None => return Err(Failure::fault(format!("`{name}` is no {kind}: {text}"))),
        }
    }
    Ok(values)
}

/// Who asks, with the roles that the database grants him and the address that it knows.
pub(super) async fn caller(
    text: &str,
    mut claims: Claims,
    project: &Project,
    pool: &Pool,
) -> Result<Caller, Failure> {
    match text {
        "anon" => return Ok(Caller::Anonymous),
        "service" | SERVICE_ROLE => return Ok(Caller::Service),
        _ => {}
    }
    let Some(rest) = text.strip_prefix("user:").filter(|rest| !rest.is_empty() && !rest.starts_with('+'))
    else {
        let text = format!("`{text}` is nobody: anon, service, user:WHO or user:WHO+ROLE");
        return Err(Failure::usage(text));
    };
    let mut parts = rest.split('+');
    let name = parts.next().unwrap_or_default();
    let mut roles: Vec<Name> = Vec::new();
    for part in parts {
        let role = project.roles.iter().find(|role| role.name == *part && role.name != *SERVICE_ROLE);
        match role {
            Some(role) => roles.push(role.name.clone()),
            None => return Err(Failure::fault(format!("the project has no role `{part}` to grant"))),
        }
    }
    let mut sql = Sql::new();
    sql.raw("select u.id::text, coalesce(string_agg(r.role, ' '), ''), u.email from auth.users u left join auth.user_roles r on r.user_id = u.id where u.id::text = ")
        .bind_text(name)
        .raw(" or lower(u.email) = lower(")
        .bind_text(name)
        .raw(") group by u.id limit 2");
    let found: Vec<Row> = pool.read(&sql).await.map_err(Failure::fault)?;
    let id = match found.as_slice() {
        // Somebody who signs in elsewhere has an id that this database does not know.
        [] => Uuid::try_parse(name).map_err(|_| {
            let text = format!("`{name}` is neither an id (a uuid) nor the address of a user: `basewright user list` shows both");
            Failure::fault(text)
        })?,
        [row] => {
            let granted = row.text(1).unwrap_or_default().split(' ');
            for role in granted.filter_map(|role| project.roles.iter().find(|known| known.name == *role)) {
                if role.name != *SERVICE_ROLE && !roles.contains(&role.name) {
                    roles.push(role.name.clone());
                }
            }
            if let Some(email) = row.text(2) {
                claims.entry("email").or_insert_with(|| email.into());
            }
            row.text(0).and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default()
        }
        _ => return Err(Failure::fault(format!("`{name}` is more than one user"))),
    };
    Ok(Caller::User { name: name.to_owned(), id, roles, claims })
}
