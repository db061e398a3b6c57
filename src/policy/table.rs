//! [`Policies`]: casbin's answer for every (role set, collection, action), worked out ahead of requests.

use std::collections::HashMap;
use std::sync::Arc;

use casbin::{CoreApi, DefaultModel, DefaultRoleManager, Enforcer, MemoryAdapter, MgmtApi, RbacApi};
use futures_util::FutureExt as _;
use parking_lot::RwLock;

use super::channel::{ChannelAction, ChannelDecision, ChannelPermit, Channels, TOPIC_PREFIX};
use super::permit::Grant;
use super::{BUCKET_PREFIX, Decision, Permit, Role, Rule};
use crate::condition::Condition;
use crate::model::{Action, CollectionId, Collections, FieldSet, Name, Principal};

const MODEL: &str = include_str!("../../policies/model.conf");
const DEFAULTS: &str = include_str!("../../policies/defaults.csv");

/// How many role sets keep a compiled table. A project has a handful; roles that it does not declare are
/// dropped before a table is compiled, so that what a token carries beside them costs a place in a map at most.
const ROLE_SETS: usize = 1_024;

/// casbin refused the model or a rule: a defect of ours, since `project` has checked both.
#[derive(Debug, thiserror::Error)]
#[error("the role graph cannot be compiled: {0}")]
pub struct PolicyFault(String);

/// The rules of a project, compiled.
pub struct Policies {
    /// How many there are, that of the objects among them.
    collections: usize,
    objects: CollectionId,
    rules: Vec<Arc<Rule>>,
    channels: Channels,
    /// For each role, the rules that casbin says it holds, its inherited roles' among them.
    held: HashMap<Name, Held>,
    unrestricted: Vec<Name>,
    access: RwLock<HashMap<Vec<Name>, Arc<Access>>>,
    /// The same tables by the roles as principals carry them, so that a request looks its own up as it comes.
    carried: RwLock<HashMap<Vec<String>, Arc<Access>>>,
}

/// The rules of a role.
#[derive(Default)]
struct Held {
    /// Indices into the rules.
    rules: Vec<usize>,
    /// A channel and one of its rules.
    channels: Vec<(usize, usize)>,
}

/// What stands behind the id of a rule.
#[derive(Clone, Copy)]
enum Place {
    Rule(usize),
    Channel(usize, usize),
}

/// The table of one role set: for each collection, what each action is granted.
struct Access {
    /// The roles are not bound by rules.
    unrestricted: bool,
    /// Those of the objects are what all buckets' rules together grant.
    grants: Vec<Granted>,
    /// What the rules of one bucket grant, of those that have any.
    buckets: HashMap<String, Granted>,
}

/// By action.
type Granted = [Option<Arc<Grant>>; 4];

impl Policies {
    /// Builds the role graph and the rules in casbin and reads back, for every role, what it may do.
    pub fn compile(
        collections: &Collections,
        roles: &[Role],
        rules: Vec<Rule>,
        channels: Channels,
    ) -> Result<Policies, PolicyFault> {
        let enforcer = enforcer(collections, roles, &rules, &channels)?;
        let mut place: HashMap<&str, Place> =
            rules.iter().enumerate().map(|(at, rule)| (rule.id.as_str(), Place::Rule(at))).collect();
        for (channel, declared) in channels.declared.iter().enumerate() {
            for (at, rule) in declared.rules.iter().enumerate() {
                place.insert(&rule.id, Place::Channel(channel, at));
            }
        }
        let mut held = HashMap::new();
        let mut unrestricted = Vec::new();
        for role in roles {
            let mut places = Held::default();
            let lines = enforcer.get_implicit_permissions_for_user(role.name.as_str(), None);
            for line in lines {
                match (line.get(1).map(String::as_str), line.get(3).and_then(|id| place.get(id.as_str()))) {
                    (Some("*"), _) => unrestricted.push(role.name.clone()),
                    (_, Some(Place::Rule(at))) => places.rules.push(*at),
                    (_, Some(Place::Channel(channel, at))) => places.channels.push((*channel, *at)),
                    (_, None) => return Err(PolicyFault(format!("no rule stands behind {line:?}"))),
                }
            }
            places.rules.sort_unstable();
            places.rules.dedup();
            held.insert(role.name.clone(), places);
        }
        Ok(Policies {
            collections: collections.with_objects().count(),
            objects: collections.objects(),
            rules: rules.into_iter().map(Arc::new).collect(),
            channels,
            held,
            unrestricted,
            access: RwLock::new(HashMap::new()),
            carried: RwLock::new(HashMap::new()),
        })
    }

