//! A table of coils or discrete inputs.

use super::spans::{AddressRuns, Located};
use super::{BitRange, RegisterAccess};
use crate::modbus::wire::Exception;

/// Bits, eight a byte, in address order without the gaps.
#[derive(Debug)]
pub(super) struct Bits {
    spans: AddressRuns<RegisterAccess>,
    packed: Vec<u8>,
}

impl Bits {
    /// The table of ranges that were found right.
    pub(super) fn new(ranges: &[BitRange]) -> Self {
        let spans =
            AddressRuns::new(ranges.iter().map(|range| (range.addresses.clone(), range.access)));
        let mut bits = Self { packed: vec![0; spans.len().div_ceil(8)], spans };
        for range in ranges.iter().filter(|range| range.value) {
            if let Some(span) = bits.spans.find(*range.addresses.start()) {
                for at in span.stored() {
                    set(&mut bits.packed, at, true);
                }
            }
        }
        bits
    }

    /// Bits as a reply carries them: the first in the lowest bit, the rest of the last byte zero.
    ///
    /// # Errors
    /// Exception 2 where one of them does not exist.
    pub(super) fn read(
        &self,
        address: u16,
        quantity: u16,
    ) -> Result<impl ExactSizeIterator<Item = u8>, Exception> {
        let stored = self.locate(address, quantity)?.stored;
        let shift = stored.start % 8;
        Ok((0..stored.len().div_ceil(8)).map(move |index| {
            let at = stored.start / 8 + index;
            let low = self.packed.get(at).copied().unwrap_or(0) >> shift;
            let high = self.packed.get(at + 1).copied().unwrap_or(0);
            // Shifted by eight in a wider type where the bits lie on byte boundaries.
            let byte = low | (u16::from(high) << (8 - shift)).to_le_bytes()[0];
            let left = stored.len() - index * 8;
            if left < 8 { byte & ((1 << left) - 1) } else { byte }
        }))
    }

    /// Where a client may write.
    ///
    /// # Errors
    /// Exception 2 where one of the bits does not exist, then the exception of the first that is
    /// read only.
    pub(super) fn writable(&self, address: u16, quantity: u16) -> Result<Located, Exception> {
        let located = self.locate(address, quantity)?;
        for span in self.spans.of(&located) {
            if let RegisterAccess::ReadOnly { exception } = span.what {
                return Err(Exception(exception));
            }
        }
        Ok(located)
    }

    /// Where the bits are stored, access aside.
    ///
    /// # Errors
    /// Exception 2 where one of them does not exist.
    pub(super) fn locate(&self, address: u16, quantity: u16) -> Result<Located, Exception> {
        self.spans.locate(address, quantity).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
    }

    /// Writes bits to where they were located.
    pub(super) fn write(&mut self, located: &Located, bits: impl Iterator<Item = bool>) {
        for (at, bit) in located.stored.clone().zip(bits) {
            set(&mut self.packed, at, bit);
        }
    }
}

fn set(packed: &mut [u8], at: usize, bit: bool) {
    let mask = 1 << (at % 8);
    if bit {
        packed[at / 8] |= mask;
    } else {
        packed[at / 8] &= !mask;
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
        fn bits_are_read_as_they_were_written_at_any_offset(
            before in 1_u16..20, bits in proptest::collection::vec(any::<bool>(), 1..100)
        ) {
            let quantity = u16::try_from(bits.len()).unwrap();
            let mut table = Bits::new(&[range(0..=before - 1, true), range(before..=200, true)]);
            let located = table.writable(before, quantity).unwrap();
            table.write(&located, bits.iter().copied());
            let mut expected = vec![0; bits.len().div_ceil(8)];
            for (at, bit) in bits.iter().enumerate() {
                set(&mut expected, at, *bit);
            }
            let read: Vec<u8> = table.read(before, quantity).unwrap().collect();
            prop_assert_eq!(read, expected);
            let around: Vec<u8> = table.read(before - 1, 1).unwrap().collect();
            prop_assert_eq!(around, [1], "the neighbour is left alone");
            let behind: Vec<u8> = table.read(before + quantity, 1).unwrap().collect();
            prop_assert_eq!(behind, [1], "the neighbour is left alone");
        }
    }
}
