//! The records that the matrix is about, and the tables they stand in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

pub(super) type Row = Map<String, Value>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Uuid,
    Json,
    Tags,
}

/// One field of the project, as its YAML declares it.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) unique: bool,
    /// JSON; empty for none.
    pub(super) default: &'static str,
    /// The target, and the inverse's name there.
    pub(super) to: Option<(&'static str, &'static str)>,
}

pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) key: &'static [&'static str],
    /// The fields that its full-text search digests, if it has one.
    pub(super) search: &'static [&'static str],
    /// A field that tells records apart and that most callers may see.
    pub(super) handle: &'static str,
}

impl Table {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Its key is its `id`.
    pub(super) fn has_id(&self) -> bool {
        self.key == ["id"]
    }

    pub(super) fn same(&self, one: &Row, other: &Row) -> bool {
        self.key.iter().all(|field| one.get(*field) == other.get(*field))
    }

    /// What stands together once: the key, each unique field, and pairs.
    pub(super) fn uniques(&self) -> Vec<Vec<&'static str>> {
        let mut all = vec![self.key.to_vec()];
        let alone = self.fields.iter().filter(|field| field.unique && field.name != "id");
        all.extend(alone.map(|field| vec![field.name]));
        if self.name == "members" {
            all.push(vec!["team", "person"]);
        }
        all
    }
}

fn plain(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false, unique: false, default: "", to: None }
}

fn text(name: &'static str) -> Field {
    plain(name, Kind::Text)
}

fn to(name: &'static str, target: &'static str, inverse: &'static str) -> Field {
    Field { to: Some((target, inverse)), ..plain(name, Kind::Uuid) }
}

impl Field {
    fn required(self) -> Field {
        Field { required: true, ..self }
    }

    fn unique(self) -> Field {
        Field { unique: true, ..self }
    }

    fn default(self, default: &'static str) -> Field {
        Field { default, ..self }
    }
}

/// Every declared collection, in an order in which they can be filled.
pub(super) fn tables() -> &'static [Table] {
    static TABLES: LazyLock<Vec<Table>> = LazyLock::new(declared);
    &TABLES
}

