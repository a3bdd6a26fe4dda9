//! HTTP Digest (RFC 7616) with MD5 and MD5-sess: parsing of the `Authorization` header and verification of
//! its response. No I/O, no clock, no state.
//!
//! Parsing is bounded and copies nothing. Escapes in quoted values are not resolved, because RFC 7616
//! hashes the values as written, and no value of the device needs an escape.

use md5::{Digest as _, Md5};
use subtle::{Choice, ConstantTimeEq};

use crate::device::DigestMode;
use crate::limits;

/// An MD5 sum.
pub type Md5Sum = [u8; 16];

/// The parameters of an `Authorization: Digest …` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// `username`; empty, because the device has no user names.
    pub username: &'a str,
    /// `realm`.
    pub realm: &'a str,
    /// `nonce`.
    pub nonce: &'a str,
    /// `uri`: the target of the request, as the client sees it.
    pub uri: &'a str,
    /// `cnonce`: the client's own nonce.
    pub cnonce: &'a str,
    /// `nc`: the number of requests that the client made with the nonce, as written.
    pub nc: &'a str,
    /// `nc` as a number.
    pub count: u32,
    /// `qop`: the quality of protection.
    pub qop: Qop,
    /// `opaque`.
    pub opaque: Option<&'a str>,
    /// `response`: the proof.
    pub response: Md5Sum,
}

/// The quality of protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    /// Method and URL are protected.
    Auth,
    /// Method, URL and body are protected.
    AuthInt,
}

/// The reason for which an `Authorization` header is not a valid Digest header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DigestError {
    #[error("the scheme is not Digest")]
    Scheme,
    #[error("it is not a list of name=value")]
    Syntax,
    #[error("it has more than {} parameters", MAX_PARAMETERS)]
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

/// A parameter's value as written in the header.
#[derive(Debug, Clone, Copy)]
struct FieldValue<'a> {
    text: &'a str,
    quoted: bool,
}

/// Parameters of an `Authorization` header at most; RFC 7616 knows 13.
const MAX_PARAMETERS: usize = 32;

/// The parameters that are parsed, each with true if RFC 7616 §3.4 requires its value in quotes. All
/// others must be ignored.
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

/// Parses the value of an `Authorization` header.
///
/// # Errors
/// [`DigestError`] if the header is not Digest or not complete; with [`DigestMode::Strict`] also if it is
/// not exactly as RFC 7616 and the challenge require.
pub fn parse(header: &[u8], mode: DigestMode) -> Result<Credentials<'_>, DigestError> {
    let header = std::str::from_utf8(header).map_err(|_| DigestError::Syntax)?;
    let (scheme, list) = header.split_once(' ').ok_or(DigestError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("digest") {
        return Err(DigestError::Scheme);
    }
    let values = parse_parameters(list)?;
    let strict = mode == DigestMode::Strict;
    let find = |wanted: &'static str| {
        let index = NAMES.iter().position(|(name, _)| *name == wanted);
        index.and_then(|index| Some((values[index]?, NAMES[index].1)))
    };
    let optional = |name: &'static str| match find(name) {
        Some((value, quotes)) if strict && value.quoted != quotes => {
            Err(DigestError::Quoting(name))
        }
        value => Ok(value.map(|(value, _)| value.text)),
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
        count: parse_count(nc, strict).ok_or(DigestError::Value("nc"))?,
        qop,
        opaque,
        response: parse_sum(required("response")?, strict).ok_or(DigestError::Value("response"))?,
    })
}

/// Checks `algorithm`. The challenge offers MD5-sess. Libraries that use plain MD5 all the same name it,
/// or name nothing, or name MD5-sess, so this parameter does not decide; see [`Credentials::verify`].
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

