//! The door matrix: everybody × every collection × every action × every position of a request, against an
//! oracle written from the policy text alone.
//!
//! What may be learned of what one may not see is that a unique key is taken and that a referenced record
//! exists, and nothing else: no value, no count, no name, no error that depends on it.

mod ask;
mod deeds;
mod describe;
mod forms;
mod ledger;
mod names;
mod oracle;
mod random;
mod reads;
mod relations;
mod site;
mod timing;
mod world;
mod worlds;
mod writes;

use std::time::Instant;

use ledger::Ledger;
use site::Site;

/// Chooses what the short form asks; `BASEWRIGHT_SEED` says otherwise.
fn seed() -> u64 {
    let given = std::env::var("BASEWRIGHT_SEED").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(0x0d00_25ea)
}

fn is_long() -> bool {
    std::env::var_os("BASEWRIGHT_LONG").is_some()
}

/// The long form asks everything, the short one a part of it.
fn one_in(part: usize) -> usize {
    if is_long() { 1 } else { part }
}

fn figures(started: Instant) -> String {
    format!("seed={} seconds={:.1}", seed(), started.elapsed().as_secs_f32())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_shows_what_the_policy_text_says_and_nothing_else() {
    let site = Site::open().await;
    let world = world::world();
    site.fill(&world).await;
    let ledger = Ledger::default();
    let started = Instant::now();
    let random = if is_long() { 400 } else { 40 };
    let cells = reads::cells(&site.callers(), &world, seed(), random, one_in(24));
    reads::walk(&site, &ledger, cells).await;
    ledger.close("matrix_reads", &figures(started), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_does_what_the_policy_text_says_and_nothing_else() {
    let site = Site::open().await;
    let world = world::world();
    site.fill(&world).await;
    let ledger = Ledger::default();
    let started = Instant::now();
    let cells = writes::cells(&site.callers(), &world, seed(), one_in(24));
    writes::walk(&site, &ledger, &world, &cells).await;
    ledger.close("matrix_writes", &figures(started), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_answers_as_if_it_did_not_exist() {
    let site = Site::open().await;
    let world = world::world();
    site.fill(&world).await;
    let ledger = Ledger::default();
    let started = Instant::now();
    names::walk(&site, &ledger, &world, seed(), one_in(6)).await;
    ledger.cell(|| "the records after all questions".to_owned(), site.dump().await == world.sorted(), true);
    ledger.close("matrix_names", &figures(started), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_tells_everybody_what_the_policy_text_gives_him_and_nothing_else() {
    let site = Site::open().await;
    let ledger = Ledger::default();
    let started = Instant::now();
    describe::walk(&site, &ledger).await;
    ledger.close("matrix_openapi", &figures(started), 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_depends_on_what_the_caller_may_not_see() {
    let site = Site::open().await;
    let ledger = Ledger::default();
    let started = Instant::now();
    let hidden = worlds::walk(&site, &ledger, &world::world(), seed(), one_in(12)).await;
    ledger.close("matrix_worlds", &format!("hidden_values_changed={hidden} {}", figures(started)), 3_000);
    assert!(hidden > 500, "only {hidden} values differed between the worlds");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_guess_at_what_is_hidden_takes_longer_when_it_is_right() {
    let site = Site::open().await;
    let ratios = timing::walk(&site, if is_long() { 300 } else { 40 }).await;
    for (technique, ratio) in &ratios {
        println!("{technique}: right / wrong = {ratio:.3}");
        // On a machine that does much else at once only a gross difference says anything.
        let bound = if is_long() { 1.1 } else { 5.0 };
        assert!((1.0 / bound..=bound).contains(ratio), "{technique}: {ratio:.3}");
    }
    println!("PASS matrix_timing techniques={}", ratios.len());
}
