//! Where a browser is sent in the end: only to addresses that the project allows, compared as browsers read them.

use url::Url;

use super::settings::Settings;

/// Longer addresses are nobody's.
const MAX_BYTES: usize = 2_048;
/// Schemes that run what they carry, or show what is on the user's machine.
const NEVER: [&str; 9] =
    ["javascript", "data", "vbscript", "file", "blob", "about", "view-source", "filesystem", "intent"];

impl Settings {
    /// The address that a flow ends at: the one wished for, else the page that asked (`Referer`), each if the project allows
    /// it; else the app's own address. Nobody is told that another one was refused.
    pub fn redirect(&self, wished: Option<&str>, referer: Option<&str>) -> String {
        let allowed = |text: &str| self.allows(text);
        wished
            .and_then(allowed)
            .or_else(|| referer.and_then(allowed))
            .unwrap_or_else(|| self.site_url.clone())
    }

    /// An address as browsers read it, if the project allows it: it is on the app's own origin, or in the list. For whoever
    /// develops on his machine, all names of it are one.
    fn allows(&self, text: &str) -> Option<String> {
        let url = sound(text)?;
        let is_own = Url::parse(&self.site_url).is_ok_and(|site| {
            is_same_place(&site, &url)
                || (self.is_dev
                    && is_this_machine(&site)
                    && is_same_door(&site, &url)
                    && is_this_machine(&url))
        });
        let is_listed = || {
            self.project.redirect_urls.iter().any(|pattern| {
                Url::parse(pattern)
                    .is_ok_and(|pattern| is_same_place(&pattern, &url) && covers(&pattern, &url))
            })
        };
        (is_own || is_listed()).then(|| url.into())
    }
}

/// Reads an address that says plainly where it leads. What two readers could read differently is refused.
fn sound(text: &str) -> Option<Url> {
    if text.len() > MAX_BYTES || text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return None;
    }
    let (scheme, rest) = text.split_once(':')?;
    if NEVER.iter().any(|never| scheme.eq_ignore_ascii_case(never)) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    if url.cannot_be_a_base() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let authority = match rest.strip_prefix("//") {
        Some(rest) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
        None => "",
    };
    // `https:/host` and `https:///host` are the same to a browser, and not to everybody.
    if (url.is_special() && authority.is_empty()) || authority.contains(['@', '%']) {
        return None;
    }
    Some(url)
}

/// Whether two addresses have the same scheme, host and port. No part of these is ever a pattern.
fn is_same_place(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && is_same_door(one, other)
}

/// Whether two addresses have the same scheme and port.
fn is_same_door(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.port_or_known_default() == other.port_or_known_default()
}

