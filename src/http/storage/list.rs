//! Lists: one page of one folder, or of all that begins alike.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::door::Door;
use super::{path, shape};
use crate::error::{Error, StorageCode};
use crate::http::reply::Failure;
use crate::objects::key::Key;
use crate::objects::list::{Entry, Mark, Order, Start, Wish};

/// Most entries of a page.
const MOST: u64 = 10_000;
const MOST_V2: u64 = 1_000;

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Column {
    #[default]
    Name,
    CreatedAt,
    UpdatedAt,
    LastAccessedAt,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Asc,
    Desc,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Sorting {
    #[serde(default)]
    column: Column,
    order: Option<Direction>,
}

impl Sorting {
    fn order(self) -> Order {
        match self.column {
            Column::Name => Order::Name,
            Column::CreatedAt => Order::Created,
            Column::UpdatedAt | Column::LastAccessedAt => Order::Updated,
        }
    }

    fn descends(self) -> bool {
        self.order == Some(Direction::Desc)
    }
}

#[derive(Deserialize)]
struct Question {
    prefix: Option<String>,
    limit: Option<u64>,
    offset: Option<u64>,
    #[serde(rename = "sortBy")]
    sorting: Option<Sorting>,
    search: Option<String>,
}

/// `POST /object/list/{bucket}`
pub(super) async fn level(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let bucket = path::bucket_alone(&request, "/object/list/")?;
    let (door, question): (Door, Question) = Door::with_json(&request, payload).await?;
    // It names a folder, whether or not it ends as one.
    let mut prefix = Key::prefix(question.prefix.as_deref().unwrap_or_default())?;
    if !prefix.is_empty() && !prefix.ends_with('/') {
        prefix.push('/');
    }
    let sorting = question.sorting.unwrap_or_default();
    let wish = Wish {
        prefix,
        search: Key::prefix(question.search.as_deref().unwrap_or_default())?,
        folders: true,
        order: sorting.order(),
        descending: sorting.descends(),
        limit: limited(question.limit, 100, MOST)?,
        start: Start::Offset(question.offset.unwrap_or(0)),
    };
    let page = door.objects().list(&bucket, &wish).await?;
    let behind = |name| str::get(name, wish.prefix.len()..).unwrap_or_default().trim_end_matches('/');
    let entries = page.entries.iter().map(|entry| match entry {
        Entry::Folder(name) => shape::folder(behind(name)),
        Entry::Object(object) => shape::listed(object, behind(&object.name)),
    });
    Ok(HttpResponse::Ok().json(entries.collect::<Vec<_>>()))
}

/// A page of the newer list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'p> {
    has_next: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    folders: Vec<Value>,
    objects: Vec<shape::Listed<'p>>,
}

#[derive(Deserialize)]
struct Cursored {
    prefix: Option<String>,
    limit: Option<u64>,
    cursor: Option<String>,
    #[serde(default)]
    with_delimiter: bool,
    #[serde(rename = "sortBy")]
    sorting: Option<Sorting>,
}

/// `POST /object/list-v2/{bucket}`
pub(super) async fn pages(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let bucket = path::bucket_alone(&request, "/object/list-v2/")?;
    let (door, question): (Door, Cursored) = Door::with_json(&request, payload).await?;
    let sorting = question.sorting.unwrap_or_default();
    let start = match question.cursor.as_deref() {
        None | Some("") => Start::Offset(0),
        Some(cursor) => Start::After(Cursor::read(cursor)?),
    };
    let wish = Wish {
        prefix: Key::prefix(question.prefix.as_deref().unwrap_or_default())?,
        search: String::new(),
        folders: question.with_delimiter,
        order: sorting.order(),
        descending: sorting.descends(),
        limit: limited(question.limit, MOST_V2, MOST_V2)?,
        start,
    };
    let page = door.objects().list(&bucket, &wish).await?;
    let (mut folders, mut objects) = (Vec::new(), Vec::new());
    for entry in &page.entries {
        match entry {
            Entry::Folder(name) => folders.push(json!({ "name": name, "key": name })),
            Entry::Object(object) => objects.push(shape::keyed(object)),
        }
    }
    let next_cursor = page.next.as_ref().map(Cursor::write);
    Ok(HttpResponse::Ok().json(Page { has_next: page.next.is_some(), next_cursor, folders, objects }))
}

fn limited(asked: Option<u64>, usual: u64, most: u64) -> Result<u64, Error> {
    match asked {
        None => Ok(usual),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => {
            Err(Error::with(StorageCode::InvalidParameter, format!("limit is a number from 1 to {most}")))
        }
    }
}

/// Where a page ended, as a text that clients hand back.
#[derive(Deserialize)]
struct Cursor {
    name: String,
    time: i64,
}

impl Cursor {
    fn write(mark: &Mark) -> String {
        let cursor = json!({ "name": mark.name, "time": mark.time });
        URL_SAFE_NO_PAD.encode(cursor.to_string())
    }

    fn read(text: &str) -> Result<Mark, Error> {
        let refused = || Error::with(StorageCode::InvalidParameter, "The cursor is not one of this list");
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let cursor: Cursor = serde_json::from_slice(&json).map_err(|_| refused())?;
        Mark::shown(&cursor.name, cursor.time)
    }
}