    /// May this principal do this, and under which conditions? Of the objects, whatever bucket they are in.
    pub fn decide(&self, principal: &Principal, action: Action, collection: CollectionId) -> Decision {
        let access = self.access(principal);
        if access.unrestricted {
            return Decision::Permit(Permit::unrestricted(collection, action, "secret key"));
        }
        decided(access.grants.get(usize::from(collection.0)), collection, action)
    }

    /// May this principal do this with objects of a bucket, and under which conditions? To whoever is bound by rules, a
    /// bucket of which they do not speak is [`Decision::Unknown`], whether it is there or not.
    pub fn bucket(&self, principal: &Principal, action: Action, bucket: &str) -> Decision {
        let access = self.access(principal);
        if access.unrestricted {
            return Decision::Permit(Permit::unrestricted(self.objects, action, "secret key"));
        }
        decided(access.buckets.get(bucket), self.objects, action)
    }

    /// What may this principal do on a topic (as it is called behind `realtime:`), and under which conditions?
    pub fn channel(&self, principal: &Principal, topic: &str) -> ChannelDecision {
        if self.access(principal).unrestricted {
            return ChannelDecision::Unrestricted("secret key");
        }
        let found =
            self.channels.declared.iter().enumerate().find_map(|(at, channel)| {
                channel.topic.matches(topic).map(|captures| (at, channel, captures))
            });
        let Some((place, channel, captures)) = found else { return ChannelDecision::Undeclared };
        let held: Vec<&Held> =
            principal.roles.iter().filter_map(|role| self.held.get(role.as_str())).collect();
        let any = |action: ChannelAction| {
            let speaks = |at: usize| held.iter().any(|held| held.channels.contains(&(place, at)));
            let rules = channel.rules.iter().enumerate();
            Condition::any(
                rules
                    .filter(|(at, rule)| rule.action == action && speaks(*at))
                    .map(|(_, rule)| rule.when.clone()),
            )
        };
        let (read, write) = (any(ChannelAction::Read), any(ChannelAction::Write));
        ChannelDecision::Declared(Box::new(ChannelPermit { captures, read, write }))
    }

    /// The channels of the project.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The fields that exist for this principal: those that some read rule shows. A field outside may still be
    /// written, if a rule of a write says so.
    pub fn known_fields(&self, principal: &Principal, collection: CollectionId, all: FieldSet) -> FieldSet {
        let access = self.access(principal);
        if access.unrestricted {
            return all;
        }
        let grant = access
            .grants
            .get(usize::from(collection.0))
            .and_then(|grants| grants[Action::Read as usize].as_ref());
        grant.map_or(FieldSet::EMPTY, |grant| grant.fields)
    }

