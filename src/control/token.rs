//! The token that clients of the control plane send.

use std::fmt::{self, Write as _};
use std::io;

use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

use crate::limits;

/// The token that `Authorization: Bearer` must carry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// The reason why a text is no token. The text is a secret, so the reason does not quote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text has another length.
    #[error(
        "a token of {0} characters: expected {shortest} to {longest}; `openssl rand -hex 16` makes one",
        shortest = limits::TOKEN_CHARS.start(),
        longest = limits::TOKEN_CHARS.end()
    )]
    Length(usize),
    /// A character cannot be sent in the header.
    #[error(
        "character {0} of the token: expected letters, digits or -._~+/= alone (RFC 6750); \
         `openssl rand -hex 16` makes a token"
    )]
    Character(usize),
}

impl Token {
    /// Generates a token of 128 random bits.
    ///
    /// # Errors
    /// Returns an error if the system gives no random bytes.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        let random = ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// Parses a token that a user gives.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if let Some(position) = text.chars().position(|c| !allowed(c)) {
            return Err(TokenError::Character(position + 1));
        }
        if !limits::TOKEN_CHARS.contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the token as the ready file contains it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the header carries this token. The comparison takes constant time.
    pub(super) fn matches(&self, header: &HeaderValue) -> bool {
        let Some((scheme, value)) = header.as_bytes().split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && value.ct_eq(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_16_characters_of_a_header_at_least() {
        assert_eq!(Token::parse("0123456789abcdef").unwrap().as_str(), "0123456789abcdef");
        assert_eq!(Token::parse("0123456789abcde"), Err(TokenError::Length(15)));
        assert_eq!(Token::parse(""), Err(TokenError::Length(0)));
        assert_eq!(Token::parse(&"a".repeat(1025)), Err(TokenError::Length(1025)));
        assert_eq!(Token::parse("0123456789 abcdef"), Err(TokenError::Character(11)));
        assert_eq!(Token::parse("0123456789abcdeé"), Err(TokenError::Character(16)));
    }
}
