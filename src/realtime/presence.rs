//! [`Presence`]: who is on a topic, and what changed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::hub::Origin;
use super::protocol::quoted;

/// Who is on one topic.
#[derive(Debug, Default)]
pub struct Presence {
    members: BTreeMap<Box<str>, Vec<Member>>,
}

#[derive(Debug)]
struct Member {
    owner: Origin,
    reference: String,
    /// The whole meta as JSON.
    meta: String,
}

impl Presence {
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Puts a channel under a key, in the place of what it said before. The change is the payload of `presence_diff`.
    pub fn track(&mut self, owner: Origin, key: &str, mut payload: Map<String, Value>) -> String {
        let left = self.take(owner);
        let reference = reference();
        payload.insert("phx_ref".to_owned(), Value::from(reference.as_str()));
        payload.remove("phx_ref_prev");
        // An update is a join that names what it takes the place of.
        if let Some((_, before)) = left.as_ref().filter(|(old, _)| &**old == key) {
            payload.insert("phx_ref_prev".to_owned(), Value::from(before.reference.as_str()));
        }
        let meta = Value::Object(payload).to_string();
        let joins = one(key, &meta);
        self.members.entry(key.into()).or_default().push(Member { owner, reference, meta });
        diff(&joins, left)
    }

    /// Takes a channel out. `None` if it was not there.
    pub fn untrack(&mut self, owner: Origin) -> Option<String> {
        let left = self.take(owner)?;
        Some(diff("{}", Some(left)))
    }

    fn take(&mut self, owner: Origin) -> Option<(Box<str>, Member)> {
        let (key, at) = self.members.iter().find_map(|(key, members)| {
            Some((key.clone(), members.iter().position(|member| member.owner == owner)?))
        })?;
        let members = self.members.get_mut(&key)?;
        let member = members.remove(at);
        if members.is_empty() {
            self.members.remove(&key);
        }
        Some((key, member))
    }

    /// Everybody, as the payload of `presence_state`.
    pub fn state(&self) -> String {
        let mut text = String::from("{");
        for (key, members) in &self.members {
            if text.len() > 1 {
                text.push(',');
            }
            let metas: Vec<&str> = members.iter().map(|member| member.meta.as_str()).collect();
            text.push_str(&format!(r#"{}:{{"metas":[{}]}}"#, quoted(key), metas.join(",")));
        }
        text.push('}');
        text
    }
}

fn diff(joins: &str, left: Option<(Box<str>, Member)>) -> String {
    let leaves = left.map_or_else(|| "{}".to_owned(), |(key, member)| one(&key, &member.meta));
    format!(r#"{{"joins":{joins},"leaves":{leaves}}}"#)
}

fn one(key: &str, meta: &str) -> String {
    format!(r#"{{{}:{{"metas":[{meta}]}}}}"#, quoted(key))
}

/// A name for one thing that somebody said, like no other.
fn reference() -> String {
    Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::realtime::line::ChannelKey;

    fn origin(slot: u32) -> Origin {
        Origin { worker: 0, channel: ChannelKey { slot, generation: 0 } }
    }

    fn payload(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_update_joins_with_the_reference_of_what_leaves() {
        let mut presence = Presence::default();
        let first = parsed(&presence.track(origin(1), "a", payload(json!({ "n": 1 }))));
        assert_eq!((&first["joins"]["a"]["metas"][0]["n"], &first["leaves"]), (&json!(1), &json!({})));
        let second = presence.track(origin(1), "a", payload(json!({ "n": 2, "phx_ref_prev": "forged" })));
        let second = parsed(&second);
        let before = &first["joins"]["a"]["metas"][0]["phx_ref"];
        assert_eq!(&second["joins"]["a"]["metas"][0]["phx_ref_prev"], before);
        assert_eq!(&second["leaves"]["a"]["metas"][0]["phx_ref"], before);
        assert_ne!(&second["joins"]["a"]["metas"][0]["phx_ref"], before);
    }

    #[test]
    fn the_state_groups_those_of_one_key_and_forgets_who_left() {
        let mut presence = Presence::default();
        presence.track(origin(1), "k\"", payload(json!({})));
        presence.track(origin(2), "k\"", payload(json!({ "n": 2 })));
        assert_eq!(parsed(&presence.state())["k\""]["metas"].as_array().unwrap().len(), 2);
        assert!(presence.untrack(origin(3)).is_none());
        let left = parsed(&presence.untrack(origin(1)).unwrap());
        assert!(left["leaves"]["k\""]["metas"][0]["phx_ref"].is_string());
        assert!(presence.untrack(origin(2)).is_some() && presence.is_empty());
        assert_eq!(presence.state(), "{}");
    }
}
