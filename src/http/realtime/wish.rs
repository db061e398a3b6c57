//! [`Wish`]: a join's payload, read.

use std::cell::RefCell;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::join::Config;
use crate::realtime::cursor::Cursor;
use crate::realtime::limits;
use crate::realtime::line::{Binding, Operation};

/// A join's payload, read.
pub(super) struct Wish {
    pub(super) config: Config,
    pub(super) private: bool,
    pub(super) presence: bool,
    pub(super) bindings: Vec<Binding>,
    /// What else a snapshot of each binding asks for.
    pub(super) queries: Vec<Option<String>>,
    pub(super) echo: Vec<Value>,
    pub(super) resume: Option<Cursor>,
    pub(super) snapshot: bool,
    pub(super) token: Option<String>,
}

impl Wish {
    /// Reads a join's payload. Unknown members are ignored, and all may be absent.
    pub(super) fn parse(text: &str) -> Result<Wish, String> {
        let payload: Value = serde_json::from_str(text).map_err(|_| "the payload is not JSON".to_owned())?;
        let empty = Map::new();
        let object = |value: Option<&Value>, name: &str| -> Result<Map<String, Value>, String> {
            match value {
                None | Some(Value::Null) => Ok(empty.clone()),
                Some(Value::Object(map)) => Ok(map.clone()),
                Some(_) => Err(format!("{name} is not an object")),
            }
        };
        let payload = object(Some(&payload), "the payload")?;
        let config = object(payload.get("config"), "config")?;
        let broadcast = object(config.get("broadcast"), "config.broadcast")?;
        let presence = object(config.get("presence"), "config.presence")?;
        let flag = |map: &Map<String, Value>, name: &str, default: bool| match map.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(format!("{name} is neither true nor false")),
        };
        let presence_key = match presence.get("key") {
            None | Some(Value::Null) => Uuid::new_v4().to_string(),
            Some(Value::String(key)) if key.is_empty() => Uuid::new_v4().to_string(),
            Some(Value::String(key)) if key.len() <= limits::TOPIC => key.clone(),
            Some(_) => return Err("config.presence.key is no text of at most 255 bytes".to_owned()),
        };
        let (aware, resume) = match config.get("resume") {
            None | Some(Value::Null | Value::Bool(false)) => (false, None),
            Some(Value::Bool(true)) => (true, None),
            Some(Value::String(text)) if text.is_empty() => (true, None),
            Some(Value::String(text)) => (
                true,
                Some(text.parse().map_err(|_| "config.resume is no cursor of this server".to_owned())?),
            ),
            Some(_) => return Err("config.resume is no cursor".to_owned()),
        };
        let snapshot = flag(&config, "snapshot", false)?;
        let token = match payload.get("access_token") {
            None | Some(Value::Null) => None,
            // Keys of another form stand for the key of the handshake.
            Some(Value::String(token)) if token.is_empty() || token.starts_with("sb_") => None,
            Some(Value::String(token)) => Some(token.clone()),
            Some(_) => return Err("access_token is not text".to_owned()),
        };
        let Bindings { bindings, queries, echo } = Bindings::parse(config.get("postgres_changes"))?;
        Ok(Wish {
            config: Config {
                echo: flag(&broadcast, "self", false)?,
                ack: flag(&broadcast, "ack", false)?,
                aware: aware || snapshot,
                presence_key: presence_key.into_boxed_str(),
                rows: !bindings.is_empty(),
                asked: RefCell::new(None),
            },
            private: flag(&config, "private", false)?,
            presence: flag(&presence, "enabled", true)?,
            bindings,
            queries,
            echo,
            resume,
            snapshot,
            token,
        })
    }
}

/// The bindings, what else their snapshots ask for, and as they are echoed: each with its id, and of what was sent what
/// clients compare.
#[derive(Default)]
struct Bindings {
    bindings: Vec<Binding>,
    queries: Vec<Option<String>>,
    echo: Vec<Value>,
}

impl Bindings {
    fn parse(list: Option<&Value>) -> Result<Bindings, String> {
        let list = match list {
            None | Some(Value::Null) => return Ok(Bindings::default()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err("config.postgres_changes is not a list".to_owned()),
        };
        if list.len() > limits::BINDINGS {
            return Err(format!("config.postgres_changes has more than {} entries", limits::BINDINGS));
        }
        let mut all = Bindings::default();
        for (at, given) in list.iter().enumerate() {
            all.add(at, given)?;
        }
        Ok(all)
    }

    fn add(&mut self, at: usize, given: &Value) -> Result<(), String> {
        let Value::Object(given) = given else {
            return Err(format!("config.postgres_changes[{at}] is not an object"));
        };
        let text = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(format!("config.postgres_changes[{at}].{name} is not text")),
        };
        let operation = match text("event")?.map(str::to_ascii_uppercase).as_deref() {
            None | Some("*") => None,
            Some("INSERT") => Some(Operation::Insert),
            Some("UPDATE") => Some(Operation::Update),
            Some("DELETE") => Some(Operation::Delete),
            Some(_) => {
                return Err(format!(
                    "config.postgres_changes[{at}].event is none of *, INSERT, UPDATE, DELETE"
                ));
            }
        };
        let select =
            match given.get("select") {
                None | Some(Value::Null) => None,
                Some(Value::Array(fields)) => {
                    let fields = fields.iter().map(|field| field.as_str().map(str::to_owned));
                    Some(fields.collect::<Option<Vec<_>>>().ok_or_else(|| {
                        format!("config.postgres_changes[{at}].select is no list of fields")
                    })?)
                }
                Some(Value::String(fields)) => {
                    Some(fields.split(',').map(|field| field.trim().to_owned()).collect())
                }
                Some(_) => return Err(format!("config.postgres_changes[{at}].select is no list of fields")),
            };
        let binding = Binding {
            operation,
            schema: text("schema")?.unwrap_or("public").to_owned(),
            table: text("table")?.filter(|table| *table != "*").map(str::to_owned),
            filter: text("filter")?.map(str::to_owned),
            select,
        };
        let mut echo = Map::new();
        echo.insert("id".to_owned(), Value::from(at + 1));
        for name in ["event", "schema", "table", "filter", "select"] {
            if let Some(value) = given.get(name) {
                echo.insert(name.to_owned(), value.clone());
            }
        }
        self.bindings.push(binding);
        self.queries.push(text("snapshot")?.map(str::to_owned));
        self.echo.push(Value::Object(echo));
        Ok(())
    }
}