/// Parses a list of `name=value` or `name="value"` with commas between them. Empty elements are skipped
/// (RFC 9110 §5.6.1). Returns the values in the order of [`NAMES`].
fn parse_parameters(list: &str) -> Result<[Option<FieldValue<'_>>; NAMES.len()], DigestError> {
    let mut values = [None; NAMES.len()];
    let mut rest = list.trim_matches(WHITESPACE);
    for _ in 0..MAX_PARAMETERS {
        rest = rest.trim_start_matches(|c| c == ',' || WHITESPACE.contains(&c));
        if rest.is_empty() {
            return Ok(values);
        }
        let (name, after) = rest.split_once('=').ok_or(DigestError::Syntax)?;
        let name = name.trim_end_matches(WHITESPACE);
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(DigestError::Syntax);
        }
        let (value, after) = parse_value(after.trim_start_matches(WHITESPACE))?;
        rest = after.trim_start_matches(WHITESPACE);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(DigestError::Syntax);
        }
        let index = NAMES.iter().position(|(known, _)| name.eq_ignore_ascii_case(known));
        let Some(index) = index else { continue };
        if values[index].replace(value).is_some() {
            return Err(DigestError::Twice(NAMES[index].0));
        }
    }
    if rest.is_empty() { Ok(values) } else { Err(DigestError::TooMany) }
}

const WHITESPACE: [char; 2] = [' ', '\t'];

