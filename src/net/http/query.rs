//! The query of a URL.
//!
//! Names and values are form-encoded, as browsers and `URLSearchParams` write them: `%2B` is a plus,
//! `+` a space. Nothing in it can be wrong but a name that is given twice, which is refused where
//! only one value can be meant: taking either would hide a mistake.

use std::borrow::Cow;

/// A query, without its question mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

/// A name was given more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is given more than once; give it once")]
pub(crate) struct Repeated(pub(crate) &'static str);

impl<'a> Query<'a> {
    /// The query of a URL.
    pub(crate) fn of(uri: &'a hyper::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The value of `name`, empty where only the name stands; none where it is not given.
    pub(crate) fn one(self, name: &'static str) -> Result<Option<Cow<'a, str>>, Repeated> {
        let mut values = self.pairs().filter(|(given, _)| given == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() { Err(Repeated(name)) } else { Ok(first) }
    }

    /// All names and values, as given.
    pub(crate) fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        form_urlencoded::parse(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(query: &'static str) -> Result<Option<String>, Repeated> {
        Query(query).one("id").map(|id| id.map(Cow::into_owned))
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
    fn a_name_given_twice_is_no_answer() {
        assert_eq!(id("id=1&id=1"), Err(Repeated("id")));
    }
}
