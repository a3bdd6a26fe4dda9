//! The query of a URL.
//!
//! Names and values are form-encoded, as browsers and `URLSearchParams` write them: `%2B` is a plus,
//! `+` is a space. The only possible mistake is a name that is given twice. It is refused if only one
//! value makes sense, because either choice would hide a mistake.

use std::borrow::Cow;

/// The query of a URL, without its question mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

/// A name was given more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is given more than once; give it once")]
pub(crate) struct RepeatedParameter(pub(crate) &'static str);

impl<'a> Query<'a> {
    /// Returns the query of a URL.
    pub(crate) fn from_uri(uri: &'a hyper::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// Returns the value of `name`. It is empty if only the name is given. `None` if the name is
    /// not given.
    pub(crate) fn single(
        self,
        name: &'static str,
    ) -> Result<Option<Cow<'a, str>>, RepeatedParameter> {
        let mut values =
            self.pairs().filter(|(written, _)| written == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() { Err(RepeatedParameter(name)) } else { Ok(first) }
    }

    /// Returns all names and values in the order of the query.
    pub(crate) fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            // Most have nothing to decode.
            if pair.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
                return form_urlencoded::parse(pair.as_bytes()).next().unwrap_or_default();
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (Cow::Borrowed(name), Cow::Borrowed(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(query: &'static str) -> Result<Option<String>, RepeatedParameter> {
        Query(query).single("id").map(|id| id.map(Cow::into_owned))
    }

    // Ruling: HTTP-9.
    #[test]
    fn values_are_form_decoded() {
        assert_eq!(id("id=light_toggle"), Ok(Some("light_toggle".into())));
        assert_eq!(id("a=1&id=a%20b+c%2Bd&b"), Ok(Some("a b c+d".into())));
        assert_eq!(id("id="), Ok(Some(String::new())));
        assert_eq!(id("id"), Ok(Some(String::new())));
        assert_eq!(id("ID=1"), Ok(None));
    }

    #[test]
    fn the_pairs_are_those_of_a_form() {
        for query in
            ["", "&", "&&a=1&", "=", "=b", "a=b=c", "a==&a", "%61=1&b=%3D+%26", "ä=ü", "%=%", "+=+"]
        {
            let expected: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            assert_eq!(Query(query).pairs().collect::<Vec<_>>(), expected, "{query}");
        }
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        assert_eq!(id("id=1&id=1"), Err(RepeatedParameter("id")));
    }
}