fn declared() -> Vec<Table> {
    use Kind::{Boolean, Integer, Json, Tags};
    let table = |name, handle, own: Vec<Field>| {
        let mut fields = vec![plain("id", Kind::Uuid).required().unique().default("\"?\"")];
        fields.extend(own);
        let search: &'static [&'static str] = match name {
            "people" => &["handle", "code"],
            "diaries" => &["title", "body"],
            "docs" => &["title", "status"],
            _ => &[],
        };
        Table { name, fields, key: &["id"], search, handle }
    };
    let junction = |name, key: &'static [&'static str], fields: Vec<Field>| {
        let mut fields: Vec<Field> = fields;
        fields.insert(2, plain("nr", Integer).required().unique());
        Table { name, fields, key, search: &[], handle: "nr" }
    };
    vec![
        table(
            "people",
            "handle",
            vec![
                text("handle").required().unique(),
                text("name"),
                text("email"),
                text("code").unique(),
                plain("score", Integer),
                to("boss", "people", "reports"),
                plain("meta", Json),
            ],
        ),
        table(
            "notices",
            "id",
            vec![
                text("title").required(),
                text("body"),
                plain("rank", Integer),
                plain("pinned", Boolean).default("false"),
                plain("tags", Tags),
                plain("meta", Json),
                to("author", "people", "notices"),
            ],
        ),
        table(
            "diaries",
            "id",
            vec![
                to("owner", "people", "diaries").required(),
                text("title").required(),
                text("body"),
                plain("mood", Integer),
                text("pin").unique(),
                plain("meta", Json),
                plain("secret", Boolean).required().default("false"),
            ],
        ),
        table(
            "teams",
            "name",
            vec![text("name").required().unique(), to("lead", "people", "led"), plain("budget", Integer)],
        ),
        table(
            "members",
            "id",
            vec![
                to("team", "teams", "members").required(),
                to("person", "people", "memberships").required(),
                plain("grade", Integer).required().default("1"),
            ],
        ),
        table(
            "docs",
            "id",
            vec![
                to("team", "teams", "docs").required(),
                text("title").required(),
                text("body"),
                text("status").required().default("\"draft\""),
                plain("cost", Integer),
                plain("meta", Json),
            ],
        ),
        table(
            "remarks",
            "id",
            vec![
                to("doc", "docs", "remarks").required(),
                to("author", "people", "remarks").required(),
                text("body").required(),
                plain("hidden", Boolean).required().default("false"),
                plain("edited", Boolean).required().default("false"),
            ],
        ),
        table(
            "inbox",
            "id",
            vec![
                text("sender").required(),
                text("body"),
                to("about", "people", "inbox"),
                plain("spam", Integer).default("0"),
            ],
        ),
        table(
            "ledger",
            "id",
            vec![
                to("person", "people", "entries"),
                plain("amount", Integer).required(),
                text("note").unique(),
            ],
        ),
        table("vault", "id", vec![to("person", "people", "vaulted"), text("word")]),
        table(
            "badges",
            "label",
            vec![
                text("label").required().unique(),
                text("serial").required(),
                to("holder", "people", "badges"),
            ],
        ),
        table("awards", "id", vec![to("badge", "badges", "awards"), plain("year", Integer)]),
        table(
            "labels",
            "name",
            vec![
                text("name").required().unique(),
                plain("weight", Integer),
                plain("secret", Boolean).required().default("false"),
            ],
        ),
        junction(
            "doc_labels",
            &["doc", "label"],
            vec![
                to("doc", "docs", "labellings").required(),
                to("label", "labels", "labellings").required(),
                to("by", "people", "labelled"),
                text("note"),
                plain("shown", Boolean).required().default("true"),
            ],
        ),
        junction(
            "pins",
            &["doc", "label"],
            vec![
                to("doc", "docs", "pins").required(),
                to("label", "labels", "pins").required(),
                plain("rank", Integer),
            ],
        ),
        junction(
            "follows",
            &["follower", "followed"],
            vec![
                to("follower", "people", "following").required(),
                to("followed", "people", "followers").required(),
                plain("since", Integer),
            ],
        ),
        junction(
            "wishes",
            &["person", "label"],
            vec![to("person", "people", "wishes").required(), to("label", "labels", "wishes").required()],
        ),
        table(
            "cards",
            "id",
            vec![to("person", "people", "card").unique(), text("number"), plain("cap", Integer)],
        ),
    ]
}

/// Every record there is.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct World(pub(super) BTreeMap<&'static str, Vec<Row>>);

impl World {
    pub(super) fn rows(&self, table: &str) -> &[Row] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }

    pub(super) fn find(&self, table: &str, id: &Value) -> Option<&Row> {
        self.rows(table).iter().find(|row| row.get("id") == Some(id))
    }
}

impl World {
    /// By key, as the tables are read.
    pub(super) fn sorted(&self) -> World {
        let mut world = self.clone();
        for table in tables() {
            let key = |row: &Row| table.key.iter().map(|name| row[*name].to_string()).collect::<Vec<_>>();
            world.0.get_mut(table.name).unwrap().sort_by_key(key);
        }
        world
    }
}

/// `people`'s third record, and so on.
pub(super) fn id(table: &str, number: usize) -> String {
    let place = tables().iter().position(|known| known.name == table).unwrap() + 1;
    format!("00000000-0000-7000-8000-{place:04x}{number:08x}")
}

/// The people who come to the doors, by their place in `people`.
pub(super) const ANA: usize = 1;
pub(super) const SID: usize = 2;
pub(super) const MIA: usize = 3;
pub(super) const EVE: usize = 4;
pub(super) const EDD: usize = 5;
pub(super) const ADA: usize = 6;
pub(super) const ZOE: usize = 7;

