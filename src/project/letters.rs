//! [`Letters`]: the words of mails. Every letter has templates of our own, of which a project overrides what it likes:
//! `mail/confirm.html`, `mail/confirm.txt`, `mail/confirm.subject.txt`, and `mail/layout.html` around all of them.
//!
//! One template of ours is a subject, a text and a page at once: it fills the blocks of whatever `layout` it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use super::fault::{At, Faults};
use crate::model::Occasion;

/// Where a project's templates lie.
const FOLDER: &str = "mail/";
/// The forms of a letter, by how their files end.
const FORMS: [&str; 3] = [".subject.txt", ".txt", ".html"];
/// The template around all letters.
const LAYOUT: &str = "layout";
/// Stands before the names of our own templates.
const OURS: &str = "default/";

/// What a template may speak of.
const VARIABLES: [&str; 8] = ["app", "code", "layout", "link", "new_email", "site_url", "to", "valid"];
/// What the language itself brings.
const BUILT_IN: [&str; 7] = ["debug", "dict", "loop", "namespace", "range", "self", "super"];

const LAYOUTS: [(&str, &str); 3] = [
    (".subject.txt", include_str!("letters/layout.subject.txt")),
    (".txt", include_str!("letters/layout.txt")),
    (".html", include_str!("letters/layout.html")),
];

fn ours(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Confirm => include_str!("letters/confirm.jinja"),
        Occasion::Invite => include_str!("letters/invite.jinja"),
        Occasion::Recover => include_str!("letters/recover.jinja"),
        Occasion::MagicLink => include_str!("letters/magic_link.jinja"),
        Occasion::ChangeFrom => include_str!("letters/change_from.jinja"),
        Occasion::ChangeTo => include_str!("letters/change_to.jinja"),
        Occasion::Reauthenticate => include_str!("letters/reauthenticate.jinja"),
        Occasion::AlreadyRegistered => include_str!("letters/already_registered.jinja"),
        Occasion::PasswordChanged => include_str!("letters/password_changed.jinja"),
        Occasion::AddressChanged => include_str!("letters/address_changed.jinja"),
        Occasion::FactorChanged => include_str!("letters/factor_changed.jinja"),
    }
}

/// What a letter speaks of. What is not there is empty in a template.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Words<'a> {
    /// How the app is called.
    pub app: &'a str,
    /// The app's own address.
    pub site_url: &'a str,
    /// Who gets the letter.
    pub to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_email: Option<&'a str>,
    /// How long link and code are good, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<&'a str>,
}

/// What a template is filled with.
#[derive(Serialize)]
struct Filling<'a> {
    #[serde(flatten)]
    words: &'a Words<'a>,
    /// The template whose blocks are filled.
    layout: &'a str,
}

/// A letter in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The words of all letters.
#[derive(Clone, Debug)]
pub struct Letters {
    env: Environment<'static>,
    /// The templates that are the project's.
    own: BTreeSet<String>,
}

impl Letters {
    /// With these templates of a project, by the names of their files without the folder.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be read.
    fn with(own: &BTreeMap<String, String>) -> Result<Letters, minijinja::Error> {
        let mut env = Environment::new();
        env.set_debug(true);
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        for (form, source) in LAYOUTS {
            env.add_template_owned(format!("{OURS}{LAYOUT}{form}"), source)?;
            // What a project's letter extends by name.
            env.add_template_owned(format!("{LAYOUT}{form}"), source)?;
        }
        for occasion in Occasion::ALL {
            for form in FORMS {
                env.add_template_owned(format!("{OURS}{}{form}", occasion.as_str()), ours(occasion))?;
            }
        }
        for (name, source) in own {
            env.add_template_owned(name.clone(), source.clone())?;
        }
        Ok(Letters { env, own: own.keys().cloned().collect() })
    }

    /// Writes a letter. Where a template of the project fails on these words, ours is used: a letter must arrive.
    ///
    /// # Errors
    /// What failed in ours.
    pub fn render(&self, occasion: Occasion, words: &Words<'_>) -> Result<Rendered, minijinja::Error> {
        let [subject, text, html] = FORMS.map(|form| {
            self.form(occasion, form, words, true).or_else(|_| self.form(occasion, form, words, false))
        });
        let one_line = |text: String| {
            text.split(|c: char| c.is_whitespace() || c.is_control())
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        Ok(Rendered { subject: one_line(subject?), text: spaced(&text?), html: html? })
    }

    /// One form of a letter, with the project's templates or with ours alone.
    fn form(
        &self,
        occasion: Occasion,
        form: &str,
        words: &Words<'_>,
        with_own: bool,
    ) -> Result<String, minijinja::Error> {
        let named = |name: &str| {
            let name = format!("{name}{form}");
            if with_own && self.own.contains(&name) { name } else { format!("{OURS}{name}") }
        };
        let (letter, layout) = (named(occasion.as_str()), named(LAYOUT));
        self.env.get_template(&letter)?.render(Filling { words, layout: &layout })
    }
}

/// No more than one empty line at a time, and one line end at the end.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = true;
    for line in text.lines() {
        // A signature begins with `-- ` (RFC 3676, 4.3).
        let line = if line == "-- " { line } else { line.trim_end() };
        if !(line.is_empty() && empty) {
            out.push_str(line);
            out.push('\n');
        }
        empty = line.is_empty();
    }
    out.truncate(out.trim_end_matches('\n').len());
    out.push('\n');
    out
}

