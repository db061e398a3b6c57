//! Channels: topics that a project declares, and who may hear and speak on them.

use std::fmt;
use std::ops::Range;

use crate::condition::Condition;
use crate::model::Name;

/// What topics are called among the objects of rules, and on the wire.
pub const TOPIC_PREFIX: &str = "realtime:";

/// The channels of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    pub declared: Vec<Channel>,
    /// Any key may join a topic that is not declared.
    pub public: bool,
}

impl Default for Channels {
    fn default() -> Channels {
        Channels { declared: Vec::new(), public: true }
    }
}

impl Channels {
    /// A channel declares the topic (as it is called behind `realtime:`).
    pub fn declares(&self, topic: &str) -> bool {
        self.declared.iter().any(|channel| channel.topic.matches(topic).is_some())
    }
}

/// Topics of one form, with the rules of who may do what on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    pub topic: Topic,
    pub rules: Vec<ChannelRule>,
}

/// One rule: role × what is done, under a condition on the caller and the topic's captures.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelRule {
    /// How people name it: `realtime:room:{room}.read[0]`.
    pub id: String,
    pub role: Name,
    pub action: ChannelAction,
    pub when: Condition,
}

/// What may be done on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelAction {
    /// Hearing broadcasts and who is there.
    Read,
    /// Broadcasting and being there.
    Write,
}

impl ChannelAction {
    pub const ALL: [ChannelAction; 2] = [ChannelAction::Read, ChannelAction::Write];

    /// The word used in YAML and casbin policies.
    pub fn as_str(self) -> &'static str {
        match self {
            ChannelAction::Read => "read",
            ChannelAction::Write => "write",
        }
    }
}

/// The form of a topic: parts between colons, of which some are captured: `room:{room}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Capture(Name),
}

/// Why a text is no form of a topic, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFault {
    pub span: Range<usize>,
    pub message: String,
}

impl Topic {
    /// Reads `room:{room}`. A capture stands for one whole part, which is never empty.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Topic, TopicFault> {
        let mut parts: Vec<Part> = Vec::new();
        let mut start = 0;
        for part in text.split(':') {
            let span = start..start + part.len();
            start = span.end + 1;
            let fault = |message: String| TopicFault { span: span.clone(), message };
            let inner = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            parts.push(match inner {
                Some(name) => {
                    let name = Name::declared(name)
                        .map_err(|found| fault(format!("`{name}` cannot name a part of a topic: {found}")))?;
                    if parts.contains(&Part::Capture(name.clone())) {
                        return Err(fault(format!("`{{{name}}}` stands twice")));
                    }
                    Part::Capture(name)
                }
                None if part.is_empty() => {
                    return Err(fault("a topic has no empty part between colons".to_owned()));
                }
                None if part.contains(['{', '}']) => {
                    return Err(fault("`{…}` stands for a whole part between colons".to_owned()));
                }
                None if part.chars().any(char::is_control) => {
                    return Err(fault("a topic has no control characters".to_owned()));
                }
                None => Part::Fixed(part.to_owned()),
            });
        }
        Ok(Topic { parts })
    }

    /// The names of what it captures, in order.
    pub fn captures(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => Some(name),
            Part::Fixed(_) => None,
        })
    }

    /// What stands between its colons, in order; `None` is what it captures.
    pub fn parts(&self) -> impl Iterator<Item = Option<&str>> {
        self.parts.iter().map(|part| match part {
            Part::Fixed(text) => Some(text.as_str()),
            Part::Capture(_) => None,
        })
    }

    /// What a topic of this form has in the places of its captures.
    pub fn matches(&self, topic: &str) -> Option<Vec<String>> {
        let mut captured = Vec::new();
        let mut given = topic.split(':');
        for part in &self.parts {
            match (part, given.next()?) {
                (_, "") => return None,
                (Part::Fixed(fixed), given) if fixed == given => {}
                (Part::Fixed(_), _) => return None,
                (Part::Capture(_), given) => captured.push(given.to_owned()),
            }
        }
        given.next().is_none().then_some(captured)
    }

    /// Some topic is of both forms.
    pub fn overlaps(&self, other: &Topic) -> bool {
        self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|parts| match parts {
                (Part::Fixed(a), Part::Fixed(b)) => a == b,
                (Part::Capture(_), _) | (_, Part::Capture(_)) => true,
            })
    }
}

/// As a project writes it.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            let colon = if at > 0 { ":" } else { "" };
            match part {
                Part::Fixed(text) => write!(f, "{colon}{text}")?,
                Part::Capture(name) => write!(f, "{colon}{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// What the rules say of a topic to a caller.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelDecision {
    /// No channel declares it.
    Undeclared,
    /// The caller is not bound by rules; the reason is logged.
    Unrestricted(&'static str),
    /// A channel declares it, with these rights.
    Declared(Box<ChannelPermit>),
}

/// The conditions under which a caller may do what on a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelPermit {
    /// In the order in which the conditions know them.
    pub captures: Vec<String>,
    /// OR of the rules that speak for the caller; never, if there are none.
    pub read: Condition,
    pub write: Condition,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    #[test]
    fn a_capture_is_one_part_that_is_not_empty() {
        let room = topic("room:{room}:{what}:log");
        assert_eq!(room.matches("room:1:x y:log"), Some(vec!["1".to_owned(), "x y".to_owned()]));
        for text in
            ["", "room", "room:1:x", "room:1:x:log:", "room::x:log", "rooms:1:x:log", "room:1:x:y:log"]
        {
            assert_eq!(room.matches(text), None, "{text}");
        }
        assert_eq!(topic("lobby").matches("lobby"), Some(Vec::new()));
        assert_eq!(room.to_string(), "room:{room}:{what}:log");
        assert_eq!(room.captures().map(Name::as_str).collect::<Vec<_>>(), ["room", "what"]);
    }

    #[test]
    fn what_is_no_topic_says_where() {
        for (text, span) in [
            ("", 0..0),
            ("a:", 2..2),
            ("a::b", 2..2),
            ("a:{b", 2..4),
            ("a:x{b}", 2..6),
            ("{}", 0..2),
            ("{A b}", 0..5),
            ("{a}:{a}", 4..7),
            ("a\n", 0..2),
        ] {
            assert_eq!(Topic::parse(text).unwrap_err().span, span, "{text}");
        }
    }

    #[test]
    fn forms_overlap_if_a_topic_is_of_both() {
        for (a, b, both) in [
            ("room:{a}", "room:{b}", true),
            ("room:{a}", "room:lobby", true),
            ("room:{a}", "{b}:lobby", true),
            ("room:{a}", "rooms:{a}", false),
            ("room:{a}", "room:{a}:x", false),
            ("lobby", "{a}", true),
        ] {
            assert_eq!(topic(a).overlaps(&topic(b)), both, "{a} {b}");
            assert_eq!(topic(b).overlaps(&topic(a)), both, "{b} {a}");
        }
    }
}
