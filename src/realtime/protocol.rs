//! Phoenix channel messages on WebSocket frames, in the two versions that clients speak.
//!
//! Version 1 is a JSON object a message, version 2 a JSON array, with binary frames for broadcasts. What is built here
//! is a whole WebSocket frame, so that everybody who is sent the same shares the same bytes.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::limits;

/// Which Phoenix serializer a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Version {
    /// From the `vsn` of the handshake. Who says nothing speaks version 1.
    pub fn parse(text: Option<&str>) -> Option<Version> {
        match text {
            None | Some("1.0.0") => Some(Version::One),
            Some("2.0.0") => Some(Version::Two),
            Some(_) => None,
        }
    }
}

/// A message of a client, as text. The references are JSON as it was sent, strings or numbers.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    // The order is that of version 2.
    #[serde(borrow, default)]
    pub join_ref: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ref")]
    pub reference: Option<&'a RawValue>,
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// The frame is no Phoenix message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Phoenix message of this version")]
pub struct Malformed;

impl<'a> Message<'a> {
    /// Reads a text frame.
    ///
    /// # Errors
    /// It is not JSON, or not of the version's form.
    pub fn parse(text: &'a str, version: Version) -> Result<Message<'a>, Malformed> {
        let opening = match version {
            Version::One => '{',
            Version::Two => '[',
        };
        if !text.trim_start().starts_with(opening) {
            return Err(Malformed);
        }
        let message: Message<'a> = serde_json::from_str(text).map_err(|_| Malformed)?;
        let fits = |reference: Option<&RawValue>| {
            reference.is_none_or(|raw| {
                let raw = raw.get();
                raw.len() <= limits::REFERENCE && raw.starts_with(|c: char| c == '"' || c.is_ascii_digit())
            })
        };
        (fits(message.join_ref) && fits(message.reference)).then_some(message).ok_or(Malformed)
    }

    /// The payload as JSON.
    pub fn payload(&self) -> &'a str {
        self.payload.map_or("{}", RawValue::get)
    }
}

/// A broadcast of a client in a binary frame of version 2 (kind 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryBroadcast<'a> {
    pub join_ref: &'a str,
    pub reference: &'a str,
    pub topic: &'a str,
    pub event: &'a str,
    /// JSON, or empty.
    pub meta: &'a str,
    /// The payload is JSON, not bytes.
    pub json: bool,
    pub payload: &'a [u8],
}

const KIND_BROADCAST_IN: u8 = 3;
const KIND_BROADCAST_OUT: u8 = 4;

impl<'a> BinaryBroadcast<'a> {
    /// Reads a binary frame: the kind, five lengths, how the payload is encoded, then what the lengths are of.
    ///
    /// # Errors
    /// Another kind, lengths beyond the frame's end, or names that are not UTF-8.
    pub fn parse(frame: &'a [u8]) -> Result<BinaryBroadcast<'a>, Malformed> {
        let [KIND_BROADCAST_IN, join_ref, reference, topic, event, meta, encoding, rest @ ..] = frame else {
            return Err(Malformed);
        };
        let mut rest = rest;
        let mut take = |length: &u8| -> Result<&'a str, Malformed> {
            let (text, after) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed)?;
            rest = after;
            std::str::from_utf8(text).map_err(|_| Malformed)
        };
        let (join_ref, reference) = (take(join_ref)?, take(reference)?);
        let (topic, event, meta) = (take(topic)?, take(event)?, take(meta)?);
        let json = match encoding {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        Ok(BinaryBroadcast { join_ref, reference, topic, event, meta, json, payload: rest })
    }
}

/// Room for the longest head of a server's frame, which is known only once the payload is.
const HEAD: usize = 10;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xA;

/// Puts the head before a payload that stands behind [`HEAD`] free bytes.
fn finish(mut buffer: BytesMut, opcode: u8) -> Bytes {
    let length = buffer.len() - HEAD;
    let mut head = [0; HEAD];
    head[0] = 0x80 | opcode;
    // A length has 7, 16 or 64 bits (RFC 6455, 5.2).
    let size = if let Ok(short) = u16::try_from(length) {
        if length < 126 {
            head[1] = short as u8;
            2
        } else {
            head[1] = 126;
            head[2..4].copy_from_slice(&short.to_be_bytes());
            4
        }
    } else {
        head[1] = 127;
        head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        10
    };
    let _ = buffer.split_to(HEAD - size);
    buffer[..size].copy_from_slice(&head[..size]);
    buffer.freeze()
}

fn begin(room: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(HEAD + room);
    buffer.put_bytes(0, HEAD);
    buffer
}