/// Parses a value. Returns it with the rest of the text.
fn parse_value(text: &str) -> Result<(FieldValue<'_>, &str), DigestError> {
    let Some(inside) = text.strip_prefix('"') else {
        // An unquoted value is a token; the bytes of a URL or of base64 are accepted too.
        let end = text.find(|c: char| c == ',' || c == '"' || WHITESPACE.contains(&c));
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

/// Parses `nc`: eight lower-case hexadecimal digits, at least 1; if not strict, up to eight digits in any
/// case.
fn parse_count(text: &str, strict: bool) -> Option<u32> {
    let digits = text.bytes().all(|byte| is_hex(byte, strict));
    let length = if strict { text.len() == 8 } else { (1..=8).contains(&text.len()) };
    let count = (digits && length).then(|| u32::from_str_radix(text, 16).ok())?;
    count.filter(|count| *count > 0 || !strict)
}

/// Parses 32 hexadecimal digits, lower-case if strict.
fn parse_sum(text: &str, strict: bool) -> Option<Md5Sum> {
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

/// The facts that a correct response is computed from, beside the client's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The realm in force.
    pub realm: &'a str,
    /// The password in force.
    pub password: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The MD5 sum of the request's body, for `auth-int`.
    pub body: Md5Sum,
    /// The client nonce with which the session of this nonce began (RFC 7616 §3.4.2, `cnonce-prime`).
    /// `None` if the session begins with this request.
    pub session: Option<&'a str>,
}

impl Credentials<'_> {
    /// Credentials that are never valid, to be verified in place of unreadable ones: of the usual
    /// length, so that verification takes as long.
    pub const PLACEHOLDER: Credentials<'static> = Credentials {
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

    /// Returns true if the response is correct. A wrong one takes as long.
    ///
    /// Strict is RFC 7616: MD5-sess, with `H(A1)` from the client nonce with which the session began.
    /// Libraries also use the client nonce of each request, or plain MD5: the tolerant mode accepts
    /// these too, whatever algorithm the client names.
    #[must_use]
    pub fn verify(&self, claim: &Claim<'_>, mode: DigestMode) -> Choice {
        let user = hex(md5(&[b"", claim.realm.as_bytes(), claim.password.as_bytes()]));
        let session_key =
            |cnonce: &str| hex(md5(&[&user, self.nonce.as_bytes(), cnonce.as_bytes()]));
        let request = self.request_hash(claim);
        let matches = |key: &[u8; 32]| {
            self.expected_response(key, &request).as_slice().ct_eq(self.response.as_slice())
        };
        let by_session = matches(&session_key(claim.session.unwrap_or(self.cnonce)));
        match mode {
            DigestMode::Strict => by_session,
            DigestMode::Tolerant => {
                by_session | matches(&session_key(self.cnonce)) | matches(&user)
            }
        }
    }

    /// Computes `H(A2)`.
    fn request_hash(&self, claim: &Claim<'_>) -> [u8; 32] {
        let (method, uri) = (claim.method.as_bytes(), self.uri.as_bytes());
        hex(match self.qop {
            Qop::Auth => md5(&[method, uri]),
            Qop::AuthInt => md5(&[method, uri, &hex(claim.body)]),
        })
    }

    /// Computes `KD(H(A1), …)`; `key` is `H(A1)`, `request` is `H(A2)`.
    fn expected_response(&self, key: &[u8; 32], request: &[u8; 32]) -> Md5Sum {
        let qop: &[u8] = match self.qop {
            Qop::Auth => b"auth",
            Qop::AuthInt => b"auth-int",
        };
        md5(&[key, self.nonce.as_bytes(), self.nc.as_bytes(), self.cnonce.as_bytes(), qop, request])
    }
}

/// Returns the MD5 sum of a body.
#[must_use]
pub fn body_sum(body: &[u8]) -> Md5Sum {
    Md5::digest(body).into()
}

/// Returns the MD5 sum of the parts with colons between them.
fn md5(parts: &[&[u8]]) -> Md5Sum {
    let mut hasher = Md5::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    hasher.finalize().into()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Returns a sum as lower-case hexadecimal digits, the form that is hashed and sent.
#[must_use]
pub fn hex(sum: Md5Sum) -> [u8; 32] {
    std::array::from_fn(|index| {
        let byte = sum[index / 2];
        HEX[usize::from(if index % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// The property that the fuzzer checks, so that the tests can replay its corpus.
#[cfg(test)]
#[path = "../../../tests/properties/authorization.rs"]
mod property;

#[cfg(test)]
mod tests {
    use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
    use proptest::prelude::*;

    use super::*;

    const MODES: [DigestMode; 2] = [DigestMode::Tolerant, DigestMode::Strict];

    /// The MD5 part of the example of RFC 7616 §3.9.1.
    const RFC: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
        uri=\"/dir/index.html\", algorithm=MD5, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"8ca523f5e9506fed4657c9700eebdbec\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn the_example_of_the_rfc_parses() {
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
    fn an_invalid_header_gives_the_reason() {
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
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/corpus/authorization");
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
        fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            property::holds(&bytes);
            property::holds(&[b"Digest ".as_slice(), &bytes].concat());
        }

        #[test]
        fn the_response_of_another_library_and_no_other_verifies(
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
            let correct = Claim {
                realm: &realm,
                password: &password,
                method,
                body: body_sum(body.as_deref().unwrap_or_default()),
                session: None,
            };
            let verifies = |credentials: &Credentials<'_>, claim: &Claim<'_>, mode| {
                bool::from(credentials.verify(claim, mode))
            };
            for mode in MODES {
                let parsed = parse(header.as_bytes(), mode);
                if mode == DigestMode::Strict && !sess {
                    prop_assert_eq!(parsed, Err(DigestError::Value("algorithm")));
                    continue;
                }
                let credentials = parsed.unwrap();
                prop_assert_eq!(credentials.count, count + 1);
                prop_assert!(verifies(&credentials, &correct, mode));
                let mut flipped = credentials;
                flipped.response[flip / 8] ^= 1 << (flip % 8);
                prop_assert!(!verifies(&flipped, &correct, mode));
                let other = format!("{password}x");
                let wrong = [
                    Claim { realm: "other", ..correct },
                    Claim { password: &other, ..correct },
                    Claim { method: "PATCH", ..correct },
                ];
                for claim in wrong {
                    prop_assert!(!verifies(&credentials, &claim, mode));
                }
                let changed = Claim { body: body_sum(b"something else altogether"), ..correct };
                let unprotected = credentials.qop == Qop::Auth;
                prop_assert_eq!(verifies(&credentials, &changed, mode), unprotected);
                let session = Claim { session: Some("of another request"), ..correct };
                prop_assert_eq!(
                    verifies(&credentials, &session, mode),
                    mode == DigestMode::Tolerant
                );
            }
        }
    }
}
