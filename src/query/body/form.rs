//! `application/x-www-form-urlencoded`: one record.

use super::{Members, text::Texts};
use crate::error::{Code, Error};
use crate::model::MAX_FIELDS;
use crate::query::parse::{self, Fault};

/// The record of a form.
///
/// # Errors
/// PGRST102 for what is no text once decoded, a name that stands twice, and what is over a limit.
pub(super) fn record(text: &str, texts: &mut Texts<'_>) -> Result<Members, Error> {
    if text.bytes().filter(|byte| *byte == b'&').count() > MAX_FIELDS {
        return Err(Error::with(Code::Body, "A record has too many members"));
    }
    let parameters = parse::parameters(text).map_err(|fault| match fault {
        Fault::Encoding(what) => Error::with(Code::Body, format!("The body holds {what}")),
        other => Error::from(other),
    })?;
    let mut members: Vec<(String, _)> = Vec::with_capacity(parameters.len());
    for (name, value) in parameters {
        if members.iter().any(|(known, _)| *known == name) {
            return Err(Error::with(Code::Body, format!("The member {name:?} stands twice")));
        }
        let value = texts.member(&name, Some(&value))?;
        members.push((name, value));
    }
    Ok(Members(members))
}
