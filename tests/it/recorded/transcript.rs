//! The transcript of a run, as readable text.
//!
//! Each exchange has a number and a line that says to whom and what was sent. Then come the bytes of the
//! reply, line by line. The first character of a line says how the line ended on the wire:
//!
//! - `<` with CR LF, `|` with LF alone, `.` with the end of the bytes;
//! - `+` not at all: the line is broken here, behind `},` or `],`, to be readable.
//!
//! `~` stands for the three lines of [`COMMON`], which end almost every head.
//!
//! A byte that is no printable character is `\xNN`. Modbus frames are hexadecimal digits. A body of more
//! than [`REPEATED`] bytes that came before is a reference to that exchange.
//!
//! Masked, because they differ from run to run:
//!
//! - `127.0.0.1:PORT` of a listener of the house: the system chose the port. The name of the listener stands
//!   in its place, and the `Content-Length` is that of the masked body.
//! - `nonce` and `opaque` of a Digest challenge: they come from a random key.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::process::End;

/// The end of almost every head.
const COMMON: &str = "X-Content-Type-Options: nosniff\r\n\
                      Cache-Control: no-store, no-cache\r\n\
                      Connection: close\r\n\r\n";
/// Bytes of a body from which on it is shown once.
const REPEATED: usize = 400;
/// Characters of a line from which on it is broken.
const WIDE: usize = 160;
/// Lines around the first difference.
const CONTEXT: usize = 12;

#[derive(Default)]
pub(super) struct Transcript {
    text: String,
    exchanges: usize,
    addresses: Vec<(SocketAddr, String)>,
    bodies: HashMap<String, usize>,
}

impl Transcript {
    pub(super) fn masking(mut addresses: Vec<(SocketAddr, String)>) -> Self {
        // Longer ports first: a shorter one may be the beginning of a longer one.
        addresses.sort_by_key(|(address, _)| std::cmp::Reverse(address.port()));
        Self { addresses, ..Self::default() }
    }

    pub(super) fn heading(&mut self, title: &str) {
        writeln!(self.text, "\n## {title}").unwrap();
    }

    /// A remark of the recorder.
    pub(super) fn note(&mut self, text: &str) {
        writeln!(self.text, "{text}").unwrap();
    }

    /// Text that the binary printed.
    pub(super) fn printed(&mut self, text: &str) {
        let text = self.mask(text);
        self.lines(&text);
    }

    /// The head of an exchange.
    pub(super) fn sent(&mut self, to: &str, what: &str) {
        self.exchanges += 1;
        let what = self.mask(what);
        writeln!(self.text, "\n#{} {to}: {what}", self.exchanges).unwrap();
    }

    /// Records the bytes from an HTTP server, one response or several.
    pub(super) fn received_http(&mut self, bytes: &[u8], end: End) {
        let text = self.mask(&readable(bytes));
        match text.split_once("\r\n\r\n") {
            Some((head, body)) => {
                let head = with_length(head, &readable(bytes), body);
                let head = format!("{head}\r\n\r\n");
                if let Some(head) = head.strip_suffix(COMMON) {
                    self.lines(head);
                    self.note("~");
                } else {
                    self.lines(&head);
                }
                self.body(body);
            }
            None => self.lines(&text),
        }
        self.ended(end);
    }

    /// Records the bytes from a Modbus server.
    pub(super) fn received_frames(&mut self, bytes: &[u8], end: End) {
        let mut line = String::new();
        for byte in bytes {
            write!(line, "{byte:02x} ").unwrap();
        }
        writeln!(self.text, "{}", format!("= {line}").trim_end()).unwrap();
        self.ended(end);
    }

    fn ended(&mut self, end: End) {
        match end {
            End::Closed => {}
            End::Refused => self.note("(connection refused)"),
            End::Reset => self.note("(connection reset)"),
        }
    }

    fn body(&mut self, body: &str) {
        if body.len() > REPEATED {
            let number = *self.bodies.entry(body.to_owned()).or_insert(self.exchanges);
            if number != self.exchanges {
                return self.note(&format!("(the body of #{number})"));
            }
        }
        self.lines(body);
    }

