//! Content on a disk: durable before it is acknowledged, whole when the disk is full, and cleared away when nobody has it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};

use super::hands::Hands;
use crate::support::server::{basewright, eventually};

const SOON: Duration = Duration::from_secs(30);

/// The files of finished content.
fn finished(objects: &Path) -> Vec<PathBuf> {
    let hours = fs::read_dir(objects.join("v")).unwrap().map(|hour| hour.unwrap().path());
    hours.flat_map(|hour| fs::read_dir(hour).unwrap().map(|file| file.unwrap().path())).collect()
}

fn count(folder: PathBuf) -> usize {
    fs::read_dir(folder).unwrap().count()
}

async fn store(hands: &Hands, key: &str, content: Vec<u8>) {
    let kind = [("content-type", "application/x-test"), ("x-upsert", "true")];
    hands.send(&hands.ada, Method::POST, &format!("/object/files/{key}"), &kind, content).await.is(200);
}

async fn read(hands: &Hands, key: &str) -> Vec<u8> {
    let got = hands.send(&hands.ada, Method::GET, &format!("/object/files/{key}"), &[], "").await;
    got.is(200);
    got.bytes.to_vec()
}

// --- in which order the kernel is asked

/// A call of the kernel: when it began and when it had succeeded, in lines of the trace.
#[derive(Debug)]
struct Call {
    text: String,
    began: usize,
    done: usize,
}

/// Reads what `strace -f` wrote; calls of several threads may interrupt each other there.
fn calls(trace: &str) -> Vec<Call> {
    let mut open: Vec<(&str, String, usize)> = Vec::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            open.push((thread, begun.to_owned(), at));
        } else if rest.starts_with("<... ") {
            let found = open.iter().position(|(other, ..)| *other == thread);
            let Some((_, text, began)) = found.map(|found| open.remove(found)) else { continue };
            if !rest.contains("= -1") {
                calls.push(Call { text, began, done: at });
            }
        } else if !rest.contains("= -1") {
            calls.push(Call { text: rest.to_owned(), began: at, done: at });
        }
    }
    calls
}

/// Traces the calls of a running server that have to do with files and answers.
struct Trace {
    child: Child,
    file: PathBuf,
}

impl Trace {
    fn of(pid: u32, file: PathBuf) -> Trace {
        let calls =
            "trace=write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2,mkdir";
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-s", "256", "-e", calls, "-o"])
            .arg(&file)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed by tests/setup.sh");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        lines.find(|line| line.contains("attached")).expect("strace attaches to the server");
        // It tells of every new thread, and ends if nobody listens.
        std::thread::spawn(move || lines.for_each(drop));
        Trace { child, file }
    }

    fn end(mut self) -> Vec<Call> {
        // It lets go of the server.
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap();
        calls(&fs::read_to_string(&self.file).unwrap())
    }
}

