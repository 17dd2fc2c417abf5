//! A WebSocket client of the tests' own: says any bytes, reads strictly (RFC 6455).

use super::http::{Client, Head, Response};
use super::server::{Server, Setup};
use super::tools;
use super::wait::eventually;
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// One connection that has switched.
pub struct Socket {
    client: Client,
    /// What the server answered.
    pub head: Head,
}

/// One frame of the server's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The bit that says it is the last one, reserved bits, and what it is.
    pub first: u8,
    pub payload: Vec<u8>,
}

/// First bytes of frames that stand alone.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// What asks for a WebSocket, without what a test may want to say otherwise.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

impl Socket {
    /// A client at this target, which must come in.
    #[track_caller]
    pub fn open(server: &Server, target: &str) -> Self {
        Self::open_with(server, target, "")
    }

    /// The same with more fields.
    #[track_caller]
    pub fn open_with(server: &Server, target: &str, fields: &str) -> Self {
        match Self::try_open(server.connect(), "a.test", target, fields) {
            Ok(socket) => socket,
            Err(response) => panic!("refused: {response:?}"),
        }
    }

    /// A client at this target, or how it was refused.
    pub fn try_open(
        mut client: Client,
        host: &str,
        target: &str,
        fields: &str,
    ) -> Result<Self, Box<Response>> {
        client.request_at(host, "GET", target, &format!("{UPGRADE}{fields}"), b"");
        Self::switched(client)
    }

    /// Reads the answer to a request that asked for a WebSocket.
    pub fn switched(mut client: Client) -> Result<Self, Box<Response>> {
        let head = client.head();
        if head.status == 101 {
            let accept = head
                .fields
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Accept"));
            let accept = accept.map(|(_, value)| value.as_str());
            assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head:?}");
            return Ok(Self { client, head });
        }
        let body = client.body("GET", &head).expect("the body of the refusal");
        let Head { version, status, fields } = head;
        Err(Box::new(Response { version, status, fields, body, informational: Vec::new() }))
    }

    /// Says a text.
    pub fn say(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// Sends one frame.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.client.send(masked(first, payload));
    }

    /// Sends these bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.client.try_send(bytes)
    }

    /// Closes with this code.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.send(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// The next frame, whatever it is.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame")
    }

    /// The next frame, or why there is none.
    pub fn try_frame(&mut self) -> std::io::Result<Frame> {
        let [first, second] = self.client.exactly(2)?[..] else { unreachable!("two bytes") };
        let length = match second {
            126 => {
                let length = self.client.exactly(2)?;
                usize::from(u16::from_be_bytes([length[0], length[1]]))
            }
            127 => {
                let length = self.client.exactly(8)?;
                let length: [u8; 8] = length.try_into().expect("eight bytes");
                usize::try_from(u64::from_be_bytes(length)).expect("a length")
            }
            masked if masked & 0x80 != 0 => return Err(std::io::Error::other("it is masked")),
            short => usize::from(short),
        };
        Ok(Frame { first, payload: self.client.exactly(length)? })
    }

    /// The next frame that is no ping; pings are answered.
    pub fn try_hear(&mut self) -> std::io::Result<Frame> {
        loop {
            let frame = self.try_frame()?;
            if frame.first != PING {
                return Ok(frame);
            }
            self.client.try_send(masked(PONG, &frame.payload))?;
        }
    }

    /// The next frame that is no ping.
    #[track_caller]
    pub fn hear(&mut self) -> Frame {
        self.try_hear().expect("a frame")
    }

    /// The text that comes next.
    #[track_caller]
    pub fn hear_text(&mut self) -> String {
        let frame = self.hear();
        assert_eq!(frame.first, TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("text in UTF-8")
    }

    /// The object that comes next.
    #[track_caller]
    pub fn hear_json(&mut self) -> Value {
        let text = self.hear_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The code and reason that come next, and the connection's end.
    #[track_caller]
    pub fn hear_close(&mut self) -> (u16, String) {
        let frame = self.hear();
        let close = frame.close();
        self.send_bytes(&masked(CLOSE, &frame.payload)).ok();
        assert!(self.is_over(), "the server ends the connection after {close:?}");
        close
    }

    /// True when the connection ends without another byte.
    pub fn is_over(&mut self) -> bool {
        self.client.closes()
    }

    /// True when nothing comes within this time.
    pub fn is_silent_for(&mut self, limit: Duration) -> bool {
        self.client.is_silent_for(limit)
    }

    /// Asserts that nothing was told before what an echo brings.
    #[track_caller]
    pub fn assert_nothing_told(&mut self) {
        self.say(r#"{"$text":"nothing before this"}"#);
        assert_eq!(self.hear_text(), "nothing before this");
    }

    /// Ends the connection with a reset, without a close.
    pub fn reset(self) {
        self.client.reset();
    }

    /// The connection, to change how it behaves.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The connection.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// The server's field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let own = self.head.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str())
    }
}

impl Frame {
    /// Code and reason of a close; 1005 where there is none.
    #[track_caller]
    pub fn close(&self) -> (u16, String) {
        assert_eq!(self.first, CLOSE, "{self:?}");
        match self.payload.split_at_checked(2) {
            Some((code, reason)) => {
                let code = u16::from_be_bytes([code[0], code[1]]);
                (code, String::from_utf8(reason.to_vec()).expect("a reason in UTF-8"))
            }
            None => (1005, String::new()),
        }
    }
}

/// A frame as clients send it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x17];
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0xff);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A text as it stands in a query.
pub fn quoted(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => {
            out + &char::from(byte).to_string()
        }
        other => format!("{out}%{other:02X}"),
    })
}