    fn lines(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            let (line, mark) = match (line.strip_suffix("\r\n"), line.strip_suffix('\n')) {
                (Some(line), _) => (line, '<'),
                (None, Some(line)) => (line, '|'),
                (None, None) => (line, '.'),
            };
            let parts = broken(line);
            let last = parts.len() - 1;
            for (index, part) in parts.into_iter().enumerate() {
                let mark = if index == last { mark } else { '+' };
                let gap = if part.is_empty() { "" } else { " " };
                writeln!(self.text, "{mark}{gap}{part}").unwrap();
            }
        }
    }

    fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (address, name) in &self.addresses {
            text = text.replace(&address.to_string(), &format!("127.0.0.1:[{name}]"));
        }
        for name in [" nonce=\"", " opaque=\""] {
            text = replaced(&text, name, |rest| Some(("[random]", rest.find('"')?)));
        }
        text
    }

    /// Compares the transcript with its file, or writes the file again.
    pub(super) fn compare(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/recorded")
            .join(format!("{name}.txt"));
        if std::env::var_os("WWSIM_RECORD").is_some() {
            return std::fs::write(path, self.text).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; WWSIM_RECORD=1 writes it", path.display())
        });
        if let Some(difference) = difference(&recorded, &self.text) {
            let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.txt"));
            std::fs::write(&now, self.text).unwrap();
            let (path, now) = (path.display(), now.display());
            panic!("the house does not do what is recorded: diff {path} {now}\n{difference}");
        }
    }
}

/// The text with another word behind each `key`. `mask` returns the word and the number of bytes it replaces,
/// or `None` if nothing is to be replaced.
fn replaced(text: &str, key: &str, mask: impl Fn(&str) -> Option<(&'static str, usize)>) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(key) {
        let (before, after) = rest.split_at(at + key.len());
        done += before;
        rest = after;
        if let Some((word, length)) = mask(rest) {
            done += word;
            rest = &rest[length..];
        }
    }
    done + rest
}

/// Bytes as text: what is no printable character is `\xNN`, and line ends stay.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() && !"\r\n".contains(character) {
                write!(text, "\\x{:02x}", u32::from(character)).unwrap();
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").unwrap();
        }
    }
    text
}

/// The head with the length of the masked body, if something in the body was masked.
fn with_length(head: &str, raw: &str, masked: &str) -> String {
    let body = raw.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    if body == masked {
        head.to_owned()
    } else {
        (head.to_owned() + "\r\n").replace(&length(body), &length(masked)).trim_end().to_owned()
    }
}

/// A line in parts that end behind `},` or `],`, if it is a wide one.
fn broken(line: &str) -> Vec<&str> {
    if line.len() <= WIDE {
        return vec![line];
    }
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some(end) = ["},", "],"].iter().filter_map(|mark| rest.find(mark)).min() {
        let (part, after) = rest.split_at(end + 2);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// The first difference of two texts with the lines around it. `None` if they are the same.
fn difference(recorded: &str, now: &str) -> Option<String> {
    if recorded == now {
        return None;
    }
    let (recorded, now): (Vec<&str>, Vec<&str>) =
        (recorded.lines().collect(), now.lines().collect());
    let same = recorded.iter().zip(&now).take_while(|(one, other)| one == other).count();
    let mut text = format!("first difference in line {}\n", same + 1);
    for line in &recorded[same.saturating_sub(CONTEXT)..same] {
        writeln!(text, "  {line}").unwrap();
    }
    for (sign, lines) in [('-', &recorded), ('+', &now)] {
        for line in lines.iter().skip(same).take(CONTEXT) {
            writeln!(text, "{sign} {line}").unwrap();
        }
    }
    Some(text)
}

#[test]
fn a_difference_is_shown_with_its_line() {
    let text = difference("one\ntwo\nthree\n", "one\n2\nthree\n").unwrap();
    assert_eq!(text, "first difference in line 2\n  one\n- two\n- three\n+ 2\n+ three\n");
    assert_eq!(difference("one\n", "one\n"), None);
}
