//! `channels:` and `realtime:` → [`Channels`].

use super::Fault;
use super::conditions::Typing;
use super::draft::LANGUAGE;
use super::fault::{At, Faults};
use super::gather::Definition;
use super::later::Place;
use super::policies::role_of;
use super::read::get;
use super::yaml::{Key, Node};
use crate::condition::Condition;
use crate::model::Name;
use crate::policy::{Channel, ChannelAction, ChannelRule, Channels, Role, TOPIC_PREFIX, Topic};

pub(super) const CHANNEL_KEYS: [&str; 2] = ["read", "write"];
pub(super) const RULE_KEYS: [&str; 2] = ["role", "when"];
pub(super) const REALTIME_KEYS: [&str; 1] = ["public_channels"];

/// The channels, and where each stands.
pub(super) fn read(
    channels: &[Definition<'_>],
    realtime: &[Definition<'_>],
    roles: &[Role],
    typing: &Typing<'_>,
    faults: &mut Faults<'_>,
) -> (Channels, Vec<Fault>) {
    let mut read = Channels::default();
    let mut places: Vec<At> = Vec::new();
    for (key, node) in realtime {
        match key.text.as_str() {
            "public_channels" => read.public = faults.flag(node, "`public_channels`").unwrap_or(true),
            other => faults.unknown(key.at, Place::Realtime.word(), other, REALTIME_KEYS),
        }
    }
    for (key, node) in channels {
        let Some(topic) = topic(key, typing, faults) else { continue };
        if let Some(other) = read.declared.iter().position(|other| other.topic.overlaps(&topic)) {
            let (form, place) = (&read.declared[other].topic, faults.place(places[other]));
            faults.hint(
                key.at,
                format!("some topic would be of this form and of `{form}` at {place}"),
                "let their fixed parts differ: which rules hold must be plain",
            );
        }
        let rules = rules(&topic, node, roles, typing, faults);
        read.declared.push(Channel { topic, rules });
        places.push(key.at);
    }
    let places = places.into_iter().map(|at| faults.at(at)).collect();
    (read, places)
}

/// The form of a channel's topics. What it captures is a name among those that its conditions use.
fn topic(key: &Key, typing: &Typing<'_>, faults: &mut Faults<'_>) -> Option<Topic> {
    let topic = match Topic::parse(&key.text) {
        Ok(topic) => topic,
        Err(fault) => {
            faults.hint(key.at, fault.message, "`room:{room}` is a topic that captures one part");
            return None;
        }
    };
    for capture in topic.captures() {
        if LANGUAGE.contains(&capture.as_str()) {
            faults.add(key.at, format!("`{capture}` has a meaning of its own and cannot name a part"));
        }
        let shadowed = if typing.named.contains_key(capture) {
            "a condition"
        } else if typing.collections.find(capture.as_str()).is_some() {
            "a collection"
        } else {
            continue;
        };
        faults.hint(
            key.at,
            format!("`{{{capture}}}` would shadow {shadowed} of this name"),
            format!("`{{{capture}_id}}` would do"),
        );
    }
    Some(topic)
}

fn rules(
    topic: &Topic,
    node: &Node,
    roles: &[Role],
    typing: &Typing<'_>,
    faults: &mut Faults<'_>,
) -> Vec<ChannelRule> {
    let Some(entries) = faults.map_or_nothing(node, "a channel") else { return Vec::new() };
    faults.keys(Place::Channel, entries, &CHANNEL_KEYS);
    let captures: Vec<Name> = topic.captures().cloned().collect();
    let mut rules = Vec::new();
    for action in ChannelAction::ALL {
        let word = action.as_str();
        let Some(items) = get(entries, word).and_then(|node| faults.list(node, &format!("`{word}`"))) else {
            continue;
        };
        for (at, item) in items.iter().enumerate() {
            let Some(entries) = faults.map(item, "a rule") else { continue };
            faults.keys(Place::ChannelRule, entries, &RULE_KEYS);
            let role = role_of(item, entries, roles, typing.broken, faults);
            let when = match get(entries, "when") {
                None => Some(Condition::always()),
                Some(node) => typing.of_topic(node, &captures, "`when`", faults),
            };
            if let (Some(role), Some(when)) = (role, when) {
                let id = format!("{TOPIC_PREFIX}{topic}.{word}[{at}]");
                rules.push(ChannelRule { id, role, action, when });
            }
        }
    }
    rules
}
