//! Lists: what a caller may read, in order, page by page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::site::{Actor, Site};

/// Numbers that look random and are the same each time.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

/// What one level shows: folders end with a slash.
fn level<'n>(names: impl IntoIterator<Item = &'n String>, prefix: &str, folders: bool) -> Vec<String> {
    let shown: BTreeSet<String> = names
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .map(|name| match name[prefix.len()..].find('/') {
            Some(slash) if folders => name[..=prefix.len() + slash].to_owned(),
            Some(_) | None => name.clone(),
        })
        .collect();
    shown.into_iter().collect()
}

/// All pages of a list, by their cursors: whole names.
async fn pages(actor: &Actor, prefix: &str, folders: bool, limit: u64, sorting: Value) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let body = json!({
            "prefix": prefix, "with_delimiter": folders, "limit": limit, "cursor": cursor, "sortBy": sorting,
        });
        let page = actor.post("/object/list-v2/papers", body).await.ok();
        let names = |part: &str| {
            let entries = page[part].as_array().unwrap().iter();
            entries.map(|entry| entry["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        // A page tells folders and objects apart; within it both are in order.
        let mut shown = [names("folders"), names("objects")].concat();
        if sorting["column"] == "name" {
            shown.sort();
            if sorting["order"] == "desc" {
                shown.reverse();
            }
        }
        assert!(shown.len() as u64 <= limit);
        all.extend(shown);
        assert_eq!(page["hasNext"], !page["nextCursor"].is_null());
        if page["hasNext"] == false {
            return all;
        }
        cursor = page["nextCursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_every_order_shows_what_may_be_read_and_nothing_twice() {
    let site = Site::start().await;
    let (ada, bob) = (site.user(&[]), site.user(&[]));
    // Parts that sort before a slash, like one and behind it, so that folders stand between files of nearly their name.
    let parts = ["a", "a-", "a.txt", "a0", "ab", "b", "ü", "Z", "z", "%", "_", "0"];
    let mut random = numbers(7);
    let mut names = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..600 {
        let depth = 1 + random(3);
        let name: Vec<&str> = (0..depth).map(|_| parts[random(parts.len() as u64) as usize]).collect();
        // No key is an object of both.
        let (name, whose) = (name.join("/"), random(2) as usize);
        if !names[1 - whose].contains(&name) {
            names[whose].insert(name);
        }
    }
    // One folder with more in it than a page has.
    names[0].extend((0..120).map(|n| format!("b/deep/{n:03}")));
    let sql = site.sql().await;
    for (owner, names) in [ada.id, bob.id].iter().zip(&names) {
        let names: Vec<&String> = names.iter().collect();
        sql.execute(
            "insert into storage.objects (bucket, name, owner, size, mime, etag, version, created_at, updated_at) \
             select 'papers', n, $1::text::uuid, 1, 'text/plain', 'x', gen_random_uuid(), \
             timestamptz '2026-01-01' + (hashtext(n) % 50) * interval '1 us', \
             timestamptz '2026-01-01' + (hashtext('x' || n) % 50) * interval '1 h' from unnest($2::text[]) as n",
            &[&owner.to_string(), &names],
        )
        .await
        .unwrap();
    }
    for (actor, names) in [(&ada, &names[0]), (&bob, &names[1])] {
        for prefix in ["", "a/", "a", "b/", "b/deep/", "ü/", "nowhere/", "a-/Z"] {
            for folders in [true, false] {
                let expected = level(names, prefix, folders);
                let reversed: Vec<String> = expected.iter().rev().cloned().collect();
                for limit in [1, 3, 7, 50, 1000] {
                    let sorting = |order: &str| json!({ "column": "name", "order": order });
                    let by = async |order: &str| pages(actor, prefix, folders, limit, sorting(order)).await;
                    if limit == 1 && expected.len() > 40 {
                        continue;
                    }
                    assert_eq!(by("asc").await, expected, "{prefix} {folders} {limit}");
                    assert_eq!(by("desc").await, reversed, "{prefix} {folders} {limit}");
                }
                for column in ["created_at", "updated_at"] {
                    for order in ["asc", "desc"] {
                        let sorting = json!({ "column": column, "order": order });
                        let paged = pages(actor, prefix, folders, 7, sorting.clone()).await;
                        let whole = pages(actor, prefix, folders, 1000, sorting).await;
                        assert_eq!(paged, whole, "{prefix} {folders} {column} {order}");
                        let shown: BTreeSet<&String> = paged.iter().collect();
                        assert_eq!(shown, expected.iter().collect(), "{prefix} {folders} {column} {order}");
                        assert_eq!(paged.len(), expected.len());
                    }
                }
            }
            // The older list: a folder, from an offset on, under short names.
            if !prefix.is_empty() && !prefix.ends_with('/') {
                continue;
            }
            let expected = level(names, prefix, true);
            for (offset, limit) in [(0, 100), (0, 3), (2, 5), (40, 100), (1000, 10)] {
                let body =
                    json!({ "prefix": prefix.trim_end_matches('/'), "limit": limit, "offset": offset });
                let shown = actor.names("papers", body).await;
                let page = expected.iter().skip(offset).take(limit).map(|name| &name[prefix.len()..]);
                assert_eq!(shown, page.collect::<Vec<_>>(), "{prefix} {offset} {limit}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_searches_sorts_and_tells_what_clients_read() {
    let site = Site::start().await;
    let ada = site.user(&[]);
    for name in
        ["Report.txt", "report-2.txt", "notes.txt", "x%y", "x_y", "xay", "docs/report.txt", "Reports/a.txt"]
    {
        ada.upload(&format!("papers/{}", name.replace('%', "%25")), "content").await.ok();
    }
    let search = async |text: &str| ada.names("papers", json!({ "prefix": "", "search": text })).await;
    assert_eq!(search("rep").await, ["Report.txt", "Reports/", "report-2.txt"]);
    assert_eq!(search("x%").await, ["x%y"]);
    assert_eq!(search("x_").await, ["x_y"]);
    assert_eq!(search("'").await, [""; 0]);
    // In orders of time folders come first, and objects as they were stored.
    let newest = json!({ "prefix": "", "limit": 5, "sortBy": { "column": "created_at", "order": "desc" } });
    assert_eq!(ada.names("papers", newest).await, ["docs/", "Reports/", "xay", "x_y", "x%y"]);
    let oldest = json!({ "prefix": "", "offset": 2, "limit": 2, "sortBy": { "column": "last_accessed_at" } });
    assert_eq!(ada.names("papers", oldest).await, ["Report.txt", "report-2.txt"]);

    let list = ada.post("/object/list/papers", json!({ "prefix": "", "search": "notes" })).await.ok();
    let entry = &list[0];
    assert_eq!((&entry["name"], list.as_array().unwrap().len()), (&json!("notes.txt"), 1));
    let metadata = &entry["metadata"];
    assert_eq!((&metadata["size"], &metadata["mimetype"]), (&json!(7), &json!("text/plain")));
    assert_eq!((&metadata["contentLength"], &metadata["httpStatusCode"]), (&json!(7), &json!(200)));
    assert_eq!(
        (&metadata["cacheControl"], &metadata["lastModified"]),
        (&json!("no-cache"), &entry["updated_at"])
    );
    assert_eq!(metadata["eTag"], ada.get("/object/papers/notes.txt").await.header("etag"));
    let folder = ada.post("/object/list/papers", json!({ "prefix": "", "search": "docs" })).await.ok();
    let nothing = json!({
        "name": "docs", "id": null, "updated_at": null, "created_at": null, "last_accessed_at": null, "metadata": null,
    });
    assert_eq!(folder, json!([nothing]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_read_an_object_by_its_key_may_not_therefore_list_it() {
    let site = Site::start().await;
    let (ada, bob, anonymous) = (site.user(&[]), site.user(&[]), site.anonymous());
    ada.upload("posters/a", "1").await.ok();
    ada.upload("papers/hidden/a", "1").await.ok();
    ada.upload("papers/shown/a", "1").await.ok();
    let list = json!({ "prefix": "" });
    for path in ["/object/list/", "/object/list-v2/"] {
        let refused = async |actor: &Actor, bucket: &str| {
            actor.post(&format!("{path}{bucket}"), list.clone()).await.refused()
        };
        assert_eq!(refused(&ada, "posters").await, "AccessDenied");
        assert_eq!(refused(&anonymous, "posters").await, "AccessDenied");
        assert_eq!(refused(&ada, "letterbox").await, "AccessDenied");
        assert_eq!(refused(&anonymous, "letterbox").await, "NoSuchBucket");
        assert_eq!(refused(&ada, "vault").await, "NoSuchBucket");
        assert_eq!(refused(&ada, "nowhere").await, "NoSuchBucket");
        assert_eq!(refused(&site.secret(), "nowhere").await, "NoSuchBucket");
        assert_eq!(refused(&site.nobody(), "papers").await, "AccessDenied");
        for body in [
            json!([]),
            json!({ "prefix": 1 }),
            json!({ "prefix": "../" }),
            json!({ "prefix": "a\0" }),
            json!({ "limit": 0 }),
            json!({ "limit": 1_000_000 }),
            json!({ "limit": -1 }),
            json!({ "sortBy": { "column": "owner" } }),
            json!({ "sortBy": { "column": "name", "order": "up" } }),
        ] {
            let code = ada.post(&format!("{path}papers"), body.clone()).await.refused();
            assert!(code.starts_with("Invalid"), "{code} for {body}");
        }
    }
    for cursor in ["x", "e30", "eyJuYW1lIjoiYVx1MDAwMCIsInRpbWUiOjB9", "eyJuYW1lIjoiYSIsInRpbWUiOi0xfQ"] {
        let code = ada.post("/object/list-v2/papers", json!({ "cursor": cursor })).await.refused();
        assert_eq!(code, "InvalidParameter", "{cursor}");
    }
    // A folder is there for those who may read something in it.
    assert_eq!(ada.names("papers", list.clone()).await, ["hidden/", "shown/"]);
    assert_eq!(bob.names("papers", list.clone()).await, ["shown/"]);
    assert_eq!(anonymous.names("papers", list.clone()).await, ["shown/"]);
    assert_eq!(site.user(&["editor"]).names("vault", list).await, [""; 0]);
}