/// One POST about a client, as the app got it.
#[derive(Clone, Debug)]
pub struct Posted(pub Value);

impl Posted {
    /// `open`, `text`, `binary`, `close` or `subscribe`.
    pub fn word(&self) -> &str {
        self.0["word"].as_str().expect("a word")
    }

    /// The client's id.
    pub fn client(&self) -> &str {
        self.0["client"].as_str().expect("a client")
    }

    /// The body; a character for each byte.
    pub fn body(&self) -> &str {
        self.0["body"].as_str().expect("a body")
    }

    /// A field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0["fields"][name].as_str()
    }
}

impl Setup {
    /// The app of WebSocket clients that does as it is told: `rooms.py`, on every host. `realtime`
    /// stands in its site; the app's path of realtime is not said.
    pub fn rooms(realtime: &str) -> Self {
        Self::edgefile(&rooms(realtime, "")).with_rooms().word("--no-watch")
    }

    /// Puts `rooms.py` beside the Edgefile.
    pub fn with_rooms(self) -> Self {
        let source = fs::read_to_string(tools::app("rooms.py")).expect("the app's source");
        self.with_file("rooms.py", &source)
    }
}

/// An Edgefile with that app.
pub fn rooms(realtime: &str, app: &str) -> String {
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
         app \"rooms\" {{ entry \"rooms.py\"; workers 2\n{app}\n}}\n\
         site \"*\" {{\n    route \"/*\" {{ to-app \"rooms\" }}\n    {realtime}\n}}\n"
    )
}

impl Server {
    /// What the app of rooms was asked.
    pub fn posts(&self) -> Vec<Posted> {
        let text = fs::read_to_string(self.path("record/posts")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let line = |line| Posted(serde_json::from_str(line).expect("a line of the record"));
        whole.lines().map(line).collect()
    }

    /// What it was asked with this word.
    pub fn posted(&self, word: &str) -> Vec<Posted> {
        self.posts().into_iter().filter(|post| post.word() == word).collect()
    }

    /// Waits until it was asked with this word so often.
    #[track_caller]
    pub fn wait_for_posts(&self, word: &str, count: usize) -> Vec<Posted> {
        eventually(&format!("{count} POSTs with {word}"), || self.posted(word).len() >= count);
        let posts = self.posted(word);
        assert_eq!(posts.len(), count, "{posts:?}");
        posts
    }
}
