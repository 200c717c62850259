//! The raw frame, checked before it is buffered and before the codec sees it.
//!
//! From the first two to five bytes: is the packet one that a client may send, are its flags those of MQTT 3.1.1, is its
//! length within what its type may have. From the whole frame: every topic and filter in it is printable ASCII of a
//! bounded length (rumqttd's router slices topics by bytes), and nothing crosses the frame's end.

use crate::fault::Fault;

/// The longest topic or filter, bytes.
pub(crate) const MAX_TOPIC: usize = 256;

/// The longest fixed header: a type byte and four of length.
const MAX_HEADER: usize = 5;

/// A topic, its length and a packet id.
const PUBLISH_OVERHEAD: usize = MAX_TOPIC + 4;

/// A will of full size, its topic, a client id, user name and password.
const CONNECT_OVERHEAD: usize = MAX_TOPIC + 1024;

/// The longest SUBSCRIBE or UNSUBSCRIBE, bytes.
const MAX_SUBSCRIBE: usize = 16_384;

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Publish,
    PubAck,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
}

/// A checked fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Bytes of the fixed header.
    pub(crate) header: usize,
    /// Bytes of the whole frame.
    pub(crate) frame: usize,
}

/// Reads the fixed header; `None`: more bytes are needed. `max_payload` bounds PUBLISH and the will, bytes.
pub(crate) fn header(bytes: &[u8], max_payload: usize) -> Result<Option<Header>, Fault> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let kind = kind(first)?;
    let mut remaining = 0_usize;
    for (i, &byte) in rest.iter().take(MAX_HEADER - 1).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            check_length(kind, remaining, max_payload)?;
            let header = i + 2;
            return Ok(Some(Header {
                kind,
                header,
                frame: header + remaining,
            }));
        }
    }
    if rest.len() >= MAX_HEADER - 1 {
        Err(Fault::Malformed)
    } else {
        Ok(None)
    }
}

fn kind(first: u8) -> Result<Kind, Fault> {
    let (kind, flags) = match first >> 4 {
        1 => (Kind::Connect, 0),
        3 if first & 0b0110 == 0b0110 => return Err(Fault::Malformed),
        3 if first & 0b0110 == 0b0100 => return Err(Fault::Qos2),
        3 => (Kind::Publish, first & 0x0f),
        4 => (Kind::PubAck, 0),
        5..=7 => return Err(Fault::Qos2),
        8 => (Kind::Subscribe, 2),
        10 => (Kind::Unsubscribe, 2),
        12 => (Kind::PingReq, 0),
        14 => (Kind::Disconnect, 0),
        2 | 9 | 11 | 13 => return Err(Fault::Unexpected),
        _ => return Err(Fault::Malformed),
    };
    if first & 0x0f == flags {
        Ok(kind)
    } else {
        Err(Fault::Malformed)
    }
}

fn check_length(kind: Kind, remaining: usize, max_payload: usize) -> Result<(), Fault> {
    let (least, most) = match kind {
        Kind::Connect => (12, max_payload + CONNECT_OVERHEAD),
        Kind::Publish => (3, max_payload + PUBLISH_OVERHEAD),
        Kind::PubAck => (2, 2),
        Kind::Subscribe => (6, MAX_SUBSCRIBE),
        Kind::Unsubscribe => (5, MAX_SUBSCRIBE),
        Kind::PingReq | Kind::Disconnect => (0, 0),
    };
    if remaining > most {
        Err(if most > 2 {
            Fault::TooLarge
        } else {
            Fault::Malformed
        })
    } else if remaining < least {
        Err(Fault::Malformed)
    } else {
        Ok(())
    }
}

/// Checks the topics of a whole frame, and the sizes that the codec does not.
pub(crate) fn check(frame: &[u8], header: Header, max_payload: usize) -> Result<(), Fault> {
    let body = frame.get(header.header..).ok_or(Fault::Malformed)?;
    match header.kind {
        Kind::Publish => {
            let (_, rest) = topic(body)?;
            let id = if frame.first().is_some_and(|b| b & 0b0010 != 0) {
                2
            } else {
                0
            };
            let payload = rest.len().checked_sub(id).ok_or(Fault::Malformed)?;
            if payload > max_payload {
                Err(Fault::TooLarge)
            } else {
                Ok(())
            }
        }
        Kind::Subscribe => filters(body, 1),
        Kind::Unsubscribe => filters(body, 0),
        // The lowest connect flag is reserved; the byte follows protocol name and level.
        Kind::Connect if body.get(7).is_some_and(|flags| flags & 1 != 0) => Err(Fault::Malformed),
        _ => Ok(()),
    }
}