    /// Every rule, in the project's order.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    fn access(&self, principal: &Principal) -> Arc<Access> {
        let known = self.carried.read().get(principal.roles.as_slice()).cloned();
        known.unwrap_or_else(|| {
            let access = self.resolve(&principal.roles);
            remember(&self.carried, principal.roles.clone(), &access);
            access
        })
    }

    /// The table of the roles that the project declares among these, in whatever order they are carried.
    fn resolve(&self, carried: &[String]) -> Arc<Access> {
        let mut roles: Vec<Name> = carried
            .iter()
            .filter_map(|role| self.held.get_key_value(role.as_str()).map(|(name, _)| name.clone()))
            .collect();
        roles.sort_unstable();
        roles.dedup();
        let known = self.access.read().get(&roles).cloned();
        known.unwrap_or_else(|| {
            let access = Arc::new(self.compile_access(&roles));
            remember(&self.access, roles, &access);
            access
        })
    }

    fn compile_access(&self, roles: &[Name]) -> Access {
        let mut places: Vec<usize> = roles
            .iter()
            .filter_map(|role| self.held.get(role))
            .flat_map(|held| held.rules.iter().copied())
            .collect();
        places.sort_unstable();
        places.dedup();
        let mut sorted: Vec<[Vec<Arc<Rule>>; 4]> =
            (0..self.collections).map(|_| Default::default()).collect();
        let mut buckets: HashMap<String, [Vec<Arc<Rule>>; 4]> = HashMap::new();
        for place in places {
            let rule = &self.rules[place];
            sorted[usize::from(rule.collection.0)][rule.action as usize].push(rule.clone());
            if let Some(bucket) = &rule.bucket {
                let actions = buckets.entry(bucket.clone()).or_default();
                actions[rule.action as usize].push(rule.clone());
            }
        }
        let grant = |rules: Vec<Arc<Rule>>| (!rules.is_empty()).then(|| Arc::new(Grant::of(rules)));
        Access {
            unrestricted: roles.iter().any(|role| self.unrestricted.contains(role)),
            grants: sorted.into_iter().map(|actions| actions.map(grant)).collect(),
            buckets: buckets.into_iter().map(|(bucket, actions)| (bucket, actions.map(grant))).collect(),
        }
    }
}

fn decided(grants: Option<&Granted>, collection: CollectionId, action: Action) -> Decision {
    let Some(grants) = grants else { return Decision::Unknown };
    match &grants[action as usize] {
        Some(grant) => Decision::Permit(Permit::granted(collection, action, grant.clone())),
        None if grants.iter().any(Option::is_some) => Decision::Denied,
        None => Decision::Unknown,
    }
}

/// Keeps a table, within bounds.
fn remember<R: Eq + std::hash::Hash>(
    tables: &RwLock<HashMap<R, Arc<Access>>>,
    roles: R,
    access: &Arc<Access>,
) {
    let mut tables = tables.write();
    if tables.len() >= ROLE_SETS {
        tables.clear();
    }
    tables.insert(roles, access.clone());
}

