//! `Prefer: cursor`: where the stream of changes will tell of a write.

use std::time::Duration;

use basewright::realtime::cursor::Cursor;
use serde_json::json;

use super::site::site;
use crate::support::caller::{Answer, Caller};
use crate::support::server::eventually;

fn cursor(answer: &Answer) -> Option<Cursor> {
    let header = answer.headers.get("basewright-cursor")?;
    Some(header.to_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_asks_is_told_where_the_stream_tells_of_it() {
    let site = site().await;
    let writer = Caller::user(&site.server, &["editor"]);
    let create = async |prefer: &str| writer.post("notes", prefer, json!({ "title": "a" })).await;
    let first =
        eventually("the stream flows", Duration::from_secs(10), || async { cursor(&create("cursor").await) })
            .await;
    let plain = create("return=representation").await;
    assert_eq!((plain.status, cursor(&plain)), (201, None), "who does not ask is not told");
    let mut before = first;
    let mut passed = |answer: &Answer, status: u16| {
        assert_eq!(answer.status, status, "{}", answer.body);
        let now = cursor(answer).unwrap_or_else(|| panic!("{:?}", answer.headers));
        assert!(now > before, "a later write is later in the stream");
        before = now;
    };
    let represented = create("return=representation,cursor").await;
    passed(&represented, 201);
    assert_eq!(represented.header("preference-applied"), "return=representation, cursor");
    // One by its key, by a lane, and many, by the pool.
    let id = represented.body[0]["id"].as_str().unwrap();
    let patch = json!({ "title": "b" });
    passed(&writer.patch(&format!("notes?id=eq.{id}"), "cursor", patch.clone()).await, 204);
    passed(&writer.patch("notes?title=eq.a", "cursor,count=exact", patch).await, 204);
    let secret = Caller::secret(&site.server);
    passed(&secret.delete(&format!("notes?id=eq.{id}"), "cursor").await, 204);
    passed(&secret.delete("notes?title=eq.b", "cursor,return=representation").await, 200);
    let refused = Caller::anonymous(&site.server).post("notes", "cursor", json!({ "title": "a" })).await;
    assert_eq!((refused.status, cursor(&refused)), (401, None));
    assert_eq!(cursor(&writer.get("notes").await), None);
}

/// Writes that leave together have one answer between them: who asks for a place leaves alone.
#[tokio::test(flavor = "multi_thread")]
async fn writes_at_once_each_have_a_place() {
    let site = site().await;
    let writer = Caller::user(&site.server, &[]);
    let create = async || cursor(&writer.post("notes", "cursor", json!({ "title": "a" })).await);
    eventually("the stream flows", Duration::from_secs(10), create).await;
    let writes = futures_util::future::join_all((0..40).map(|_| create())).await;
    let mut places: Vec<Cursor> = writes.into_iter().map(|place| place.unwrap()).collect();
    places.sort_unstable();
    places.dedup();
    assert!(places.len() > 1 && places.windows(2).all(|two| two[0] < two[1]));
}
