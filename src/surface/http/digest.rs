//! HTTP Digest (RFC 7616) with MD5 and MD5-sess: reading what a client sends, and what it should have
//! sent. No I/O, no clock, no state.
//!
//! Parsing is bounded and copies nothing. Values are taken as they stand between their quotes: that
//! is what RFC 7616 hashes, and none of ours needs an escape.

use md5::{Digest as _, Md5};
use subtle::{Choice, ConstantTimeEq};

use crate::device::DigestMode;
use crate::limits;

/// An MD5 sum.
pub type Sum = [u8; 16];

/// What a client says about itself in `Authorization: Digest …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// `username`; the device's users have none.
    pub username: &'a str,
    /// `realm`.
    pub realm: &'a str,
    /// `nonce`.
    pub nonce: &'a str,
    /// `uri`: what is asked for, as the client sees it.
    pub uri: &'a str,
    /// `cnonce`: the client's own nonce.
    pub cnonce: &'a str,
    /// `nc`: how often the client has used the nonce, as written.
    pub nc: &'a str,
    /// The same as a number.
    pub count: u32,
    /// `qop`: whether the body counts.
    pub qop: Qop,
    /// `opaque`.
    pub opaque: Option<&'a str>,
    /// `response`: the proof.
    pub response: Sum,
}

/// The quality of protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    /// Method and URL are protected.
    Auth,
    /// The body, too.
    AuthInt,
}