/// Text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A message in a text frame. References and topic are JSON; `payload` is JSON in pieces.
pub fn text(
    version: Version,
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    event: &str,
    payload: &[&[u8]],
) -> Bytes {
    let null = "null";
    let (join_ref, reference) = (join_ref.unwrap_or(null), reference.unwrap_or(null));
    let length: usize = payload.iter().map(|piece| piece.len()).sum();
    let names = topic.len() + event.len() + join_ref.len() + reference.len();
    let mut buffer = begin(length + names + 64);
    let put = |buffer: &mut BytesMut| payload.iter().for_each(|piece| buffer.put_slice(piece));
    // Events are our own words. Writing to a buffer that grows does not fail.
    match version {
        Version::One => {
            let _ = write!(buffer, r#"{{"topic":{topic},"event":"{event}","payload":"#);
            put(&mut buffer);
            let _ = write!(buffer, r#","ref":{reference},"join_ref":{join_ref}}}"#);
        }
        Version::Two => {
            let _ = write!(buffer, r#"[{join_ref},{reference},{topic},"{event}","#);
            put(&mut buffer);
            buffer.put_u8(b']');
        }
    }
    finish(buffer, TEXT)
}

/// A broadcast of bytes in a binary frame (kind 4). `None` if a name is too long for it.
pub fn binary_broadcast(topic: &str, event: &str, meta: &str, payload: &[u8]) -> Option<Bytes> {
    let length = |text: &str| u8::try_from(text.len()).ok();
    let mut buffer = begin(8 + topic.len() + event.len() + meta.len() + payload.len());
    buffer.put_slice(&[KIND_BROADCAST_OUT, length(topic)?, length(event)?, length(meta)?, 0]);
    for text in [topic, event, meta] {
        buffer.put_slice(text.as_bytes());
    }
    buffer.put_slice(payload);
    Some(finish(buffer, BINARY))
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut buffer = begin(payload.len());
    buffer.put_slice(payload);
    finish(buffer, PONG)
}

/// A farewell. The reason is cut where a control frame ends.
pub fn close(code: u16, reason: &str) -> Bytes {
    const LONGEST: usize = 123;
    let mut buffer = begin(2 + LONGEST);
    buffer.put_u16(code);
    let end = (0..=reason.len().min(LONGEST)).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    buffer.put_slice(&reason.as_bytes()[..end]);
    finish(buffer, CLOSE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_say_the_same() {
        let one =
            r#"{"topic":"realtime:a","event":"phx_join","payload":{"a":1},"ref":"1","join_ref":"2","x":[]}"#;
        let two = r#" ["2","1","realtime:a","phx_join",{"a":1}]"#;
        for (text, version, other) in [(one, Version::One, Version::Two), (two, Version::Two, Version::One)] {
            let message = Message::parse(text, version).unwrap();
            assert_eq!((&*message.topic, &*message.event), ("realtime:a", "phx_join"));
            assert_eq!(message.payload(), r#"{"a":1}"#);
            assert_eq!(message.reference.unwrap().get(), r#""1""#);
            assert_eq!(message.join_ref.unwrap().get(), r#""2""#);
            assert!(Message::parse(text, other).is_err());
        }
        let bare = Message::parse(r#"{"topic":"phoenix","event":"heartbeat"}"#, Version::One).unwrap();
        assert_eq!((bare.payload(), bare.reference.is_none()), ("{}", true));
        let none = Message::parse(r#"[null,7,"phoenix","heartbeat",{}]"#, Version::Two).unwrap();
        assert_eq!((none.join_ref.is_none(), none.reference.unwrap().get()), (true, "7"));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = format!(r#"[null,"{}","t","e",{{}}]"#, "x".repeat(100));
        for text in ["", "x", "[]", "{}", r#"[1,2,3,4,5]"#, r#"[null,{},"t","e",{}]"#, &long] {
            assert!(Message::parse(text, Version::Two).is_err(), "{text}");
        }
    }

    #[test]
    fn a_frame_of_any_length_has_the_head_of_its_length() {
        for (length, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = pong(&vec![7; length]);
            assert_eq!(frame.len(), head + length);
            assert!(frame[head..].iter().all(|byte| *byte == 7));
        }
        assert_eq!(&pong(&[7; 300])[..4], [0x8A, 126, 1, 44]);
        assert_eq!(&pong(&vec![7; 65_536])[..10], [0x8A, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(close(1013, &"é".repeat(100)).len(), 2 + 2 + 122);
    }

    #[test]
    fn a_binary_broadcast_names_its_parts_by_length() {
        let mut frame = vec![3, 1, 2, 3, 4, 0, 1];
        frame.extend(b"112abcevnt{}");
        let parsed = BinaryBroadcast::parse(&frame).unwrap();
        assert_eq!((parsed.join_ref, parsed.reference, parsed.topic), ("1", "12", "abc"));
        assert_eq!((parsed.event, parsed.meta, parsed.json, parsed.payload), ("evnt", "", true, &b"{}"[..]));
        let out = binary_broadcast("abc", "evnt", "", &[1, 2]).unwrap();
        assert_eq!(&out[..], b"\x82\x0e\x04\x03\x04\x00\x00abcevnt\x01\x02");
        assert_eq!(binary_broadcast(&"x".repeat(256), "", "", &[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>, lengths: [u8; 6]) {
            let _ = BinaryBroadcast::parse(&bytes);
            let _ = BinaryBroadcast::parse(&[&[3][..], &lengths, &bytes].concat());
            let text = String::from_utf8_lossy(&bytes);
            let _ = Message::parse(&text, Version::Two);
            let _ = Message::parse(&format!("{{{text}"), Version::One);
        }
    }
}
