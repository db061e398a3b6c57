//! A project as TypeScript: what a caller reads, writes, embeds, stores and hears, as types without code.
//!
//! It says what requests would answer and nothing else, as [`openapi`](super::openapi) does and from the same view of
//! each collection. What a project says stands in the text as names, literals and comments only, and none of it can end
//! the one in which it stands.

mod codes;
mod text;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::openapi::written;
use super::plan::Context;
use super::view::{Absent, View};
use crate::model::{Action, Bound, Bucket, Collection, DefaultValue, Field, FieldId, RelationTarget, Scalar};
use crate::policy::{ChannelDecision, Decision, Permit, Topic};

pub use codes::{CLIENT_CODES, code_union, codes};
use text::{comment, literal, property, template, type_name};

/// Names of types that the text has besides those of enums, or that its types are written with.
const TAKEN: [&str; 4] = ["Schema", "Json", "ErrorCode", "Record"];

/// The types of a project as a caller meets it. `command` is what makes them, for whoever wants them anew.
pub fn schema(context: Context<'_>, command: &str) -> String {
    let views: Vec<View<'_>> =
        context.catalog.collections.ids().filter_map(|id| View::of(context, id)).collect();
    let enums = Enums::of(&views);
    let who = match context.principal.roles.last() {
        Some(role) if !context.principal.is_service() => format!("as callers of the role `{role}` see it"),
        _ => "as its secret key sees it".to_owned(),
    };
    let mut out = format!(
        "// Made by `{}`, which makes it anew. Edit the project instead.\n\n/** What JSON can say. */\n\
         export type Json = string | number | boolean | null | Json[] | {{ [member: string]: Json }}\n",
        comment(command)
    );
    for named in &enums.0 {
        let values = named.values.iter().map(|value| literal(value)).collect::<Vec<_>>().join(" | ");
        add(&mut out, 0, &format!("\n/** The values of `{}`. */", named.place));
        add(&mut out, 0, &format!("export type {} = {values}", named.name));
    }
    add(&mut out, 0, &format!("\n/** The project, {}. */", comment(&who)));
    add(&mut out, 0, "export interface Schema {");
    if views.is_empty() {
        add(&mut out, 1, "collections: {}");
    } else {
        add(&mut out, 1, "collections: {");
        for view in &views {
            Writer { view, enums: &enums }.collection(&mut out);
        }
        add(&mut out, 1, "}");
    }
    add(&mut out, 1, "/** The names of the buckets. */");
    add(&mut out, 1, &format!("buckets: {}", union(buckets(context))));
    add(&mut out, 1, "/** The topics of the channels. */");
    add(&mut out, 1, &format!("channels: {}", channels(context)));
    add(&mut out, 0, "}\n");
    add(&mut out, 0, "/** Every code that an error can have by this version. */");
    out.push_str(&code_union());
    out
}

/// A line. Text of several lines is written as it stands.
fn add(out: &mut String, depth: usize, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:1$}{line}", "", depth * 2);
}

fn union(members: impl IntoIterator<Item = String>) -> String {
    let members: Vec<String> = members.into_iter().collect();
    if members.is_empty() { "never".to_owned() } else { members.join(" | ") }
}

