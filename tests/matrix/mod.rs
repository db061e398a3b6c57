//! The door matrix: everybody × every collection × every action × every position of a request, against an
//! oracle written from the policy text alone.
//!
//! What may be learned of what one may not see is that a unique key is taken and that a referenced record
//! exists, and nothing else: no value, no count, no name, no error that depends on it.

mod ask;
mod deeds;
mod ledger;
mod names;
mod oracle;
mod random;
mod reads;
mod site;
mod world;
mod worlds;
mod writes;

use ledger::Ledger;
use site::Site;

const SEED: u64 = 0x0d00_25ea;

fn is_long() -> bool {
    std::env::var_os("BASEWRIGHT_LONG").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_shows_what_the_policy_text_says_and_nothing_else() {
    let site = Site::open().await;
    let world = world::world();
    site.fill(&world).await;
    let ledger = Ledger::default();
    let started = std::time::Instant::now();
    let (random, one_in) = if is_long() { (400, 1) } else { (40, 4) };
    let cells = reads::cells(&site.callers(), &world, SEED, random, one_in);
    println!("seed={SEED:#x} cells={}", cells.len());
    reads::walk(&site, &ledger, cells).await;
    ledger.close(
        "matrix_reads",
        &format!("seed={SEED:#x} seconds={:.1}", started.elapsed().as_secs_f32()),
        10_000,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_does_what_the_policy_text_says_and_nothing_else() {
    let site = Site::open().await;
    let world = world::world();
    site.fill(&world).await;
    let ledger = Ledger::default();
    let started = std::time::Instant::now();
    let cells = writes::cells(&site.callers(), &world, SEED, if is_long() { 1 } else { 3 });
    println!("seed={SEED:#x} cells={}", cells.len());
    writes::walk(&site, &ledger, &world, &cells).await;
    ledger.close(
        "matrix_writes",
        &format!("seed={SEED:#x} seconds={:.1}", started.elapsed().as_secs_f32()),
        3_000,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_answers_as_if_it_did_not_exist() {
    let site = Site::open().await;
    let world = world::world();
    site.fill(&world).await;
    let ledger = Ledger::default();
    let started = std::time::Instant::now();
    names::walk(&site, &ledger).await;
    ledger.cell(|| "the records after all questions".to_owned(), site.dump().await == world, true);
    ledger.close("matrix_names", &format!("seconds={:.1}", started.elapsed().as_secs_f32()), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_depends_on_what_the_caller_may_not_see() {
    let site = Site::open().await;
    let ledger = Ledger::default();
    let started = std::time::Instant::now();
    let hidden = worlds::walk(&site, &ledger, &world::world()).await;
    let figures = format!("hidden_values_changed={hidden} seconds={:.1}", started.elapsed().as_secs_f32());
    ledger.close("matrix_worlds", &figures, 3_000);
    assert!(hidden > 500, "only {hidden} values differed between the worlds");
}
