//! What Postgres refuses, by its SQLSTATE (its manual, appendix A).

/// Those that callers meet, each with what it means here. Any other passes as Postgres says it; 42501 is `Code::Denied`.
pub const SQLSTATES: &[(&str, &str)] = &[
    ("21000", "One body names the same record twice"),
    ("22001", "A text is longer than its place takes"),
    ("22003", "A number is beyond the range of its kind"),
    ("22007", "A text is no date or time"),
    ("22008", "A date or time is beyond the range of its kind"),
    ("2201B", "A regular expression is not valid"),
    ("22023", "A parameter has a value that it cannot have"),
    ("22025", "A pattern of `like` ends in its escape character"),
    ("22P02", "A value is not of the kind of its field"),
    ("22P05", "A character cannot be stored"),
    ("23502", "A required value is missing"),
    ("23503", "A reference leads nowhere, or other records refer to this one"),
    ("23505", "A unique value is taken"),
    ("23514", "A value is outside of what the collection allows"),
    ("23P01", "The record conflicts with another one"),
    ("40001", "The request met another one at work on the same records: try again"),
    ("40P01", "The request and another one waited for each other: try again"),
    ("42703", "A field does not exist"),
    ("42704", "A type or a configuration that the request names does not exist"),
    ("42712", "Two members of the answer would have one name"),
    ("42804", "A value or an operator does not fit the kind of its field"),
    ("42883", "An operator does not exist for the kind of its field"),
    ("42P10", "`on_conflict` names fields that are not unique together"),
    ("54000", "The request goes beyond a limit of the database"),
    ("55P03", "The request waited too long for another one at work on the same records: try again"),
    ("57014", "The request asked for too much work and was cancelled"),
];

/// PostgREST's mapping of SQLSTATE to HTTP status. 42501 is `Code::Denied` or `Code::DeniedAnonymous` and never comes here.
pub(super) fn status(state: &str) -> u16 {
    match state {
        "57P01" => 503,
        "53400" => 500,
        "42P17" => 500,
        "23503" | "23505" => 409,
        "25006" => 405,
        // One body that names a record twice.
        "21000" => 400,
        "22023" => 400,
        "42883" | "42P01" => 404,
        "P0001" => 400,
        // statement_timeout: the request asked for too much work.
        "57014" => 504,
        // Our own runtime time-outs and retries: lock_timeout, serialization, deadlock.
        "55P03" | "40001" | "40P01" => 503,
        _ => match state.get(..2).unwrap_or_default() {
            // A trigger chose the status: `raise sqlstate 'PT402'`.
            "PT" => state[2..].parse().ok().filter(|status| (400..=599).contains(status)).unwrap_or(400),
            "08" | "53" => 503,
            "0L" | "0P" | "28" => 403,
            "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "55" | "57" | "58" | "F0" | "HV" | "P0"
            | "XX" => 500,
            _ => 400,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_one_and_every_status_an_error() {
        assert!(SQLSTATES.is_sorted_by(|a, b| a.0 < b.0));
        for (state, means) in SQLSTATES {
            let form =
                state.len() == 5 && state.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            assert!(form && !means.is_empty(), "{state}");
            assert!((400..=599).contains(&status(state)), "{state}");
        }
    }
}
