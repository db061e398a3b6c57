//! [`Frames`]: what a socket sends, message by message.
//!
//! All sockets of a worker read into one buffer; a socket has one of its own only while a frame is incomplete.

use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_codec::Decoder as _;
use actix_http::ws::{Codec, Item};
use actix_web_actors::ws::{CloseCode, CloseReason, Frame, Message, ProtocolError};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::socket::Socket;
use super::sockets::Sockets;
use crate::realtime::limits;

/// The messages of one socket, in order. It ends when the connection does or when the socket is closed; what breaks
/// the protocol is its last item.
pub(super) struct Frames {
    sockets: Rc<Sockets>,
    socket: Rc<Socket>,
    codec: Codec,
    /// What came of a frame that is not whole yet.
    partial: BytesMut,
    fragments: Option<Fragments>,
    /// Bytes that are counted as this socket's among the incomplete.
    held: usize,
    over: bool,
}

/// A message that comes in several frames.
struct Fragments {
    text: bool,
    bytes: BytesMut,
}

impl Frames {
    /// `rest` came together with the handshake.
    pub(super) fn new(sockets: Rc<Sockets>, socket: Rc<Socket>, rest: BytesMut) -> Frames {
        let codec = Codec::new().max_size(limits::MESSAGE);
        Frames { sockets, socket, codec, partial: rest, fragments: None, held: 0, over: false }
    }

    /// Takes the next message out of what has come.
    fn decode(&mut self) -> Result<Option<Message>, CloseReason> {
        if self.partial.is_empty() {
            return Ok(None);
        }
        // The decoder would first gather all of a frame that it then refuses.
        if announced(&self.partial).is_some_and(|length| length > limits::MESSAGE as u64) {
            return Err(too_big());
        }
        let frame = self.codec.decode(&mut self.partial).map_err(|error| broken(&error))?;
        let Some(frame) = frame else { return Ok(None) };
        // Who only ever begins frames is as good as silent.
        self.socket.heard.set(self.sockets.now());
        Ok(Some(match frame {
            Frame::Text(bytes) => text(bytes)?,
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
            Frame::Close(reason) => Message::Close(reason),
            Frame::Continuation(item) => self.join(item)?,
        }))
    }

    fn join(&mut self, item: Item) -> Result<Message, CloseReason> {
        match item {
            Item::FirstText(bytes) => {
                self.fragments = Some(Fragments { text: true, bytes: BytesMut::from(&bytes[..]) });
                Ok(Message::Nop)
            }
            Item::FirstBinary(bytes) => {
                self.fragments = Some(Fragments { text: false, bytes: BytesMut::from(&bytes[..]) });
                Ok(Message::Nop)
            }
            Item::Continue(bytes) => {
                self.append(&bytes)?;
                Ok(Message::Nop)
            }
            Item::Last(bytes) => {
                self.append(&bytes)?;
                match self.fragments.take() {
                    Some(Fragments { text: true, bytes }) => text(bytes.freeze()),
                    Some(Fragments { text: false, bytes }) => Ok(Message::Binary(bytes.freeze())),
                    None => Err(reason(CloseCode::Protocol, "a continuation of nothing")),
                }
            }
        }
    }

    /// Counts what is held of messages that are not whole. False if all sockets together hold too much.
    fn count(&mut self) -> bool {
        let fragments = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.capacity());
        let held = self.partial.capacity() + fragments;
        let all = self.sockets.incomplete.get() - self.held + held;
        self.sockets.incomplete.set(all);
        self.held = held;
        all <= limits::INCOMPLETE || held <= limits::INCOMPLETE_EACH
    }

    fn append(&mut self, bytes: &Bytes) -> Result<(), CloseReason> {
        let Some(fragments) = &mut self.fragments else {
            return Err(reason(CloseCode::Protocol, "a continuation of nothing"));
        };
        if fragments.bytes.len() + bytes.len() > limits::MESSAGE {
            return Err(too_big());
        }
        fragments.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.sockets.incomplete.set(self.sockets.incomplete.get() - self.held);
    }
}

impl Stream for Frames {
    type Item = Result<Message, CloseReason>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.over || !this.socket.is_open() {
                return Poll::Ready(None);
            }
            match this.decode() {
                // Only a part of a message: alive, and nothing to do.
                Ok(Some(Message::Nop)) => continue,
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(reason) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(reason)));
                }
            }
            if this.partial.is_empty() {
                // Its memory is for those who send.
                this.partial = BytesMut::new();
            }
            if !this.count() {
                this.over = true;
                let told = reason(CloseCode::Again, "too many messages are incomplete");
                return Poll::Ready(Some(Err(told)));
            }
            // Whoever closes the socket wakes its reader.
            let known =
                this.socket.reader.borrow().as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
            if !known {
                *this.socket.reader.borrow_mut() = Some(context.waker().clone());
            }
            if ready!(this.socket.stream.poll_read_ready(context)).is_err() {
                return Poll::Ready(None);
            }
            let mut scratch = this.sockets.scratch();
            match this.socket.stream.try_read(&mut scratch) {
                Ok(0) => return Poll::Ready(None),
                Ok(count) => {
                    this.partial.extend_from_slice(&scratch[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }
}

/// The length that a frame's head announces, if it has come.
fn announced(head: &[u8]) -> Option<u64> {
    match head {
        [_, length, a, b, c, d, e, f, g, h, ..] if length & 0x7f == 127 => {
            Some(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        _ => None,
    }
}

fn text(bytes: Bytes) -> Result<Message, CloseReason> {
    let text = bytes.try_into().map_err(|_| reason(CloseCode::Invalid, "text that is not UTF-8"))?;
    Ok(Message::Text(text))
}

fn reason(code: CloseCode, description: &str) -> CloseReason {
    CloseReason { code, description: Some(description.to_owned()) }
}

fn too_big() -> CloseReason {
    reason(CloseCode::Size, "a message is longer than 1 MiB")
}

fn broken(error: &ProtocolError) -> CloseReason {
    match error {
        ProtocolError::Overflow => too_big(),
        _ => reason(CloseCode::Protocol, &error.to_string()),
    }
}
