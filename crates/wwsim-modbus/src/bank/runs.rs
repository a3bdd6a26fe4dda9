//! The addresses of a table that exist, and the positions of their contents in the store.

use std::ops::{Range, RangeInclusive};

/// A sparse table: runs of addresses that have a property in common, found by binary search. The
/// contents of all runs are stored one after another in address order. Neighbouring addresses are
/// therefore neighbours in the store too, and a read is one slice of it.
#[derive(Debug)]
pub(super) struct AddressRuns<T> {
    runs: Vec<AddressRun<T>>,
}

/// A run of addresses.
#[derive(Debug)]
pub(super) struct AddressRun<T> {
    /// The first address.
    pub(super) first: u16,
    /// The last address.
    pub(super) last: u16,
    /// The position of the first address in the store.
    pub(super) offset: usize,
    /// The property that the addresses have in common.
    pub(super) value: T,
}

/// A selection of addresses that all exist.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// The positions in the store.
    pub(super) stored: Range<usize>,
    /// The runs that the addresses belong to.
    runs: Range<usize>,
}

impl<T> AddressRuns<T> {
    /// Creates a table of runs that do not overlap.
    pub(super) fn new(runs: impl IntoIterator<Item = (RangeInclusive<u16>, T)>) -> Self {
        let mut runs: Vec<_> = runs.into_iter().collect();
        runs.sort_by_key(|(addresses, _)| *addresses.start());
        let mut offset = 0;
        let runs = runs
            .into_iter()
            .map(|(addresses, value)| {
                let (first, last) = addresses.into_inner();
                let run = AddressRun { first, last, offset, value };
                offset += usize::from(last - first) + 1;
                run
            })
            .collect();
        Self { runs }
    }

    /// Returns the number of addresses that exist.
    pub(super) fn len(&self) -> usize {
        self.runs.last().map_or(0, |run| run.stored().end)
    }

    /// Selects the `quantity` addresses from `address` on. `None` if `quantity` is 0 or one of them
    /// does not exist.
    pub(super) fn select(&self, address: u16, quantity: u16) -> Option<Selection> {
        let last = address.checked_add(quantity.checked_sub(1)?)?;
        let from = self.runs.partition_point(|run| run.last < address);
        let first = self.runs.get(from).filter(|run| run.first <= address)?;
        let (mut to, mut reached) = (from + 1, first.last);
        while reached < last {
            let next = self.runs.get(to).filter(|run| run.first == reached + 1)?;
            (to, reached) = (to + 1, next.last);
        }
        let start = first.offset + usize::from(address - first.first);
        Some(Selection { stored: start..start + usize::from(quantity), runs: from..to })
    }

    /// Returns the runs of selected addresses, ascending.
    pub(super) fn runs_of(&self, selection: &Selection) -> &[AddressRun<T>] {
        &self.runs[selection.runs.clone()]
    }

    /// Returns all runs, ascending.
    pub(super) fn all_mut(&mut self) -> &mut [AddressRun<T>] {
        &mut self.runs
    }

    /// Returns the run of one address.
    pub(super) fn find(&self, address: u16) -> Option<&AddressRun<T>> {
        self.select(address, 1).map(|selection| &self.runs[selection.runs.start])
    }
}

impl<T> AddressRun<T> {
    /// Returns the positions of its contents.
    pub(super) fn stored(&self) -> Range<usize> {
        self.offset..self.offset + usize::from(self.last - self.first) + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runs() -> AddressRuns<char> {
        AddressRuns::new([(20..=29, 'c'), (0..=0, 'a'), (65_530..=65_535, 'd'), (10..=19, 'b')])
    }

    #[test]
    fn adjacent_runs_are_selected_together_and_gaps_are_not() {
        let runs = runs();
        let found = |address, quantity| {
            let selection = runs.select(address, quantity)?;
            let names: String = runs.runs_of(&selection).iter().map(|run| run.value).collect();
            Some((selection.stored, names))
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
        assert_eq!(runs.len(), 27);
        assert_eq!(AddressRuns::<()>::new([]).len(), 0);
    }

    proptest! {
        #[test]
        fn select_agrees_with_a_linear_search(address: u16, quantity in 0_u16..40) {
            let exists = |address: u32| {
                matches!(address, 0 | 10..=29 | 65_530..=65_535)
            };
            let requested = u32::from(address)..u32::from(address) + u32::from(quantity);
            let all = quantity > 0 && requested.into_iter().all(exists);
            prop_assert_eq!(runs().select(address, quantity).is_some(), all);
        }
    }
}