/// The records as they are at first. Ana leads the first team, where Mia is and Eve was; Zoe leads the second,
/// where Eve is; Edd leads the third, where nobody is. Sid has nothing.
pub(super) fn world() -> World {
    let mut world = World(BTreeMap::new());
    let mut add = |table: &'static str, rows: Vec<Value>| {
        let rows = rows.into_iter().enumerate().map(|(at, value)| {
            let Value::Object(mut row) = value else { panic!("{table}: no object") };
            if tables().iter().any(|known| known.name == table && known.has_id()) {
                row.insert("id".to_owned(), json!(id(table, at + 1)));
            } else {
                row.insert("nr".to_owned(), json!(at + 1));
            }
            row
        });
        world.0.insert(table, rows.collect());
    };
    let person = |number| json!(id("people", number));
    let team = |number| json!(id("teams", number));
    let doc = |number| json!(id("docs", number));
    let nobody = Value::Null;
    let who = |handle: &str, score: i64, boss: &Value, meta: Value| {
        json!({ "handle": handle, "name": format!("{handle}son"), "email": format!("{handle}@private.test"),
            "code": format!("x{handle}7"), "score": score, "boss": boss, "meta": meta })
    };
    add(
        "people",
        vec![
            who("ana", 10, &nobody, json!({ "k": "plum", "n": 3 })),
            who("sid", 20, &nobody, json!({ "k": "pear" })),
            who("mia", 30, &person(EDD), json!({ "k": "plum", "n": 4 })),
            who("eve", 40, &person(ANA), Value::Null),
            who("edd", 50, &nobody, json!({ "k": "fig", "n": 5 })),
            who("ada", 60, &nobody, json!({})),
            who("zoe", 70, &person(ANA), json!({ "k": "date", "n": 3 })),
        ],
    );
    add(
        "notices",
        vec![
            json!({ "title": "garden", "body": "the garden opens", "rank": 3, "pinned": true, "tags": ["a", "b"], "meta": { "k": "plum", "n": 1 }, "author": person(EDD) }),
            json!({ "title": "12", "body": null, "rank": null, "pinned": false, "tags": [], "meta": { "k": null }, "author": person(ADA) }),
            json!({ "title": "xylophone", "body": "for rent", "rank": 3, "pinned": false, "tags": ["b"], "meta": null, "author": null }),
            json!({ "title": "Garage", "body": "the garage closes", "rank": -1, "pinned": null, "tags": null, "meta": { "n": 2, "deep": { "k": 1 } }, "author": person(EDD) }),
        ],
    );
    let diary = |owner: usize,
                 title: &str,
                 body: &str,
                 mood: Value,
                 pin: Value,
                 meta: Value,
                 secret: bool| {
        json!({ "owner": id("people", owner), "title": title, "body": body, "mood": mood, "pin": pin, "meta": meta, "secret": secret })
    };
    add(
        "diaries",
        vec![
            diary(
                ANA,
                "monday",
                "xenial garden",
                json!(3),
                json!("p1"),
                json!({ "k": "plum", "n": 7 }),
                false,
            ),
            diary(ANA, "tuesday", "garden gate", json!(0), Value::Null, Value::Null, true),
            diary(MIA, "12", "xylem", json!(5), json!("p3"), json!({ "k": "kiwi" }), false),
            diary(MIA, "friday", "12", Value::Null, json!("p4"), json!({ "k": "fig", "n": 8 }), true),
            diary(ZOE, "xmas", "presents for all", json!(9), json!("p5"), json!({ "k": "plum" }), false),
            diary(EDD, "plans", "xeric garden", json!(1), json!("p6"), json!({ "n": 7 }), false),
        ],
    );
    add(
        "teams",
        vec![
            json!({ "name": "amber", "lead": person(ANA), "budget": 100 }),
            json!({ "name": "blue", "lead": person(ZOE), "budget": 200 }),
            json!({ "name": "cyan", "lead": person(EDD), "budget": 300 }),
        ],
    );
    let member = |place: usize, who: usize, grade: i64| json!({ "team": team(place), "person": person(who), "grade": grade });
    add(
        "members",
        vec![member(1, ANA, 3), member(1, MIA, 1), member(2, ZOE, 3), member(2, EVE, 2), member(2, EDD, 1)],
    );
    let paper = |place: usize, title: &str, body: &str, status: &str, cost: Value, meta: Value| json!({ "team": team(place), "title": title, "body": body, "status": status, "cost": cost, "meta": meta });
    add(
        "docs",
        vec![
            paper(1, "xanadu", "amber garden", "draft", json!(11), json!({ "k": "plum", "n": 1 })),
            paper(1, "42", "amber gate", "locked", Value::Null, Value::Null),
            paper(1, "apex", "x ray", "final", json!(13), json!({ "k": "lime" })),
            paper(2, "xebec", "blue garden", "draft", json!(21), json!({ "k": "plum", "n": 2 })),
            paper(2, "43", "blue gate", "final", json!(22), json!({ "n": 1 })),
            paper(3, "xenon", "cyan garden", "draft", json!(31), json!({ "k": "sloe" })),
        ],
    );
    let remark = |place: usize, who: usize, body: &str, hidden: bool, edited: bool| json!({ "doc": doc(place), "author": person(who), "body": body, "hidden": hidden, "edited": edited });
    add(
        "remarks",
        vec![
            remark(1, ANA, "x first", false, false),
            remark(1, MIA, "second", true, true),
            remark(1, EVE, "xanthic", false, true),
            remark(2, EVE, "gone", true, false),
            remark(4, ZOE, "x blue", false, false),
            remark(4, EVE, "12", true, false),
            remark(5, EDD, "xenial", false, false),
            remark(6, ADA, "sixth", false, true),
        ],
    );
    add(
        "inbox",
        vec![
            json!({ "sender": "x anon", "body": "hello", "about": null, "spam": 0 }),
            json!({ "sender": "mia", "body": "xo", "about": person(MIA), "spam": 7 }),
        ],
    );
    add(
        "ledger",
        vec![
            json!({ "person": person(ANA), "amount": 1000, "note": "xalary" }),
            json!({ "person": person(MIA), "amount": 2000, "note": "bonus" }),
        ],
    );
    add("vault", vec![json!({ "person": person(ANA), "word": "xyzzy" })]);
    add(
        "badges",
        vec![
            json!({ "label": "gold", "serial": "x1", "holder": person(ANA) }),
            json!({ "label": "silver", "serial": "x2", "holder": person(MIA) }),
            json!({ "label": "tin", "serial": "y3", "holder": null }),
        ],
    );
    add(
        "awards",
        vec![
            json!({ "badge": id("badges", 1), "year": 1999 }),
            json!({ "badge": id("badges", 2), "year": 2001 }),
            json!({ "badge": null, "year": null }),
        ],
    );
    let label = |number| json!(id("labels", number));
    add(
        "labels",
        vec![
            json!({ "name": "red", "weight": 3, "secret": false }),
            json!({ "name": "green", "weight": 1, "secret": false }),
            json!({ "name": "xgold", "weight": 2, "secret": true }),
            json!({ "name": "grey", "weight": null, "secret": true }),
        ],
    );
    let labelled = |on: usize, with: usize, by: Value, note: &str, shown: bool| json!({ "doc": doc(on), "label": label(with), "by": by, "note": note, "shown": shown });
    add(
        "doc_labels",
        vec![
            labelled(1, 1, person(ANA), "x one", true),
            labelled(1, 2, person(MIA), "garden", false),
            labelled(1, 3, person(ANA), "12", true),
            labelled(3, 1, person(EVE), "four", true),
            labelled(4, 2, person(ZOE), "xfive", true),
            labelled(4, 4, person(ZOE), "six", false),
            labelled(5, 1, person(EDD), "seven", true),
            labelled(6, 3, nobody.clone(), "x eight", false),
        ],
    );
    let pin =
        |on: usize, with: usize, rank: Value| json!({ "doc": doc(on), "label": label(with), "rank": rank });
    add(
        "pins",
        vec![
            pin(1, 1, json!(5)),
            pin(3, 2, json!(1)),
            pin(5, 1, json!(2)),
            pin(5, 3, nobody.clone()),
            pin(6, 4, json!(9)),
        ],
    );
    let follows = |who: usize, whom: usize, since: Value| json!({ "follower": person(who), "followed": person(whom), "since": since });
    add(
        "follows",
        vec![
            follows(ANA, MIA, json!(10)),
            follows(ANA, ZOE, json!(20)),
            follows(MIA, ANA, json!(30)),
            follows(EDD, ADA, nobody.clone()),
            follows(ZOE, EDD, json!(50)),
            follows(EDD, EDD, json!(60)),
        ],
    );
    let wish = |who: usize, with: usize| json!({ "person": person(who), "label": label(with) });
    add("wishes", vec![wish(MIA, 3), wish(ANA, 1)]);
    let card =
        |who: usize, number: &str, cap: i64| json!({ "person": person(who), "number": number, "cap": cap });
    add("cards", vec![card(ANA, "x100", 5), card(MIA, "200", 6), card(ZOE, "x300", 7)]);
    world
}
