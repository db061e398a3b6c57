//! `docs/errors.md`: every code.

use std::collections::BTreeMap;

use basewright::error::{AuthCode, Code, SQLSTATES, StorageCode};
use basewright::query::typescript::CLIENT_CODES;

use crate::support::generated;

const HEAD: &str = "\
# Errors

<!-- Made by `BASEWRIGHT_UPDATE=1 cargo test generated` from the tables in src/error. -->

Every answer that is no success says why, in the shape of its dialect. The **code** is stable: it never comes to mean something
else, and programs look at it and at nothing else. The sentence is for people and may change.

| where | code | sentence | besides |
|---|---|---|---|
| `/rest/v1` | `code` | `message` | `details`, `hint`, `fields`, `request_id` |
| `/auth/v1` | `error_code` (`code` is the status) | `msg` | `fields` |
| `/storage/v1` | `code` | `message` | `error`, `statusCode` |

`fields` lists every fault of what was sent, each with a `pointer` into it (`/title`, `/0/tags/2`), a `code` of its own (`required`, `kind`,
`min`, `max`, `match`, `values`, `unique`, `reference`, `schema`) and a `message`. No answer repeats a value. Under the `request_id`,
which every answer has as `X-Request-Id` too, the server's log says more. Where trying again makes sense, `Retry-After` says after
how many seconds.

The client (`@basewright/client`) makes a `BasewrightError` of all of them, with the same code; `basewright types` prints them as the type
`ErrorCode`.
";

const GENERAL: &str = "\
## Requests in general, and records

Those that begin with `PGRST` mean what they mean in PostgREST.
";

const STATES: &str = "\
## What Postgres refuses

Five characters, by [appendix A of its manual](https://www.postgresql.org/docs/current/errcodes-appendix.html). These are the ones
to expect; any other passes as Postgres says it, and a trigger of yours can raise its own: `raise sqlstate 'PT402'` answers
with the status 402. `42501` stands above.
";

const CLIENT: &str = "\
## What the client says by itself

Where there was no answer, or none that could be used. Their status is 0 or that of the answer.
";

/// One row a code: several statuses and sentences are between commas.
fn table(codes: impl Iterator<Item = Code>) -> String {
    let mut rows: BTreeMap<String, (Vec<String>, Vec<&'static str>)> = BTreeMap::new();
    for code in codes {
        let (statuses, sentences) = rows.entry(code.as_str().to_owned()).or_default();
        let status = code.status().to_string();
        if !statuses.contains(&status) {
            statuses.push(status);
        }
        if !sentences.contains(&code.sentence()) {
            sentences.push(code.sentence());
        }
    }
    let rows = rows.into_iter().map(|(code, (statuses, sentences))| {
        format!("| `{code}` | {} | {} |\n", statuses.join(", "), sentences.join("; "))
    });
    format!("| code | status | says |\n|---|---|---|\n{}", rows.collect::<String>())
}

#[test]
fn the_generated_page_of_errors_has_every_code() {
    let states = SQLSTATES.iter().map(|(state, means)| {
        let status = Code::Sqlstate((*state).to_owned()).status();
        format!("| `{state}` | {status} | {means} |\n")
    });
    let client = CLIENT_CODES.iter().map(|(code, means)| format!("| `{code}` | {means} |\n"));
    let parts = [
        HEAD.to_owned(),
        format!("{GENERAL}\n{}", table(Code::PLAIN.iter().cloned())),
        format!("{STATES}\n| code | status | means |\n|---|---|---|\n{}", states.collect::<String>()),
        format!("## Sign-in\n\n{}", table(AuthCode::ALL.iter().map(|code| Code::Auth(*code)))),
        format!("## Files\n\n{}", table(StorageCode::ALL.iter().map(|code| Code::Storage(*code)))),
        format!("{CLIENT}\n| code | means |\n|---|---|\n{}", client.collect::<String>()),
    ];
    generated("docs/errors.md", &parts.join("\n"));
}
