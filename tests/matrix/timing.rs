//! How long an answer takes tells nothing of records that are hidden: right guesses and wrong ones, in turns.

use std::time::{Duration, Instant};

use super::ask::encode;
use super::site::{Request, Site};
use super::world::{ZOE, id, world};

/// Guesses at the texts of somebody else's records: (technique, what is read, right, wrong).
const GUESSES: &[(&str, &str, &str, &str)] = &[
    ("like a prefix", "diaries?select=id", "body=like.needle*", "body=like.noodle*"),
    ("like anywhere", "diaries?select=id", "body=like.*hay needle*", "body=like.*hay noodle*"),
    (
        "regular expression",
        "diaries?select=id",
        "body=match.^needle (hay ?)+needle$",
        "body=match.^noodle (hay ?)+needle$",
    ),
    ("full text", "diaries?select=id", "body=plfts(simple).needle", "body=plfts(simple).noodle"),
    ("equality", "diaries?select=id", "title=eq.needle", "title=eq.noodle"),
    ("unique key", "diaries?select=id", "pin=eq.needle 7", "pin=eq.noodle 7"),
    ("json path", "diaries?select=id", "meta->>k=like.needle*", "meta->>k=like.noodle*"),
    (
        "negated tree",
        "diaries?select=id",
        "not.or=(title.eq.needle,body.is.null)",
        "not.or=(title.eq.noodle,body.is.null)",
    ),
    ("embed", "people?select=id,diaries!inner()", "diaries.body=like.needle*", "diaries.body=like.noodle*"),
    ("spread", "people?select=id,...diaries(a:id)", "diaries.body=like.needle*", "diaries.body=like.noodle*"),
    (
        "through a junction",
        "docs?select=id,labels!doc_labels!inner()",
        "labels.name=like.needle*",
        "labels.name=like.noodle*",
    ),
];

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// The medians' ratio, right over wrong, of each technique.
pub(super) async fn walk(site: &Site, samples: usize) -> Vec<(&'static str, f64)> {
    site.fill(&world()).await;
    let (owner, doc) = (id("people", ZOE), id("docs", 1));
    site.sql(&format!(
        "insert into public.diaries (owner, title, body, mood, pin, meta) \
         select '{owner}', 'needle', 'needle ' || repeat('hay ', 200) || 'needle', 1, 'needle ' || n, \
                jsonb_build_object('k', 'needle ' || n) \
         from generate_series(1, 3000) as n; \
         insert into public.labels (name, secret) \
         select 'needle ' || repeat('hay ', 200) || n, true from generate_series(1, 1000) as n; \
         insert into public.doc_labels (doc, label, nr, shown) \
         select '{doc}', id, row_number() over () + 1000, false from public.labels where name like 'needle%'; \
         analyze public.diaries, public.labels, public.doc_labels"
    ))
    .await;
    let callers = site.callers();
    let member = callers.iter().find(|caller| caller.who.name == "member").unwrap();
    let mut ratios = Vec::new();
    for (technique, read, right, wrong) in GUESSES {
        let request = |guess: &str| {
            let (name, value) = guess.split_once('=').unwrap();
            Request::get(format!("{read}&{}={}", encode(name), encode(value)))
        };
        let (right, wrong) = (request(right), request(wrong));
        let mut times = (Vec::new(), Vec::new());
        // The first ones prepare the statement.
        for round in 0..samples + 5 {
            for (request, times) in [(&right, &mut times.0), (&wrong, &mut times.1)] {
                let started = Instant::now();
                let answer = site.ask(member, request).await;
                let took = started.elapsed();
                assert_eq!(answer.status, 200, "{technique}: {}", answer.body);
                if round >= 5 {
                    times.push(took);
                }
            }
        }
        ratios.push((*technique, median(times.0) / median(times.1)));
    }
    ratios
}
