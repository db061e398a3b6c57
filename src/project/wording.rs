//! The policies of a project in one text, by which two versions of them are told apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Project;
use crate::condition::Condition;
use crate::model::{Collection, FieldId, FieldSet, Name};

impl Project {
    /// Everything that decides who may do what: roles, rules, public buckets, channels and the named conditions that these use. It says
    /// names and not places in memory, so that another collection changes nothing about the policies of this one.
    pub fn policy_text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut named = BTreeMap::new();
        for role in &self.roles {
            let inherits: Vec<&str> = role.inherits.iter().map(Name::as_str).collect();
            lines.push(format!("role {}: {}", role.name.as_str(), inherits.join(" ")));
        }
        for rule in &self.rules {
            let collection = self.collections.get(rule.collection);
            let mut line = format!("rule {} {} {}", rule.id, rule.role.as_str(), rule.action.as_str());
            condition(&mut line, "when", &rule.when, &mut named);
            condition(&mut line, "check", &rule.check, &mut named);
            // Writing to a String cannot fail.
            let _ = write!(line, " fields[{}]", fields(collection, &rule.fields).join(" "));
            for (field, value) in &rule.set {
                let _ = write!(line, " set {}={value:?}", collection.field(*field).name.as_str());
            }
            lines.push(line);
        }
        for bucket in self.buckets.iter().filter(|bucket| bucket.public) {
            lines.push(format!("public bucket {}", bucket.id));
        }
        lines.push(format!("undeclared channels {}", self.channels.public));
        for channel in &self.channels.declared {
            lines.push(format!("channel {}", channel.topic));
            for rule in &channel.rules {
                let mut line = format!("rule {} {} {}", rule.id, rule.role.as_str(), rule.action.as_str());
                condition(&mut line, "when", &rule.when, &mut named);
                lines.push(line);
            }
        }
        lines.extend(named.iter().map(|(name, text)| format!("condition {}: {text}", name.as_str())));
        lines.sort();
        lines.join("\n")
    }
}

fn condition(line: &mut String, word: &str, condition: &Condition, named: &mut BTreeMap<Name, String>) {
    let _ = write!(line, " {word}({condition})");
    named.extend(condition.named());
}

fn fields<'c>(collection: &'c Collection, fields: &FieldSet) -> Vec<&'c str> {
    let mut names: Vec<&str> =
        fields.iter().map(|field: FieldId| collection.field(field).name.as_str()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use crate::project::{Sources, load};

    fn text(parts: &[&str]) -> String {
        let sources = [("basewright.yaml".to_owned(), parts.concat())].into();
        load(&Sources(sources)).unwrap().policy_text()
    }

    const NOTES: &str = "collections:\n  notes:\n    fields:\n      title: text\n      owner: uuid\n";
    const MORE: &str = "  albums:\n    fields:\n      title: text\n";
    const RULES: &str = "policies:\n  notes:\n    read: [{ role: authenticated, when: owner == auth.id }]\n";

    #[test]
    fn only_what_decides_changes_the_text() {
        let before = text(&[NOTES, RULES]);
        assert!(before.contains("rule notes.read[0] authenticated read when(owner == auth.id)"), "{before}");
        assert_eq!(text(&["# a comment\n", NOTES, RULES]), before);
        assert_eq!(text(&[NOTES, MORE, RULES]), before);
        for changed in [
            RULES.replace("authenticated", "anon"),
            RULES.replace("owner ==", "owner !="),
            RULES.replace("when:", "fields: [title], when:"),
            RULES.replace("read:", "delete:"),
            format!("roles:\n  editor: {{ inherits: [authenticated] }}\n{RULES}"),
            format!("{RULES}channels:\n  'room:{{room}}':\n    read: [{{ role: authenticated }}]\n"),
        ] {
            assert_ne!(text(&[NOTES, &changed]), before, "{changed}");
        }
    }
}