/// A declared bucket that a rule of the caller speaks of, or of which he may read what he knows the key of.
fn buckets(context: Context<'_>) -> impl Iterator<Item = String> + '_ {
    let speaks = move |bucket: &Bucket| {
        let decision = context.catalog.policies.bucket(context.principal, Action::Read, &bucket.id);
        bucket.public || !matches!(decision, Decision::Unknown)
    };
    context.catalog.buckets.values().filter(move |bucket| speaks(bucket)).map(|bucket| literal(&bucket.id))
}

/// The declared topics on which the caller may hear or speak, and any other where undeclared ones are open.
fn channels(context: Context<'_>) -> String {
    let channels = context.catalog.policies.channels();
    let speaks = |topic: &Topic| {
        // Forms of topics do not overlap, so any topic of this form is of no other.
        let sample = topic.parts().map(|part| part.unwrap_or("x")).collect::<Vec<_>>().join(":");
        match context.catalog.policies.channel(context.principal, &sample) {
            ChannelDecision::Unrestricted(_) => true,
            ChannelDecision::Declared(permit) => {
                let never = crate::condition::Condition::never();
                permit.read != never || permit.write != never
            }
            ChannelDecision::Undeclared => false,
        }
    };
    let declared = channels.declared.iter().map(|channel| &channel.topic).filter(|topic| speaks(topic));
    let mut members: Vec<String> = declared.map(template).collect();
    if channels.public {
        // Beside others it is written so that an editor still offers them.
        members.push(if members.is_empty() { "string" } else { "(string & {})" }.to_owned());
    }
    union(members)
}

/// The enums that the caller knows or may write, each with a name of its own.
struct Enums(Vec<Named>);

struct Named {
    name: String,
    /// `posts.status`.
    place: String,
    values: Vec<String>,
}

impl Enums {
    fn of(views: &[View<'_>]) -> Enums {
        let mut taken: BTreeSet<String> = TAKEN.map(str::to_owned).into();
        let mut found = Vec::new();
        for view in views {
            let permits = [&view.read, &view.create, &view.update];
            let is_met = |field: FieldId| permits.iter().any(|permit| meets(permit.as_ref(), field));
            for field in view.collection.field_ids().filter(|field| is_met(*field)) {
                let field = view.collection.field(field);
                let Some(values) = &field.values else { continue };
                let wanted = type_name(&[view.name(), field.name.as_str()]);
                // `a_b` of `c` and `b` of `c_a` ask for one name.
                let name = std::iter::once(wanted.clone())
                    .chain((2..).map(|count: usize| format!("{wanted}{count}")))
                    .find(|name| taken.insert(name.clone()))
                    .unwrap_or(wanted);
                found.push(Named { name, place: place(view.collection, field), values: values.clone() });
            }
        }
        Enums(found)
    }

    /// The type of the JSON of a field's value that is not null.
    fn typed(&self, collection: &Collection, field: &Field) -> String {
        let here = place(collection, field);
        match self.0.iter().find(|named| named.place == here) {
            Some(named) if field.kind.array => format!("({} | null)[]", named.name),
            Some(named) => named.name.clone(),
            None => field.kind.typescript(),
        }
    }
}

fn meets(permit: Option<&Permit>, field: FieldId) -> bool {
    permit.is_some_and(|permit| permit.covers(field))
}

fn place(collection: &Collection, field: &Field) -> String {
    format!("{}.{}", collection.name, field.name)
}

/// Writes one collection.
struct Writer<'a> {
    view: &'a View<'a>,
    enums: &'a Enums,
}

impl Writer<'_> {
    fn collection(&self, out: &mut String) {
        let view = self.view;
        add(out, 2, &format!("{}: {{", property(view.name())));
        match &view.read {
            Some(read) => {
                add(out, 3, "Row: {");
                for (id, nullable) in view.answered(read) {
                    let said = self.describe(id, read.mask(id).is_some());
                    add(out, 4, &format!("/** {} */", comment(&said)));
                    self.member(out, id, "", nullable);
                }
                add(out, 3, "}");
            }
            // The collection is there all the same: records can be made that their maker does not read.
            None => add(out, 3, "Row: Record<never, never>"),
        }
        self.body(out, "New", view.create.as_ref());
        self.body(out, "Patch", view.update.as_ref());
        add(out, 3, &format!("Key: {}", self.key()));
        if view.embeds.is_empty() {
            add(out, 3, "Relations: {}");
        } else {
            add(out, 3, "Relations: {");
            for embed in &view.embeds {
                let (name, target) = (property(&embed.name), literal(&embed.target));
                add(out, 4, &format!("{name}: {{ to: {target}; many: {} }}", !embed.to_one));
            }
            add(out, 3, "}");
        }
        add(out, 3, &format!("Search: {}", view.searches()));
        add(out, 2, "}");
    }

    /// What a write takes.
    fn body(&self, out: &mut String, name: &str, permit: Option<&Permit>) {
        let Some(permit) = permit else { return add(out, 3, &format!("{name}: never")) };
        let offered: Vec<(FieldId, Absent)> = self.view.offered(permit).collect();
        if offered.is_empty() {
            // An object without members, where `{}` would be anything.
            return add(out, 3, &format!("{name}: Record<string, never>"));
        }
        add(out, 3, &format!("{name}: {{"));
        for (id, absent) in offered {
            let field = self.view.collection.field(id);
            let filled = permit.action() == Action::Create && absent == Absent::Fine;
            let default = field.default.as_ref().filter(|_| filled);
            if let Some(default) = default {
                add(out, 4, &format!("/** {} unless given */", comment(&said(default))));
            }
            self.member(out, id, if absent == Absent::Refused { "" } else { "?" }, !field.required);
        }
        add(out, 3, "}");
    }

    fn member(&self, out: &mut String, id: FieldId, mark: &str, nullable: bool) {
        let field = self.view.collection.field(id);
        let typed = self.enums.typed(self.view.collection, field);
        let null = if nullable { " | null" } else { "" };
        // `Json` has null among its values.
        let null = if typed == "Json" { "" } else { null };
        add(out, 4, &format!("{}{mark}: {typed}{null}", property(field.name.as_str())));
    }

    /// The names of the fields of the key; of a key that the caller does not know whole, nothing.
    fn key(&self) -> String {
        let key = &self.view.collection.primary_key;
        let knows = |field: &FieldId| meets(self.view.read.as_ref(), *field);
        let names = key.iter().map(|field| literal(self.view.collection.field(*field).name.as_str()));
        if key.iter().all(knows) { union(names) } else { union([]) }
    }

    /// One short line about a field.
    fn describe(&self, id: FieldId, masked: bool) -> String {
        let collection = self.view.collection;
        let field = collection.field(id);
        let mut said = vec![match &field.relation {
            Some(relation) => match relation.target {
                RelationTarget::Collection(target) if self.knows(target) => {
                    format!("{} of `{}`", field.kind, self.view.catalog.collection(target).name)
                }
                RelationTarget::Collection(_) => field.kind.to_string(),
                RelationTarget::Users => format!("{} of a user", field.kind),
            },
            None if field.values.is_some() => if field.kind.array { "enum[]" } else { "enum" }.to_owned(),
            None => field.kind.to_string(),
        }];
        if collection.primary_key == [id] {
            said.push("the key".to_owned());
        } else if collection.primary_key.contains(&id) {
            said.push("part of the key".to_owned());
        } else if collection.is_unique(&[id]) {
            said.push("unique".to_owned());
        }
        said.extend(bounds(field));
        said.extend(field.pattern.iter().map(|pattern| format!("matches {pattern}")));
        if masked {
            said.push("null where it is hidden".to_owned());
        }
        said.join(", ")
    }

    /// The caller may read records of it by this collection.
    fn knows(&self, target: crate::model::CollectionId) -> bool {
        let name = &self.view.catalog.collection(target).name;
        self.view.embeds.iter().any(|embed| *name == *embed.target)
    }
}

