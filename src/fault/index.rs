//! The index of the rules: by the seam at which they are asked, and by the fields that they name.
//!
//! A rule constrains some fields of a request and leaves the others open. Rules that constrain the
//! same fields form a group, and a group is a hash table from the values of these fields to its
//! rules. A lookup therefore probes each group once, and costs the same with ten rules as with a
//! thousand. Ranges of addresses are searched in a tree.
//!
//! The index knows hashes only: a lookup returns every rule that matches, in order, and may return
//! one that does not. The caller compares the names.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::seam::Seam;

/// A field of a request that a rule can name.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyField {
    /// The slave or target.
    Peer,
    Device,
    Action,
    Unit,
    Function,
    Method,
    Path,
    /// Present if the request writes values, or if the rule names one.
    Value,
}

impl KeyField {
    const COUNT: usize = 8;
}

/// The fields of a rule or of a request: those that the rule names, or those that the request has.
#[derive(Debug, Clone)]
pub(super) struct IndexKey {
    seam: Seam,
    /// The fields that are present, one bit for each.
    present: u8,
    hashes: [u64; KeyField::COUNT],
    addresses: Option<RangeInclusive<u16>>,
}

impl IndexKey {
    /// Creates a key without fields.
    pub(super) fn new(seam: Seam) -> Self {
        Self { seam, present: 0, hashes: [0; KeyField::COUNT], addresses: None }
    }

    /// Sets a field to a name. The field stays absent if there is no name.
    pub(super) fn name(self, field: KeyField, name: Option<&str>) -> Self {
        self.set(field, name.map(name_hash))
    }

    /// Returns the [`name_hash`] of a field that is a name. `None` if the field is absent.
    pub(super) fn hash_of(&self, field: KeyField) -> Option<u64> {
        (self.present & (1 << field as u8) != 0).then(|| self.hashes[field as usize])
    }

    /// Sets a field to a number. The field stays absent if there is no number.
    pub(super) fn number(self, field: KeyField, number: Option<u8>) -> Self {
        self.set(field, number.map(u64::from))
    }

    /// Marks a field as present.
    pub(super) fn flag(self, field: KeyField, present: bool) -> Self {
        self.set(field, present.then_some(1))
    }

    /// Sets the addresses.
    pub(super) fn addresses(mut self, addresses: Option<RangeInclusive<u16>>) -> Self {
        self.addresses = addresses;
        self
    }

    fn set(mut self, field: KeyField, hash: Option<u64>) -> Self {
        if let Some(hash) = hash {
            self.present |= 1 << field as u8;
            self.hashes[field as usize] = hash;
        }
        self
    }

    /// Returns a hash of the values of some fields.
    fn digest(&self, fields: u8) -> u64 {
        let present = (0..KeyField::COUNT).filter(|field| fields & (1 << field) != 0);
        present.fold(0, |digest: u64, field| {
            (digest ^ self.hashes[field]).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        })
    }
}

/// Returns the hash of a name (FNV-1a): the names are short, and a collision only costs a comparison. The shares
/// of the devices are drawn from it, so it must stay the same.
pub(super) fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The rules of an engine by seam and fields, each as its position in the order of the rules.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    seams: [SeamIndex; Seam::COUNT],
}

#[derive(Debug, Default)]
struct SeamIndex {
    rules: usize,
    groups: Vec<Group>,
}

/// The rules that constrain the same fields.
#[derive(Debug)]
struct Group {
    fields: u8,
    buckets: HashMap<u64, Bucket>,
}

/// The rules that constrain the same fields to the same values.
#[derive(Debug, Default)]
struct Bucket {
    any_address: Vec<u32>,
    ranges: AddressTree,
}

impl RuleIndex {
    /// Builds the index. Each rule comes with the keys under which it is asked, in order.
    pub(super) fn new(rules: impl Iterator<Item = Vec<IndexKey>>) -> Self {
        let mut index = Self::default();
        for (position, keys) in (0_u32..).zip(rules) {
            for key in keys {
                index.seams[key.seam as usize].insert(&key, position);
            }
        }
        let groups = index.seams.iter_mut().flat_map(|seam| &mut seam.groups);
        for bucket in groups.flat_map(|group| group.buckets.values_mut()) {
            bucket.ranges.build();
        }
        index
    }

    /// Returns how many rules a seam has.
    pub(super) fn count(&self, seam: Seam) -> usize {
        self.seams[seam as usize].rules
    }

    /// Fills `found` with the positions of the rules that a request may match, in order.
    pub(super) fn lookup(&self, request: &IndexKey, found: &mut Vec<u32>) {
        found.clear();
        for group in &self.seams[request.seam as usize].groups {
            if group.fields & !request.present != 0 {
                continue;
            }
            let Some(bucket) = group.buckets.get(&request.digest(group.fields)) else { continue };
            found.extend_from_slice(&bucket.any_address);
            if let Some(addresses) = &request.addresses {
                bucket.ranges.overlapping(addresses, found);
            }
        }
        found.sort_unstable();
    }
}