/// Walks the filters behind a packet id, each followed by some bytes of options.
fn filters(body: &[u8], options: usize) -> Result<(), Fault> {
    let mut rest = body.get(2..).ok_or(Fault::Malformed)?;
    while !rest.is_empty() {
        let (_, after) = topic(rest)?;
        rest = after.get(options..).ok_or(Fault::Malformed)?;
    }
    Ok(())
}

/// A length-prefixed topic or filter, and what follows it.
fn topic(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (len, rest) = bytes.split_first_chunk::<2>().ok_or(Fault::Malformed)?;
    let len = usize::from(u16::from_be_bytes(*len));
    if len == 0 || len > MAX_TOPIC {
        return Err(Fault::Malformed);
    }
    let (topic, after) = rest.split_at_checked(len).ok_or(Fault::Malformed)?;
    if is_printable(topic) {
        Ok((topic, after))
    } else {
        Err(Fault::Malformed)
    }
}

/// Whether bytes are a topic that may reach the router.
pub(crate) fn is_printable(topic: &[u8]) -> bool {
    topic.len() <= MAX_TOPIC && topic.iter().all(|b| (0x20..0x7f).contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(frame: &[u8]) -> Result<(), Fault> {
        let header = header(frame, 100)?.expect("a whole header");
        check(frame, header, 100)
    }

    #[test]
    fn a_header_is_judged_before_its_body_arrives() {
        assert_eq!(header(&[], 100), Ok(None));
        assert_eq!(header(&[0x30], 100), Ok(None));
        assert_eq!(header(&[0x30, 0x80], 100), Ok(None));
        assert_eq!(
            header(&[0x30, 0x05], 100),
            Ok(Some(Header {
                kind: Kind::Publish,
                header: 2,
                frame: 7
            }))
        );
        assert_eq!(header(&[0x30, 0xff, 0xff, 0xff, 0x7f], 100), Err(Fault::TooLarge));
        assert_eq!(
            header(&[0x30, 0xff, 0xff, 0xff, 0xff], 100),
            Err(Fault::Malformed)
        );
        assert_eq!(header(&[0x82, 0xff, 0xff, 0x01], 1 << 20), Err(Fault::TooLarge));
        assert_eq!(header(&[0xc0, 0x01], 100), Err(Fault::Malformed));
    }

    #[test]
    fn packets_that_no_client_sends_are_refused_by_their_first_byte() {
        for (first, fault) in [
            (0x00, Fault::Malformed),
            (0x20, Fault::Unexpected),
            (0x90, Fault::Unexpected),
            (0xb0, Fault::Unexpected),
            (0xd0, Fault::Unexpected),
            (0xf0, Fault::Malformed),
            (0x34, Fault::Qos2),
            (0x36, Fault::Malformed),
            (0x50, Fault::Qos2),
            (0x62, Fault::Qos2),
            (0x11, Fault::Malformed),
            (0x80, Fault::Malformed),
        ] {
            assert_eq!(header(&[first], 100), Err(fault), "{first:#x}");
        }
    }

    #[test]
    fn topics_are_short_printable_ascii_inside_the_frame() {
        assert_eq!(whole(b"\x30\x05\x00\x01axx"), Ok(()));
        assert_eq!(whole("\x30\x06\x00\x02éxx".as_bytes()), Err(Fault::Malformed));
        assert_eq!(whole(b"\x30\x05\x00\x00axx"), Err(Fault::Malformed));
        assert_eq!(whole(b"\x30\x05\x00\x09axx"), Err(Fault::Malformed));
        assert_eq!(whole(b"\x30\x05\x00\x01\x00xx"), Err(Fault::Malformed));
        assert_eq!(
            whole(b"\x32\x04\x00\x01ax"),
            Err(Fault::Malformed),
            "no room for the packet id"
        );
        assert_eq!(whole(b"\x82\x06\x00\x01\x00\x01a\x00"), Ok(()));
        assert_eq!(whole(b"\x82\x07\x00\x01\x00\x01a\x00x"), Err(Fault::Malformed));
    }
}
