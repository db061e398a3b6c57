//! What the project's policy text means, written a second time and without the product's code.
//!
//! It knows who may do what to which record and nothing of SQL, of the wire or of how either is made.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

use super::world::{Row, Table, World, tables};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Role {
    Anon,
    User,
    Editor,
    Admin,
    Service,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Read,
    Create,
    Update,
    Delete,
}

/// Who asks. Roles inherit in the order of [`Role`], except the secret key's, which needs no rule.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) id: Value,
}

/// What a rule looks at.
pub(super) struct Case<'a> {
    pub(super) world: &'a World,
    pub(super) me: &'a Value,
    pub(super) row: &'a Row,
    pub(super) old: Option<&'a Row>,
}

type Judge = fn(&Case<'_>) -> bool;

pub(super) struct Rule {
    role: Role,
    action: Action,
    on: &'static str,
    fields: Fields,
    when: Judge,
    /// It speaks of some records only.
    pub(super) conditional: bool,
    check: Judge,
    /// What the rule writes by itself; `None` is the caller's id.
    pub(super) set: Option<(&'static str, Option<bool>)>,
}

enum Fields {
    All,
    Only(&'static [&'static str]),
    Except(&'static [&'static str]),
}

impl Rule {
    pub(super) fn covers(&self, field: &str) -> bool {
        match self.fields {
            Fields::All => true,
            Fields::Only(list) => list.contains(&field),
            Fields::Except(list) => !list.contains(&field),
        }
    }

    pub(super) fn when(&self, case: &Case<'_>) -> bool {
        (self.when)(case)
    }

    pub(super) fn check(&self, case: &Case<'_>) -> bool {
        (self.check)(case) && self.set(case.me).is_none_or(|(field, value)| case.row[field] == value)
    }

    pub(super) fn set(&self, me: &Value) -> Option<(&'static str, Value)> {
        self.set.map(|(field, value)| (field, value.map_or_else(|| me.clone(), Value::Bool)))
    }
}

/// Null equals nothing.
fn same(one: &Value, other: &Value) -> bool {
    !one.is_null() && one == other
}

fn at_least(value: &Value, least: i64) -> bool {
    value.as_i64().is_some_and(|number| number >= least)
}

fn inside(case: &Case<'_>, team: &Value) -> bool {
    let is_me = |row: &&Row| same(&row["team"], team) && same(&row["person"], case.me);
    case.world.rows("members").iter().any(|row| is_me(&row))
}

fn leading(case: &Case<'_>, team: &Value) -> bool {
    case.world.find("teams", team).is_some_and(|team| same(&team["lead"], case.me))
}

fn team_of_doc(case: &Case<'_>) -> Value {
    case.world.find("docs", &case.row["doc"]).map_or(Value::Null, |doc| doc["team"].clone())
}

