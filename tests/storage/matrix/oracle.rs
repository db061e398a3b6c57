//! What the project's policies mean, written down a second time by hand: no line of the server takes part.

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Anon,
    Ada,
    Bob,
    /// Signed in, with the role `editor`.
    Eve,
    Secret,
}

pub(super) const EVERYBODY: [Who; 5] = [Who::Anon, Who::Ada, Who::Bob, Who::Eve, Who::Secret];

impl Who {
    /// `auth.id`; fixed, so that names of files can hold it.
    pub(super) fn id(self) -> Option<&'static str> {
        match self {
            Who::Anon | Who::Secret => None,
            Who::Ada => Some("00000000-0000-4000-8000-00000000000a"),
            Who::Bob => Some("00000000-0000-4000-8000-00000000000b"),
            Who::Eve => Some("00000000-0000-4000-8000-00000000000e"),
        }
    }
}

/// A stored object, as far as rules ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) bucket: &'static str,
    pub(super) name: String,
    pub(super) owner: Option<&'static str>,
    pub(super) size: usize,
    pub(super) mime: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Create,
    Update,
    Delete,
}

const ACTIONS: [Action; 4] = [Action::Read, Action::Create, Action::Update, Action::Delete];

/// Every bucket, the one that is not there at the end.
pub(super) const BUCKETS: [&str; 11] = [
    "open",
    "bare",
    "own",
    "prefix",
    "member",
    "small",
    "drop-box",
    "closed",
    "made",
    "made-public",
    "nowhere",
];

pub(super) const PROJECT: &str = "
collections:
  members: { fields: { user: uuid, folder: text, level: integer } }
roles: { editor: { inherits: [authenticated] } }
conditions:
  mine: owner == auth.id
  under_me: name.startsWith(auth.id + '/')