/// Whether a file of a project is one of its templates.
pub(super) fn is_template(path: &str) -> bool {
    path.starts_with(FOLDER) && FORMS.iter().any(|form| path.ends_with(form))
}

/// Reads the project's templates and tries each of them. `None` if one has a fault.
pub(super) fn read(faults: &mut Faults<'_>) -> Option<Letters> {
    let mut own = BTreeMap::new();
    let mut places = BTreeMap::new();
    let before = faults.count();
    let files: Vec<_> = faults.files().filter(|(_, path, _)| is_template(path)).collect();
    for (file, path, text) in files {
        let name = &path[FOLDER.len()..];
        let start = At { file, start: 0, end: text.find('\n').unwrap_or(text.len()) };
        let stem = FORMS.iter().find_map(|form| name.strip_suffix(form)).unwrap_or(name);
        let known = || Occasion::ALL.iter().map(|occasion| occasion.as_str()).chain([LAYOUT]);
        if !known().any(|known| known == stem) {
            faults.unknown(start, "letter", stem, known());
            continue;
        }
        let mut env = Environment::new();
        env.set_debug(true);
        match env.template_from_named_str(name, text) {
            Err(fault) => tell(&fault, start, text, faults),
            Ok(template) => {
                let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
                unknown
                    .retain(|word| !VARIABLES.contains(&word.as_str()) && !BUILT_IN.contains(&word.as_str()));
                unknown.sort();
                for word in &unknown {
                    let at = place(text, word).map_or(start, |range| At {
                        file,
                        start: range.start,
                        end: range.end,
                    });
                    let shown = VARIABLES.iter().copied().filter(|known| *known != "layout");
                    faults.unknown(at, "variable", word, shown);
                }
                if unknown.is_empty() {
                    own.insert(name.to_owned(), text.to_owned());
                    places.insert(name.to_owned(), (start, text));
                }
            }
        }
    }
    if faults.count() > before {
        return None;
    }
    let letters = match Letters::with(&own) {
        Ok(letters) => letters,
        Err(fault) => {
            let (at, text) = fault.name().and_then(|name| places.get(name))?;
            tell(&fault, *at, text, faults);
            return None;
        }
    };
    if own.is_empty() {
        return Some(letters);
    }
    try_out(&letters, &places, faults);
    (faults.count() == before).then_some(letters)
}

/// Writes every letter once, with everything that a template may speak of.
fn try_out(letters: &Letters, places: &BTreeMap<String, (At, &str)>, faults: &mut Faults<'_>) {
    let words = Words {
        app: "Acme",
        site_url: "https://app.acme.test",
        to: "ada@acme.test",
        link: Some("https://api.acme.test/auth/v1/verify?token=a&type=b"),
        code: Some("123456"),
        new_email: Some("ada@lovelace.test"),
        valid: Some("15 minutes"),
    };
    let mut strict = letters.clone();
    strict.env.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut told = BTreeSet::new();
    for occasion in Occasion::ALL {
        for form in FORMS {
            let Err(fault) = strict.form(occasion, form, &words, true) else { continue };
            // What fails in ours fails for what the project's layout asks of it.
            let name = fault.name().unwrap_or_default();
            let place = places.get(name).or_else(|| places.get(&format!("{LAYOUT}{form}")));
            if let Some((at, text)) = place
                && told.insert((at.file, fault.range().map(|range| range.start)))
            {
                tell(&fault, *at, text, faults);
            }
        }
    }
}

/// Reports what the template engine says, at its place.
fn tell(fault: &minijinja::Error, start: At, text: &str, faults: &mut Faults<'_>) {
    let at = match fault.range() {
        Some(range) if range.end <= text.len() => At { file: start.file, start: range.start, end: range.end },
        _ => start,
    };
    let what = match fault.kind() {
        ErrorKind::SyntaxError => "the template cannot be read",
        _ => "the template cannot be filled",
    };
    let detail = fault.detail().map_or_else(|| fault.kind().to_string(), str::to_owned);
    faults.add(at, format!("{what}: {detail}"));
}

/// Where a variable stands first in a template: inside `{{ … }}` or `{% … %}`, not behind a dot and not as a text.
fn place(text: &str, word: &str) -> Option<Range<usize>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut from = 0;
    while let Some(open) = text[from..].find(['{']).map(|at| from + at) {
        from = open + 1;
        let close = match text[from..].chars().next() {
            Some('{') => "}}",
            Some('%') => "%}",
            _ => continue,
        };
        let end = text[from..].find(close).map_or(text.len(), |at| from + at);
        for (at, _) in text[from..end].match_indices(word) {
            let (start, stop) = (from + at, from + at + word.len());
            let before = text[..start].chars().next_back();
            let quoted = text[from..start].matches(['"', '\'']).count() % 2 == 1;
            let alone = !before.is_some_and(|c| is_word(c) || c == '.')
                && !text[stop..].chars().next().is_some_and(is_word);
            if alone && !quoted {
                return Some(start..stop);
            }
        }
        from = end;
    }
    None
}

#[cfg(test)]
mod tests;
