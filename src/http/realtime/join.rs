//! Joining a channel: what was asked, who asks, what he may, and what stands between a join and its answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::channel::{Behind, Channel, Phase, Rows};
use super::socket::{Rate, Socket};
use super::sockets::Sockets;
use super::wish::Wish;
use crate::auth::resolve;
use crate::auth::token::{Holder, TokenFault, Verified};
use crate::catalog::Catalog;
use crate::error::{Code, Error};
use crate::http::principal::verify;
use crate::model::Principal;
use crate::query::plan::Context;
use crate::realtime::access::{self, Refusal, Rights};
use crate::realtime::cursor::Cursor;
use crate::realtime::hub::TopicName;
use crate::realtime::limits;
use crate::realtime::line::{Binding, Caller, Order, Start};
use crate::realtime::protocol::{self, Message, quoted};
use crate::realtime::snapshot::{self, Beginning, Part, Snapshot};
use crate::realtime::visibility::Held;

/// What a join asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    /// The sender hears its own broadcasts.
    pub(super) echo: bool,
    /// Broadcasts are acknowledged.
    pub(super) ack: bool,
    /// It knows of cursors.
    pub(super) aware: bool,
    pub(super) presence_key: Box<str>,
    /// Row changes are wanted.
    pub(super) rows: bool,
    /// What there is until it is joined.
    pub(super) asked: RefCell<Option<Box<Asked>>>,
}

/// The parts of a join that its answer needs, and nothing after it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// JSON.
    reference: Box<str>,
    /// The bindings as they are to be echoed.
    echo: Vec<Value>,
    presence: bool,
    resume: Option<Cursor>,
    /// What is to be read before anything is told.
    snapshot: Option<Reading>,
}

/// What a snapshot is taken of, and for whom.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    wanted: Vec<Beginning>,
    principal: Arc<Principal>,
}

/// Why it is not known what somebody may do on a topic.
enum Unjudged {
    /// Nothing: his session is over, or he is gone or banned.
    Over(String),
    /// Nothing, for this reason.
    Refused(String),
    /// The database did not say.
    Failed(String),
}

