//! `docs/errors.md`: every code.

use std::collections::BTreeMap;

use basewright::error::{AuthCode, CHANNEL_CODES, Code, SQLSTATES, StorageCode};
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
| `/auth/v1` | `error_code` (`code` is the status) | `msg` | `weak_password`, `error_id` |
| `/storage/v1` | `code` | `message` | `error`, `statusCode`, `hint`, `request_id` |

`fields` lists every fault of what was sent, each with a `pointer` into it (`/title`, `/0/tags/2`), a `code` of its own (`required`, `kind`,
`min`, `max`, `match`, `values`, `unique`, `reference`, `schema`) and a `message`. No answer repeats a value. Under the `request_id`,
which every answer has as `X-Request-Id` too, the server's log says more. Where trying again makes sense, `Retry-After` says after
how many seconds. Some errors of `/storage/v1` are answered with the status 400, as its clients expect; `statusCode` is the one that is
meant and that stands here.

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

const WORDS: &str = "\
What befalls any request is called by words that clients of this dialect know:
";

const CHANNELS: &str = "\
## Channels

The answer to a join has a `reason`: one of these or a code of records, a colon, and a sentence.
";

const CLIENT: &str = "\
## What the client says by itself

Where there was no answer, or none that could be used. Their status is 0 or that of the answer.
";

/// What befalls any request, where a dialect has a word of its own for it.
fn words(of: fn(&Code) -> (&str, u16)) -> String {
    let rows: BTreeMap<(String, u16), Vec<&str>> = Code::PLAIN
        .iter()
        .map(|code| (of(code), code))
        .filter(|((word, _), code)| *word != code.as_str())
        .fold(BTreeMap::new(), |mut rows, ((word, status), code)| {
            let codes: &mut Vec<&str> = rows.entry((word.to_owned(), status)).or_default();
            if !codes.contains(&code.as_str()) {
                codes.push(code.as_str());
            }
            rows
        });
    let rows = rows.into_iter().map(|((word, status), codes)| {
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        format!("| `{word}` | {status} | {} |\n", codes.join(", "))
    });
    format!("{WORDS}\n| code | status | elsewhere |\n|---|---|---|\n{}", rows.collect::<String>())
}

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
    let meanings = |codes: &[(&str, &str)]| {
        let rows = codes.iter().map(|(code, means)| format!("| `{code}` | {means} |\n"));
        format!("| code | means |\n|---|---|\n{}", rows.collect::<String>())
    };
    let parts = [
        HEAD.to_owned(),
        format!("{GENERAL}\n{}", table(Code::PLAIN.iter().cloned())),
        format!("{STATES}\n| code | status | means |\n|---|---|---|\n{}", states.collect::<String>()),
        format!("## Sign-in\n\n{}", table(AuthCode::ALL.iter().map(|code| Code::Auth(*code)))),
        words(Code::in_sign_in),
        format!("## Files\n\n{}", table(StorageCode::ALL.iter().map(|code| Code::Storage(*code)))),
        words(|code| {
            let (word, status, _) = code.in_storage();
            (word, status)
        }),
        format!("{CHANNELS}\n{}", meanings(CHANNEL_CODES)),
        format!("{CLIENT}\n{}", meanings(CLIENT_CODES)),
    ];
    generated("docs/errors.md", &parts.join("\n"));
}
