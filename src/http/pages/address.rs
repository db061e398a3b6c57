//! The path of a request, as the way to a file.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The paths that are the server's own, each with all below it: no file is ever served there.
pub const RESERVED: [&str; 10] = [
    "_",
    "admin/v1",
    "auth/v1",
    "functions/v1",
    "health",
    "metrics",
    "realtime/v1",
    "rest/v1",
    "sdk",
    "storage/v1",
];

/// The one hidden folder that is served: there the web looks for what concerns a whole site (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// To the server's own.
    Reserved,
    /// To names of folders and, last, of a file; without a name after the last slash the file is the folder's index.
    File { names: Vec<String>, is_folder: bool },
    /// To nothing that could be a page.
    Nowhere,
}

/// Whether a path is the server's own, however it is spelled.
pub(in crate::http) fn is_reserved(path: &str) -> bool {
    let path: Cow<'_, [u8]> = percent_decode_str(path).into();
    let path = path.strip_prefix(b"/").unwrap_or(&path);
    RESERVED.iter().any(|reserved| {
        path.strip_prefix(reserved.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}

impl Address {
    /// Reads a path as it stands in a request. Each name is decoded once, and must then be one: no slash, backslash or
    /// control character, nothing hidden (so neither `.` nor `..`), and text.
    pub(super) fn of(path: &str) -> Address {
        if is_reserved(path) {
            return Address::Reserved;
        }
        let Some(rest) = path.strip_prefix('/') else { return Address::Nowhere };
        let (rest, is_folder) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, rest.is_empty()),
        };
        // `//` is no path of ours.
        if rest.is_empty() {
            return match path {
                "/" => Address::File { names: Vec::new(), is_folder },
                _ => Address::Nowhere,
            };
        }
        let names: Option<Vec<String>> =
            rest.split('/').enumerate().map(|(depth, name)| named(name, depth)).collect();
        names.map_or(Address::Nowhere, |names| Address::File { names, is_folder })
    }
}

fn named(encoded: &str, depth: usize) -> Option<String> {
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    let is_plain = !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control());
    (is_shown(name.as_bytes(), depth) && is_plain && !name.is_empty()).then(|| name.into_owned())
}

/// Whether what has this name, so many folders below the pages' own, is not hidden.
pub(super) fn is_shown(name: &[u8], depth: usize) -> bool {
    !name.starts_with(b".") || (depth == 0 && name == WELL_KNOWN.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_file_or_the_index_of_a_folder() {
        for (path, names, is_folder) in [
            ("/", vec![], true),
            ("/a", vec!["a"], false),
            ("/a/", vec!["a"], true),
            ("/a/b.js", vec!["a", "b.js"], false),
            ("/%61%20b", vec!["a b"], false),
            ("/gr%C3%BC%C3%9Fe.html", vec!["grüße.html"], false),
            // Decoded once: what is left is a name like any other.
            ("/%252e%252e", vec!["%2e%2e"], false),
            ("/a+b", vec!["a+b"], false),
            ("/100%", vec!["100%"], false),
            ("/.well-known/security.txt", vec![".well-known", "security.txt"], false),
            ("/rest/v2", vec!["rest", "v2"], false),
            ("/sdks", vec!["sdks"], false),
        ] {
            let names = names.into_iter().map(str::to_owned).collect();
            assert_eq!(Address::of(path), Address::File { names, is_folder }, "{path}");
        }
    }

    #[test]
    fn what_is_no_name_leads_nowhere() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "///",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/../a",
            "/a/../b",
            "/a/..",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2E%2E%2Fa",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/..\\a",
            "/a%00",
            "/%00",
            "/a%0a",
            "/a%7f",
            "/%ff",
            "/%c0%ae%c0%ae/a",
            "/.env",
            "/.git/config",
            "/a/.hidden",
            "/%2egit/config",
            "/a/.well-known/b",
            "/.well-known/../a",
            "/.well-known/.hidden",
            "/%2F/a",
            "/a/%2F",
        ] {
            assert_eq!(Address::of(path), Address::Nowhere, "{path}");
        }
    }

    #[test]
    fn the_servers_own_paths_are_no_pages_however_they_are_spelled() {
        for path in [
            "/sdk",
            "/sdk/",
            "/sdk/index.js",
            "/rest/v1",
            "/rest/v1/posts",
            "/auth/v1/none",
            "/storage/v1/object/a/b.js",
            "/realtime/v1",
            "/functions/v1/f",
            "/admin/v1",
            "/_/mail",
            "/_",
            "/health",
            "/health/live",
            "/metrics",
            "/%73dk/index.js",
            "/rest%2fv1/posts",
            "/rest/%76%31/posts",
            "/%5f/mail",
        ] {
            assert_eq!(Address::of(path), Address::Reserved, "{path}");
            assert!(is_reserved(path), "{path}");
        }
    }
}
