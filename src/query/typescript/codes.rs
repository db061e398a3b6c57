//! The codes of errors: the server's by its one table, and those by which a client speaks of having no answer.

use std::collections::BTreeSet;

use crate::error::{AuthCode, CHANNEL_CODES, Code, SQLSTATES, StorageCode};

/// What a client says where the server said nothing that could be used, and what it means.
pub const CLIENT_CODES: &[(&str, &str)] = &[
    ("aborted", "The caller gave the request up"),
    ("bad_answer", "The answer is not one of this server"),
    ("closed", "What was asked has been closed by the caller"),
    ("invalid_query", "The query says what no request can ask"),
    ("invalid_request", "What was given cannot be sent"),
    ("network", "The server cannot be reached"),
    ("no_websocket", "There is no WebSocket here, and none was given"),
    ("offline", "There is no connection, and the request does not wait for one"),
    ("refused", "A channel was refused without a word"),
    ("timeout", "No answer came in time"),
    ("unasked_session", "An address brings a session that was not asked for here"),
];

/// Every code, each once: whatever befalls a request has a word in each dialect.
fn all() -> BTreeSet<String> {
    let sign_in = AuthCode::ALL.iter().map(|code| Code::Auth(*code));
    let storage = StorageCode::ALL.iter().map(|code| Code::Storage(*code));
    let own = sign_in.chain(storage).map(|code| code.as_str().to_owned());
    let any = Code::PLAIN.iter().flat_map(|code| [code.as_str(), code.in_sign_in().0, code.in_storage().0]);
    let others = SQLSTATES.iter().chain(CHANNEL_CODES).chain(CLIENT_CODES).map(|(code, _)| *code);
    own.chain(any.chain(others).map(str::to_owned)).collect()
}

/// `ErrorCode` as TypeScript.
pub fn code_union() -> String {
    let members: Vec<String> = all().iter().map(|code| format!("  | {}\n", super::literal(code))).collect();
    format!("export type ErrorCode =\n{}", members.concat())
}

/// The file of the client that knows every code.
pub fn codes() -> String {
    format!(
        "// Made from the server's table of errors by `BASEWRIGHT_UPDATE=1 cargo test typescript`.\n\n\
         /** Every code that an error can have by this version. */\n{}",
        code_union()
    )
}
