//! The token of the control plane that the user gives, as a file or by the environment.

use std::env;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::control::Token;
use crate::limits;

/// The environment variable that gives the token.
const VARIABLE: &str = "WWSIM_TOKEN";

/// The place from which a user gives the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenSource {
    File(PathBuf),
    Environment,
}

/// A token with its source.
#[derive(Debug, Clone)]
pub(super) struct GivenToken {
    pub token: Token,
    pub source: TokenSource,
}

/// Returns the token of `file`, or else of the environment; `None` if there is neither.
pub(super) fn given(file: Option<&Path>) -> Result<Option<GivenToken>, CliError> {
    if let Some(path) = file {
        let read = File::open(path).and_then(first_line);
        let token =
            read.map_err(|source| CliError::ReadTokenFile { path: path.to_owned(), source })?;
        let source = TokenSource::File(path.to_owned());
        return Ok(Some(GivenToken { token, source }));
    }
    // An empty variable is refused, not taken for a missing one: whoever wrote it expects a token.
    let Some(value) = env::var_os(VARIABLE) else { return Ok(None) };
    // Bytes that are not UTF-8 become a character that no token has.
    let parsed = Token::parse(&value.to_string_lossy());
    let token = parsed.map_err(CliError::TokenVariable)?;
    Ok(Some(GivenToken { token, source: TokenSource::Environment }))
}

/// Reads a token from the first line of a file. What follows has no meaning.
fn first_line(file: impl Read) -> io::Result<Token> {
    // Two bytes more than the longest: one shows that it is too long, the other ends the line.
    let most = u64::try_from(limits::TOKEN_CHARS.end() + 2).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    BufReader::new(file.take(most)).read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line);
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Token::parse(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl TokenSource {
    /// Returns the text that the start prints in place of the token, which the user has.
    pub(super) fn note(&self) -> String {
        match self {
            Self::File(path) => format!("the first line of {}", path.display()),
            Self::Environment => format!("that of {VARIABLE}"),
        }
    }

    /// Returns a shell word that expands to the header of a request.
    pub(super) fn header_word(&self) -> String {
        match self {
            Self::File(path) => {
                let path = path.display().to_string().replace('\'', r"'\''");
                format!("\"Authorization: Bearer $(head -n 1 '{path}')\"")
            }
            Self::Environment => format!("\"Authorization: Bearer ${VARIABLE}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_of_a_file_is_read() {
        let read = |text: &str| first_line(text.as_bytes()).map(|token| token.as_str().to_owned());
        for text in ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\nmore\n"] {
            assert_eq!(read(text).unwrap(), "0123456789abcdef");
        }
        assert_eq!(first_line(io::repeat(b'a')).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(read("\n0123456789abcdef\n").is_err());
        assert!(read("").is_err());
    }
}
