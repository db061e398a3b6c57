//! What a request costs before it reaches Postgres: who asks, what they may do, and the statement.
//!
//! `cargo bench --bench decide` prints microseconds a request on one core, the median of five rounds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use basewright::auth::cache::TokenCache;
use basewright::auth::keys::{Algorithm, Keyring};
use basewright::auth::resolve::{self, Credentials};
use basewright::auth::standing::Standings;
use basewright::auth::token;
use basewright::db::{Lanes, LanesOptions, Session, Target};
use basewright::model::{Action, Principal};
use basewright::project::{self, Sources};
use basewright::query::parse::{self, Bounds};
use basewright::query::plan::{Context, ReadPlan};
use basewright::realtime::feed::Feed;
use futures_util::FutureExt as _;
use uuid::Uuid;

const PROJECT: &str = include_str!("project/basewright.yaml");
const NOW: i64 = 1_800_000_000;
const ROUNDS: usize = 5;
const CALLS: u32 = 200_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let files = BTreeMap::from([("basewright.yaml".to_owned(), PROJECT.to_owned())]);
    let project = project::load(&Sources(files)).unwrap_or_else(|faults| panic!("{faults:?}"));
    let catalog = project.catalog(1).unwrap();
    let ring = Arc::new(Keyring::generate(Algorithm::Es256, NOW).unwrap());
    let user = Uuid::from_u128(1);
    let bearer = token::mint_operator(ring.active(), user, "authenticated", &[], NOW, NOW + 3_600).unwrap();
    let key = ring.publishable();
    let mut tokens = TokenCache::new(NonZeroUsize::new(1_024).unwrap());
    // Nobody listens there, and nothing here asks: an operator's token carries its roles.
    let lanes = Lanes::open(
        &Target::parse("postgresql://nobody@localhost:1/none", &Session::default()).unwrap(),
        LanesOptions::default(),
    );
    let roles = Standings::new(Feed::new());
    let mut identify = || -> Arc<Principal> {
        let credentials = Credentials { bearer: Some(&bearer), api_key: Some(key) };
        let found = resolve::identify(credentials, false, |token| tokens.verify(token, &ring, NOW));
        let verified = found.unwrap().unwrap();
        resolve::principal(&verified, &lanes, &roles).now_or_never().unwrap().unwrap()
    };
    let principal = identify();
    let context = Context { catalog: &catalog, principal: &principal };

    let identity = measure(|| {
        black_box(identify());
    });
    let decision = measure(|| {
        black_box(context.permit(black_box("item"), Action::Read).unwrap());
    });
    let limits = &catalog.limits;
    let bounds = Bounds {
        embed_depth: limits.embed_depth,
        filter_terms: limits.filter_terms,
        in_values: limits.in_values,
    };
    let plan = |query: &str| {
        let parameters = parse::parameters(query).unwrap();
        let node = parse::read(&parameters, &bounds).unwrap();
        black_box(ReadPlan::new(context, "item", &node).unwrap().statement(context));
    };
    let point = measure(|| plan(black_box("id=eq.00000000-0000-4000-8000-000000000001")));
    let list = measure(|| plan(black_box("owner=eq.7&order=created_at.desc&limit=20")));
    println!("identity (two tokens, both cached)      {identity:6.2} us");
    println!("decision (name to permit)               {decision:6.2} us");
    println!("point read: parse, plan, statement      {point:6.2} us");
    println!("list of 20: parse, plan, statement      {list:6.2} us");
    println!("PASS decide {:.2} us for identity and decision", identity + decision);
}

/// Microseconds a call: the median of the rounds.
fn measure(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
