//! Embeds through a junction, spread embeds, embeds in filters, orders and representations: what they bring, and
//! what they keep from whom.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};

const PROJECT: &[(&str, &str)] = &[
    (
        "collections/all.yaml",
        "collections:
  people:
    fields:
      name: { type: text, required: true }
      rank: { type: integer }
  posts:
    fields:
      title: { type: text, required: true }
      live: { type: boolean, required: true, default: true }
      author: { type: relation, to: people }
      editor: { type: relation, to: people, inverse: edited }
  tags:
    fields:
      name: { type: text, required: true }
      weight: { type: integer }
      hidden: { type: boolean, required: true, default: false }
  post_tags:
    primary_key: [post, tag]
    timestamps: false
    fields:
      post: { type: relation, to: posts, on_delete: cascade }
      tag: { type: relation, to: tags }
      shown: { type: boolean, required: true, default: true }
  follows:
    primary_key: [follower, followed]
    timestamps: false
    fields:
      follower: { type: relation, to: people, inverse: following }
      followed: { type: relation, to: people, inverse: followers }
  teams:
    fields:
      name: { type: text, required: true }
  members:
    primary_key: [team, person]
    timestamps: false
    fields:
      team: { type: relation, to: teams }
      person: { type: relation, to: people }
  coaches:
    primary_key: [team, person]
    timestamps: false
    fields:
      team: { type: relation, to: teams }
      person: { type: relation, to: people }
",
    ),
    (
        "policies/all.yaml",
        "roles:
  editor: { inherits: [authenticated] }
policies:
  people:
    read: [{ role: anon }]
  posts:
    read: [{ role: anon, when: live }, { role: editor }]
    create: [{ role: authenticated, fields: [title, author, editor] }]
    update: [{ role: editor }]
    delete: [{ role: editor }]
  tags:
    read: [{ role: anon, when: \"!hidden\", fields: [id, name] }, { role: editor }]
  post_tags:
    read: [{ role: anon, when: shown }, { role: editor }]
  follows:
    read:
      - { role: authenticated, fields: [follower] }
      - { role: authenticated, when: follower == auth.id }
  teams:
    read: [{ role: anon }]
  members:
    read: [{ role: anon }]
  coaches:
    read: [{ role: anon, fields: [team] }, { role: authenticated }]
    create: [{ role: editor }]
",
    ),
];

const ADA: &str = "00000000-0000-4000-8000-00000000000a";
const BOB: &str = "00000000-0000-4000-8000-00000000000b";
const CYD: &str = "00000000-0000-4000-8000-00000000000c";

fn id(kind: u8, number: u8) -> String {
    format!("00000000-0000-4000-8000-{kind:06}{number:06}")
}

struct Stage {
    server: Server,
    _database: Database,
    _folder: Folder,
}

impl Stage {
    /// Three people, three posts, three tags, and who has to do with whom.
    async fn new() -> Stage {
        let database = database().await;
        let folder = Folder::with(PROJECT);
        let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
        let secret = Caller::secret(&server);
        let (post, tag) = (|number| id(1, number), |number| id(2, number));
        for (collection, rows) in [
            (
                "people",
                json!([
                    { "id": ADA, "name": "Ada", "rank": 2 },
                    { "id": BOB, "name": "Bob", "rank": 1 },
                    { "id": CYD, "name": "Cyd", "rank": null },
                ]),
            ),
            (
                "posts",
                json!([
                    { "id": post(1), "title": "one", "live": true, "author": ADA, "editor": BOB },
                    { "id": post(2), "title": "two", "live": true, "author": BOB, "editor": null },
                    { "id": post(3), "title": "three", "live": false, "author": ADA, "editor": null },
                    { "id": post(4), "title": "four", "live": true, "author": null, "editor": null },
                ]),
            ),
            (
                "tags",
                json!([
                    { "id": tag(1), "name": "red", "weight": 3, "hidden": false },
                    { "id": tag(2), "name": "green", "weight": 2, "hidden": false },
                    { "id": tag(3), "name": "secret", "weight": 1, "hidden": true },
                ]),
            ),
            (
                "post_tags",
                json!([
                    { "post": post(1), "tag": tag(1), "shown": true },
                    { "post": post(1), "tag": tag(2), "shown": false },
                    { "post": post(1), "tag": tag(3), "shown": true },
                    { "post": post(2), "tag": tag(1), "shown": true },
                    { "post": post(2), "tag": tag(2), "shown": true },
                    { "post": post(3), "tag": tag(2), "shown": true },
                ]),
            ),
            (
                "follows",
                json!([
                    { "follower": ADA, "followed": BOB },
                    { "follower": ADA, "followed": CYD },
                    { "follower": BOB, "followed": ADA },
                ]),
            ),
            ("teams", json!([{ "id": id(3, 1), "name": "blue" }])),
            ("members", json!([{ "team": id(3, 1), "person": ADA }, { "team": id(3, 1), "person": BOB }])),
            ("coaches", json!([{ "team": id(3, 1), "person": CYD }])),
        ] {
            secret.post(collection, "", rows).await.is(201);
        }
        Stage { server, _database: database, _folder: folder }
    }

    fn anonymous(&self) -> Caller {
        Caller::anonymous(&self.server)
    }

    fn editor(&self) -> Caller {
        Caller::user(&self.server, &["editor"])
    }

    fn secret(&self) -> Caller {
        Caller::secret(&self.server)
    }

    /// Reads, each with what it must bring.
    async fn brings(&self, caller: &Caller, cases: &[(&str, Value)]) {
        for (path, expected) in cases {
            let answer = caller.get(path).await;
            assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.body);
            assert_eq!(answer.body, *expected, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_junction_brings_the_other_side_to_whoever_may_read_both() {
    let stage = Stage::new().await;
    let tags = "posts?select=title,tags(name)&tags.order=name&order=title";
    stage
        .brings(
            &stage.anonymous(),
            &[
                (
                    tags,
                    json!([
                        { "title": "four", "tags": [] },
                        { "title": "one", "tags": [{ "name": "red" }] },
                        { "title": "two", "tags": [{ "name": "green" }, { "name": "red" }] },
                    ]),
                ),
                // The hidden pair of post and tag is nowhere, from the other side either.
                (
                    "tags?select=name,posts(title)&posts.order=title&order=name",
                    json!([
                        { "name": "green", "posts": [{ "title": "two" }] },
                        { "name": "red", "posts": [{ "title": "one" }, { "title": "two" }] },
                    ]),
                ),
                ("posts?select=title,tags!inner(name)&tags.name=eq.green", json!([{ "title": "two", "tags": [{ "name": "green" }] }])),
                ("posts?select=title,tags()&tags=is.null", json!([{ "title": "four" }])),
                ("posts?select=title,t:tags!post_tags(name)&t.limit=1&t.order=name.desc&order=title&limit=1&offset=1",
                    json!([{ "title": "one", "t": [{ "name": "red" }] }])),
                ("posts?select=title,tags(count)&order=title",
                    json!([
                        { "title": "four", "tags": [{ "count": 0 }] },
                        { "title": "one", "tags": [{ "count": 1 }] },
                        { "title": "two", "tags": [{ "count": 2 }] },
                    ])),
                ("posts?select=title,tags(name,posts(title))&title=eq.one",
                    json!([{ "title": "one", "tags": [{ "name": "red", "posts": [{ "title": "one" }, { "title": "two" }] }] }])),
            ],
        )
        .await;
    let answer = stage
        .anonymous()
        .send(
            Method::GET,
            "posts?select=title,tags!inner(name)&tags.name=eq.green",
            &[("prefer", "count=exact")],
            None,
        )
        .await;
    assert_eq!(answer.header("content-range"), "0-0/1");
    stage
        .brings(
            &stage.editor(),
            &[(
                "posts?select=title,tags(name,weight)&tags.order=weight&title=eq.one",
                json!([{ "title": "one", "tags": [
                    { "name": "secret", "weight": 1 }, { "name": "green", "weight": 2 }, { "name": "red", "weight": 3 },
                ] }]),
            )],
        )
        .await;
    // A field of the target that the caller does not know does not exist here either.
    assert_eq!(stage.anonymous().get("posts?select=tags(weight)").await.refused(400), "42703");
    assert_eq!(stage.anonymous().get("posts?select=tags(name)&tags.weight=eq.1").await.refused(400), "42703");
    assert_eq!(
        stage.anonymous().get("posts?select=tags(name)&order=tags(name)").await.refused(400),
        "PGRST118"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_joined_to_itself_names_the_way_by_the_field_that_leads_there() {
    let stage = Stage::new().await;
    stage
        .brings(
            &stage.secret(),
            &[
                (
                    "people?select=name,people!followed(name)&people.order=name&order=name",
                    json!([
                        { "name": "Ada", "people": [{ "name": "Bob" }, { "name": "Cyd" }] },
                        { "name": "Bob", "people": [{ "name": "Ada" }] },
                        { "name": "Cyd", "people": [] },
                    ]),
                ),
                (
                    "people?select=name,fans:people!follower(name)&name=eq.Cyd",
                    json!([{ "name": "Cyd", "fans": [{ "name": "Ada" }] }]),
                ),
            ],
        )
        .await;
    for select in ["people(name)", "people!follows(name)"] {
        let error = stage.secret().get(&format!("people?select=name,{select}")).await.is(300);
        assert_eq!(error["code"], "PGRST201");
        assert_eq!(
            error["details"],
            json!([
                {
                    "cardinality": "many-to-many",
                    "embedding": "people with people",
                    "relationship": "follows using follows_follower_fkey(follower) and follows_followed_fkey(followed)",
                },
                {
                    "cardinality": "many-to-many",
                    "embedding": "people with people",
                    "relationship": "follows using follows_followed_fkey(followed) and follows_follower_fkey(follower)",
                },
            ])
        );
        assert_eq!(
            error["hint"],
            "Try changing 'people' to one of the following: 'people!follows_followed_fkey', \
             'people!follows_follower_fkey'. Find the desired relationship in the 'details' key."
        );
    }
    // Everybody knows that there are follows, but whom one follows is shown on one's own rows alone.
    stage
        .brings(
            &Caller::user(&stage.server, &[]),
            &[(
                "people?select=name,people!followed(name)&order=name",
                json!([
                    { "name": "Ada", "people": [] },
                    { "name": "Bob", "people": [] },
                    { "name": "Cyd", "people": [] },
                ]),
            )],
        )
        .await;
    let ada = Caller::user_with_id(&stage.server, ADA, &[]);
    stage
        .brings(
            &ada,
            &[
                (
                    "people?select=name,people!followed(name)&people.order=name&order=name",
                    json!([
                        { "name": "Ada", "people": [{ "name": "Bob" }, { "name": "Cyd" }] },
                        { "name": "Bob", "people": [] },
                        { "name": "Cyd", "people": [] },
                    ]),
                ),
                // Bob follows Ada, and that is his own business.
                (
                    "people?select=name,people!follower(name)&name=eq.Ada",
                    json!([{ "name": "Ada", "people": [] }]),
                ),
                (
                    "people?select=name,people!followed!inner(name)",
                    json!([{ "name": "Ada", "people": [{ "name": "Bob" }, { "name": "Cyd" }] }]),
                ),
            ],
        )
        .await;
    // Nobody told the anonymous of follows.
    assert_eq!(stage.anonymous().get("people?select=people(name)").await.refused(400), "PGRST200");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_junctions_are_ambiguous_to_whoever_knows_both() {
    let stage = Stage::new().await;
    // The person of `coaches` is unknown to the anonymous, so that one way is left.
    stage
        .brings(
            &stage.anonymous(),
            &[(
                "teams?select=name,people(name)&people.order=name",
                json!([{ "name": "blue", "people": [{ "name": "Ada" }, { "name": "Bob" }] }]),
            )],
        )
        .await;
    assert_eq!(stage.anonymous().get("teams?select=people!coaches(name)").await.refused(400), "PGRST200");
    let user = Caller::user(&stage.server, &[]);
    let error = user.get("teams?select=name,people(name)").await.is(300);
    let relationships: Vec<&str> = error["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["relationship"].as_str().unwrap())
        .collect();
    assert_eq!(
        relationships,
        [
            "members using members_team_fkey(team) and members_person_fkey(person)",
            "coaches using coaches_team_fkey(team) and coaches_person_fkey(person)",
        ]
    );
    assert_eq!(
        error["hint"],
        "Try changing 'people' to one of the following: 'people!members', 'people!coaches'. \
         Find the desired relationship in the 'details' key."
    );
    stage
        .brings(
            &user,
            &[(
                "teams?select=name,people!coaches(name),m:people!members(name)&m.order=name",
                json!([{ "name": "blue", "people": [{ "name": "Cyd" }], "m": [{ "name": "Ada" }, { "name": "Bob" }] }]),
            )],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spread_hoists_the_members_of_what_is_related() {
    let stage = Stage::new().await;
    stage
        .brings(
            &stage.anonymous(),
            &[(
                "posts?select=title,...people!author(author:name,rank)&order=title",
                json!([
                    { "title": "four", "author": null, "rank": null },
                    { "title": "one", "author": "Ada", "rank": 2 },
                    { "title": "two", "author": "Bob", "rank": 1 },
                ]),
            )],
        )
        .await;
    stage
        .brings(
            &stage.editor(),
            &[
                (
                    "people?select=name,...posts!author(titles:title,live)&posts.order=title.desc&order=name",
                    json!([
                        { "name": "Ada", "titles": ["three", "one"], "live": [false, true] },
                        { "name": "Bob", "titles": ["two"], "live": [true] },
                        { "name": "Cyd", "titles": [], "live": [] },
                    ]),
                ),
                (
                    "posts?select=title,...tags(tag:name,weight)&tags.order=weight&title=eq.one",
                    json!([{ "title": "one", "tag": ["secret", "green", "red"], "weight": [1, 2, 3] }]),
                ),
                (
                    "posts?select=title,...tags(name)&tags.order=weight.desc&tags.limit=2&tags.offset=1&title=eq.one",
                    json!([{ "title": "one", "name": ["green", "secret"] }]),
                ),
                // Inside an embed, and around one.
                (
                    "tags?select=name,posts(title,...people!author(by:name))&posts.order=title&name=eq.green",
                    json!([{ "name": "green", "posts": [
                        { "title": "one", "by": "Ada" }, { "title": "three", "by": "Ada" }, { "title": "two", "by": "Bob" },
                    ] }]),
                ),
                (
                    "posts?select=title,...people!author(name,...teams!members(team:name),coached:teams!coaches(name))&title=eq.one",
                    json!([{ "title": "one", "name": "Ada", "team": ["blue"], "coached": [] }]),
                ),
                (
                    "teams?select=...people!members(...posts!author(title))&people.order=name&people.posts.order=title",
                    json!([{ "title": [["one", "three"], ["two"]] }]),
                ),
                (
                    "posts?select=title,...people!author!inner(name)&people.name=eq.Bob",
                    json!([{ "title": "two", "name": "Bob" }]),
                ),
                ("posts?select=title,...people!author(name)&order=people(rank).desc.nullslast,title&limit=2",
                    json!([{ "title": "one", "name": "Ada" }, { "title": "three", "name": "Ada" }])),
                ("posts?select=title,...tags()&title=eq.one", json!([{ "title": "one" }])),
            ],
        )
        .await;
    // What is hidden stays hidden.
    stage
        .brings(
            &stage.anonymous(),
            &[(
                "posts?select=title,...tags(name)&title=eq.one",
                json!([{ "title": "one", "name": ["red"] }]),
            )],
        )
        .await;
    assert_eq!(stage.anonymous().get("posts?select=...tags(weight)").await.refused(400), "42703");
    assert_eq!(stage.anonymous().get("posts?select=...tags(count)").await.refused(400), "PGRST127");
    assert_eq!(stage.anonymous().get("posts?select=...people!author(count)").await.refused(400), "PGRST123");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_something_is_related_stands_in_logic_like_any_other_term() {
    let stage = Stage::new().await;
    let titles = |rows: &[&str]| Value::Array(rows.iter().map(|title| json!({ "title": title })).collect());
    stage
        .brings(
            &stage.anonymous(),
            &[
                ("posts?select=title,tags()&or=(tags.is.null,title.eq.two)&order=title", titles(&["four", "two"])),
                ("posts?select=title,tags()&or=(tags.not.is.null,title.eq.four)&order=title", titles(&["four", "one", "two"])),
                ("posts?select=title,tags()&not.or=(tags.is.null,title.eq.two)", titles(&["one"])),
                ("posts?select=title,tags(),a:people!author()&and=(tags.not.is.null,or(a.is.null,title.eq.one))", titles(&["one"])),
                // The filter of the embed decides what counts as related.
                ("posts?select=title,tags()&tags.name=eq.green&tags=not.is.null", titles(&["two"])),
                ("posts?select=title,tags()&tags.name=eq.green&or=(tags.is.null,title.eq.two)&order=title", titles(&["four", "one", "two"])),
                ("posts?select=title,e:people!editor()&e=is.null&order=title", titles(&["four", "two"])),
            ],
        )
        .await;
    for filter in ["tags=eq.1", "or=(tags.eq.1,title.eq.two)", "tags=is.true"] {
        let path = format!("posts?select=title,tags()&{filter}");
        assert_eq!(stage.anonymous().get(&path).await.refused(400), "PGRST120", "{filter}");
    }
    assert_eq!(stage.anonymous().get("posts?select=title&tags.name=eq.red").await.refused(400), "PGRST108");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_to_one_relation_orders_what_hangs_on_it() {
    let stage = Stage::new().await;
    let titles = |rows: &[&str]| Value::Array(rows.iter().map(|title| json!({ "title": title })).collect());
    stage
        .brings(
            &stage.editor(),
            &[
                (
                    "posts?select=title,a:people!author()&order=a(rank),title.desc",
                    titles(&["two", "three", "one", "four"]),
                ),
                (
                    "posts?select=title,a:people!author()&order=a(name).desc.nullslast,title",
                    titles(&["two", "one", "three", "four"]),
                ),
                (
                    "posts?select=title,a:people!author()&order=a(name).nullsfirst,title&limit=2",
                    titles(&["four", "one"]),
                ),
            ],
        )
        .await;
    assert_eq!(stage.editor().get("posts?select=title&order=people(name)").await.refused(400), "PGRST108");
    assert_eq!(
        stage.anonymous().get("posts?select=a:people!author()&order=a(nothing)").await.refused(400),
        "42703"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_representation_embeds_and_spreads_like_a_read() {
    let stage = Stage::new().await;
    let editor = stage.editor();
    let select = "select=title,...people!author(by:name),editor:people!editor(name),tags(name)";
    let body = json!({ "title": "new", "author": ADA, "editor": CYD });
    let expected = json!([{ "title": "new", "by": "Ada", "editor": { "name": "Cyd" }, "tags": [] }]);
    let path = format!("posts?{select}");
    assert_eq!(editor.post(&path, "return=representation", body).await.is(201), expected);
    let path = format!("posts?{select}&title=eq.one&tags.order=name.desc");
    let changed =
        editor.patch(&path, "return=representation", json!({ "author": BOB, "editor": null })).await.is(200);
    let tags = json!([{ "name": "secret" }, { "name": "red" }, { "name": "green" }]);
    assert_eq!(changed, json!([{ "title": "one", "by": "Bob", "editor": null, "tags": tags }]));
    // Only what has a tag of that name is changed.
    let path = "posts?select=title,tags!inner(name)&tags.name=eq.red";
    let changed = editor.patch(path, "return=representation", json!({ "editor": CYD })).await.is(200);
    let mut titles: Vec<&str> =
        changed.as_array().unwrap().iter().map(|row| row["title"].as_str().unwrap()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["one", "two"]);
    let path = format!("posts?{select}&title=eq.new");
    assert_eq!(editor.delete(&path, "return=representation").await.is(200), expected);
}