/// casbin with the model, the built-in rules and the project's. Nothing in it waits: the adapter is memory.
fn enforcer(
    collections: &Collections,
    roles: &[Role],
    rules: &[Rule],
    channels: &Channels,
) -> Result<Enforcer, PolicyFault> {
    let fault = |error: casbin::Error| PolicyFault(error.to_string());
    let stuck = || PolicyFault("casbin waited for something".to_owned());
    let model = DefaultModel::from_str(MODEL).now_or_never().ok_or_else(stuck)?.map_err(fault)?;
    let mut enforcer =
        Enforcer::new(model, MemoryAdapter::default()).now_or_never().ok_or_else(stuck)?.map_err(fault)?;
    // casbin follows ten levels of inheritance unless told; a chain can be no longer than there are roles.
    let graph = DefaultRoleManager::new(roles.len() + 1);
    enforcer.set_role_manager(Arc::new(RwLock::new(graph))).map_err(fault)?;
    let mut links: Vec<Vec<String>> = Vec::new();
    let mut lines: Vec<Vec<String>> = Vec::new();
    for line in DEFAULTS.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(',').map(|word| word.trim().to_owned());
        match words.next().as_deref() {
            Some("g") => links.push(words.collect()),
            Some("p") => lines.push(words.collect()),
            _ => {}
        }
    }
    for role in roles {
        for parent in &role.inherits {
            let link = vec![role.name.to_string(), parent.to_string()];
            if !links.contains(&link) {
                links.push(link);
            }
        }
    }
    lines.extend(rules.iter().map(|rule| {
        let object = match &rule.bucket {
            Some(bucket) => format!("{BUCKET_PREFIX}{bucket}"),
            None => collections.get(rule.collection).name.to_string(),
        };
        vec![rule.role.to_string(), object, rule.action.as_str().to_owned(), rule.id.clone()]
    }));
    for channel in &channels.declared {
        let topic = format!("{TOPIC_PREFIX}{}", channel.topic);
        lines.extend(channel.rules.iter().map(|rule| {
            vec![rule.role.to_string(), topic.clone(), rule.action.as_str().to_owned(), rule.id.clone()]
        }));
    }
    enforcer.add_policies(lines).now_or_never().ok_or_else(stuck)?.map_err(fault)?;
    enforcer.add_grouping_policies(links).now_or_never().ok_or_else(stuck)?.map_err(fault)?;
    Ok(enforcer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Collection, FieldId, Schema};
    use crate::policy::{Channel, ChannelRule, Topic};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn collections(count: usize) -> Collections {
        let collection = |at: usize| Collection {
            name: name(&format!("c{at}")),
            schema: Schema::Public,
            fields: Vec::new(),
            primary_key: Vec::new(),
            unique: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            search: None,
            realtime: true,
            timestamps: false,
            renamed_from: None,
        };
        Collections::new((0..count).map(collection).collect())
    }

    /// One of a name that a collection has, too.
    const BUCKETS: [&str; 3] = ["c0", "avatars", "a.b-c"];
    const TOPICS: [(&str, &str); 2] = [("lobby", "lobby"), ("room:{room}", "room:1")];

    fn channels(rules: &[(Name, ChannelAction, usize)]) -> Channels {
        let channel = |at: usize, form: &str| Channel {
            topic: Topic::parse(form).unwrap(),
            rules: rules
                .iter()
                .enumerate()
                .filter(|(_, (_, _, topic))| *topic == at)
                .map(|(id, (role, action, _))| ChannelRule {
                    id: format!("realtime:{form}.{}[{id}]", action.as_str()),
                    role: role.clone(),
                    action: *action,
                    when: Condition::always(),
                })
                .collect(),
        };
        let declared = TOPICS.iter().enumerate().map(|(at, (form, _))| channel(at, form)).collect();
        Channels { declared, public: true }
    }

    fn builtin() -> Vec<Role> {
        let role = |text: &str, inherits: &[&str]| Role {
            name: name(text),
            inherits: inherits.iter().map(|parent| name(parent)).collect(),
        };
        vec![role("anon", &[]), role("authenticated", &["anon"]), role("service_role", &[])]
    }

    fn rule(id: usize, role: &str, action: Action, collection: u16) -> Rule {
        Rule {
            id: format!("c{collection}.{}[{id}]", action.as_str()),
            role: name(role),
            action,
            collection: CollectionId(collection),
            bucket: None,
            when: Condition::always(),
            check: Condition::always(),
            fields: FieldSet::first(2),
            set: Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_table_allows_exactly_what_casbin_enforces(
            // Role n inherits some of the roles before it: any acyclic graph, chains of twelve among them.
            parents in prop::collection::vec(prop::collection::vec(0_usize..14, 0..3), 12),
            rules in prop::collection::vec((0_usize..15, 0_usize..4, 0_u16..4), 0..24),
            topics in prop::collection::vec((0_usize..15, 0_usize..2, 0_usize..2), 0..8),
            objects in prop::collection::vec((0_usize..15, 0_usize..4, 0_usize..BUCKETS.len()), 0..12),
        ) {
            let collections = collections(4);
            let mut roles = builtin();
            for (at, parents) in parents.iter().enumerate() {
                let mut inherits: Vec<Name> =
                    parents.iter().filter(|parent| **parent < roles.len() && **parent != 2).map(|parent| roles[*parent].name.clone()).collect();
                inherits.dedup();
                roles.push(Role { name: name(&format!("r{at}")), inherits });
            }
            let rules: Vec<Rule> = rules
                .iter()
                .enumerate()
                .filter(|(_, (role, _, _))| *role != 2)
                .map(|(id, (role, action, collection))| rule(id, roles[*role].name.as_str(), Action::ALL[*action], *collection))
                .collect();
            let objects = objects.iter().enumerate().filter(|(_, (role, _, _))| *role != 2).map(
                |(id, (role, action, bucket))| {
                    let (action, bucket) = (Action::ALL[*action], BUCKETS[*bucket]);
                    Rule {
                        id: format!("buckets.{bucket}.{}[{id}]", action.as_str()),
                        collection: collections.objects(),
                        bucket: Some(bucket.to_owned()),
                        ..rule(id, roles[*role].name.as_str(), action, 0)
                    }
                },
            );
            let rules: Vec<Rule> = rules.into_iter().chain(objects).collect();
            let topics: Vec<_> = topics
                .iter()
                .filter(|(role, _, _)| *role != 2)
                .map(|(role, action, topic)| (roles[*role].name.clone(), ChannelAction::ALL[*action], *topic))
                .collect();
            let channels = channels(&topics);
            let casbin = enforcer(&collections, &roles, &rules, &channels).unwrap();
            let table = Policies::compile(&collections, &roles, rules, channels).unwrap();
            for role in &roles {
                let principal = Principal { role: role.name.to_string(), roles: vec![role.name.to_string()], ..Principal::anonymous() };
                for (id, collection) in collections.iter() {
                    for action in Action::ALL {
                        let allowed = casbin.enforce((role.name.as_str(), collection.name.as_str(), action.as_str())).unwrap();
                        let decided = matches!(table.decide(&principal, action, id), Decision::Permit(_));
                        prop_assert_eq!(allowed, decided, "{} {} {}", role.name, action.as_str(), collection.name);
                    }
                }
                for action in Action::ALL {
                    let mut some = false;
                    for bucket in BUCKETS {
                        let allowed = casbin.enforce((role.name.as_str(), format!("storage:{bucket}"), action.as_str())).unwrap();
                        let decided = matches!(table.bucket(&principal, action, bucket), Decision::Permit(_));
                        prop_assert_eq!(allowed, decided, "{} {} {}", role.name, action.as_str(), bucket);
                        some |= allowed;
                    }
                    let all = matches!(table.decide(&principal, action, collections.objects()), Decision::Permit(_));
                    prop_assert_eq!(some, all, "{} {} in any bucket", role.name, action.as_str());
                }
                for (form, topic) in TOPICS {
                    let allowed = ChannelAction::ALL.map(|action| {
                        casbin.enforce((role.name.as_str(), format!("realtime:{form}"), action.as_str())).unwrap()
                    });
                    let decided = match table.channel(&principal, topic) {
                        ChannelDecision::Unrestricted(_) => [true, true],
                        ChannelDecision::Declared(permit) => [permit.read.is_always(), permit.write.is_always()],
                        ChannelDecision::Undeclared => panic!("{topic} is declared"),
                    };
                    prop_assert_eq!(allowed, decided, "{} {}", role.name, topic);
                }
            }
        }
    }

    #[test]
    fn no_rule_means_no_access_and_some_other_rule_means_denied() {
        let collections = collections(2);
        let policies = Policies::compile(
            &collections,
            &builtin(),
            vec![rule(0, "authenticated", Action::Read, 0)],
            Channels::default(),
        )
        .unwrap();
        let (anon, user) =
            (Principal::anonymous(), Principal::user(uuid::Uuid::nil(), &["nobody_declared_this"]));
        assert!(matches!(policies.decide(&anon, Action::Read, CollectionId(0)), Decision::Unknown));
        assert!(matches!(policies.decide(&user, Action::Read, CollectionId(0)), Decision::Permit(_)));
        assert!(matches!(policies.decide(&user, Action::Delete, CollectionId(0)), Decision::Denied));
        assert!(matches!(policies.decide(&user, Action::Read, CollectionId(1)), Decision::Unknown));
        let Decision::Permit(permit) =
            policies.decide(&Principal::service(), Action::Delete, CollectionId(1))
        else {
            panic!("the secret key may do everything");
        };
        assert_eq!(permit.bypass(), Some("secret key"));
        assert!(permit.covers(FieldId(200)));
    }
}
