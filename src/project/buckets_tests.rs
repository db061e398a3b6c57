//! What `buckets:` comes to, and what an admin may write wrong there.

use super::faults_tests::{sources, told};
use super::*;
use crate::model::{Action, Principal};
use crate::policy::Decision;

fn loaded(text: &str) -> Project {
    load(&sources(&[("a.yaml", text)])).unwrap_or_else(|faults| panic!("{}", render(&faults)))
}

const FILES: &str = "\
conditions:
  mine: owner == auth.id
collections:
  objects: { fields: { title: text } }
  members: { fields: { user: uuid, folder: text } }
policies:
  objects: { read: [{ role: anon, when: title != null }] }
buckets:
  avatars: { public: true, max_size: 2MB, accept: [image/*, application/pdf], quota: 1GiB }
  exports:
    policies:
      read: [{ role: authenticated, when: mine }, { role: editor }]
      create: [{ role: authenticated, check: \"name.startsWith(auth.id + '/') && size < 10\" }]
      update: [{ role: editor, when: \"mime in ['a/b']\", check: name == old.name }]
      delete: [{ role: editor, when: 'members.exists(m, m.user == auth.id && m.folder == name)' }]
  empty:
roles: { editor: { inherits: [authenticated] } }
";

#[test]
fn a_bucket_has_what_is_declared_and_rules_of_its_objects_alone() {
    let project = loaded(FILES);
    let [avatars, exports, empty] = project.buckets.as_slice() else { panic!("{:?}", project.buckets) };
    assert_eq!((avatars.id.as_str(), avatars.public), ("avatars", true));
    assert_eq!((avatars.max_size, avatars.quota), (Some(2_000_000), Some(1 << 30)));
    assert!(avatars.accepts("image/png") && avatars.accepts("application/pdf"));
    assert!(!avatars.accepts("application/zip"));
    for bucket in [exports, empty] {
        assert_eq!((bucket.public, bucket.max_size, bucket.quota), (false, None, None));
        assert!(bucket.accepts("application/zip"));
    }
    let told: Vec<String> = project
        .rules
        .iter()
        .filter(|rule| rule.bucket.is_some())
        .map(|rule| format!("{} when {} check {}", rule.id, rule.when, rule.check))
        .collect();
    assert_eq!(
        told,
        [
            "buckets.exports.read[0] when bucket == 'exports' && mine check true",
            "buckets.exports.read[1] when bucket == 'exports' check true",
            "buckets.exports.create[0] when true check bucket == 'exports' && name.startsWith(auth.id + '/') && size < 10",
            "buckets.exports.update[0] when bucket == 'exports' && mime in ['a/b'] check bucket == 'exports' && name == old.name",
            "buckets.exports.delete[0] when bucket == 'exports' && members.exists(m, m.user == auth.id && m.folder == name) check true",
        ]
    );
    let catalog = project.catalog(1).unwrap();
    assert_eq!(catalog.buckets.len(), 3);
    assert_eq!(catalog.buckets.get("avatars"), Some(avatars));
}

#[test]
fn rules_of_a_bucket_and_those_of_a_collection_called_objects_are_not_mixed_up() {
    let project = loaded(FILES);
    let catalog = project.catalog(1).unwrap();
    let (stored, declared) = (catalog.collections.objects(), catalog.collections.find("objects").unwrap());
    assert_ne!(stored, declared);
    assert_eq!(catalog.collection(stored).title(), "storage.objects");
    assert_eq!(catalog.collection(declared).title(), "objects");
    assert_eq!(catalog.collections.titled("storage.objects"), Some(stored));
    assert_eq!(catalog.collections.titled("objects"), Some(declared));
    assert_eq!(catalog.collections.titled("public.objects"), None);
    let whole = |decision| match decision {
        Decision::Permit(permit) => {
            permit.rules().iter().map(|rule| rule.id.clone()).collect::<Vec<_>>().join(" ")
        }
        Decision::Denied => "denied".to_owned(),
        Decision::Unknown => "unknown".to_owned(),
    };
    let policies = &catalog.policies;
    let (anon, user) = (Principal::anonymous(), Principal::user(uuid::Uuid::nil(), &[]));
    assert_eq!(whole(policies.decide(&anon, Action::Read, declared)), "objects.read[0]");
    assert_eq!(whole(policies.decide(&anon, Action::Read, stored)), "unknown");
    assert_eq!(whole(policies.bucket(&anon, Action::Read, "exports")), "unknown");
    assert_eq!(whole(policies.decide(&user, Action::Read, stored)), "buckets.exports.read[0]");
    assert_eq!(whole(policies.bucket(&user, Action::Read, "exports")), "buckets.exports.read[0]");
    assert_eq!(whole(policies.bucket(&user, Action::Delete, "exports")), "denied");
    for bucket in ["avatars", "empty", "nowhere", ""] {
        assert_eq!(whole(policies.bucket(&user, Action::Read, bucket)), "unknown", "{bucket}");
    }
}

#[test]
fn a_fault_of_a_bucket_is_told_where_it_stands() {
    let bucket = |text: &str| format!("buckets:\n  files: {text}\n");
    told(
        "buckets: { My_Files: }\n",
        &[
            "1:12 `My_Files` is no bucket: the name of a declared bucket has lower-case letters, digits, `-` and `.`, and starts and ends with a letter or a digit [`my-files` would do]",
        ],
    );
    told("buckets: { ab: }\n", &["1:12 `ab` is no bucket: the name of a declared bucket has from 3 to 63"]);
    told("buckets: { files: }\nbucketz: {}\n", &["2:1 unknown section `bucketz` [did you mean `buckets`?]"]);
    told(&bucket("{ publik: true }"), &["2:12 unknown key of a bucket `publik` [did you mean `public`?]"]);
    told(&bucket("{ public: yess }"), &["2:20 `public` is `true` or `false`, not text"]);
    for wrong in ["much", "0", "2mb", "6GiB", "-1", "[2MB]"] {
        told(
            &bucket(&format!("{{ max_size: {wrong} }}")),
            &["2:22 `max_size` is a size from 1 byte to 5GiB"],
        );
    }
    told(&bucket("{ quota: 0MB }"), &["2:19 `quota` is a size from 1 byte to 1024TiB, as in `10GB`"]);
    told(
        &bucket("{ max_size: 2MB, quota: 1MB }"),
        &["2:22 `max_size` is more than `quota` [the whole bucket may have fewer bytes"],
    );
    told(&bucket("{ accept: image/png }"), &["2:20 `accept` is a list, not text"]);
    told(
        &bucket("{ accept: [images, Image/PNG, 'text/html;charset=utf-8', text/css, text/css] }"),
        &[
            "2:21 `images` is no media type [as in `image/png`, or `image/*` for all of a family]",
            "2:29 `Image/PNG` is no media type [without parameters and in lower case: `image/png`]",
            "2:40 `text/html;charset=utf-8` is no media type [without parameters and in lower case: `text/html`]",
            "2:77 `text/css` stands twice",
        ],
    );
    told(&bucket("[]"), &["2:10 a bucket is a mapping, not"]);
    told("buckets: { files: {}, files: {} }\n", &["1:23 "]);
}

#[test]
fn a_rule_of_a_bucket_speaks_of_whole_objects() {
    let rule =
        |action: &str, text: &str| format!("buckets:\n  files:\n    policies:\n      {action}: [{text}]\n");
    told(&rule("read", "{ role: anon, when: \"name == 'a' && size > 3 && owner != null\" }"), &[]);
    told(
        &rule("read", "{ role: anon, fields: [name] }"),
        &[
            "4:28 `fields` has no meaning in a rule of a bucket [an object is read and written whole: it takes `role` and `when`]",
        ],
    );
    told(
        &rule("create", "{ role: authenticated, set: { owner: auth.id } }"),
        &[
            "4:39 `set` has no meaning in a rule of a bucket [an object is read and written whole: it takes `role` and `check`]",
        ],
    );
    told(&rule("delete", "{ role: anon, check: true }"), &["4:30 `check` has no meaning in a `delete` rule"]);
    told(&rule("reed", "{ role: anon }"), &["4:7 unknown action `reed` [did you mean `read`?]"]);
    told(&rule("read", "{ role: anonn }"), &["4:22 unknown role `anonn` [did you mean `anon`?]"]);
    told(&rule("read", "{ when: true }"), &["4:14 a rule needs a `role`"]);
    told(
        &rule("read", "{ role: anon, when: nam == 'a' }"),
        &["4:34 `nam` is no field of `storage.objects`, no condition and no variable [did you mean `name`?]"],
    );
    told(&rule("read", "{ role: anon, when: name == 3 }"), &["4:42 "]);
    // Where the content lies is nobody's business.
    told(&rule("read", "{ role: anon, when: version != null }"), &["4:34 `version` is no field of"]);
    // Other rules do not reach objects: what they store is no relation.
    told(&rule("read", "{ role: anon, when: 'objects.exists(o, o.name == name)' }"), &["4:35 "]);
}

#[test]
fn a_condition_is_no_field_of_objects_where_there_are_buckets() {
    let named = "conditions: { owner: 'true' }\n";
    told(named, &[]);
    told(
        &format!("{named}buckets: {{ files: }}\n"),
        &[
            "1:15 `storage.objects` has a field `owner`, which this condition would shadow [`is_owner` would do]",
        ],
    );
}

#[test]
fn who_may_see_a_bucket_is_part_of_what_the_policies_say() {
    let text = loaded(FILES).policy_text();
    assert!(text.contains("public bucket avatars"), "{text}");
    assert!(
        text.contains("rule buckets.exports.read[0] authenticated read when(bucket == 'exports' && mine)"),
        "{text}"
    );
    let changed = |from: &str, to: &str| loaded(&FILES.replace(from, to)).policy_text() != text;
    assert!(changed("public: true", "public: false"));
    assert!(changed("  exports:", "  export:"));
    assert!(changed("when: mine", "when: true"));
    assert!(!changed("max_size: 2MB", "max_size: 3MB"));
}

const TESTED: &str = "\
collections: { members: { fields: { user: uuid } } }
buckets:
  avatars: { max_size: 1KB, accept: [image/*, text/css] }
  exports:
tests:
";

#[test]
fn tests_speak_of_objects_as_they_can_be() {
    let given = |text: &str| {
        format!(
            "{TESTED}  given: {{ storage.objects: [{text}] }}\n  cases: [{{ as: anon, read: storage.objects, is: denied }}]\n"
        )
    };
    told(&given("{ id: a, bucket: exports }"), &[]);
    told(&given("{ id: a, bucket: exprts }"), &["6:47 unknown bucket `exprts` [did you mean `exports`?]"]);
    told(
        &given("{ id: a }"),
        &["6:30 an object is in a bucket [say which: `bucket` is one of `avatars` and `exports`]"],
    );
    told(
        &given("{ id: a, bucket: avatars, size: 1001 }"),
        &[
            "6:62 `avatars` takes objects of at most 1000 bytes [the bucket refuses others whatever the rules say]",
        ],
    );
    told(
        &given("{ id: a, bucket: avatars, mime: text/html }"),
        &["6:62 `avatars` takes `image/*` and `text/css` [the bucket refuses"],
    );
    told(&given("{ id: a, bucket: exports, size: -1 }"), &["6:62 `size` "]);
    told(
        &given("{ id: a, bucket: exports, version: x }"),
        &["6:56 unknown field of `storage.objects` `version`"],
    );
    let case = |text: &str| {
        format!(
            "{TESTED}  given: {{ storage.objects: [{{ id: a, bucket: exports }}] }}\n  cases: [{{ as: user:ada, {text} }}]\n"
        )
    };
    told(&case("create: storage.objects, with: { bucket: exports, name: a }, is: denied"), &[]);
    told(
        &case("create: storage.objects, with: { bucket: exports, owner: bob }, is: denied"),
        &["7:77 whoever stores an object is its owner [`as` says who that is]"],
    );
    told(
        &case("create: storage.objects, with: { bucket: exports, id: b }, is: denied"),
        &[
            "7:77 nobody sends `id` [it takes `bucket`, `name`, `size`, `mime`, `cache_control` and `metadata`]",
        ],
    );
    told(
        &case("create: storage.objects, with: { bucket: nowhere }, is: denied"),
        &["7:68 unknown bucket `nowhere`"],
    );
    told(
        &case("update: storage.objects/a, with: { bucket: avatars }, is: denied"),
        &[
            "7:62 an object is not changed into one of another bucket [moving it there asks for a `delete` here",
        ],
    );
    told(
        &case("update: storage.objects/a, with: { owner: bob }, is: denied"),
        &["7:62 whoever stores an object is its owner"],
    );
    told(
        &case("read: storage.objects/b, is: denied"),
        &["7:33 no record `b` of `storage.objects` is given [put it under `given: storage.objects`]"],
    );
    told(
        &case("read: storage.object, is: denied"),
        &["7:33 unknown collection `storage.object` [did you mean `storage.objects`?]"],
    );
    // Without buckets there are none.
    told(
        "collections: { a: { fields: {} } }\ntests: { cases: [{ as: anon, read: storage.objects, is: denied }] }\n",
        &["2:36 unknown collection `storage.objects`"],
    );
}

#[test]
fn an_object_that_a_case_stores_is_the_callers() {
    let one = "buckets: { only: }\ntests:\n  given: { storage.objects: [{ id: a }] }\n  cases: [{ as: user:ada, create: storage.objects, is: denied }, { as: service, create: storage.objects, is: allowed }]\n";
    let project = loaded(one);
    let objects = project.collections.get(project.collections.objects());
    let field = |name: &str| objects.field_id(name).unwrap();
    let given = project.tests[0].given.records[0].record(0);
    assert_eq!(given.get(field("bucket")), &crate::model::Value::text("only"));
    assert_eq!(given.get(field("size")), &crate::model::Value::Integer(0));
    let owners: Vec<Option<crate::model::Value>> = project.tests[0]
        .cases
        .iter()
        .map(|case| {
            let tests::Act::Create { values, .. } = &case.act else { panic!() };
            values.iter().find(|(known, _)| *known == field("owner")).map(|(_, value)| value.clone())
        })
        .collect();
    assert_eq!(owners, [Some(crate::model::Value::Uuid(tests::named_uuid("ada"))), None]);
}