/// The policies, in the order in which they are written.
#[rustfmt::skip]
fn rules() -> Vec<Rule> {
    use Action::{Create, Delete, Read, Update};
    use Fields::{All, Except, Only};
    use Role::{Admin, Anon, Editor, User};
    const YES: Judge = |_| true;
    let rule = |role, action, on, fields| Rule { role, action, on, fields, when: YES, conditional: false, check: YES, set: None };
    let when = |rule: Rule, when: Judge| Rule { when, conditional: true, ..rule };
    let check = |rule: Rule, check: Judge| Rule { check, ..rule };
    let set = |rule: Rule, field, value| Rule { set: Some((field, value)), ..rule };
    vec![
        rule(Anon, Read, "people", Only(&["id", "handle", "name"])),
        rule(User, Read, "people", Only(&["id", "handle", "name", "boss"])),
        when(rule(User, Read, "people", Except(&["code", "score"])), |c| same(&c.row["id"], c.me)),
        when(rule(Editor, Read, "people", Only(&["id", "handle", "score"])), |c| same(&c.row["boss"], c.me)),
        rule(Admin, Read, "people", All),
        set(rule(Editor, Create, "people", Only(&["id", "handle", "name"])), "boss", None),
        check(rule(Admin, Create, "people", All), |c| c.row["handle"] != "root"),
        when(rule(User, Update, "people", Only(&["name", "email", "meta"])), |c| same(&c.row["id"], c.me)),
        check(when(rule(Editor, Update, "people", Only(&["name", "score"])), |c| same(&c.row["boss"], c.me)), |c| at_least(&c.row["score"], 0)),
        rule(Admin, Update, "people", Except(&["id"])),
        rule(Admin, Delete, "people", All),

        rule(Anon, Read, "notices", All),
        set(rule(Editor, Create, "notices", Except(&["author"])), "author", None),
        when(rule(Editor, Update, "notices", Except(&["id", "author"])), |c| same(&c.row["author"], c.me)),
        rule(Admin, Update, "notices", All),
        when(rule(Editor, Delete, "notices", All), |c| c.row["pinned"] == false),

        when(rule(User, Read, "diaries", All), |c| same(&c.row["owner"], c.me)),
        when(rule(Editor, Read, "diaries", Only(&["id", "title", "owner"])), |c| c.row["secret"] == false),
        check(set(rule(User, Create, "diaries", Only(&["id", "title", "body", "mood", "pin", "meta", "secret"])), "owner", None), |c| at_least(&c.row["mood"], 0)),
        check(when(rule(User, Update, "diaries", Only(&["title", "body", "mood", "pin", "meta"])), |c| same(&c.row["owner"], c.me)), |c| at_least(&c.row["mood"], 0)),
        when(rule(User, Delete, "diaries", All), |c| same(&c.row["owner"], c.me) && c.row["secret"] == false),

        rule(Anon, Read, "teams", Only(&["name"])),
        when(rule(User, Read, "teams", Only(&["id", "name", "lead"])), |c| inside(c, &c.row["id"])),
        when(rule(User, Read, "teams", All), |c| same(&c.row["lead"], c.me)),
        rule(Admin, Read, "teams", All),
        rule(Admin, Create, "teams", All),
        check(when(rule(User, Update, "teams", Only(&["name", "budget"])), |c| same(&c.row["lead"], c.me)), |c| c.row["budget"].as_i64().is_some_and(|budget| budget <= 1000)),
        rule(Admin, Delete, "teams", All),

        when(rule(User, Read, "members", All), |c| inside(c, &c.row["team"])),
        rule(Admin, Read, "members", All),
        check(rule(User, Create, "members", All), |c| leading(c, &c.row["team"])),
        check(when(rule(User, Update, "members", Only(&["grade", "person"])), |c| leading(c, &c.row["team"])), |c| inside(c, &c.row["team"]) && at_least(&c.row["grade"], 1)),
        when(rule(User, Delete, "members", All), |c| leading(c, &c.row["team"]) || same(&c.row["person"], c.me)),

        when(rule(User, Read, "docs", Except(&["cost"])), |c| inside(c, &c.row["team"])),
        when(rule(User, Read, "docs", All), |c| leading(c, &c.row["team"])),
        when(rule(Editor, Read, "docs", Only(&["id", "title", "status", "team"])), |c| c.row["status"] == "final"),
        check(rule(User, Create, "docs", Only(&["id", "team", "title", "body", "status"])), |c| inside(c, &c.row["team"]) && c.row["status"] == "draft"),
        check(when(rule(User, Update, "docs", Only(&["title", "body", "status"])), |c| inside(c, &c.row["team"]) && c.row["status"] != "locked"), |c| c.row["status"] == "draft" || c.row["status"] == "final"),
        check(when(rule(User, Update, "docs", Only(&["title", "status", "cost"])), |c| leading(c, &c.row["team"])), |c| c.old.is_some_and(|old| old["status"] != "locked") || c.row["status"] == "locked"),
        when(rule(User, Delete, "docs", All), |c| leading(c, &c.row["team"]) && c.row["status"] == "draft"),

        when(rule(User, Read, "remarks", Except(&["hidden", "edited"])), |c| inside(c, &team_of_doc(c)) && c.row["hidden"] == false),
        when(rule(User, Read, "remarks", All), |c| same(&c.row["author"], c.me)),
        check(set(rule(User, Create, "remarks", Only(&["id", "doc", "body"])), "author", None), |c| inside(c, &team_of_doc(c))),
        set(when(rule(User, Update, "remarks", Only(&["body"])), |c| same(&c.row["author"], c.me)), "edited", Some(true)),
        when(rule(User, Delete, "remarks", All), |c| same(&c.row["author"], c.me) || leading(c, &team_of_doc(c))),

        rule(Anon, Create, "inbox", Only(&["sender", "body"])),
        check(rule(User, Create, "inbox", Only(&["sender", "body", "about"])), |c| same(&c.row["about"], c.me)),
        rule(Admin, Read, "inbox", All),
        rule(Admin, Delete, "inbox", All),

        rule(Admin, Read, "ledger", All),
        rule(Admin, Create, "ledger", All),
        rule(Admin, Update, "ledger", All),
        rule(Admin, Delete, "ledger", All),

        rule(Anon, Read, "badges", Only(&["label", "holder"])),
        rule(Editor, Create, "badges", Only(&["label", "holder"])),
        rule(Admin, Create, "badges", Only(&["label", "holder", "serial"])),
        rule(Anon, Read, "awards", All),

        when(rule(Anon, Read, "labels", Only(&["id", "name"])), |c| c.row["secret"] == false),
        when(rule(User, Read, "labels", Only(&["id", "name", "weight"])), |c| at_least(&c.row["weight"], 2)),
        rule(Editor, Read, "labels", Only(&["name", "secret"])),
        rule(Admin, Read, "labels", All),
        rule(Editor, Create, "labels", Except(&["secret"])),
        check(when(rule(Editor, Update, "labels", Only(&["name", "weight"])), |c| c.row["secret"] == false), |c| at_least(&c.row["weight"], 1)),
        rule(Admin, Delete, "labels", All),

        when(rule(User, Read, "doc_labels", Only(&["nr", "doc", "label", "shown"])), |c| c.row["shown"] == true && inside(c, &team_of_doc(c))),
        when(rule(User, Read, "doc_labels", All), |c| same(&c.row["by"], c.me)),
        when(rule(Editor, Read, "doc_labels", Only(&["nr", "doc", "note"])), |c| c.row["shown"] == false),
        rule(Admin, Read, "doc_labels", All),
        check(set(rule(User, Create, "doc_labels", Except(&["by"])), "by", None), |c| inside(c, &team_of_doc(c))),
        check(when(rule(User, Update, "doc_labels", Only(&["label", "nr", "note", "shown"])), |c| same(&c.row["by"], c.me)), |c| at_least(&c.row["nr"], 1)),
        when(rule(User, Delete, "doc_labels", All), |c| same(&c.row["by"], c.me)),

        rule(User, Read, "pins", Only(&["nr", "doc", "rank"])),
        when(rule(Editor, Read, "pins", Only(&["nr", "label"])), |c| at_least(&c.row["rank"], 2)),
        rule(Editor, Create, "pins", All),
        when(rule(Editor, Update, "pins", All), |c| at_least(&c.row["rank"], 2)),

        rule(User, Read, "follows", Only(&["nr", "follower"])),
        when(rule(User, Read, "follows", All), |c| same(&c.row["follower"], c.me)),
        check(rule(User, Create, "follows", All), |c| same(&c.row["follower"], c.me)),
        when(rule(User, Delete, "follows", All), |c| same(&c.row["follower"], c.me)),

        rule(Anon, Create, "wishes", Only(&["nr", "person"])),
        check(rule(User, Create, "wishes", All), |c| same(&c.row["person"], c.me)),
        rule(Admin, Read, "wishes", All),

        when(rule(User, Read, "cards", All), |c| same(&c.row["person"], c.me)),
        rule(Editor, Read, "cards", Only(&["id", "number"])),
        when(rule(User, Update, "cards", Only(&["number"])), |c| same(&c.row["person"], c.me)),
    ]
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(rules);

/// The secret key's.
static ALL: LazyLock<[Rule; 1]> = LazyLock::new(|| {
    let (when, check): (Judge, Judge) = (|_| true, |_| true);
    let (role, action, fields) = (Role::Service, Action::Read, Fields::All);
    [Rule { role, action, on: "", fields, when, conditional: false, check, set: None }]
});

/// What a collection is to somebody who wants to do something with it.
pub(super) enum Door {
    /// As if it were not declared.
    Missing,
    /// It is known, and this may not be done with it.
    Shut,
    /// These rules speak for him.
    Open(Vec<&'static Rule>),
}

impl Who {
    fn holds(&self, rule: &Rule) -> bool {
        rule.role <= self.role
    }

    pub(super) fn door(&self, action: Action, table: &str) -> Door {
        if self.role == Role::Service {
            let declared = tables().iter().any(|known| known.name == table);
            return if declared { Door::Open(ALL.iter().collect()) } else { Door::Missing };
        }
        let mut speaking: Vec<&Rule> =
            RULES.iter().filter(|rule| rule.on == table && self.holds(rule)).collect();
        if speaking.is_empty() {
            return Door::Missing;
        }
        speaking.retain(|rule| rule.action == action);
        if speaking.is_empty() { Door::Shut } else { Door::Open(speaking) }
    }

    /// 401 asks for a token, 403 says no.
    pub(super) fn refusal(&self) -> u16 {
        if self.role == Role::Anon { 401 } else { 403 }
    }

    fn case<'a>(&'a self, world: &'a World, row: &'a Row, old: Option<&'a Row>) -> Case<'a> {
        Case { world, me: &self.id, row, old }
    }

    pub(super) fn admits(&self, rule: &Rule, world: &World, row: &Row) -> bool {
        rule.when(&self.case(world, row, None))
    }

    pub(super) fn accepts(&self, rule: &Rule, world: &World, row: &Row, old: Option<&Row>) -> bool {
        rule.check(&self.case(world, row, old))
    }

    /// The record as he sees it, if he does: what is masked is null, what he does not know is not there.
    pub(super) fn sees(&self, world: &World, table: &Table, row: &Row) -> Option<Row> {
        let Door::Open(rules) = self.door(Action::Read, table.name) else { return None };
        let admitting: Vec<&Rule> =
            rules.iter().copied().filter(|rule| self.admits(rule, world, row)).collect();
        if admitting.is_empty() {
            return None;
        }
        let field = |name: &'static str| {
            let shown = admitting.iter().any(|rule| rule.covers(name));
            (name.to_owned(), if shown { row[name].clone() } else { Value::Null })
        };
        Some(self.knows(table).into_iter().map(field).collect())
    }

    /// The text that his search of a collection finds a record by: none where one of its fields is masked, and
    /// nobody searches by a field that he does not know.
    pub(super) fn digest(&self, world: &World, table: &Table, row: &Row) -> Value {
        let Door::Open(rules) = self.door(Action::Read, table.name) else { return Value::Null };
        let shown =
            |field: &&str| rules.iter().any(|rule| rule.covers(field) && self.admits(rule, world, row));
        if !table.search.iter().all(shown) {
            return Value::Null;
        }
        let texts = table.search.iter().filter_map(|field| row[*field].as_str());
        Value::String(texts.collect::<Vec<_>>().join(" "))
    }

    pub(super) fn searches(&self, table: &Table) -> bool {
        let knows = self.knows(table);
        !table.search.is_empty() && table.search.iter().all(|field| knows.contains(field))
    }

    /// The fields that exist for him.
    pub(super) fn knows(&self, table: &Table) -> BTreeSet<&'static str> {
        let Door::Open(rules) = self.door(Action::Read, table.name) else { return BTreeSet::new() };
        let names = table.fields.iter().map(|field| field.name);
        names.filter(|name| rules.iter().any(|rule| rule.covers(name))).collect()
    }

    /// The fields that he may name in a body: those he knows, and those that some rule of the write speaks of.
    pub(super) fn may_name(&self, action: Action, table: &Table) -> BTreeSet<&'static str> {
        let mut names = self.knows(table);
        if let Door::Open(rules) = self.door(action, table.name) {
            let spoken = |name: &&'static str| {
                rules.iter().any(|rule| rule.covers(name) || rule.set.is_some_and(|(set, _)| set == *name))
            };
            names.extend(table.fields.iter().map(|field| field.name).filter(spoken));
        }
        names
    }

    /// All that he sees of a collection, in the order of the records.
    pub(super) fn view(&self, world: &World, table: &Table) -> Vec<Row> {
        world.rows(table.name).iter().filter_map(|row| self.sees(world, table, row)).collect()
    }
}
