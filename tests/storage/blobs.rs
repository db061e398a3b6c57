//! What holds wherever content lies: in a folder, and in a bucket of a store that is not ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use basewright::objects::blobs::{BlobFault, Blobs, Place, Progress, Received, Rehash};
use basewright::objects::version::Version;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::support::s3::S3;
use crate::support::server::{Folder, eventually};

const MIB: usize = 1 << 20;
const PART: usize = 5 * MIB;
/// Around each border that there is: of what is read at once, written at once, and sent at once.
const SIZES: [usize; 12] = [
    0,
    1,
    4_095,
    4_097,
    256 << 10,
    (256 << 10) + 1,
    (512 << 10) + 1,
    PART - 1,
    PART,
    PART + 1,
    2 * PART,
    11 * MIB + 7,
];
/// How soon something is cleared away that nobody waits for.
const SOON: Duration = Duration::from_secs(20);

/// Bytes that differ at every place where two pieces could be mixed up.
fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Cuts content as a network does: small pieces, large pieces, none.
fn pieces(content: &[u8], seed: u64) -> Vec<Bytes> {
    let lengths = [1, 0, 17, 1_460, 65_536, 200_000, 32_768, 3 * MIB];
    let mut rest = Bytes::copy_from_slice(content);
    let mut found = Vec::new();
    let mut turn = usize::try_from(seed).unwrap();
    while !rest.is_empty() {
        let length = lengths[turn % lengths.len()].min(rest.len());
        found.push(rest.split_to(length));
        turn += 1;
    }
    found
}

async fn store(blobs: &Blobs, content: &[u8], seed: u64) -> (Version, Received) {
    let version = Version::new();
    let mut incoming = blobs.begin(version).await.unwrap();
    for piece in pieces(content, seed) {
        incoming.write(piece).await.unwrap();
    }
    (version, incoming.finish().await.unwrap())
}

