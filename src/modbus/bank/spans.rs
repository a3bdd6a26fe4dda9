//! Which addresses of a table exist, and where their contents are stored.

use std::ops::{Range, RangeInclusive};

/// A sparse table: runs of addresses, each with something in common, found by binary search. The
/// contents of all runs are stored one after another in address order, so that neighbouring
/// addresses are neighbours in the store too, and a read is one slice of it.
#[derive(Debug)]
pub(super) struct AddressRuns<T> {
    spans: Vec<AddressRun<T>>,
}

/// A run of addresses.
#[derive(Debug)]
pub(super) struct AddressRun<T> {
    /// The first address.
    pub(super) first: u16,
    /// The last one.
    pub(super) last: u16,
    /// Where the first one is stored.
    pub(super) offset: usize,
    /// What they have in common.
    pub(super) what: T,
}

/// Addresses that all exist.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// Where they are stored.
    pub(super) stored: Range<usize>,
    /// The spans they belong to.
    spans: Range<usize>,
}

impl<T> AddressRuns<T> {
    /// A table of runs that do not overlap.
    pub(super) fn new(runs: impl IntoIterator<Item = (RangeInclusive<u16>, T)>) -> Self {
        let mut runs: Vec<_> = runs.into_iter().collect();
        runs.sort_by_key(|(addresses, _)| *addresses.start());
        let mut offset = 0;
        let spans = runs
            .into_iter()
            .map(|(addresses, what)| {
                let (first, last) = addresses.into_inner();
                let span = AddressRun { first, last, offset, what };
                offset += usize::from(last - first) + 1;
                span
            })
            .collect();
        Self { spans }
    }

    /// How many addresses exist.
    pub(super) fn len(&self) -> usize {
        self.spans.last().map_or(0, |span| span.stored().end)
    }

    /// The `quantity` addresses from `address` on, if there is at least one and all exist.
    pub(super) fn locate(&self, address: u16, quantity: u16) -> Option<Located> {
        let last = address.checked_add(quantity.checked_sub(1)?)?;
        let from = self.spans.partition_point(|span| span.last < address);
        let first = self.spans.get(from).filter(|span| span.first <= address)?;
        let (mut to, mut reached) = (from + 1, first.last);
        while reached < last {
            let next = self.spans.get(to).filter(|span| span.first == reached + 1)?;
            (to, reached) = (to + 1, next.last);
        }
        let start = first.offset + usize::from(address - first.first);
        Some(Located { stored: start..start + usize::from(quantity), spans: from..to })
    }

    /// The spans of located addresses, ascending.
    pub(super) fn of(&self, located: &Located) -> &[AddressRun<T>] {
        &self.spans[located.spans.clone()]
    }

    /// All spans, ascending.
    pub(super) fn all_mut(&mut self) -> &mut [AddressRun<T>] {
        &mut self.spans
    }

    /// The span of one address.
    pub(super) fn find(&self, address: u16) -> Option<&AddressRun<T>> {
        self.locate(address, 1).map(|located| &self.spans[located.spans.start])
    }
}

impl<T> AddressRun<T> {
    /// Where its contents are stored.
    pub(super) fn stored(&self) -> Range<usize> {
        self.offset..self.offset + usize::from(self.last - self.first) + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans() -> AddressRuns<char> {
        AddressRuns::new([(20..=29, 'c'), (0..=0, 'a'), (65_530..=65_535, 'd'), (10..=19, 'b')])
    }

    #[test]
    fn neighbouring_runs_are_one_stretch_and_gaps_are_not() {
        let spans = spans();
        let found = |address, quantity| {
            let located = spans.locate(address, quantity)?;
            let names: String = spans.of(&located).iter().map(|span| span.what).collect();
            Some((located.stored, names))
        };
        assert_eq!(found(0, 1), Some((0..1, "a".into())));
        assert_eq!(found(10, 20), Some((1..21, "bc".into())));
        assert_eq!(found(19, 2), Some((10..12, "bc".into())));
        assert_eq!(found(65_535, 1), Some((26..27, "d".into())));
        for (address, quantity) in
            [(0, 2), (1, 1), (9, 2), (10, 21), (29, 2), (65_535, 2), (10, 0), (65_529, 1)]
        {
            assert_eq!(found(address, quantity), None, "{quantity} from {address}");
        }
        assert_eq!(spans.len(), 27);
        assert_eq!(AddressRuns::<()>::new([]).len(), 0);
    }

    proptest! {
        #[test]
        fn what_is_located_is_what_a_plain_search_finds(address: u16, quantity in 0_u16..40) {
            let exists = |address: u32| {
                matches!(address, 0 | 10..=29 | 65_530..=65_535)
            };
            let wanted = u32::from(address)..u32::from(address) + u32::from(quantity);
            let all = quantity > 0 && wanted.into_iter().all(exists);
            prop_assert_eq!(spans().locate(address, quantity).is_some(), all);
        }
    }
}
