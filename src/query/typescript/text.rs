//! Text of a project as TypeScript: names, literals and comments that nothing gets out of.

use crate::policy::Topic;

/// The longest comment of a project's own words, in characters.
const COMMENT: usize = 200;

/// A character inside a literal, by `ends` ended.
fn escaped(out: &mut String, c: char, ends: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        c if c == ends => out.extend(['\\', c]),
        // `${` begins something in a template.
        '$' if ends == '`' => out.push_str("\\$"),
        ' '..='~' => out.push(c),
        '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        // What cannot be seen (separators of lines, directions of writing) is written as its number.
        c => out.extend(c.escape_debug()),
    }
}

/// A literal of a text.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::from("'");
    text.chars().for_each(|c| escaped(&mut out, c, '\''));
    out.push('\'');
    out
}

/// The name of a member.
pub(super) fn property(name: &str) -> String {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if starts && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        name.to_owned()
    } else {
        literal(name)
    }
}

/// The type of the topics of a form: a template where it captures something.
pub(super) fn template(topic: &Topic) -> String {
    if topic.captures().next().is_none() {
        return literal(&topic.to_string());
    }
    let mut out = String::from("`");
    for (at, part) in topic.parts().enumerate() {
        if at > 0 {
            out.push(':');
        }
        match part {
            Some(fixed) => fixed.chars().for_each(|c| escaped(&mut out, c, '`')),
            None => out.push_str("${string}"),
        }
    }
    out.push('`');
    out
}

/// The name of a type, of names in lower case: `PostTagsKind` of `post_tags` and `kind`.
pub(super) fn type_name(names: &[&str]) -> String {
    let words = names.iter().flat_map(|name| name.split('_'));
    let mut out = String::new();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.extend(letters);
    }
    if out.starts_with(|c: char| c.is_ascii_alphabetic()) { out } else { format!("_{out}") }
}

/// Words inside a comment: one line, of a bounded length, which do not end it.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(COMMENT) {
        match c {
            '/' if out.ends_with('*') => out.push_str(" /"),
            ' '..='~' => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(COMMENT).is_some() {
        out.push('…');
    }
    out
}