impl SeamIndex {
    fn insert(&mut self, key: &IndexKey, position: u32) {
        self.rules += 1;
        let fields = key.present;
        let found = self.groups.iter().position(|group| group.fields == fields);
        let group = found.unwrap_or_else(|| {
            self.groups.push(Group { fields, buckets: HashMap::new() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[group];
        let bucket = group.buckets.entry(key.digest(fields)).or_default();
        match &key.addresses {
            None => bucket.any_address.push(position),
            Some(addresses) => bucket.ranges.push(addresses, position),
        }
    }
}

/// Ranges of addresses as an interval tree: sorted by their first address, and seen as a balanced
/// binary tree in which each node knows how far the ranges below it reach.
#[derive(Debug, Default)]
struct AddressTree {
    ranges: Vec<AddressNode>,
}

#[derive(Debug, Clone, Copy)]
struct AddressNode {
    first: u16,
    last: u16,
    /// The largest `last` of the node and of all nodes below it.
    reach: u16,
    position: u32,
}

impl AddressTree {
    fn push(&mut self, addresses: &RangeInclusive<u16>, position: u32) {
        let (first, last) = (*addresses.start(), *addresses.end());
        self.ranges.push(AddressNode { first, last, reach: last, position });
    }

    fn build(&mut self) {
        fn reach(nodes: &mut [AddressNode]) -> u16 {
            let middle = nodes.len() / 2;
            let (below, rest) = nodes.split_at_mut(middle);
            let Some((node, above)) = rest.split_first_mut() else { return 0 };
            node.reach = node.last.max(reach(below)).max(reach(above));
            node.reach
        }
        self.ranges.sort_unstable_by_key(|range| range.first);
        reach(&mut self.ranges);
    }

    /// Adds the positions of the ranges that have an address in common with `addresses`.
    fn overlapping(&self, addresses: &RangeInclusive<u16>, found: &mut Vec<u32>) {
        fn visit(nodes: &[AddressNode], first: u16, last: u16, found: &mut Vec<u32>) {
            let (below, rest) = nodes.split_at(nodes.len() / 2);
            let Some((node, above)) = rest.split_first() else { return };
            if node.reach < first {
                return;
            }
            visit(below, first, last, found);
            if node.first <= last {
                if node.last >= first {
                    found.push(node.position);
                }
                visit(above, first, last, found);
            }
        }
        visit(&self.ranges, *addresses.start(), *addresses.end(), found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(peer: Option<u8>, unit: Option<u8>, addresses: Option<(u16, u16)>) -> IndexKey {
        IndexKey::new(Seam::Slave)
            .name(KeyField::Peer, peer.map(|peer| peer.to_string()).as_deref())
            .number(KeyField::Unit, unit)
            .addresses(addresses.map(|(first, length)| first..=first.saturating_add(length)))
    }

    type Place = (Option<u8>, Option<u8>, Option<(u16, u16)>);

    /// Returns whether a rule affects a request, without an index.
    fn affects(rule: &Place, (peer, unit, (first, length)): (u8, u8, (u16, u16))) -> bool {
        let overlap = |(start, size): (u16, u16)| {
            start <= first.saturating_add(length) && first <= start.saturating_add(size)
        };
        rule.0.is_none_or(|own| own == peer)
            && rule.1.is_none_or(|own| own == unit)
            && rule.2.is_none_or(overlap)
    }

    proptest! {
        #[test]
        fn a_lookup_finds_what_a_scan_finds_in_order(
            rules in proptest::collection::vec(
                (
                    proptest::option::of(0..3_u8),
                    proptest::option::of(0..3_u8),
                    proptest::option::of((any::<u16>(), 0..2000_u16)),
                ),
                0..60,
            ),
            request in (0..3_u8, 0..3_u8, (any::<u16>(), 0..2000_u16)),
        ) {
            let keys = rules.iter().map(|rule| vec![key(rule.0, rule.1, rule.2)]);
            let index = RuleIndex::new(keys);
            let mut found = vec![7];
            index.lookup(&key(Some(request.0), Some(request.1), Some(request.2)), &mut found);
            let expected: Vec<u32> = (0..)
                .zip(&rules)
                .filter(|(_, rule)| affects(rule, request))
                .map(|(position, _)| position)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_seam_counts_its_own_rules() {
        let keys = [vec![key(None, None, None)], vec![IndexKey::new(Seam::Api)], vec![]];
        let index = RuleIndex::new(keys.into_iter());
        let counts = [Seam::Slave, Seam::Api, Seam::Target].map(|seam| index.count(seam));
        assert_eq!(counts, [1, 1, 0]);
    }
}