/// Why an `Authorization` header is not one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DigestError {
    #[error("the scheme is not Digest")]
    Scheme,
    #[error("it is not a list of name=value")]
    Syntax,
    #[error("it has more than {} parameters", limits::AUTHORIZATION_PARAMETERS)]
    TooMany,
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` has a value that it cannot have")]
    Value(&'static str),
    #[error("`{0}` is quoted and must not be, or is not and must be")]
    Quoting(&'static str),
}

/// A parameter's value as it stands in the header.
#[derive(Debug, Clone, Copy)]
struct FieldValue<'a> {
    text: &'a str,
    quoted: bool,
}

/// The parameters that are read, and whether RFC 7616 §3.4 wants their values in quotes. What else
/// there is must be ignored.
const NAMES: [(&str, bool); 11] = [
    ("username", true),
    ("realm", true),
    ("nonce", true),
    ("uri", true),
    ("response", true),
    ("cnonce", true),
    ("opaque", true),
    ("algorithm", false),
    ("qop", false),
    ("nc", false),
    ("userhash", false),
];

/// Reads the value of an `Authorization` header.
///
/// # Errors
/// [`DigestError`] where it is no Digest, or not complete; with [`DigestMode::Strict`] also where it is
/// not exactly what RFC 7616 says and the challenge offered.
pub fn parse(header: &[u8], mode: DigestMode) -> Result<Credentials<'_>, DigestError> {
    let header = std::str::from_utf8(header).map_err(|_| DigestError::Syntax)?;
    let (scheme, list) = header.split_once(' ').ok_or(DigestError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("digest") {
        return Err(DigestError::Scheme);
    }
    let found = parameters(list)?;
    let strict = mode == DigestMode::Strict;
    let find = |wanted: &'static str| {
        let place = NAMES.iter().position(|(name, _)| *name == wanted);
        place.and_then(|place| Some((found[place]?, NAMES[place].1)))
    };
    let optional = |name: &'static str| match find(name) {
        Some((value, quotes)) if strict && value.quoted != quotes => {
            Err(DigestError::Quoting(name))
        }
        found => Ok(found.map(|(value, _)| value.text)),
    };
    let required = |name: &'static str| optional(name)?.ok_or(DigestError::Missing(name));

    check_algorithm(optional("algorithm")?, strict)?;
    let qop = match required("qop")? {
        "auth" => Qop::Auth,
        "auth-int" => Qop::AuthInt,
        _ => return Err(DigestError::Value("qop")),
    };
    if optional("userhash")?.is_some_and(|hashed| !hashed.eq_ignore_ascii_case("false")) {
        return Err(DigestError::Value("userhash"));
    }
    let opaque = optional("opaque")?;
    if strict && opaque.is_none() {
        return Err(DigestError::Missing("opaque"));
    }
    let nc = required("nc")?;
    let cnonce = required("cnonce")?;
    if cnonce.len() > limits::CNONCE_CHARS {
        return Err(DigestError::Value("cnonce"));
    }
    Ok(Credentials {
        username: required("username")?,
        realm: required("realm")?,
        nonce: required("nonce")?,
        uri: required("uri")?,
        cnonce,
        nc,
        count: count(nc, strict).ok_or(DigestError::Value("nc"))?,
        qop,
        opaque,
        response: sum(required("response")?, strict).ok_or(DigestError::Value("response"))?,
    })
}

/// MD5-sess was offered. Libraries that send plain MD5 all the same say so, or say nothing, or say
/// what they were offered: so what they say is not what decides, see [`Credentials::proves`].
fn check_algorithm(algorithm: Option<&str>, strict: bool) -> Result<(), DigestError> {
    match algorithm {
        None if strict => Err(DigestError::Missing("algorithm")),
        Some("MD5-sess") | None => Ok(()),
        Some(_) if strict => Err(DigestError::Value("algorithm")),
        Some(name) if ["MD5-sess", "MD5"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
            Ok(())
        }
        Some(_) => Err(DigestError::Value("algorithm")),
    }
}

/// `name=value` or `name="value"`, with commas between them; empty elements are skipped (RFC 9110
/// §5.6.1).
fn parameters(list: &str) -> Result<[Option<FieldValue<'_>>; NAMES.len()], DigestError> {
    let mut found = [None; NAMES.len()];
    let mut rest = list.trim_matches(BLANK);
    for _ in 0..limits::AUTHORIZATION_PARAMETERS {
        rest = rest.trim_start_matches(|c| c == ',' || BLANK.contains(&c));
        if rest.is_empty() {
            return Ok(found);
        }
        let (name, after) = rest.split_once('=').ok_or(DigestError::Syntax)?;
        let name = name.trim_end_matches(BLANK);
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(DigestError::Syntax);
        }
        let (value, after) = value(after.trim_start_matches(BLANK))?;
        rest = after.trim_start_matches(BLANK);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(DigestError::Syntax);
        }
        let place = NAMES.iter().position(|(known, _)| name.eq_ignore_ascii_case(known));
        let Some(place) = place else { continue };
        if found[place].replace(value).is_some() {
            return Err(DigestError::Twice(NAMES[place].0));
        }
    }
    if rest.is_empty() { Ok(found) } else { Err(DigestError::TooMany) }
}

const BLANK: [char; 2] = [' ', '\t'];

/// A value, and what follows it.
fn value(text: &str) -> Result<(FieldValue<'_>, &str), DigestError> {
    let Some(inside) = text.strip_prefix('"') else {
        // An unquoted value is a token; the bytes of a URL or of base64 are let through, too.
        let end = text.find(|c: char| c == ',' || c == '"' || BLANK.contains(&c));
        let (text, rest) = text.split_at(end.unwrap_or(text.len()));
        return Ok((FieldValue { text, quoted: false }, rest));
    };
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let end = end.ok_or(DigestError::Syntax)?;
    Ok((FieldValue { text: &inside[..end], quoted: true }, &inside[end + 1..]))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `nc`: eight lower-case hexadecimal digits, counting from 1; where not strict, up to eight in any case.
fn count(text: &str, strict: bool) -> Option<u32> {
    let digits = text.bytes().all(|byte| is_hex(byte, strict));
    let length = if strict { text.len() == 8 } else { (1..=8).contains(&text.len()) };
    let count = (digits && length).then(|| u32::from_str_radix(text, 16).ok())?;
    count.filter(|count| *count > 0 || !strict)
}

/// 32 hexadecimal digits, lower-case where strict.
fn sum(text: &str, strict: bool) -> Option<Sum> {
    if text.len() != 32 || !text.bytes().all(|byte| is_hex(byte, strict)) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

fn is_hex(byte: u8, strict: bool) -> bool {
    byte.is_ascii_digit()
        || (b'a'..=b'f').contains(&byte)
        || (!strict && (b'A'..=b'F').contains(&byte))
}

/// What the proof is about, beside what the client says.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The realm in force.
    pub realm: &'a str,
    /// The password in force.
    pub password: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The sum of the request's body; for `auth-int`.
    pub body: Sum,
    /// The client nonce that the session of this nonce began with (RFC 7616 §3.4.2, `cnonce-prime`);
    /// none where it begins now.
    pub session: Option<&'a str>,
}

impl Credentials<'_> {
    /// Credentials that prove nothing, to be checked in place of unreadable ones: of usual length, so
    /// that this takes as long.
    pub const NONE: Credentials<'static> = Credentials {
        username: "",
        realm: "",
        nonce: "0000000000000000000000000000000000000000000000000000",
        uri: "/api/v1/system",
        cnonce: "00000000000000000000000000000000",
        nc: "00000001",
        count: 1,
        qop: Qop::Auth,
        opaque: None,
        response: [0; 16],
    };

    /// Whether the response is right. Takes as long where it is wrong.
    ///
    /// Strict is RFC 7616: MD5-sess, its key from the client nonce that the session began with.
    /// Libraries also make the key from the client nonce of each request, or use plain MD5: tolerant
    /// takes these as well, whatever the client calls them.
    #[must_use]
    pub fn proves(&self, claim: &Claim<'_>, mode: DigestMode) -> Choice {
        let user = hex(md5(&[b"", claim.realm.as_bytes(), claim.password.as_bytes()]));
        let key = |cnonce: &str| hex(md5(&[&user, self.nonce.as_bytes(), cnonce.as_bytes()]));
        let what = self.what(claim);
        let right =
            |key: &[u8; 32]| self.answer(key, &what).as_slice().ct_eq(self.response.as_slice());
        let by_session = right(&key(claim.session.unwrap_or(self.cnonce)));
        match mode {
            DigestMode::Strict => by_session,
            DigestMode::Tolerant => by_session | right(&key(self.cnonce)) | right(&user),
        }
    }

    /// `H(A2)`.
    fn what(&self, claim: &Claim<'_>) -> [u8; 32] {
        let (method, uri) = (claim.method.as_bytes(), self.uri.as_bytes());
        hex(match self.qop {
            Qop::Auth => md5(&[method, uri]),
            Qop::AuthInt => md5(&[method, uri, &hex(claim.body)]),
        })
    }

    /// `KD(H(A1), …)`.
    fn answer(&self, key: &[u8; 32], what: &[u8; 32]) -> Sum {
        let qop: &[u8] = match self.qop {
            Qop::Auth => b"auth",
            Qop::AuthInt => b"auth-int",
        };
        md5(&[key, self.nonce.as_bytes(), self.nc.as_bytes(), self.cnonce.as_bytes(), qop, what])
    }
}

/// The sum of a body.
#[must_use]
pub fn body_sum(body: &[u8]) -> Sum {
    Md5::digest(body).into()
}

/// The sum of the parts with colons between them.
fn md5(parts: &[&[u8]]) -> Sum {
    let mut hasher = Md5::new();
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    hasher.finalize().into()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A sum as it is hashed and written.
#[must_use]
pub fn hex(sum: Sum) -> [u8; 32] {
    std::array::from_fn(|place| {
        let byte = sum[place / 2];
        HEX[usize::from(if place % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// What the fuzzer checks, for its corpus to be replayed by the tests.
#[cfg(test)]
#[path = "../../../fuzz/properties/authorization.rs"]
mod property;

#[cfg(test)]
mod tests {
    use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
    use proptest::prelude::*;

    use super::*;

    const MODES: [DigestMode; 2] = [DigestMode::Tolerant, DigestMode::Strict];

    /// The example of RFC 7616 §3.9.1, as far as it is MD5.
    const RFC: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
        uri=\"/dir/index.html\", algorithm=MD5, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"8ca523f5e9506fed4657c9700eebdbec\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let credentials = parse(RFC.as_bytes(), DigestMode::Tolerant).unwrap();
        assert_eq!(credentials.username, "Mufasa");
        assert_eq!((credentials.nc, credentials.count), ("00000001", 1));
        assert_eq!(hex(credentials.response), *b"8ca523f5e9506fed4657c9700eebdbec");
        let strict = parse(RFC.as_bytes(), DigestMode::Strict);
        assert_eq!(strict, Err(DigestError::Value("algorithm")), "MD5-sess was offered");
        let sess = RFC.replace("MD5", "MD5-sess");
        assert_eq!(parse(sess.as_bytes(), DigestMode::Strict), Ok(credentials));
    }

    #[test]
    fn strictly_the_first_request_is_number_1() {
        let zero = RFC.replace("MD5", "MD5-sess").replace("00000001", "00000000");
        let strict = parse(zero.as_bytes(), DigestMode::Strict);
        assert_eq!(strict, Err(DigestError::Value("nc")));
        assert!(parse(zero.as_bytes(), DigestMode::Tolerant).is_ok());
    }

    #[test]
    fn what_is_no_digest_says_why() {
        let good = RFC.replace("MD5", "MD5-sess");
        let change = |from: &str, to: &str| good.replace(from, to);
        for (header, wrong) in [
            ("Basic abc".to_owned(), DigestError::Scheme),
            ("Digest".to_owned(), DigestError::Scheme),
            (change("qop=auth", "qop"), DigestError::Syntax),
            (change("qop=auth", "=auth"), DigestError::Syntax),
            (change("\", nc=", "\" nc="), DigestError::Syntax),
            (change("qop=auth", "qop=auth auth"), DigestError::Syntax),
            (format!("{good}, a=\"b"), DigestError::Syntax),
            (format!("{good}, é=1"), DigestError::Syntax),
            (format!("{good}, QOP=auth"), DigestError::Twice("qop")),
            (good.clone() + &", x=1".repeat(33), DigestError::TooMany),
            (change("qop=auth", "qop=\"auth,auth-int\""), DigestError::Value("qop")),
            (change("00000001", "000000001"), DigestError::Value("nc")),
            (change("00000001", "+0000001"), DigestError::Value("nc")),
            (change("8ca5", "8cax"), DigestError::Value("response")),
            (change("8ca5", "8ca"), DigestError::Value("response")),
            (change("f2/w", &"f".repeat(300)), DigestError::Value("cnonce")),
            (change(", nc=00000001", ""), DigestError::Missing("nc")),
            (change("nonce=\"7", "other=\"7"), DigestError::Missing("nonce")),
        ] {
            assert_eq!(parse(header.as_bytes(), DigestMode::Tolerant), Err(wrong), "{header}");
            parse(header.as_bytes(), DigestMode::Strict).unwrap_err();
        }
        assert_eq!(parse(b"Digest \xff", DigestMode::Tolerant), Err(DigestError::Syntax));
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/authorization");
        let mut read = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            property::holds(&bytes);
            read += usize::from(parse(&bytes, DigestMode::Tolerant).is_ok());
        }
        assert!(read > 3, "the corpus holds good headers, too: {read}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            property::holds(&bytes);
            property::holds(&[b"Digest ".as_slice(), &bytes].concat());
        }

        #[test]
        fn what_another_library_makes_is_right_and_nothing_else(
            realm in "[a-z0-9_.-]{1,31}",
            password in "[ -~äöü]{1,31}",
            path in "/[ -!#-~]{0,40}",
            cnonce in "[!-~&&[^\"\\\\]]{1,64}",
            method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE"]),
            body in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
            count in 0_u32..u32::MAX,
            sess in any::<bool>(),
            flip in 0_usize..128,
        ) {
            prop_assume!(!path.contains('\\'));
            let algorithm = if sess { "MD5-sess" } else { "MD5" };
            let challenge = format!(
                "Digest realm=\"{realm}\", qop=\"auth,auth-int\", algorithm={algorithm}, \
                 nonce=\"abc\", opaque=\"def\""
            );
            let mut prompt = WwwAuthenticateHeader::parse(&challenge).unwrap();
            prompt.nc = count;
            let http = HttpMethod::from(method);
            let mut context =
                AuthContext::new_with_method("", &*password, &*path, body.as_deref(), http);
            context.set_custom_cnonce(&*cnonce);
            let header = prompt.respond(&context).unwrap().to_string();
            let right = Claim {
                realm: &realm,
                password: &password,
                method,
                body: body_sum(body.as_deref().unwrap_or_default()),
                session: None,
            };
            let proves = |credentials: &Credentials<'_>, claim: &Claim<'_>, mode| {
                bool::from(credentials.proves(claim, mode))
            };
            for mode in MODES {
                let parsed = parse(header.as_bytes(), mode);
                if mode == DigestMode::Strict && !sess {
                    prop_assert_eq!(parsed, Err(DigestError::Value("algorithm")));
                    continue;
                }
                let credentials = parsed.unwrap();
                prop_assert_eq!(credentials.count, count + 1);
                prop_assert!(proves(&credentials, &right, mode));
                let mut flipped = credentials;
                flipped.response[flip / 8] ^= 1 << (flip % 8);
                prop_assert!(!proves(&flipped, &right, mode));
                let other = format!("{password}x");
                let wrong = [
                    Claim { realm: "other", ..right },
                    Claim { password: &other, ..right },
                    Claim { method: "PATCH", ..right },
                ];
                for claim in wrong {
                    prop_assert!(!proves(&credentials, &claim, mode));
                }
                let changed = Claim { body: body_sum(b"something else altogether"), ..right };
                let unprotected = credentials.qop == Qop::Auth;
                prop_assert_eq!(proves(&credentials, &changed, mode), unprotected);
                let session = Claim { session: Some("of another request"), ..right };
                prop_assert_eq!(
                    proves(&credentials, &session, mode),
                    mode == DigestMode::Tolerant
                );
            }
        }
    }
}