/// What a field's value or size lies between, if anything bounds it.
fn bounds(field: &Field) -> Option<String> {
    let written = |bound: &Bound| match bound {
        Bound::Size(size) => size.to_string(),
        Bound::Value(value) => value.to_text().unwrap_or_default(),
    };
    let unit = match (field.min.as_ref().or(field.max.as_ref())?, field.kind.array, field.kind.scalar) {
        (Bound::Value(_), _, _) => "",
        (Bound::Size(_), true, _) => " elements",
        (Bound::Size(_), false, Scalar::Bytes) => " bytes",
        (Bound::Size(_), false, _) => " characters",
    };
    Some(match (&field.min, &field.max) {
        (Some(min), Some(max)) => format!("{} to {}{unit}", written(min), written(max)),
        (Some(min), None) => format!("at least {}{unit}", written(min)),
        (None, Some(max)) => format!("at most {}{unit}", written(max)),
        (None, None) => return None,
    })
}

/// A default as a comment says it.
fn said(default: &DefaultValue) -> String {
    match default {
        DefaultValue::Literal(value) => written(value).to_string(),
        DefaultValue::Attribute(attribute) => attribute.to_string(),
        DefaultValue::Now => "now()".to_owned(),
        DefaultValue::UuidV7 => "a new one".to_owned(),
    }
}

#[cfg(test)]
mod tests;