async fn read(blobs: &Blobs, version: Version, from: usize, to: usize) -> Result<Vec<u8>, BlobFault> {
    let mut outgoing = blobs.read(version, from as u64..to as u64).await?;
    assert_eq!(outgoing.length, (to - from) as u64);
    let mut bytes = Vec::new();
    while let Some(piece) = outgoing.next().await {
        let piece = piece?;
        assert!(!piece.is_empty());
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn rehashed(etag: &str, content: &[u8]) -> String {
    let mut hash = Rehash::like(etag);
    hash.update(content);
    hash.etag()
}

/// All that lies there, by listing every hour.
async fn lying(blobs: &Blobs) -> BTreeSet<(Version, u64)> {
    let mut found = BTreeSet::new();
    for hour in blobs.hours().await.unwrap() {
        let mut list = blobs.list(&hour);
        while let Some(one) = list.try_next().await.unwrap() {
            assert_eq!(one.version.hour(), hour);
            assert!(found.insert((one.version, one.size)), "{:?} is listed twice", one.version);
        }
    }
    found
}

async fn unfinished(blobs: &Blobs) -> BTreeSet<Version> {
    blobs.unfinished().map_ok(|one| one.version).try_collect().await.unwrap()
}

#[track_caller]
fn is_missing<T>(outcome: Result<T, BlobFault>) {
    match outcome {
        Err(BlobFault::NotFound(_)) => {}
        Err(fault) => panic!("{fault}"),
        Ok(_) => panic!("it is there"),
    }
}

async fn what_was_stored_is_read(blobs: &Blobs) {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let content = content(size, seed as u64);
        let (version, received) = store(blobs, &content, seed as u64).await;
        assert_eq!(received.size, size as u64);
        assert_eq!(received.etag.len(), 64);
        assert_eq!(received.etag, rehashed(&received.etag, &content), "{size} bytes");
        assert_eq!(received.head, content[..size.min(4_096)], "{size} bytes");
        assert!(read(blobs, version, 0, size).await.unwrap() == content, "{size} bytes came back as others");
    }
}

async fn any_range_is_read(blobs: &Blobs) {
    let size = 6 * MIB + 5;
    let content = content(size, 3);
    let (version, _) = store(blobs, &content, 3).await;
    let chunk = 256 << 10;
    for (from, to) in [
        (0, 1),
        (0, chunk),
        (0, chunk + 1),
        (1, chunk + 1),
        (chunk - 1, 2 * chunk + 1),
        (chunk, 3 * chunk),
        (PART - 1, PART + 1),
        (size - 1, size),
        (size - chunk - 3, size),
        (7, size - 7),
        (9, 9),
        (size, size),
    ] {
        let found = read(blobs, version, from, to).await.unwrap();
        assert!(found == content[from..to], "{from}..{to}");
    }
}

async fn what_is_not_there_is_told(blobs: &Blobs) {
    is_missing(blobs.read(Version::new(), 0..1).await);
    is_missing(blobs.read(Version::new(), 0..0).await);
    is_missing(blobs.copy(Version::new(), Version::new()).await);
    let (version, _) = store(blobs, b"short", 1).await;
    // Rows say how long it is: less than that is damage.
    for end in [6, MIB] {
        match read(blobs, version, 0, end).await {
            Err(BlobFault::Corrupt(..)) => {}
            outcome => panic!("{outcome:?}"),
        }
    }
}

async fn what_was_removed_is_gone(blobs: &Blobs) {
    let (version, _) = store(blobs, b"here", 1).await;
    let (other, _) = store(blobs, b"still here", 1).await;
    blobs.remove(version).await.unwrap();
    is_missing(blobs.read(version, 0..4).await);
    blobs.remove(version).await.unwrap();
    assert_eq!(read(blobs, other, 0, 10).await.unwrap(), b"still here");
}

async fn a_copy_stands_for_itself(blobs: &Blobs) {
    let content = content(PART + 9, 5);
    let (version, _) = store(blobs, &content, 5).await;
    let copy = Version::new();
    blobs.copy(version, copy).await.unwrap();
    blobs.remove(version).await.unwrap();
    is_missing(blobs.read(version, 0..1).await);
    assert!(read(blobs, copy, 0, content.len()).await.unwrap() == content);
}

async fn nothing_is_seen_of_what_is_not_finished(blobs: &Blobs) {
    let before = lying(blobs).await;
    for size in [0, 1, 4_096, MIB, 2 * PART + 1] {
        let version = Version::new();
        let mut incoming = blobs.begin(version).await.unwrap();
        for piece in pieces(&content(size, 9), 9) {
            incoming.write(piece).await.unwrap();
        }
        is_missing(blobs.read(version, 0..size as u64).await);
        drop(incoming);
        is_missing(blobs.read(version, 0..size as u64).await);
    }
    assert_eq!(lying(blobs).await, before);
}

async fn everything_that_lies_there_is_listed(blobs: &Blobs) {
    let before = lying(blobs).await;
    let mut expected = before.clone();
    for size in [0, 1, 70_000] {
        let (version, _) = store(blobs, &content(size, 2), 2).await;
        expected.insert((version, size as u64));
    }
    // One of another hour: 2022-02-22 19 h.
    let old = Version::parse("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").unwrap();
    let mut incoming = blobs.begin(old).await.unwrap();
    incoming.write(Bytes::from_static(b"old")).await.unwrap();
    incoming.finish().await.unwrap();
    expected.insert((old, 3));
    assert_eq!(lying(blobs).await, expected);
    let hours = blobs.hours().await.unwrap();
    assert_eq!(hours.first().unwrap().as_str(), "2022022219");
    assert!(hours.is_sorted());
    blobs.remove(old).await.unwrap();
    for hour in &hours {
        // Of those that are not empty nothing goes.
        blobs.tidy(hour).await.unwrap();
    }
    expected.remove(&(old, 3));
    assert_eq!(lying(blobs).await, expected);
    assert!(blobs.hours().await.unwrap().iter().all(|hour| hour.as_str() != "2022022219"));
}

/// What another process gets to know of an upload.
fn kept(progress: &Progress) -> Progress {
    serde_json::from_str(&serde_json::to_string(progress).unwrap()).unwrap()
}

async fn content_in_pieces_becomes_one(blobs: &Blobs) {
    // Each list is the lengths of the pieces between two pauses.
    let uploads: [&[usize]; 9] = [
        &[],
        &[0],
        &[1],
        &[1, 0, 1, 70_000, 1],
        &[PART],
        &[PART - 1, 1, 1],
        &[6 * MIB, 6 * MIB, 100],
        &[3 * MIB, 3 * MIB, 3 * MIB, 3 * MIB],
        &[1, 2 * PART, PART - 1, 7],
    ];
    for (seed, lengths) in uploads.into_iter().enumerate() {
        let whole = content(lengths.iter().sum(), seed as u64);
        let version = Version::new();
        let mut state = Progress::default();
        let mut at = 0;
        for length in lengths {
            let mut appending = blobs.resume(version, kept(&state)).await.unwrap();
            for piece in pieces(&whole[at..at + length], seed as u64) {
                appending.write(piece).await.unwrap();
            }
            at += length;
            state = appending.pause().await.unwrap();
            assert_eq!(state.offset, at as u64);
            is_missing(blobs.read(version, 0..1).await);
        }
        let received = blobs.resume(version, kept(&state)).await.unwrap().finish().await.unwrap();
        assert_eq!(received.size, whole.len() as u64);
        assert_eq!(received.head, whole[..whole.len().min(4_096)], "{lengths:?}");
        assert_eq!(received.etag, rehashed(&received.etag, &whole), "{lengths:?}");
        let blocks = whole.len().div_ceil(PART).max(1);
        assert!(received.etag.ends_with(&format!("-{blocks}")), "{}", received.etag);
        assert!(read(blobs, version, 0, whole.len()).await.unwrap() == whole, "{lengths:?}");
        assert!(!unfinished(blobs).await.contains(&version), "{lengths:?} left something");
    }
}

async fn only_what_was_paused_counts(blobs: &Blobs) {
    for first in [10, PART, PART + 10] {
        let whole = content(first + 7 * MIB, 8);
        let version = Version::new();
        let mut appending = blobs.resume(version, Progress::default()).await.unwrap();
        appending.write(Bytes::copy_from_slice(&whole[..first])).await.unwrap();
        let state = appending.pause().await.unwrap();
        // The connection breaks; the server is killed after it has written more and before anybody knows.
        let mut appending = blobs.resume(version, kept(&state)).await.unwrap();
        appending.write(Bytes::copy_from_slice(&whole[first..first + 6 * MIB])).await.unwrap();
        drop(appending);
        let mut appending = blobs.resume(version, kept(&state)).await.unwrap();
        appending.write(Bytes::copy_from_slice(&whole[first..first + 5 * MIB + 1])).await.unwrap();
        let _ = appending.pause().await.unwrap();
        let mut appending = blobs.resume(version, kept(&state)).await.unwrap();
        appending.write(Bytes::copy_from_slice(&whole[first..])).await.unwrap();
        let received = appending.finish().await.unwrap();
        assert_eq!(received.size, whole.len() as u64);
        assert_eq!(received.etag, rehashed(&received.etag, &whole));
        assert!(read(blobs, version, 0, whole.len()).await.unwrap() == whole, "after {first} bytes");
    }
}

async fn what_was_given_up_cannot_be_gone_on_with(blobs: &Blobs) {
    blobs.discard(Version::new(), &Progress::default()).await.unwrap();
    for length in [1, PART, PART + 1] {
        let version = Version::new();
        let mut appending = blobs.resume(version, Progress::default()).await.unwrap();
        appending.write(Bytes::from(vec![7; length])).await.unwrap();
        let state = appending.pause().await.unwrap();
        blobs.discard(version, &state).await.unwrap();
        assert!(!unfinished(blobs).await.contains(&version));
        let outcome = match blobs.resume(version, state.clone()).await {
            Ok(appending) => appending.finish().await.map(drop),
            Err(fault) => Err(fault),
        };
        // Of parts that were given up a store says so; this one's says that it has broken down.
        assert!(matches!(outcome, Err(BlobFault::NotFound(_) | BlobFault::Unreachable(_))), "{outcome:?}");
        is_missing(blobs.read(version, 0..1).await);
        blobs.discard(version, &state).await.unwrap();
    }
}

async fn a_state_that_does_not_fit_is_refused(blobs: &Blobs) {
    let version = Version::new();
    let mut appending = blobs.resume(version, Progress::default()).await.unwrap();
    appending.write(Bytes::from(vec![7; PART + 100])).await.unwrap();
    let state = appending.pause().await.unwrap();
    for offset in [0, PART as u64 - 1, 2 * PART as u64] {
        let mut told = serde_json::to_value(&state).unwrap();
        told["offset"] = offset.into();
        match blobs.resume(version, serde_json::from_value(told).unwrap()).await {
            Err(BlobFault::Corrupt(..)) => {}
            Err(fault) => panic!("{offset}: {fault}"),
            Ok(_) => panic!("{offset} was taken"),
        }
    }
    blobs.discard(version, &state).await.unwrap();
}

async fn many_at_once_do_not_meet(blobs: &Blobs) {
    let one = |seed: u64| async move {
        let content = content(MIB + usize::try_from(seed).unwrap(), seed);
        let (version, _) = store(blobs, &content, seed).await;
        assert!(read(blobs, version, 0, content.len()).await.unwrap() == content);
    };
    futures_util::future::join_all((0..24).map(one)).await;
}

async fn contract(blobs: &Blobs) {
    what_was_stored_is_read(blobs).await;
    any_range_is_read(blobs).await;
    what_is_not_there_is_told(blobs).await;
    what_was_removed_is_gone(blobs).await;
    a_copy_stands_for_itself(blobs).await;
    nothing_is_seen_of_what_is_not_finished(blobs).await;
    everything_that_lies_there_is_listed(blobs).await;
    content_in_pieces_becomes_one(blobs).await;
    what_was_given_up_cannot_be_gone_on_with(blobs).await;
    a_state_that_does_not_fit_is_refused(blobs).await;
    many_at_once_do_not_meet(blobs).await;
}

fn folder(path: &Path) -> Blobs {
    let place = Place::parse(&format!("file://{}", path.display()), |_| None).unwrap();
    Blobs::connect(&place).unwrap()
}

fn files(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

#[tokio::test]
async fn a_folder_keeps_content_as_it_came() {
    let place = Folder::new();
    let root = place.join("deep/inside/objects");
    let blobs = folder(&root);
    contract(&blobs).await;
    only_what_was_paused_counts(&blobs).await;
    eventually("nothing is under way", SOON, || async { (files(&root.join("t")) == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_bucket_keeps_content_as_it_came() {
    let s3 = S3::start();
    let bucket = s3.bucket().await;
    let variables = s3.variables();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let at = |prefix: &str| {
        Blobs::connect(&Place::parse(&format!("s3://{bucket}{prefix}"), variable).unwrap()).unwrap()
    };
    everything_that_lies_there_is_listed(&at("")).await;
    let blobs = at("/some/where");
    contract(&blobs).await;
    eventually("no parts lie about", SOON, || async {
        s3.unfinished(&bucket).await.is_empty().then_some(())
    })
    .await;
    // A server that is killed cannot say what it has sent.
    only_what_was_paused_counts(&blobs).await;
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be() {
    let s3 = S3::start();
    let bucket = s3.bucket().await;
    let variables = s3.variables();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let blobs = Blobs::connect(&Place::parse(&format!("s3://{bucket}"), variable).unwrap()).unwrap();
    let (version, _) = store(&blobs, b"content", 1).await;
    let nowhere = Place::parse("s3://no-such-bucket", variable).unwrap();
    let mut incoming = Blobs::connect(&nowhere).unwrap().begin(Version::new()).await.unwrap();
    incoming.write(Bytes::from_static(b"content")).await.unwrap();
    let fault = incoming.finish().await.unwrap_err();
    assert!(matches!(fault, BlobFault::NotFound(_)), "{fault}");
    drop(s3);
    let mut incoming = blobs.begin(Version::new()).await.unwrap();
    incoming.write(Bytes::from_static(b"content")).await.unwrap();
    for fault in [
        incoming.finish().await.unwrap_err(),
        blobs.read(version, 0..7).await.err().unwrap(),
        blobs.remove(version).await.unwrap_err(),
        blobs.hours().await.unwrap_err(),
    ] {
        assert!(matches!(fault, BlobFault::Unreachable(_)), "{fault}");
        assert!(!fault.to_string().contains("anything"), "the secret is told: {fault}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_refused_at_once() {
    let place = Folder::with(&[("file", "")]);
    for path in [place.join("file"), place.join("file/below")] {
        let refused = Blobs::connect(&Place::parse(&format!("file://{}", path.display()), |_| None).unwrap());
        let told = refused.err().unwrap().to_string();
        assert!(told.contains("file"), "{told}");
    }
}

#[tokio::test]
async fn content_under_way_is_swept_by_its_age() {
    let place = Folder::new();
    let blobs = folder(&place.0);
    // As a killed server leaves it.
    let left = place.join("t").join(Version::new().to_string());
    fs::write(&left, "half").unwrap();
    fs::write(place.join("t/notes.txt"), "not ours").unwrap();
    assert_eq!(blobs.sweep_under_way(Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(blobs.sweep_under_way(Duration::ZERO).await.unwrap(), 1);
    assert!(!left.exists());
    assert_eq!(files(&place.join("t")), 1);
    is_missing(blobs.read(Version::new(), 0..1).await);
}

#[tokio::test]
async fn content_lies_where_only_the_server_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Folder::new();
    let blobs = folder(&place.join("objects"));
    let (version, _) = store(&blobs, b"secret", 1).await;
    let path = place.join("objects").join(version.key().as_ref());
    let mut path = path.as_path();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    for _ in 0..3 {
        path = path.parent().unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
}
