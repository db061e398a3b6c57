//! [`Conversation`]: what a client says on its socket, taken in order, and what is answered.

use std::borrow::Cow;
use std::rc::Rc;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext as _, AsyncContext as _, Context, StreamHandler};
use actix_web_actors::ws::{CloseCode, CloseReason, Message as Frame};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::channel::{Channel, Waiting};
use super::reading::Frames;
use super::socket::{Rate, Socket};
use super::sockets::Sockets;
use crate::realtime::hub::{Cast, What};
use crate::realtime::limits;
use crate::realtime::protocol::{self, BinaryBroadcast, Message, quoted};

/// The actor of one socket.
pub(super) struct Conversation {
    sockets: Rc<Sockets>,
    socket: Rc<Socket>,
}

impl Conversation {
    /// Begins to listen. `rest` came behind the handshake.
    pub(super) fn begin(sockets: Rc<Sockets>, socket: Rc<Socket>, rest: BytesMut) {
        Conversation::create(|context| {
            context.add_stream(Frames::new(Rc::clone(&sockets), Rc::clone(&socket), rest));
            Conversation { sockets, socket }
        });
    }
}

impl Actor for Conversation {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.sockets.part(&self.socket);
    }
}

impl StreamHandler<Result<Frame, CloseReason>> for Conversation {
    fn handle(&mut self, frame: Result<Frame, CloseReason>, context: &mut Self::Context) {
        let (sockets, socket) = (&self.sockets, &self.socket);
        match frame {
            Ok(Frame::Text(text)) => sockets.text(socket, &text),
            Ok(Frame::Binary(bytes)) => sockets.binary(socket, &bytes),
            Ok(Frame::Ping(payload)) => sockets.send(socket, &protocol::pong(&payload)),
            Ok(Frame::Pong(_) | Frame::Nop | Frame::Continuation(_)) => {}
            Ok(Frame::Close(reason)) => {
                let code = reason.map_or(CloseCode::Normal, |reason| reason.code).into();
                // Some codes are never on the wire, others nobody's (RFC 6455, 7.4).
                let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                sockets.close(socket, if known { code } else { CloseCode::Protocol.into() }, "");
            }
            Err(reason) => {
                sockets.close(socket, reason.code.into(), reason.description.as_deref().unwrap_or_default());
            }
        }
        sockets.flush(socket);
        if sockets.hub.is_full() {
            // What it says next waits until what was said before is told.
            let hub = sockets.hub.clone();
            context.wait(wrap_future(async move { hub.room().await }));
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        context.stop();
    }
}

/// What a broadcast must have.
#[derive(Deserialize)]
struct Broadcast<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
}

/// What a presence message has.
#[derive(Deserialize)]
struct PresenceMessage {
    event: String,
    #[serde(default)]
    payload: Option<Map<String, Value>>,
}