impl Sockets {
    pub(super) fn join(self: &Rc<Self>, socket: &Rc<Socket>, message: &Message<'_>) {
        let topic = &*message.topic;
        let join_ref = message.join_ref.or(message.reference).map_or("null", |raw| raw.get());
        let reference = message.reference.map_or("null", |raw| raw.get());
        let refuse = |reason: &str| {
            let response = format!(r#"{{"reason":{}}}"#, quoted(reason));
            self.answer(socket, Some(join_ref), Some(reference), &quoted(topic), "error", &response);
        };
        let Some(short) = topic.strip_prefix(super::PREFIX).filter(|short| !short.is_empty()) else {
            return refuse("TopicNameRequired: You must provide a topic name");
        };
        if topic.len() > limits::TOPIC {
            return refuse("TopicNameRequired: A topic name has at most 246 bytes");
        }
        if !Rate::take(&socket.joins, self.now(), 1, limits::JOINS) {
            return refuse("ClientJoinRateLimitReached: Too many joins per second");
        }
        let older =
            socket.channels.borrow().iter().find(|channel| &*channel.topic.name.name == topic).cloned();
        if let Some(older) = older {
            self.close_channel(&older);
            self.send(socket, &older.message(Some(&older.join_ref), "phx_close", "{}"));
        }
        if socket.channels.borrow().len() >= limits::CHANNELS {
            return refuse("ChannelRateLimitReached: Too many channels");
        }
        let wish = match Wish::parse(message.payload()) {
            Ok(wish) => wish,
            Err(reason) => return refuse(&format!("InvalidJoinPayload: {reason}")),
        };
        // Another issuer's is verified where there is time to wait.
        let foreign = wish.token.clone().filter(|token| self.app.desk().is_foreign(token));
        let verified = match &wish.token {
            None => socket.key.clone(),
            Some(_) if foreign.is_some() => None,
            Some(token) => match verify(&self.app, &self.worker, token) {
                Ok(verified) => Some(verified),
                Err(fault) => return refuse(&reason_of(fault)),
            },
        };
        let asked = Asked {
            reference: reference.into(),
            echo: wish.echo,
            presence: wish.presence,
            resume: wish.resume,
            snapshot: None,
        };
        let config = Config { asked: RefCell::new(Some(Box::new(asked))), ..wish.config };
        let catalog = match self.app.catalog() {
            Ok(catalog) => catalog,
            Err(error) => return refuse(&reason_of_error(&error)),
        };
        // The first: another one is noticed with the time, also if it comes before time is looked at.
        self.judged_by.borrow_mut().get_or_insert_with(|| Arc::clone(&catalog));
        // A declared topic is private, whatever the client asks.
        let private = wish.private || catalog.policies.channels().declares(short);
        let name = TopicName { private, name: topic.into() };
        let own = wish.token.is_some().then(|| verified.clone()).flatten();
        let channel = self.open_channel(socket, name, |key, topic| Channel {
            key,
            socket: Rc::clone(socket),
            topic,
            join_ref: join_ref.into(),
            config,
            phase: Cell::new(Phase::Judged),
            since: Cell::new(self.now()),
            read: Cell::new(false),
            write: Cell::new(false),
            verified: RefCell::new(own),
            presence: Cell::new(None),
            tracked: Cell::new(false),
            rows: RefCell::new(Rows::None),
            suspended: Cell::new(false),
            quiet: Cell::new(true),
            backlog: RefCell::default(),
            place: Cell::new(usize::MAX),
        });
        let sockets = Rc::clone(self);
        let judging = async move {
            let judged = match foreign {
                None => sockets.judge(&channel, verified, &catalog).await,
                Some(token) => match sockets.verify_foreign(&token).await {
                    Ok(verified) => {
                        *channel.verified.borrow_mut() = Some(Arc::clone(&verified));
                        sockets.judge(&channel, Some(verified), &catalog).await
                    }
                    Err(unjudged) => Err(unjudged),
                },
            };
            if channel.phase.get() == Phase::Judged {
                match judged {
                    Ok((caller, rights)) => {
                        let queries = wish.snapshot.then_some(wish.queries);
                        sockets.judged(&channel, caller, rights, wish.bindings, queries)
                    }
                    Err(Unjudged::Over(reason) | Unjudged::Refused(reason) | Unjudged::Failed(reason)) => {
                        sockets.refuse_join(&channel, &reason);
                    }
                }
                sockets.flush(&channel.socket);
            }
        };
        // Who needs nothing of the database is judged at once.
        let mut judging = Box::pin(judging);
        if judging.as_mut().now_or_never().is_none() {
            actix_web::rt::spawn(judging);
        }
    }

    /// A token of another issuer.
    async fn verify_foreign(&self, token: &str) -> Result<Arc<Verified>, Unjudged> {
        match self.app.desk().verify_foreign(token, crate::app::now()).await {
            Some(Ok(verified)) => Ok(verified),
            Some(Err(TokenFault::Unreachable)) => Err(Unjudged::Failed(reason_of(TokenFault::Unreachable))),
            Some(Err(fault)) => Err(Unjudged::Refused(reason_of(fault))),
            // The project accepts the issuer no more.
            None => Err(Unjudged::Refused(reason_of(TokenFault::Issuer))),
        }
    }

    /// Who the holder of a token is, and what he may do on the channel's topic; or the reason why nothing.
    async fn judge(
        &self,
        channel: &Channel,
        verified: Option<Arc<Verified>>,
        catalog: &Catalog,
    ) -> Result<(Caller, Rights), Unjudged> {
        let known = self.app.feed().roles_known();
        let principal = match verified {
            None => Arc::new(Principal::anonymous()),
            Some(verified) => {
                resolve::principal(&verified, self.worker.lanes(), self.app.caches().standings())
                    .await
                    .map_err(|error| {
                        let reason = reason_of_error(&error);
                        match error.code.status() {
                            401 => Unjudged::Over(reason),
                            ..500 => Unjudged::Refused(reason),
                            _ => Unjudged::Failed(reason),
                        }
                    })?
            }
        };
        let topic = &channel.topic;
        let rights = access::join(self.app.pool(), catalog, &principal, topic.short(), topic.name.private)
            .await
            .or_else(|refusal| match refusal {
                // Rows have rules of their own: for their sake it may be there, without hearing or saying anything else.
                Refusal::PrivateOnly if channel.config.rows => {
                    Ok(Rights { read: false, write: false, private: false })
                }
                Refusal::Failed(_) => Err(Unjudged::Failed(refusal.to_string())),
                Refusal::Unauthorized(_) | Refusal::PrivateOnly => {
                    Err(Unjudged::Refused(refusal.to_string()))
                }
            })?;
        Ok((Caller { principal, known }, rights))
    }

    /// It is known who asks, and what he may do.
    fn judged(
        self: &Rc<Self>,
        channel: &Rc<Channel>,
        caller: Caller,
        rights: Rights,
        bindings: Vec<Binding>,
        snapshot: Option<Vec<Option<String>>>,
    ) {
        channel.read.set(rights.read);
        channel.write.set(rights.write);
        if bindings.is_empty() {
            return self.joined(channel, None);
        }
        channel.phase.set(Phase::Subscribed);
        channel.since.set(self.now());
        *channel.rows.borrow_mut() = Rows::Asked;
        let mut start = Start::Live;
        if let Some(asked) = channel.config.asked.borrow_mut().as_mut() {
            if let Some(queries) = snapshot {
                let wanted = bindings.iter().cloned().zip(queries);
                let wanted = wanted.map(|(binding, query)| Beginning { binding, query }).collect();
                asked.snapshot = Some(Reading { wanted, principal: Arc::clone(&caller.principal) });
            }
            if asked.snapshot.is_some() || asked.resume.is_some() {
                start = Start::Held;
            }
        }
        self.line.send(Order::Subscribe { channel: channel.key, caller, bindings, start });
    }

    /// The stream of changes has accepted the channel from a place on.
    pub(super) fn accepted(
        self: &Rc<Self>,
        channel: &Rc<Channel>,
        cursor: Cursor,
        refused: &[(usize, Error)],
    ) {
        if channel.phase.get() != Phase::Subscribed {
            return;
        }
        let (resume, snapshot, count) = match channel.config.asked.borrow_mut().as_deref_mut() {
            Some(asked) => (asked.resume, asked.snapshot.take(), asked.echo.len()),
            None => return,
        };
        self.joined(channel, Some(cursor));
        self.refuse(channel, refused);
        if refused.len() < count {
            self.system(channel, "ok", json!({ "message": "Subscribed to PostgreSQL" }));
        }
        match (snapshot, resume) {
            (Some(reading), _) => {
                let refused: Vec<usize> = refused.iter().map(|(at, _)| *at).collect();
                let (sockets, channel) = (Rc::clone(self), Rc::clone(channel));
                actix_web::rt::spawn(async move {
                    sockets.tell_snapshot(&channel, &reading, &refused, cursor).await;
                });
            }
            (None, None) => *channel.rows.borrow_mut() = Rows::Live,
            (None, Some(from)) => {
                let behind = Behind { from, asked: false, slow: false, skip: None, until: None };
                self.fall_behind(channel, behind);
            }
        }
        if channel.suspended.get() {
            self.hold(channel, cursor);
            self.rejudge(channel);
        }
    }

    /// Tells what there is, and then what changes: nothing of what is in the snapshot, and all that is not.
    async fn tell_snapshot(
        self: &Rc<Self>,
        channel: &Rc<Channel>,
        reading: &Reading,
        refused: &[usize],
        joined: Cursor,
    ) {
        let served: Vec<usize> = (0..reading.wanted.len()).filter(|at| !refused.contains(at)).collect();
        let wanted: Vec<Beginning> = served.iter().map(|at| reading.wanted[*at].clone()).collect();
        // Until all of it was taken: this socket waits for itself, not others for it.
        let _own = channel.socket.snapshots.acquire().await;
        let turn = self.hub.snapshot().await;
        // Who left meanwhile is read nothing for.
        if !channel.is_joined() {
            return;
        }
        let taken = self.take_snapshot(channel, &reading.principal, &wanted).await;
        drop(turn);
        let (mut skip, mut until) = (None, None);
        match taken {
            Ok(Snapshot { visibility, lsn, parts }) => {
                (skip, until) = (Some(Held { visibility, joined }), Some(lsn));
                for (at, Part { key, records, limit }) in served.iter().zip(parts) {
                    if !channel.is_joined() {
                        return;
                    }
                    let head = format!(r#"{{"ids":[{}],"records":"#, at + 1);
                    let limit = limit.map_or(String::new(), |limit| format!(r#","limit":{limit}"#));
                    let tail = format!(r#","key":{}{limit},"cursor":"{joined}"}}"#, Value::from(key));
                    let payload: [&[u8]; 3] = [head.as_bytes(), &records, tail.as_bytes()];
                    let (version, topic) = (channel.socket.version, &channel.topic.json);
                    let frame =
                        protocol::text(version, Some(&channel.join_ref), None, topic, "snapshot", &payload);
                    self.send(&channel.socket, &frame);
                    self.flush(&channel.socket);
                    // One at a time: each may be larger than all that may wait.
                    while !channel.socket.is_drained() && channel.socket.stream.writable().await.is_ok() {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Err(error) if channel.is_joined() => {
                self.system(channel, "error", fault(&error));
                self.flush(&channel.socket);
            }
            Err(_) => {}
        }
        if channel.is_joined() {
            self.fall_behind(channel, Behind { from: joined, asked: false, slow: false, skip, until });
        }
    }

    /// Reads what there is. Each binding counts as a request for records does.
    async fn take_snapshot(
        &self,
        channel: &Channel,
        principal: &Principal,
        wanted: &[Beginning],
    ) -> Result<Snapshot, Error> {
        if let Some(address) = channel.socket.seat.address()
            && principal.is_nobody()
        {
            wanted.iter().try_for_each(|_| self.app.desk().admit(address))?;
        }
        let catalog = self.app.catalog()?;
        let context = Context { catalog: &catalog, principal };
        let taking = snapshot::take(self.app.pool(), context, wanted);
        timeout(limits::SNAPSHOT, taking).await.unwrap_or_else(|_| {
            let message = "the snapshot asked for too much work and was cancelled";
            Err(Error::with(Code::Sqlstate("57014".to_owned()), message))
        })
    }

    /// Everything that was asked for stands.
    fn joined(self: &Rc<Self>, channel: &Rc<Channel>, cursor: Option<Cursor>) {
        let Some(asked) = channel.config.asked.take() else { return };
        channel.phase.set(Phase::Joined);
        let mut response = Map::new();
        response.insert("postgres_changes".to_owned(), Value::Array(asked.echo));
        if let Some(cursor) = cursor {
            response.insert("cursor".to_owned(), Value::from(cursor.to_string()));
        }
        self.reply(channel, Some(&asked.reference), "ok", &Value::Object(response).to_string());
        self.listen(channel);
        if asked.presence && channel.read.get() {
            self.tell_presence(channel);
        }
        self.resume(channel);
    }

    /// Answers a join with a reason why not.
    pub(super) fn refuse_join(self: &Rc<Self>, channel: &Rc<Channel>, reason: &str) {
        let Some(asked) = channel.config.asked.take() else { return };
        self.close_channel(channel);
        self.fail(channel, Some(&asked.reference), reason);
        self.flush(&channel.socket);
    }

    /// Says which bindings are not served.
    pub(super) fn refuse(self: &Rc<Self>, channel: &Rc<Channel>, refused: &[(usize, Error)]) {
        for (_, error) in refused {
            self.system(channel, "error", fault(error));
        }
    }

    /// Says what became of the channel's place in the stream of changes.
    pub(super) fn announce(
        self: &Rc<Self>,
        channel: &Rc<Channel>,
        status: &str,
        reason: Option<&str>,
        cursor: Cursor,
    ) {
        let mut rest = json!({ "cursor": cursor.to_string() });
        if let Some(reason) = reason {
            rest["reason"] = Value::from(reason);
        }
        self.system(channel, status, rest);
    }

    fn system(self: &Rc<Self>, channel: &Rc<Channel>, status: &str, mut payload: Value) {
        payload["status"] = Value::from(status);
        payload["channel"] = Value::from(channel.topic.short());
        payload["extension"] = Value::from("postgres_changes");
        self.send(&channel.socket, &channel.message(None, "system", &payload.to_string()));
    }

    /// Puts a channel out, and says why.
    pub(super) fn expel(self: &Rc<Self>, channel: &Rc<Channel>, reason: &str) {
        let payload = json!({
            "status": "error", "message": reason, "extension": "system", "channel": channel.topic.short(),
        });
        self.close_channel(channel);
        self.send(&channel.socket, &channel.message(None, "system", &payload.to_string()));
        self.send(&channel.socket, &channel.message(Some(&channel.join_ref), "phx_close", "{}"));
        self.flush(&channel.socket);
    }

    /// The client has another token.
    pub(super) fn renew(self: &Rc<Self>, channel: &Rc<Channel>, payload: &str) {
        let payload: Value = serde_json::from_str(payload).unwrap_or_default();
        // Keys of another form are not tokens; they stand for the key of the handshake.
        let Some(token) = payload["access_token"].as_str().filter(|token| !token.starts_with("sb_")) else {
            return;
        };
        if self.app.desk().is_foreign(token) {
            let (sockets, channel, token) = (Rc::clone(self), Rc::clone(channel), token.to_owned());
            actix_web::rt::spawn(async move {
                let judged = sockets.verify_foreign(&token).await;
                // It may have left meanwhile.
                if channel.is_joined() {
                    match judged {
                        Ok(verified) => sockets.renewed(&channel, verified),
                        Err(
                            Unjudged::Over(reason) | Unjudged::Refused(reason) | Unjudged::Failed(reason),
                        ) => sockets.expel(&channel, &reason),
                    }
                }
            });
            return;
        }
        match verify(&self.app, &self.worker, token) {
            Ok(verified) => self.renewed(channel, verified),
            Err(fault) => self.expel(channel, &reason_of(fault)),
        }
    }

    fn renewed(self: &Rc<Self>, channel: &Rc<Channel>, verified: Arc<Verified>) {
        let same = |known: &Option<Arc<Verified>>| {
            known.as_ref().is_some_and(|known| known.claims == verified.claims)
        };
        if same(&channel.verified.borrow())
            || (channel.verified.borrow().is_none() && same(&channel.socket.key))
        {
            return;
        }
        *channel.verified.borrow_mut() = Some(verified);
        self.rejudge(channel);
    }

    /// The channel's caller may be somebody else now, or may do other things.
    pub(super) fn rejudge(self: &Rc<Self>, channel: &Rc<Channel>) {
        let (sockets, channel) = (Rc::clone(self), Rc::clone(channel));
        actix_web::rt::spawn(async move {
            let own = channel.verified.borrow().clone();
            let verified = own.clone().or_else(|| channel.socket.key.clone());
            let judged = match sockets.app.catalog() {
                Ok(catalog) => sockets.judge(&channel, verified, &catalog).await,
                Err(error) => Err(Unjudged::Failed(reason_of_error(&error))),
            };
            // Not if it has left, or yet another token came.
            let same = match (&*channel.verified.borrow(), &own) {
                (Some(now), Some(own)) => Arc::ptr_eq(now, own),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !channel.is_joined() || !same {
                return;
            }
            match judged {
                // The stream tells of it too, and either may be first: both end it alike.
                Err(Unjudged::Over(reason)) => match own.as_deref().map(|own| &own.holder) {
                    Some(Holder::Session { session, .. }) => sockets.end_session(*session),
                    _ => sockets.expel(&channel, &reason),
                },
                Err(Unjudged::Refused(reason)) => sockets.expel(&channel, &reason),
                // Nobody knows what he may do: he is out, and comes back by himself.
                Err(Unjudged::Failed(reason)) => {
                    tracing::debug!(reason, "a channel could not be judged anew");
                    sockets.close_channel(&channel);
                    let frame = channel.message(Some(&channel.join_ref), "phx_error", "{}");
                    sockets.send(&channel.socket, &frame);
                    sockets.flush(&channel.socket);
                }
                Ok((caller, rights)) => {
                    channel.read.set(rights.read);
                    channel.write.set(rights.write);
                    if !rights.write && channel.tracked.replace(false) {
                        sockets.hub.untrack(&channel.topic.name, sockets.origin(&channel));
                    }
                    if !matches!(*channel.rows.borrow(), Rows::None) {
                        sockets.line.send(Order::Rejudge { channel: channel.key, caller });
                        if channel.suspended.replace(false) {
                            sockets.ask_again(&channel);
                        }
                    }
                }
            }
        });
    }
}

/// What there is to say about a binding that is not served.
fn fault(error: &Error) -> Value {
    json!({ "message": error.message, "code": error.code.as_str(), "statusCode": error.code.status(), "hint": error.hint })
}

/// A refused token in the words that clients of this wire know.
fn reason_of(fault: TokenFault) -> String {
    let code = match fault {
        TokenFault::Signature | TokenFault::UnknownKey | TokenFault::Algorithm => "JwtSignatureError",
        TokenFault::TooLong | TokenFault::Parts | TokenFault::Header | TokenFault::Payload => "MalformedJWT",
        TokenFault::Expired
        | TokenFault::NotYetValid
        | TokenFault::IssuedInFuture
        | TokenFault::Expiry
        | TokenFault::Time(_)
        | TokenFault::Issuer
        | TokenFault::Audience
        | TokenFault::Role
        | TokenFault::Subject
        | TokenFault::Claim(_)
        | TokenFault::Holder
        | TokenFault::Revoked
        | TokenFault::Gone
        | TokenFault::Banned
        | TokenFault::Ended
        | TokenFault::Unreachable => "InvalidJWTToken",
    };
    format!("{code}: {fault}")
}

fn reason_of_error(error: &Error) -> String {
    match error.code.status() {
        401 => format!("InvalidJWTToken: {}", error.message),
        _ => format!("UnknownErrorOnChannel: {}", error.message),
    }
}