buckets:
  open:
    public: true
    policies:
      create: [{ role: authenticated }]
      update: [{ role: authenticated, when: mine }]
      delete: [{ role: authenticated, when: mine }]
  bare: { public: true }
  own:
    policies:
      read: [{ role: authenticated, when: mine }, { role: editor }]
      create: [{ role: authenticated, check: mine && under_me }]
      update:
        - { role: authenticated, when: mine, check: mine && size < 1000 }
        - { role: editor, when: \"mime == 'text/plain'\", check: name == old.name }
      delete: [{ role: authenticated, when: mine }]
  prefix:
    policies:
      read: [{ role: anon, when: \"name.startsWith('open/')\" }, { role: authenticated, when: under_me }]
      create: [{ role: authenticated, check: under_me }, { role: anon, check: \"name.startsWith('open/') && size < 100\" }]
      update: [{ role: authenticated, when: under_me, check: under_me }]
      delete: [{ role: authenticated, when: under_me }, { role: editor, when: \"name.startsWith('open/')\" }]
  member:
    policies:
      read: [{ role: authenticated, when: 'members.exists(m, m.user == auth.id && name.startsWith(m.folder))' }]
      create: [{ role: authenticated, check: 'members.exists(m, m.user == auth.id && m.level > 1 && name.startsWith(m.folder))' }]
      update:
        - role: authenticated
          when: 'members.exists(m, m.user == auth.id && m.level > 1 && name.startsWith(m.folder))'
          check: 'members.exists(m, m.user == auth.id && m.level > 1 && name.startsWith(m.folder))'
      delete: [{ role: authenticated, when: 'members.exists(m, m.user == auth.id && m.level > 2 && name.startsWith(m.folder))' }]
  small:
    policies:
      read: [{ role: authenticated, when: \"size <= 1000 && mime == 'text/plain'\" }]
      create: [{ role: authenticated, check: \"size <= 1000 && mime == 'text/plain'\" }]
      update: [{ role: authenticated, when: size <= 1000, check: \"size <= 1000 && mime == 'text/plain'\" }]
      delete: [{ role: editor, when: size <= 1000 }]
  drop-box:
    policies:
      create: [{ role: authenticated }]
  closed:
";

/// The rows of `members`: who, which folder, which level.
pub(super) const MEMBERS: [(Who, &str, i32); 4] = [
    (Who::Ada, "open/", 2),
    (Who::Bob, "open/", 1),
    (Who::Bob, "00000000-0000-4000-8000-00000000000a/", 3),
    (Who::Eve, "00000000-0000-4000-8000-00000000000b/", 2),
];

/// The roles that a rule may be for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Anybody,
    SignedIn,
    Editor,
}

impl Role {
    fn is_of(self, who: Who) -> bool {
        match (self, who) {
            (_, Who::Secret) => false,
            (Role::Anybody, _) => true,
            (Role::SignedIn, who) => who != Who::Anon,
            (Role::Editor, who) => who == Who::Eve,
        }
    }
}

/// What a rule looks at: the caller, the row before and the row after.
struct Scene<'a> {
    who: Who,
    old: Option<&'a Row>,
    new: Option<&'a Row>,
}

impl Scene<'_> {
    fn is(&self, row: Option<&Row>, holds: impl Fn(&Row) -> bool) -> bool {
        row.is_some_and(holds)
    }

    fn mine(&self, row: Option<&Row>) -> bool {
        self.is(row, |row| row.owner.is_some() && row.owner == self.who.id())
    }

    fn under_me(&self, row: Option<&Row>) -> bool {
        self.is(row, |row| self.who.id().is_some_and(|id| row.name.starts_with(&format!("{id}/"))))
    }

    fn open(&self, row: Option<&Row>) -> bool {
        self.is(row, |row| row.name.starts_with("open/"))
    }

    fn member(&self, row: Option<&Row>, above: i32) -> bool {
        self.is(row, |row| {
            MEMBERS.iter().any(|(who, folder, level)| {
                *who == self.who && row.name.starts_with(folder) && *level > above
            })
        })
    }

    fn small(&self, row: Option<&Row>) -> bool {
        self.is(row, |row| row.size <= 1000)
    }

    fn plain(&self, row: Option<&Row>) -> bool {
        self.is(row, |row| row.mime == "text/plain")
    }
}

type Test = fn(&Scene<'_>) -> bool;

/// The rules of a bucket for an action. One rule has to hold whole.
fn rules(bucket: &str, action: Action) -> Vec<(Role, Test)> {
    use Action::{Create, Delete, Read, Update};
    use Role::{Anybody, Editor, SignedIn};
    match (bucket, action) {
        ("open", Create) | ("drop-box", Create) => vec![(SignedIn, |_| true)],
        ("open", Update | Delete) => vec![(SignedIn, |s| s.mine(s.old))],
        ("own", Read) => vec![(SignedIn, |s| s.mine(s.old)), (Editor, |_| true)],
        ("own", Create) => vec![(SignedIn, |s| s.mine(s.new) && s.under_me(s.new))],
        ("own", Update) => vec![
            (SignedIn, |s| s.mine(s.old) && s.mine(s.new) && s.is(s.new, |row| row.size < 1000)),
            (Editor, |s| s.plain(s.old) && s.old.map(|row| &row.name) == s.new.map(|row| &row.name)),
        ],
        ("own", Delete) => vec![(SignedIn, |s| s.mine(s.old))],
        ("prefix", Read) => vec![(Anybody, |s| s.open(s.old)), (SignedIn, |s| s.under_me(s.old))],
        ("prefix", Create) => vec![
            (SignedIn, |s| s.under_me(s.new)),
            (Anybody, |s| s.open(s.new) && s.is(s.new, |row| row.size < 100)),
        ],
        ("prefix", Update) => vec![(SignedIn, |s| s.under_me(s.old) && s.under_me(s.new))],
        ("prefix", Delete) => vec![(SignedIn, |s| s.under_me(s.old)), (Editor, |s| s.open(s.old))],
        ("member", Read) => vec![(SignedIn, |s| s.member(s.old, 0))],
        ("member", Create) => vec![(SignedIn, |s| s.member(s.new, 1))],
        ("member", Update) => vec![(SignedIn, |s| s.member(s.old, 1) && s.member(s.new, 1))],
        ("member", Delete) => vec![(SignedIn, |s| s.member(s.old, 2))],
        ("small", Read) => vec![(SignedIn, |s| s.small(s.old) && s.plain(s.old))],
        ("small", Create) => vec![(SignedIn, |s| s.small(s.new) && s.plain(s.new))],
        ("small", Update) => vec![(SignedIn, |s| s.small(s.old) && s.small(s.new) && s.plain(s.new))],
        ("small", Delete) => vec![(Editor, |s| s.small(s.old))],
        _ => Vec::new(),
    }
}

/// Whether the `when` of some rule of updates holds on an old row, whatever becomes of it.
fn may_begin_to_update(who: Who, old: &Row) -> bool {
    let scene = Scene { who, old: Some(old), new: None };
    match (old.bucket, who) {
        (_, Who::Secret) => true,
        (_, Who::Anon) => false,
        ("open", _) => scene.mine(scene.old),
        ("own", _) => scene.mine(scene.old) || who == Who::Eve && scene.plain(scene.old),
        ("prefix", _) => scene.under_me(scene.old),
        ("member", _) => scene.member(scene.old, 1),
        ("small", _) => scene.small(scene.old),
        _ => false,
    }
}

pub(super) fn exists(bucket: &str) -> bool {
    bucket != "nowhere"
}

pub(super) fn public(bucket: &str) -> bool {
    ["open", "bare", "made-public"].contains(&bucket)
}

/// Some rule of the caller speaks of this action.
fn speaks(who: Who, action: Action, bucket: &str) -> bool {
    who == Who::Secret || rules(bucket, action).iter().any(|(role, _)| role.is_of(who))
}

fn known(who: Who, bucket: &str) -> bool {
    ACTIONS.iter().any(|action| speaks(who, *action, bucket))
}

fn allowed(who: Who, action: Action, bucket: &str, old: Option<&Row>, new: Option<&Row>) -> bool {
    let scene = Scene { who, old, new };
    who == Who::Secret || rules(bucket, action).iter().any(|(role, holds)| role.is_of(who) && holds(&scene))
}

/// A rule shows it: in lists.
pub(super) fn listed(who: Who, row: &Row) -> bool {
    allowed(who, Action::Read, row.bucket, Some(row), None)
}

/// It may be read by whoever names it.
pub(super) fn visible(who: Who, row: &Row) -> bool {
    public(row.bucket) || listed(who, row)
}

/// What a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    Done,
    NoSuchBucket,
    NoSuchKey,
    AccessDenied,
    KeyAlreadyExists,
}

use Told::{AccessDenied, Done, KeyAlreadyExists, NoSuchBucket, NoSuchKey};

/// For an object that is not there, and for one that the caller may not know of.
pub(super) fn missing(who: Who, bucket: &str) -> Told {
    if exists(bucket) && (known(who, bucket) || public(bucket)) { NoSuchKey } else { NoSuchBucket }
}

/// For what no rule lets the caller do.
fn denied(who: Who, bucket: &str) -> Told {
    if missing(who, bucket) == NoSuchKey { AccessDenied } else { NoSuchBucket }
}

pub(super) fn read(who: Who, bucket: &str, row: Option<&Row>) -> Told {
    match row.filter(|row| visible(who, row)) {
        Some(_) => Done,
        None => missing(who, bucket),
    }
}

/// Without any credential, or with one that does not matter.
pub(super) fn read_public(bucket: &str, row: Option<&Row>) -> Told {
    match row {
        _ if !public(bucket) => NoSuchBucket,
        Some(_) => Done,
        None => NoSuchKey,
    }
}

pub(super) fn list(who: Who, bucket: &str) -> Told {
    if speaks(who, Action::Read, bucket) && exists(bucket) { Done } else { denied(who, bucket) }
}

/// Storing a new object. Where a rule asks for what only the content tells, a taken key may be told before that is known.
pub(super) fn create(who: Who, new: &Row, taken: bool) -> Vec<Told> {
    if !exists(new.bucket) || !speaks(who, Action::Create, new.bucket) {
        return vec![denied(who, new.bucket)];
    }
    let by_content = ["small", "prefix"].contains(&new.bucket);
    match (allowed(who, Action::Create, new.bucket, None, Some(new)), taken) {
        (true, false) => vec![Done],
        (true, true) => vec![KeyAlreadyExists],
        (false, true) if by_content => vec![AccessDenied, KeyAlreadyExists],
        (false, _) => vec![AccessDenied],
    }
}

/// Storing an object, or other content for one.
pub(super) fn upsert(who: Who, new: &Row, old: Option<&Row>) -> Vec<Told> {
    let spoken = speaks(who, Action::Create, new.bucket) || speaks(who, Action::Update, new.bucket);
    if !exists(new.bucket) || !spoken {
        return vec![denied(who, new.bucket)];
    }
    let done = match old {
        None => allowed(who, Action::Create, new.bucket, None, Some(new)),
        Some(old) => visible(who, old) && allowed(who, Action::Update, new.bucket, Some(old), Some(new)),
    };
    vec![if done { Done } else { AccessDenied }]
}

/// Storing other content for an object.
pub(super) fn replace(who: Who, new: &Row, old: Option<&Row>) -> Vec<Told> {
    if !exists(new.bucket) || !speaks(who, Action::Update, new.bucket) {
        return vec![denied(who, new.bucket)];
    }
    let Some(old) = old.filter(|old| visible(who, old)) else { return vec![missing(who, new.bucket)] };
    if !may_begin_to_update(who, old) {
        // He may read it: that it is there is no news to him.
        return vec![NoSuchKey, AccessDenied];
    }
    vec![if allowed(who, Action::Update, new.bucket, Some(old), Some(new)) { Done } else { AccessDenied }]
}

/// Calling an object something else.
pub(super) fn relocate(who: Who, from: &str, old: Option<&Row>, new: &Row, taken: bool) -> Vec<Told> {
    let Some(old) = old.filter(|old| visible(who, old)) else { return vec![missing(who, from)] };
    let done = if from == new.bucket {
        allowed(who, Action::Update, from, Some(old), Some(new))
    } else {
        if !speaks(who, Action::Delete, from) {
            return vec![AccessDenied];
        }
        if !exists(new.bucket) || !speaks(who, Action::Create, new.bucket) {
            return vec![denied(who, new.bucket)];
        }
        allowed(who, Action::Delete, from, Some(old), None)
            && allowed(who, Action::Create, new.bucket, None, Some(new))
    };
    vec![match (done, taken) {
        (true, false) => Done,
        (true, true) => KeyAlreadyExists,
        (false, _) => AccessDenied,
    }]
}

/// Storing the content of one object as another one.
pub(super) fn copy(who: Who, from: &str, old: Option<&Row>, new: &Row, taken: bool) -> Vec<Told> {
    match old.filter(|old| visible(who, old)) {
        Some(_) => create(who, new, taken),
        None => vec![missing(who, from)],
    }
}

/// Whether an object goes that somebody asks to delete.
pub(super) fn goes(who: Who, row: &Row) -> bool {
    visible(who, row) && allowed(who, Action::Delete, row.bucket, Some(row), None)
}

pub(super) fn delete(who: Who, bucket: &str, row: Option<&Row>) -> Vec<Told> {
    if !exists(bucket) || !speaks(who, Action::Delete, bucket) {
        return vec![denied(who, bucket)];
    }
    vec![match row.filter(|row| visible(who, row)) {
        None => missing(who, bucket),
        Some(row) if goes(who, row) => Done,
        Some(_) => AccessDenied,
    }]
}

/// Deleting several: what does not go is passed over.
pub(super) fn delete_many(who: Who, bucket: &str) -> Told {
    if exists(bucket) && speaks(who, Action::Delete, bucket) { Done } else { denied(who, bucket) }
}
