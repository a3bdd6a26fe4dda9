//! Names that the log gives once.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;

/// The names that the log has given lately, at most `MOST` of them. A name that comes again after that many
/// others is given again.
#[derive(Debug, Default)]
pub(crate) struct LoggedNames<const MOST: usize>(Mutex<RecentNames>);

#[derive(Debug, Default)]
struct RecentNames {
    names: HashSet<String>,
    /// The same names, oldest first.
    order: VecDeque<String>,
}

impl<const MOST: usize> LoggedNames<MOST> {
    /// Returns true if the log is to give this name: if it has not given it lately.
    pub(crate) fn is_new(&self, name: String) -> bool {
        let mut recent = self.0.lock();
        if recent.names.contains(&name) {
            return false;
        }
        if recent.order.len() >= MOST
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.names.remove(&oldest);
        }
        recent.order.push_back(name.clone());
        recent.names.insert(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_until_many_others_came() {
        let names = LoggedNames::<2>::default();
        let new = |name: &str| names.is_new(name.to_owned());
        assert_eq!(["a", "a", "b", "a", "c"].map(new), [true, false, true, false, true]);
        assert_eq!(["b", "c", "a", "c"].map(new), [false, false, true, false]);
    }
}
