//! A table of coils or discrete inputs.

use super::runs::{AddressRuns, Selection};
use super::{BitRange, RegisterAccess};
use crate::wire::Exception;

/// Bits, eight to a byte, in address order without the gaps.
#[derive(Debug)]
pub(super) struct Bits {
    runs: AddressRuns<RegisterAccess>,
    packed: Vec<u8>,
}

impl Bits {
    /// Creates the table of checked ranges.
    pub(super) fn new(ranges: &[BitRange]) -> Self {
        let runs =
            AddressRuns::new(ranges.iter().map(|range| (range.addresses.clone(), range.access)));
        let mut bits = Self { packed: vec![0; runs.len().div_ceil(8)], runs };
        for range in ranges.iter().filter(|range| range.value) {
            if let Some(run) = bits.runs.find(*range.addresses.start()) {
                for position in run.stored() {
                    set(&mut bits.packed, position, true);
                }
            }
        }
        bits
    }

    /// Returns bits as a reply carries them: the first in the lowest bit, the unused bits of the
    /// last byte zero.
    ///
    /// # Errors
    /// Exception 2 if one of them does not exist.
    pub(super) fn read(
        &self,
        address: u16,
        quantity: u16,
    ) -> Result<impl ExactSizeIterator<Item = u8>, Exception> {
        let stored = self.select(address, quantity)?.stored;
        let shift = stored.start % 8;
        Ok((0..stored.len().div_ceil(8)).map(move |index| {
            let position = stored.start / 8 + index;
            let low = self.packed.get(position).copied().unwrap_or(0) >> shift;
            let high = self.packed.get(position + 1).copied().unwrap_or(0);
            // Shifted in a wider type, because the shift is eight if the bits lie on byte
            // boundaries.
            let byte = low | (u16::from(high) << (8 - shift)).to_le_bytes()[0];
            let left = stored.len() - index * 8;
            if left < 8 { byte & ((1 << left) - 1) } else { byte }
        }))
    }

    /// Selects bits that a client may write.
    ///
    /// # Errors
    /// Exception 2 if one of the bits does not exist, otherwise the exception of the first bit that
    /// is read only.
    pub(super) fn select_writable(
        &self,
        address: u16,
        quantity: u16,
    ) -> Result<Selection, Exception> {
        let selection = self.select(address, quantity)?;
        for run in self.runs.runs_of(&selection) {
            if let RegisterAccess::ReadOnly { exception } = run.value {
                return Err(Exception(exception));
            }
        }
        Ok(selection)
    }

    /// Selects bits regardless of their access.
    ///
    /// # Errors
    /// Exception 2 if one of them does not exist.
    pub(super) fn select(&self, address: u16, quantity: u16) -> Result<Selection, Exception> {
        self.runs.select(address, quantity).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
    }

    /// Writes selected bits.
    pub(super) fn write(&mut self, selection: &Selection, bits: impl Iterator<Item = bool>) {
        for (position, bit) in selection.stored.clone().zip(bits) {
            set(&mut self.packed, position, bit);
        }
    }
}

fn set(packed: &mut [u8], position: usize, bit: bool) {
    let mask = 1 << (position % 8);
    if bit {
        packed[position / 8] |= mask;
    } else {
        packed[position / 8] &= !mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(addresses: std::ops::RangeInclusive<u16>, value: bool) -> BitRange {
        BitRange { addresses, name: None, value, access: RegisterAccess::ReadWrite }
    }

    proptest! {
        #[test]
        fn bits_are_read_back_at_any_offset(
            first in 1_u16..20, bits in proptest::collection::vec(any::<bool>(), 1..100)
        ) {
            let quantity = u16::try_from(bits.len()).unwrap();
            let mut table = Bits::new(&[range(0..=first - 1, true), range(first..=200, true)]);
            let selection = table.select_writable(first, quantity).unwrap();
            table.write(&selection, bits.iter().copied());
            let mut expected = vec![0; bits.len().div_ceil(8)];
            for (position, bit) in bits.iter().enumerate() {
                set(&mut expected, position, *bit);
            }
            let read: Vec<u8> = table.read(first, quantity).unwrap().collect();
            prop_assert_eq!(read, expected);
            let around: Vec<u8> = table.read(first - 1, 1).unwrap().collect();
            prop_assert_eq!(around, [1], "the neighbour is left alone");
            let behind: Vec<u8> = table.read(first + quantity, 1).unwrap().collect();
            prop_assert_eq!(behind, [1], "the neighbour is left alone");
        }
    }
}
