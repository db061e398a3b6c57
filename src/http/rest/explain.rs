//! An explained request → a response: Postgres' own form first, what we know beside it.

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::headers::Media;
use crate::error::Error;
use crate::records::explain::{Caller, Explained, Explanation, Wanted};
use crate::records::rules::Deciding;

/// The member that stands beside Postgres' own; caller and rules are told once.
#[derive(Serialize)]
struct Ours<'a> {
    #[serde(flatten)]
    statement: Option<&'a Explanation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a Caller>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a [Deciding]>,
}

/// Finishes the answer that was started.
///
/// # Errors
/// Internal, if Postgres' answer is not of the form that it promises.
pub(super) fn answer(
    explained: &Explained,
    wanted: Wanted,
    media: Media,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, Error> {
    let body = if wanted.json { json(explained)? } else { explained.lines().join("\n") + "\n" };
    Ok(response.insert_header((header::CONTENT_TYPE, content_type(wanted, media))).body(body))
}

/// The media type as the dialect echoes it.
fn content_type(wanted: Wanted, media: Media) -> String {
    let format = if wanted.json { "json" } else { "text" };
    let for_type = media.content_type().trim_end_matches("; charset=utf-8");
    let options: Vec<&str> = wanted.options().collect();
    let options = if options.is_empty() { String::new() } else { format!("; options={}", options.join("|")) };
    format!("application/vnd.pgrst.plan+{format}; for=\"{for_type}\"{options}; charset=utf-8")
}

/// `[{"Plan": …, "Basewright": {…}}, …]`: an element for each statement, as Postgres wrote it and with one more
/// member.
fn json(explained: &Explained) -> Result<String, Error> {
    let (caller, rules) = (Some(&explained.caller), Some(&explained.rules[..]));
    let mut elements = Vec::new();
    for (at, statement) in explained.statements.iter().enumerate() {
        let (caller, rules) = if at == 0 { (caller, rules) } else { (None, None) };
        let ours = serde_json::to_string(&Ours { statement: Some(statement), caller, rules });
        let open = statement.plan.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let open = open.and_then(|text| text.trim().strip_suffix('}'));
        let open = open.ok_or_else(|| Error::internal("Postgres explained in another form than asked"))?;
        let ours = ours.map_err(Error::internal)?;
        elements.push(format!("{},\n    \"Basewright\": {ours}\n  }}", open.trim_end()));
    }
    if elements.is_empty() {
        // Nothing would run: there is no plan, but there are rules.
        let ours = serde_json::to_string(&Ours { statement: None, caller, rules });
        elements.push(format!("{{ \"Basewright\": {} }}", ours.map_err(Error::internal)?));
    }
    Ok(format!("[\n  {}\n]\n", elements.join(",\n  ")))
}