/// Whether an address is of the machine itself, by one of the names that servers here print and people type.
fn is_this_machine(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// Whether a pattern's path covers an address's: `*` is one segment, `**` one or more, and nothing but these may follow
/// one of these.
fn covers(pattern: &Url, url: &Url) -> bool {
    let segments = |url: &Url| -> Vec<String> {
        url.path().trim_start_matches('/').split('/').map(str::to_owned).collect()
    };
    let (pattern, path) = (segments(pattern), segments(url));
    let stars = |segment: &String| segment == "*" || segment == "**";
    let fixed = pattern.iter().position(stars).unwrap_or(pattern.len());
    let globs = &pattern[fixed..];
    if !globs.iter().all(stars) || path.get(..fixed) != Some(&pattern[..fixed]) {
        return false;
    }
    let free = &path[fixed..];
    let is_open = globs.iter().any(|glob| glob == "**");
    let fits = if is_open { free.len() >= globs.len() } else { free.len() == globs.len() };
    fits && !free.iter().any(|segment| hides_more(segment))
}

/// Whether a segment holds what some servers take for a slash or the end of a text, once they have decoded it.
fn hides_more(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    ["%2f", "%5c", "%0", "%1", "%7f"].iter().any(|escape| lower.contains(escape))
}

/// An address with these parameters: in the query instead of those of the same name that were there, and in the fragment
/// instead of the one that was there.
pub fn location(base: &str, query: &[(&str, &str)], fragment: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse(base) else { return base.to_owned() };
    if !query.is_empty() {
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !query.iter().any(|(given, _)| given == name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(query);
    }
    if !fragment.is_empty() {
        let text: String =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fragment).finish();
        url.set_fragment(Some(&text));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sign_in::SignIn;

    const SITE: &str = "https://app.test";

    fn settings() -> Settings {
        let listed = [
            "https://other.test/welcome",
            "https://globs.test/users/*",
            "https://globs.test/deep/**",
            "https://globs.test/two/*/*",
            "https://globs.test/mid/*/end",
            "https://*.wild.test/**",
            "https://everywhere.test/**",
            "http://localhost:5173/**",
            "http://192.0.2.7:8080/back",
            "http://[2001:db8::7]/back",
            "com.acme.app://signed-in",
            "com.acme.short:/signed-in",
            "javascript://app.test/**",
            "not an address",
        ];
        Settings {
            project: SignIn { redirect_urls: listed.map(str::to_owned).to_vec(), ..SignIn::default() },
            site_url: SITE.to_owned(),
            mail: Default::default(),
            letters: crate::project::load(&crate::project::Sources::default()).unwrap().letters,
            relay: None,
            public_url: "https://api.test".to_owned(),
            roles: Vec::new(),
            secrets: Default::default(),
            is_dev: false,
            private_hosts: Vec::new(),
            github_url: String::new(),
        }
    }

    #[test]
    fn only_what_the_project_allows_is_gone_to() {
        let settings = settings();
        for (wished, expected) in [
            ("https://app.test", "https://app.test/"),
            ("https://app.test/", "https://app.test/"),
            ("https://app.test/any/path?a=b#c", "https://app.test/any/path?a=b#c"),
            ("https://APP.test:443/x", "https://app.test/x"),
            ("https://other.test/welcome", "https://other.test/welcome"),
            ("https://other.test/welcome?next=%2Fhome#/tab", "https://other.test/welcome?next=%2Fhome#/tab"),
            ("https://other.test/x/../welcome", "https://other.test/welcome"),
            ("https://globs.test/users/7", "https://globs.test/users/7"),
            ("https://globs.test/users/", "https://globs.test/users/"),
            ("https://globs.test/deep/a/b/c", "https://globs.test/deep/a/b/c"),
            ("https://globs.test/two/a/b", "https://globs.test/two/a/b"),
            ("https://everywhere.test", "https://everywhere.test/"),
            ("http://localhost:5173", "http://localhost:5173/"),
            ("http://localhost:5173/a/b", "http://localhost:5173/a/b"),
            ("http://192.0.2.7:8080/back", "http://192.0.2.7:8080/back"),
            ("http://[2001:db8::7]/back", "http://[2001:db8::7]/back"),
            ("com.acme.app://signed-in", "com.acme.app://signed-in"),
            ("com.acme.app://signed-in?x=1", "com.acme.app://signed-in?x=1"),
            ("com.acme.short:/signed-in", "com.acme.short:/signed-in"),
        ] {
            assert_eq!(settings.redirect(Some(wished), None), expected, "{wished}");
        }
    }

    #[test]
    fn for_whoever_develops_all_names_of_the_machine_are_one() {
        const HERE: &str = "http://127.0.0.1:8000";
        let mut settings = Settings { site_url: HERE.to_owned(), is_dev: true, ..settings() };
        let names = ["http://localhost:8000/a?b=c", "http://127.0.0.1:8000/a", "http://[::1]:8000/a"];
        for name in names {
            assert_eq!(settings.redirect(Some(name), None), name);
            assert_eq!(settings.redirect(None, Some(name)), name);
        }
        for wished in [
            "http://localhost:8001/",
            "http://localhost/",
            "https://localhost:8000/",
            "http://localhost.evil.test:8000/",
            "http://evil.test:8000/",
            "http://localhost:8000@evil.test/",
            "http://127.0.0.2:8000/",
            "http://0.0.0.0:8000/",
        ] {
            assert_eq!(settings.redirect(Some(wished), None), HERE, "{wished}");
        }
        // In production a name is a name, and what is not on this machine has no other.
        settings.is_dev = false;
        assert_eq!(settings.redirect(Some(names[0]), None), HERE);
        settings = Settings { is_dev: true, ..self::settings() };
        assert_eq!(settings.redirect(Some("https://localhost/"), None), SITE);
    }

    #[test]
    fn whatever_else_is_wished_leads_to_the_app() {
        let settings = settings();
        let long = format!("https://app.test/{}", "a".repeat(MAX_BYTES));
        let hostile = [
            "",
            " ",
            "/",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "evil.test",
            "app.test",
            "http://app.test/",
            "https://app.test:444/",
            "https://app.test:80/",
            "https://evil.test",
            "https://evil.test/#https://app.test",
            "https://evil.test/?https://app.test/",
            "https://app.test.evil.test/",
            "https://app.test./",
            "https://evilapp.test/",
            "https://sub.app.test/",
            "https://app.test@evil.test/",
            "https://app.test:443@evil.test/",
            "https://app.test%40evil.test/",
            "https://user@app.test/",
            "https://user:pass@app.test/",
            "https://:pass@app.test/",
            "https://@app.test/",
            "https://evil.test\\@app.test/",
            "https://evil.test\\.app.test/",
            "https:\\\\app.test\\",
            "https:/app.test/",
            "https:app.test",
            "https:///app.test/",
            "https:////app.test/",
            "https://app.test\t.evil.test/",
            "https://app.test\r\nSet-Cookie:a=b",
            "https://app.test/\0",
            "https://app.test/a b",
            " https://app.test/",
            "https://app.test/ ",
            "ht\ntps://app.test/",
            "\u{1}https://app.test/",
            "https://app.test/\u{85}",
            "https://app.test/\u{2028}",
            "https://%61pp.test/",
            "https://evil.test%2f@app.test/",
            "https://evil.test%23@app.test/",
            "https://app\u{2024}test/",
            "https://app.test\u{ff0f}.evil.test/",
            "https://evil.test\u{ff03}.app.test/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "http://192.0.2.7/back",
            "http://192.0.2.8:8080/back",
            "http://3221225991:8081/back",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\nscript:alert(1)",
            "javascript://app.test/%0aalert(1)",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://app.test/x",
            "about:blank",
            "view-source:https://app.test/",
            "mailto:ada@app.test",
            "com.acme.app:signed-in",
            "com.acme.app://elsewhere",
            "com.acme.app://signed-in/further",
            "com.acme.app.evil://signed-in",
            "com.acme.short:/elsewhere",
            "https://other.test/",
            "https://other.test/welcome/",
            "https://other.test/welcome/x",
            "https://other.test/Welcome",
            "https://other.test/welcome/../x",
            "https://other.test/welcome%2f..%2fx",
            "https://other.test/x?/welcome",
            "https://globs.test/",
            "https://globs.test/users",
            "https://globs.test/users/7/edit",
            "https://globs.test/users/../x",
            "https://globs.test/users/%2e%2e/x",
            "https://globs.test/users/.%2E/x",
            "https://globs.test/users/a%2fb",
            "https://globs.test/users/a%5Cb",
            "https://globs.test/users/a%00",
            "https://globs.test/deep",
            "https://globs.test/deep/../users",
            "https://globs.test/deep/a/..%2f..%2fx",
            "https://globs.test/two/a",
            "https://globs.test/two/a/b/c",
            "https://globs.test/mid/a/end",
            "https://a.wild.test/x",
            "https://wild.test/x",
            "http://localhost:5174/",
            "http://localhost/",
            "https://localhost:5173/",
            "not an address",
            long.as_str(),
        ];
        assert!(hostile.len() >= 60);
        for wished in hostile {
            assert_eq!(settings.redirect(Some(wished), None), SITE, "{wished:?}");
            // Nor does it count as the page that asked.
            assert_eq!(settings.redirect(None, Some(wished)), SITE, "{wished:?}");
        }
        assert_eq!(settings.redirect(None, None), SITE);
    }

    #[test]
    fn the_page_that_asked_is_gone_back_to_where_no_other_is_wished() {
        let settings = settings();
        let page = "https://everywhere.test/page";
        for (wished, expected) in [
            (None, page),
            (Some(""), page),
            (Some("https://evil.test/"), page),
            (Some("https://app.test/own"), "https://app.test/own"),
        ] {
            assert_eq!(settings.redirect(wished, Some(page)), expected, "{wished:?}");
        }
    }

    #[test]
    fn what_is_told_replaces_what_was_planted() {
        for (base, query, fragment, expected) in [
            ("https://app.test", &[][..], &[][..], "https://app.test/"),
            ("https://app.test/x?a=b#c", &[("code", "1 2")], &[], "https://app.test/x?a=b&code=1+2#c"),
            (
                "https://app.test/?code=planted&a=b&code=2",
                &[("code", "real")],
                &[],
                "https://app.test/?a=b&code=real",
            ),
            (
                "https://app.test/#access_token=planted",
                &[],
                &[("access_token", "a&b=c")],
                "https://app.test/#access_token=a%26b%3Dc",
            ),
            (
                "com.acme.app://signed-in",
                &[("code", "1")],
                &[("error", "x")],
                "com.acme.app://signed-in?code=1#error=x",
            ),
            ("no address", &[("code", "1")], &[], "no address"),
        ] {
            assert_eq!(location(base, query, fragment), expected);
        }
    }
}