impl Sockets {
    fn text(self: &Rc<Self>, socket: &Rc<Socket>, text: &str) {
        let Ok(message) = Message::parse(text, socket.version) else {
            self.close(socket, super::UNSUPPORTED, "not a Phoenix message of this version");
            return;
        };
        let reference = message.reference.map(|raw| raw.get());
        let topic = &*message.topic;
        let answer = |status: &str, response: &str| {
            let join_ref = message.join_ref.map(|raw| raw.get());
            self.answer(socket, join_ref, reference, &quoted(topic), status, response);
        };
        match (topic, &*message.event) {
            ("phoenix", "heartbeat") => return answer("ok", "{}"),
            (_, "phx_join") => return self.join(socket, &message),
            _ => {}
        }
        let leaving = message.event == "phx_leave";
        let Some(channel) = channel_of(socket, topic) else {
            return match leaving {
                true => answer("ok", "{}"),
                false => answer("error", r#"{"reason":"unmatched topic"}"#),
            };
        };
        if message.join_ref.is_some_and(|raw| raw.get() != &*channel.join_ref) {
            // It is for a join that is over.
            if leaving {
                answer("ok", "{}");
            }
            return;
        }
        if leaving {
            self.close_channel(&channel);
            answer("ok", "{}");
            return self.send(socket, &channel.message(Some(&channel.join_ref), "phx_close", "{}"));
        }
        if !channel.is_joined() {
            if !wait(&channel, Waiting::Text(text.to_owned())) {
                answer("error", r#"{"reason":"the channel is not joined yet"}"#);
            }
            return;
        }
        match &*message.event {
            "broadcast" => self.say(&channel, reference, message.payload()),
            "presence" => self.present(&channel, reference, message.payload()),
            "access_token" => self.renew(&channel, message.payload()),
            _ => answer("error", r#"{"reason":"unmatched event"}"#),
        }
    }

    fn binary(self: &Rc<Self>, socket: &Rc<Socket>, bytes: &Bytes) {
        let message = match socket.version {
            protocol::Version::Two => BinaryBroadcast::parse(bytes),
            protocol::Version::One => Err(protocol::Malformed),
        };
        let Ok(message) = message else {
            return self.close(socket, super::UNSUPPORTED, "not a broadcast of version 2");
        };
        let quoted_or_none = |text: &str| (!text.is_empty()).then(|| quoted(text));
        let (join_ref, reference) = (quoted_or_none(message.join_ref), quoted_or_none(message.reference));
        let reference = reference.as_deref();
        let Some(channel) = channel_of(socket, message.topic) else {
            let response = r#"{"reason":"unmatched topic"}"#;
            return self.answer(
                socket,
                join_ref.as_deref(),
                reference,
                &quoted(message.topic),
                "error",
                response,
            );
        };
        if join_ref.is_some_and(|join_ref| *join_ref != *channel.join_ref) {
            return;
        }
        if !channel.is_joined() {
            if !wait(&channel, Waiting::Binary(bytes.clone())) {
                self.fail(&channel, reference, "the channel is not joined yet");
            }
            return;
        }
        if message.payload.len() > limits::BROADCAST {
            return self.fail(&channel, reference, TOO_LARGE);
        }
        let what = if message.json {
            match text_of(&message) {
                Some(payload) => What::Text(payload),
                None => return self.fail(&channel, reference, "the payload or the metadata is not JSON"),
            }
        } else {
            let payload = Bytes::copy_from_slice(message.payload);
            What::Binary { event: message.event.to_owned(), meta: message.meta.to_owned(), payload }
        };
        self.cast(&channel, reference, what);
    }

    /// What came before the channel was joined.
    pub(super) fn resume(self: &Rc<Self>, channel: &Rc<Channel>) {
        for waiting in channel.backlog.take() {
            match waiting {
                Waiting::Text(text) => self.text(&channel.socket, &text),
                Waiting::Binary(bytes) => self.binary(&channel.socket, &bytes),
            }
        }
    }

    /// A broadcast as text.
    fn say(self: &Rc<Self>, channel: &Rc<Channel>, reference: Option<&str>, payload: &str) {
        if payload.len() > limits::BROADCAST {
            return self.fail(channel, reference, TOO_LARGE);
        }
        if !serde_json::from_str::<Broadcast<'_>>(payload).is_ok_and(|broadcast| !broadcast.event.is_empty())
        {
            return self.fail(channel, reference, "a broadcast is an object with an event");
        }
        self.cast(channel, reference, What::Text(Bytes::copy_from_slice(payload.as_bytes())));
    }

    fn cast(self: &Rc<Self>, channel: &Rc<Channel>, reference: Option<&str>, what: What) {
        if !channel.write.get() {
            // Clients of this wire expect silence.
            return;
        }
        let except = (!channel.config.echo).then(|| self.origin(channel));
        self.hub.publish(Cast::new(channel.topic.name.clone(), except, what));
        if channel.config.ack {
            self.reply(channel, reference, "ok", "{}");
        }
    }

    fn present(self: &Rc<Self>, channel: &Rc<Channel>, reference: Option<&str>, payload: &str) {
        let socket = &channel.socket;
        let span = u32::try_from(limits::PRESENCE_WINDOW.as_secs()).unwrap_or(1);
        if !Rate::take(&socket.presence_calls, self.now(), span, limits::PRESENCE_CALLS) {
            let reason = "ClientPresenceRateLimitReached: Too many presence messages";
            return self.fail(channel, reference, reason);
        }
        if payload.len() > limits::PRESENCE {
            return self.fail(channel, reference, "the presence payload is longer than 8 KiB");
        }
        let Ok(message) = serde_json::from_str::<PresenceMessage>(payload) else {
            return self.fail(
                channel,
                reference,
                "a presence message is an object with an event and a payload",
            );
        };
        if !channel.write.get() {
            return self.fail(
                channel,
                reference,
                "Unauthorized: You do not have permissions to write to this Channel",
            );
        }
        let (topic, origin) = (&channel.topic.name, self.origin(channel));
        match message.event.as_str() {
            "track" => {
                if channel.presence.get().is_none() && channel.read.get() {
                    self.tell_presence(channel);
                }
                channel.tracked.set(true);
                self.hub.track(
                    topic,
                    origin,
                    &channel.config.presence_key,
                    message.payload.unwrap_or_default(),
                );
            }
            "untrack" => {
                channel.tracked.set(false);
                self.hub.untrack(topic, origin);
            }
            _ => return self.fail(channel, reference, "a presence message is track or untrack"),
        }
        self.reply(channel, reference, "ok", "{}");
    }

    /// Tells who is there, and from then on what changes.
    pub(super) fn tell_presence(self: &Rc<Self>, channel: &Rc<Channel>) {
        let (version, state) = self.hub.presence(&channel.topic.name);
        channel.presence.set(Some(version));
        self.send(&channel.socket, &channel.message(None, "presence_state", &state));
    }

    pub(super) fn fail(self: &Rc<Self>, channel: &Channel, reference: Option<&str>, reason: &str) {
        let response = format!(r#"{{"reason":{}}}"#, quoted(reason));
        self.reply(channel, reference, "error", &response);
    }

    pub(super) fn reply(
        self: &Rc<Self>,
        channel: &Channel,
        reference: Option<&str>,
        status: &str,
        response: &str,
    ) {
        let join_ref = Some(&*channel.join_ref);
        self.answer(&channel.socket, join_ref, reference, &channel.topic.json, status, response);
    }

    /// Answers a message that wants an answer.
    pub(super) fn answer(
        self: &Rc<Self>,
        socket: &Rc<Socket>,
        join_ref: Option<&str>,
        reference: Option<&str>,
        topic: &str,
        status: &str,
        response: &str,
    ) {
        let Some(reference) = reference else { return };
        let head = format!(r#"{{"status":"{status}","response":"#);
        let payload: [&[u8]; 3] = [head.as_bytes(), response.as_bytes(), b"}"];
        let frame = protocol::text(socket.version, join_ref, Some(reference), topic, "phx_reply", &payload);
        self.send(socket, &frame);
    }
}

const TOO_LARGE: &str = "the payload is longer than 256 KiB";

fn channel_of(socket: &Socket, topic: &str) -> Option<Rc<Channel>> {
    socket.channels.borrow().iter().find(|channel| &*channel.topic.name.name == topic).cloned()
}

/// Keeps a message until its channel is joined. False if too many wait.
fn wait(channel: &Channel, message: Waiting) -> bool {
    let mut backlog = channel.backlog.borrow_mut();
    let room = backlog.len() < limits::BACKLOG;
    if room {
        backlog.push(message);
    }
    room
}

/// A binary broadcast of JSON as the text that everybody is told.
fn text_of(message: &BinaryBroadcast<'_>) -> Option<Bytes> {
    let payload: &serde_json::value::RawValue = serde_json::from_slice(message.payload).ok()?;
    let meta = match message.meta {
        "" => String::new(),
        meta => {
            let meta: &serde_json::value::RawValue = serde_json::from_str(meta).ok()?;
            format!(r#","meta":{}"#, meta.get())
        }
    };
    let event = quoted(message.event);
    Some(Bytes::from(format!(r#"{{"type":"broadcast","event":{event},"payload":{}{meta}}}"#, payload.get())))
}
