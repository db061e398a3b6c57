//! `basewright policy test`: what passes, what fails and says why, and that nothing is left behind.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::server::{Folder, basewright};
use crate::support::{admin, cluster};

/// Every kind, several rules of one action, sets, masks, self-references, conditions about the written collection.
const WORKSHOP: &str = include_str!("workshop.yaml");
const BLOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/blog");

fn judge(project: &str, rest: &[&str], env: &[(&str, &str)]) -> Output {
    basewright().args(["policy", "test", project]).args(rest).envs(env.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A server named by the environment: requests run as its plain role, and `maker` makes the database.
fn named_server(maker: &str) -> [(&str, String); 2] {
    let urls = cluster().urls_of("postgres");
    let maker = match maker {
        "admin" => cluster().admin_url("postgres"),
        _ => urls.migrate,
    };
    [("DATABASE_URL", urls.runtime), ("BASEWRIGHT_MIGRATE_URL", maker)]
}

/// Judges on a scratch database of the test cluster.
fn judge_on_cluster(project: &Folder) -> Output {
    let env = named_server("admin");
    judge(project.0.to_str().unwrap(), &[], &env.each_ref().map(|(name, value)| (*name, value.as_str())))
}

/// The workshop with other cases.
fn workshop(cases: &str) -> Folder {
    let (project, _) = WORKSHOP.split_once("  cases:\n").unwrap();
    Folder::with(&[("a.yaml", &format!("{project}  cases:\n{cases}"))])
}

#[test]
fn the_example_passes_on_a_private_postgres_that_the_next_run_finds_again() {
    let folder = Folder::new();
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    let output = judge(BLOG, &["--data", data], &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    let first = out(&output);
    assert!(first.ends_with("52 cases passed, in memory and on a database\n"), "{first}");
    assert_eq!(first.lines().filter(|line| line.starts_with("ok    policies/tests.yaml:")).count(), 52);
    assert!(!folder.join("data/keys.json").exists(), "tests need no keys");

    let began = Instant::now();
    let again = judge(BLOG, &["--data", data], &[]);
    let took = began.elapsed();
    assert_eq!(out(&again), first, "{}", err(&again));
    // Half a second on a machine that has nothing else to do.
    assert!(took < Duration::from_secs(15), "{took:?}");
    println!("PASS policy_test_warm {took:?}");
}

#[tokio::test]
async fn what_the_database_does_is_what_memory_says_for_every_kind_of_rule() {
    let folder = Folder::with(&[("a.yaml", WORKSHOP)]);
    let project = folder.0.to_str().unwrap();
    let output = judge_on_cluster(&folder);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert!(out(&output).ends_with("36 cases passed, in memory and on a database\n"), "{}", out(&output));
    assert!(!folder.join(".basewright").exists(), "a server that is named needs no private one");
    let client = admin().connect("postgres").await;
    let left = "select count(*) from pg_database where datname like 'basewright_policy_test_%'";
    let deadline = Instant::now() + Duration::from_secs(60);
    // Other tests have theirs for a moment.
    while client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "a scratch database is not dropped");
        tokio::task::yield_now().await;
    }

    let output = judge(project, &["--memory-only"], &[("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert!(out(&output).ends_with("36 cases passed, in memory\n"), "{}", out(&output));

    let env = named_server("owner");
    let output = judge(project, &[], &env.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no scratch database could be made"), "{}", err(&output));
    assert!(err(&output).contains("--memory-only"), "{}", err(&output));
}

#[test]
fn every_expectation_that_is_turned_around_fails() {
    let (head, cases) = WORKSHOP.split_once("  cases:\n").unwrap();
    let mut turned = 0;
    let cases: String = cases
        .lines()
        .map(|line| {
            let mut line = line.to_owned();
            for (was, is) in [("is: allowed", "is: denied"), ("is: denied", "is: allowed")] {
                if let Some((before, _)) = line.split_once(was) {
                    line = format!("{before}{is} }}");
                    turned += 1;
                    break;
                }
            }
            if let Some((before, seen)) = line.split_once("sees: [") {
                // One too few, or one too many.
                let seen = seen.trim_end_matches([']', ' ', '}']);
                let record = if line.contains("rooms") { "r2" } else { "t3" };
                let other = if line.contains("secrets") {
                    String::new()
                } else if seen.contains(record) {
                    seen.trim_end_matches(record).trim_end_matches(", ").to_owned()
                } else {
                    format!("{seen}{}{record}", if seen.is_empty() { "" } else { ", " })
                };
                line = format!("{before}sees: [{other}] }}");
                turned += 1;
            }
            line + "\n"
        })
        .collect();
    assert_eq!(turned, 36);
    let folder = Folder::with(&[("a.yaml", &format!("{head}  cases:\n{cases}"))]);
    let output = judge(folder.0.to_str().unwrap(), &["--memory-only"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output).trim_end(), "36 of 36 cases failed, in memory", "{}", out(&output));
    assert!(!out(&output).contains("ok "), "{}", out(&output));
}

#[test]
fn a_case_that_fails_says_which_rule_came_closest_and_what_failed_in_it() {
    let folder = workshop(
        "    - { as: user:bob, update: tasks/t1, with: { title: golden }, is: allowed }
    - { as: user:ada, update: tasks/t1, with: { title: golden }, is: denied }
    - { as: user:ada, read: tasks, sees: [t2] }
    - { as: user:bob, read: tasks/t1, is: allowed, hidden: [title] }
    - { as: anon, create: tasks, with: { title: x }, is: allowed }
    - { as: user:eve, create: tasks, with: { title: x, room: r1 }, is: denied, because: mine }
    - { as: user:ada, create: tasks, with: { title: x, price: 1 }, is: allowed }
    - { as: user:ada, create: tasks, with: { title: this title is far too long }, is: allowed }
    - { as: user:ada, update: tasks/t1, with: { title: this title is far too long, labels: [] }, is: denied }
",
    );
    let output = judge_on_cluster(&folder);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output).trim_end(), "9 of 9 cases failed, in memory and on a database");
    let first = WORKSHOP.lines().position(|line| line == "  cases:").unwrap() + 2;
    let text = out(&output).replace("a.yaml:", "");
    let expected = [
        (
            "user:bob update tasks/t1",
            &[
                "expected allowed, and it is denied",
                "tasks.update[0] (authenticated): mine is false: owner == auth.id, where owner is 'ada' and auth.id is 'bob'",
                "does not cover",
            ][..],
        ),
        (
            "user:ada update tasks/t1",
            &["expected denied, and it is allowed by tasks.update[0] (authenticated)"],
        ),
        ("user:ada read tasks", &["expected to see t2, and it is not there", "sees t1 too"]),
        ("user:bob read tasks/t1", &["expected `title` to be hidden, and it is shown"]),
        ("anon create tasks", &["needs role authenticated; the caller has anon"]),
        (
            "user:eve create tasks",
            &[
                "denied as expected, but not because of `mine`",
                "room == null is false, where room is 'r1'; inside is false",
            ],
        ),
        ("user:ada create tasks", &["does not cover `price`"]),
        (
            "user:ada create tasks",
            &["the policies allow it, and the request is refused", "/title must have at most 20 characters"],
        ),
        (
            "user:ada update tasks/t1",
            &[
                "expected denied, and it is allowed by tasks.update[1] (authenticated)",
                "refused, and not by a policy",
            ],
        ),
    ];
    let blocks: Vec<&str> = text.split("FAIL  ").skip(1).collect();
    assert_eq!(blocks.len(), expected.len(), "{text}");
    for (at, (block, (title, lines))) in blocks.iter().zip(expected).enumerate() {
        assert!(block.starts_with(&format!("{}  {title}\n", first + at)), "{block}");
        for line in lines {
            let says = block.contains(line);
            assert_eq!(says, *line != "does not cover", "{line}\n{block}");
        }
    }
}

#[test]
fn records_that_the_tables_refuse_are_told_apart_from_cases_that_fail() {
    let folder = workshop("    - { as: service, read: rooms, sees: [r1, r2] }\n");
    let text = fs::read_to_string(folder.join("a.yaml")).unwrap();
    // Each is fine by itself, and a check of the table speaks of both.
    let text = text.replace(
        "      name: { type: text, required: true }\n",
        "      name: { type: text, required: true }\n    checks: [\"name != 'Two'\"]\n",
    );
    folder.write("a.yaml", &text);
    let output = judge_on_cluster(&folder);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert!(
        out(&output).contains("FAIL  a.yaml: the records given cannot stand in the database"),
        "{}",
        out(&output)
    );
    assert!(out(&output).contains("rooms_check_1"), "{}", out(&output));
    assert_eq!(err(&output).trim_end(), "the records given do not fit the tables");
}

#[test]
fn a_project_at_fault_is_1_a_wrong_command_line_2_and_no_cases_0() {
    let folder = Folder::with(&[("a.yaml", "collections:\n  notes:\n    fields:\n      title: txet\n")]);
    let project = folder.0.to_str().unwrap();
    assert_eq!(judge(project, &[], &[]).status.code(), Some(1));
    assert_eq!(judge(project, &["--nonsense"], &[]).status.code(), Some(2));
    assert_eq!(basewright().args(["policy", "nonsense"]).output().unwrap().status.code(), Some(2));
    assert_eq!(judge("/nowhere", &[], &[]).status.code(), Some(1));
    folder.write("a.yaml", "collections:\n  notes:\n    fields:\n      title: text\n");
    let output = judge(project, &[], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(err(&output).contains("no test cases"), "{}", err(&output));
    assert!(!folder.join(".basewright").exists(), "nothing is started for nothing");
}

#[test]
fn what_a_listener_is_told_is_judged_in_memory_and_by_reads_before_and_after() {
    let folder = workshop(
        "    - { as: user:bob, subscribe: tasks, when_updated: { t3: { room: r1 } }, sees: insert }
    - { as: user:bob, subscribe: tasks, when_updated: { t1: { title: new } }, sees: update }
    - { as: user:bob, subscribe: tasks, when_updated: { t1: { room: r2 } }, sees: delete }
    - { as: user:eve, subscribe: tasks, when_updated: { t1: { title: new } }, sees: nothing }
    - { as: anon, subscribe: tasks, when_deleted: t1, sees: nothing }
    - { as: service, subscribe: tasks, when_deleted: t3, sees: delete }
    - { as: user:bob, subscribe: tasks, when_deleted: t2, sees: delete }
    - { as: user:eve, subscribe: tasks, when_deleted: t2, sees: nothing }
    - { as: user:bob, subscribe: tasks, when_created: { t4: { room: r1 } }, sees: insert }
    - { as: user:bob, subscribe: tasks, when_created: { t4: { title: other, owner: ada } }, sees: nothing }
    - { as: user:eve, subscribe: members, when_created: { 'r1,eve': }, sees: insert }
    - { as: user:bob, subscribe: members, when_updated: { 'r1,ada': { user: eve } }, sees: update }
    - { as: user:bob, subscribe: members, when_deleted: 'r1,ada', sees: delete }
    - { as: user:ada, subscribe: secrets, when_updated: { s1: { body: z } }, sees: update }
    - { as: user:ada, subscribe: secrets, when_created: { s2: { body: x } }, sees: insert }
    - { as: user:ada, subscribe: secrets, when_deleted: s1, sees: delete }
",
    );
    let output = judge_on_cluster(&folder);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert!(out(&output).ends_with("16 cases passed, in memory and on a database\n"), "{}", out(&output));
}

#[test]
fn a_change_that_a_listener_cannot_tell_is_nothing_to_him() {
    let folder = Folder::with(&[(
        "a.yaml",
        "collections:
  posts:
    timestamps: false
    fields: { title: text, notes: text, open: boolean }
policies:
  posts:
    read:
      - { role: anon, fields: [id, title] }
      - { role: authenticated, when: open, fields: [id, notes] }
tests:
  given: { posts: [{ id: p1, title: a, notes: b, open: false }, { id: p2, title: a, notes: b, open: true }] }
  cases:
    - { as: anon, subscribe: posts, when_updated: { p1: { notes: c } }, sees: nothing }
    - { as: user:ada, subscribe: posts, when_updated: { p1: { notes: c } }, sees: nothing }
    - { as: user:ada, subscribe: posts, when_updated: { p2: { notes: c } }, sees: update }
    - { as: user:ada, subscribe: posts, when_updated: { p2: { open: false } }, sees: update }
    - { as: anon, subscribe: posts, when_updated: { p2: { open: false } }, sees: nothing }
",
    )]);
    let output = judge_on_cluster(&folder);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
}

#[test]
fn a_listener_who_is_told_otherwise_fails_the_case_and_is_told_why() {
    let folder = workshop(
        "    - { as: user:eve, subscribe: tasks, when_updated: { t1: { title: new } }, sees: update }
    - { as: user:bob, subscribe: tasks, when_updated: { t1: { title: new } }, sees: nothing }
",
    );
    let output = judge_on_cluster(&folder);
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    for expected in [
        "user:eve subscribe tasks when_updated t1",
        "expected an update, and it is nothing",
        "tasks.read[1] (authenticated): mine is false: owner == auth.id, where owner is 'ada' and auth.id is 'eve'",
        "expected nothing, and it is an update by tasks.read[0]",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}{}", err(&output));
    }
}