/// Makes sure that content was durable before its name, and that before the answer.
fn in_order(calls: &[Call], renamed: &Call, objects: &str, answers: &str) -> Result<(), String> {
    let mut names = renamed.text.split('"').skip(1).step_by(2);
    let (from, to) = (names.next().unwrap(), names.next().unwrap());
    let on = |name: &str, call: &str| -> Vec<&Call> {
        let file = format!("<{name}>");
        calls.iter().filter(|one| one.text.starts_with(call) && one.text.contains(&file)).collect()
    };
    let last = |found: Vec<&Call>| found.into_iter().map(|call| call.done).max();
    let written = last(on(from, "write(")).ok_or("nothing was written")?;
    let synced = on(from, "fdatasync(").into_iter().rfind(|call| call.done < renamed.began);
    let synced = synced.ok_or("the file was not synced before its name was given")?;
    if written > synced.began {
        return Err("bytes were written after the sync".to_owned());
    }
    let hour = Path::new(to).parent().unwrap().to_str().unwrap();
    let named = on(hour, "fsync(").into_iter().find(|call| call.began > renamed.done);
    let named = named.ok_or("the folder was not synced after the name was given")?;
    let answer = calls.iter().find(|call| call.began > renamed.done && call.text.contains(answers));
    let answer = answer.ok_or("nothing was answered")?;
    if answer.began < named.done {
        return Err("it was answered before the folder was synced".to_owned());
    }
    if let Some(made) = calls.iter().find(|call| call.text.starts_with("mkdir(") && call.text.contains(hour))
    {
        let above = on(&format!("{objects}/v"), "fsync(");
        if !above.iter().any(|call| call.began > made.done && call.done < answer.began) {
            return Err("the new folder was not synced in its own".to_owned());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_durable_before_it_is_acknowledged() {
    let hands = Hands::start().await;
    let objects = hands.blobs();
    let root = objects.to_str().unwrap().to_owned();
    let trace = Trace::of(hands.site.server.pid(), hands.site.path().join("trace"));
    for number in 0..20 {
        store(&hands, &format!("traced/{number}"), vec![number; 1 << (number + 2).min(21)]).await;
    }
    // One that comes in pieces, with an answer to each.
    let name = "bucketName ZmlsZXM=,objectName cGllY2Vz";
    let tus = ("tus-resumable", "1.0.0");
    let begin = [tus, ("upload-length", "300000"), ("upload-metadata", name)];
    let begun = hands.send(&hands.ada, Method::POST, "/upload/resumable", &begin, "").await;
    begun.is(201);
    let path = begun.header("location").split("/storage/v1").nth(1).unwrap().to_owned();
    for offset in ["0", "100000", "200000"] {
        let kind = ("content-type", "application/offset+octet-stream");
        let piece = [tus, kind, ("upload-offset", offset)];
        hands.send(&hands.ada, Method::PATCH, &path, &piece, vec![7; 100_000]).await.is(204);
    }
    let calls = trace.end();
    let renames: Vec<&Call> =
        calls.iter().filter(|call| call.text.starts_with("rename") && call.text.contains(&root)).collect();
    assert_eq!(renames.len(), 21, "{calls:#?}");
    for (number, renamed) in renames.iter().enumerate() {
        let answers = if number < 20 { "HTTP/1.1 200" } else { "HTTP/1.1 204" };
        let outcome = in_order(&calls, renamed, &root, answers);
        assert_eq!(outcome, Ok(()), "{}\n{calls:#?}", renamed.text);
    }
    // Pieces: what was written of each is synced before it is answered.
    let pieces = format!("<{root}/u/");
    let answered: Vec<&Call> = calls.iter().filter(|call| call.text.contains("HTTP/1.1 204")).collect();
    let of_pieces = |what: &str| -> Vec<&Call> {
        calls.iter().filter(|call| call.text.starts_with(what) && call.text.contains(&pieces)).collect()
    };
    assert_eq!(answered.len(), 3);
    for answer in answered {
        let written = of_pieces("write(").into_iter().rfind(|call| call.done < answer.began).unwrap();
        let synced = |call: &&Call| call.began > written.done && call.done < answer.began;
        assert!(of_pieces("fdatasync(").iter().any(synced), "{calls:#?}");
    }
    let above = format!("<{root}/u>");
    assert!(calls.iter().any(|call| call.text.starts_with("fsync(") && call.text.contains(&above)));
}

#[test]
fn the_judge_of_the_trace_sees_what_comes_too_early() {
    let good = "1 write(9</o/t/a>, \"x\"..., 1) = 1\n1 fdatasync(9</o/t/a>) = 0\n1 rename(\"/o/t/a\", \"/o/v/1/a\") = 0\n\
                1 fsync(8</o/v/1>) = 0\n2 sendto(7<socket:[1]>, \"HTTP/1.1 200 OK\", 9) = 9\n";
    let judge = |trace: &str| {
        let calls = calls(trace);
        let renamed = calls.iter().find(|call| call.text.starts_with("rename")).unwrap();
        in_order(&calls, renamed, "/o", "HTTP/1.1 200")
    };
    assert_eq!(judge(good), Ok(()));
    let lines: Vec<&str> = good.lines().collect();
    for order in [[1, 0, 2, 3, 4], [0, 2, 1, 3, 4], [0, 1, 3, 2, 4], [0, 1, 2, 4, 3]] {
        let trace: Vec<&str> = order.iter().map(|at| lines[*at]).collect();
        assert!(judge(&trace.join("\n")).is_err(), "{order:?}");
    }
    // A sync that another thread's answer interrupts is over when it says so.
    let late = good.replace("1 fsync(8</o/v/1>) = 0\n", "1 fsync(8</o/v/1> <unfinished ...>\n");
    assert!(judge(&format!("{late}1 <... fsync resumed>) = 0\n")).is_err());
}

// --- a disk without room

/// A small disk of its own.
struct Disk(PathBuf);

impl Disk {
    fn of(path: PathBuf, size: &str) -> Disk {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "this test has to be run by somebody who may mount: root, outside of most sandboxes"
        );
        Disk(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_comes_and_keeps_what_is_there() {
    let place = crate::support::server::Folder::new();
    let disk = Disk::of(place.join("disk"), "64m");
    let objects = disk.0.join("objects");
    let url = format!("file://{}", objects.display());
    let hands = Hands::start_with(&[("BASEWRIGHT_STORAGE_URL", &url)]).await;
    let first: Vec<u8> = (0..20 * MIB).map(|at| (at / 7) as u8).collect();
    store(&hands, "first", first.clone()).await;
    let before = finished(&objects);

    // More than there is room for.
    let got = hands.send(&hands.ada, Method::POST, "/object/files/large", &[], vec![1; 60 * MIB]).await;
    assert_eq!(got.json()["code"], "StorageFull", "{}", String::from_utf8_lossy(&got.bytes));
    assert!(read(&hands, "first").await == first);
    assert_eq!(hands.send(&hands.ada, Method::GET, "/object/files/large", &[], "").await.status, 400);
    // What was written of it is gone at once: there is room for less.
    assert_eq!(finished(&objects), before);
    assert_eq!(count(objects.join("t")), 0);
    store(&hands, "second", vec![2; 30 * MIB]).await;

    // No room at all, not even for a small one.
    let ballast = disk.0.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    for _ in 0..3 {
        let got = hands.send(&hands.ada, Method::POST, "/object/files/small", &[], vec![1; 10_000]).await;
        assert_eq!(got.json()["code"], "StorageFull");
    }
    // An upload in pieces stands where it was.
    let name = "bucketName ZmlsZXM=,objectName cGllY2Vz";
    let tus = ("tus-resumable", "1.0.0");
    let begin = [tus, ("upload-length", "300000"), ("upload-metadata", name)];
    let begun = hands.send(&hands.ada, Method::POST, "/upload/resumable", &begin, "").await;
    begun.is(201);
    let path = begun.header("location").split("/storage/v1").nth(1).unwrap().to_owned();
    let kind = ("content-type", "application/offset+octet-stream");
    let piece = [tus, kind, ("upload-offset", "0")];
    let got = hands.send(&hands.ada, Method::PATCH, &path, &piece, vec![7; 300_000]).await;
    assert_eq!(got.status, 507, "{}", String::from_utf8_lossy(&got.bytes));
    let got = hands.send(&hands.ada, Method::HEAD, &path, &[tus], "").await;
    assert_eq!(got.header("upload-offset"), "0");
    assert!(read(&hands, "first").await == first);
    let log = hands.site.server.log();
    assert!(log.contains(&format!("the disk of {}", objects.display())), "{log}");

    // Room again: the same server goes on.
    drop(file);
    fs::remove_file(&ballast).unwrap();
    store(&hands, "small", vec![1; 10_000]).await;
    hands.send(&hands.ada, Method::PATCH, &path, &piece, vec![7; 300_000]).await.is(204);
    assert_eq!(read(&hands, "pieces").await, vec![7; 300_000]);
    assert_eq!(read(&hands, "second").await, vec![2; 30 * MIB]);
    let checked = command(&hands, &["check", "--deep", "--grace", "0s"], &url);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

// --- clearing away

fn command(hands: &Hands, words: &[&str], place: &str) -> Output {
    let mut command = basewright();
    command.arg("storage").args(words);
    if !place.is_empty() {
        command.args(["--storage", place]);
    }
    command.arg(hands.site.path());
    command.env("DATABASE_URL", &hands.site.database.urls.runtime).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_any_more_is_cleared_away() {
    let hands = Hands::start().await;
    let objects = hands.blobs();
    let sql = hands.site.sql().await;
    for key in ["kept", "replaced", "deleted"] {
        store(&hands, key, key.into()).await;
    }
    let kept = finished(&objects);
    store(&hands, "replaced", "anew".into()).await;
    hands.send(&hands.ada, Method::DELETE, "/object/files/deleted", &[], "").await.is(200);
    assert_eq!(finished(&objects).len(), 4);
    let clean = command(&hands, &["check", "--deep"], "");
    assert_eq!(clean.status.code(), Some(0), "{}", said(&clean));
    assert!(said(&clean).contains("2 objects with 8 bytes; 2 contents wait"), "{}", said(&clean));

    let tus = ("tus-resumable", "1.0.0");
    let mut begun = Vec::new();
    for name in ["bucketName ZmlsZXM=,objectName YQ==", "bucketName ZmlsZXM=,objectName Yg=="] {
        let begin = [
            tus,
            ("upload-length", "10"),
            ("upload-metadata", name),
            ("content-type", "application/offset+octet-stream"),
        ];
        let got = hands.send(&hands.ada, Method::POST, "/upload/resumable", &begin, "half").await;
        got.is(201);
        begun.push(got.header("location").split("/storage/v1").nth(1).unwrap().to_owned());
    }
    assert_eq!(count(objects.join("u")), 2);
    let ended = "update storage.uploads set expires_at = now() - interval '2 h' where name = 'a'";
    assert_eq!(sql.execute(ended, &[]).await.unwrap(), 1);
    let swept = command(&hands, &["sweep"], "");
    assert!(
        said(&swept).contains("2 replaced or deleted, 1 uploads that ended, 0 without a row"),
        "{}",
        said(&swept)
    );
    assert_eq!(finished(&objects).len(), 2);
    assert!(
        finished(&objects).contains(&kept[0]) || finished(&objects).iter().any(|file| kept.contains(file))
    );
    assert_eq!(count(objects.join("u")), 1);
    let got = hands.send(&hands.ada, Method::HEAD, &begun[1], &[tus], "").await;
    assert_eq!(got.header("upload-offset"), "4");
    assert_eq!(read(&hands, "kept").await, b"kept");
    assert_eq!(read(&hands, "replaced").await, b"anew");

    // What a killed server leaves: content without a row, of long ago and of now, a piece and something under way.
    let old = objects.join("v/2022022219");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), "old").unwrap();
    let now = uuid::Uuid::now_v7();
    let hour = finished(&objects)[0].parent().unwrap().to_owned();
    let young = hour.join(now.to_string());
    let young = if young.starts_with(&old) {
        finished(&objects).last().unwrap().with_file_name(now.to_string())
    } else {
        young
    };
    fs::write(&young, "young").unwrap();
    for place in ["u", "t"] {
        let path = objects.join(place).join(uuid::Uuid::now_v7().to_string());
        let file = fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(25 * 3_600)).unwrap();
    }
    let checked = command(&hands, &["check"], "");
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked).contains("orphan    3 bytes at v/2022022219/017f22e2"), "{}", said(&checked));
    assert!(said(&checked).contains("1 not as they should be"), "{}", said(&checked));
    let swept = said(&command(&hands, &["sweep"], ""));
    assert!(swept.contains("2 without a row, 1 left under way"), "{swept}");
    assert!(young.exists() && !old.join("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").exists());
    let swept = said(&command(&hands, &["sweep", "--grace", "0s"], ""));
    assert!(swept.contains("1 without a row"), "{swept}");
    assert!(!young.exists() && !old.exists(), "an empty folder stays");
    assert_eq!(said(&command(&hands, &["check", "--grace", "0s", "--deep"], "")).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_as_it_was_stored_is_found() {
    let hands = Hands::start().await;
    let objects = hands.blobs();
    let sql = hands.site.sql().await;
    for key in ["missing", "short", "changed", "fine"] {
        store(&hands, key, format!("content of {key}").into()).await;
    }
    let path = async |key: &str| {
        let row = sql
            .query_one("select version::text from storage.objects where name = $1", &[&key])
            .await
            .unwrap();
        let version: String = row.get(0);
        finished(&objects).into_iter().find(|file| file.ends_with(&version)).unwrap()
    };
    fs::remove_file(path("missing").await).unwrap();
    fs::write(path("short").await, "content").unwrap();
    fs::write(path("changed").await, "Content of changed").unwrap();
    let checked = command(&hands, &["check"], "");
    assert_eq!(checked.status.code(), Some(1));
    let told = said(&checked);
    assert!(
        told.contains("missing   \"files/missing\"") && told.contains("length    \"files/short\": 7 bytes"),
        "{told}"
    );
    assert!(told.contains("2 not as they should be"), "{told}");
    let checked = command(&hands, &["check", "--deep", "--json"], "");
    let mut found: Vec<(String, String)> = String::from_utf8(checked.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["what"].as_str().unwrap().to_owned(), line["object"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    let expected = [("content", "files/changed"), ("length", "files/short"), ("missing", "files/missing")];
    assert_eq!(found, expected.map(|(what, object)| (what.to_owned(), object.to_owned())));
    // Whoever reads one of them is not told other content, and the server goes on.
    let got = hands.send(&hands.ada, Method::GET, "/object/files/missing", &[], "").await;
    assert_ne!(got.status, 200);
    assert_eq!(read(&hands, "fine").await, b"content of fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_clears_away_by_itself() {
    let mut hands = Hands::start().await;
    let objects = hands.blobs();
    store(&hands, "replaced", "first".into()).await;
    store(&hands, "replaced", "second".into()).await;
    let sql = hands.site.sql().await;
    sql.execute("update storage.trash set at = now() - interval '2 min'", &[]).await.unwrap();
    // It looks when it starts, and every minute.
    hands.kill_and_restart().await;
    eventually("what was replaced is gone", SOON, || async { (finished(&objects).len() == 1).then_some(()) })
        .await;
    assert_eq!(read(&hands, "replaced").await, b"second");
}
