//! Rectangles of power, and the edges they leave in a day.

use super::plan::Placement;
use crate::limits;

/// A power and what comes with it of reactive power; in mW and mvar, over all phases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Strength {
    pub active: i32,
    pub reactive: i32,
}

impl Strength {
    /// `watts` with a power factor, capacitive or inductive.
    pub(super) fn new(watts: f64, power_factor: f64, capacitive: bool) -> Self {
        let factor = power_factor.clamp(0.1, 1.0);
        let reactive = watts * libm::sqrt(1.0 - factor * factor) / factor;
        Self {
            active: thousandths(watts),
            reactive: thousandths(if capacitive { -reactive } else { reactive }),
        }
    }

    /// The same appliance taking a little more or less.
    pub(super) fn times(self, factor: f64) -> Self {
        let scaled = |value: i32| thousandths(f64::from(value) * factor / 1000.0);
        Self { active: scaled(self.active), reactive: scaled(self.reactive) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn thousandths(value: f64) -> i32 {
    libm::round(value * 1000.0) as i32
}

/// Where a rectangle begins or ends: what changes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    /// Seconds since midnight.
    pub at: u32,
    /// The phase: 0 to 2, or [`Edge::ALL`].
    phase: u8,
    active: i32,
    reactive: i32,
}

impl Edge {
    const ALL: u8 = 3;

    /// Carries the change out.
    #[inline]
    pub(super) fn apply(&self, active: &mut [i64; 3], reactive: &mut [i64; 3]) {
        if self.phase == Self::ALL {
            spread(i64::from(self.active), active);
            spread(i64::from(self.reactive), reactive);
        } else {
            active[usize::from(self.phase)] += i64::from(self.active);
            reactive[usize::from(self.phase)] += i64::from(self.reactive);
        }
    }
}

/// Adds `whole` to three phases in equal parts, the remainder to the first.
pub(super) fn spread(whole: i64, phases: &mut [i64; 3]) {
    let part = whole / 3;
    phases[0] += whole - 2 * part;
    phases[1] += part;
    phases[2] += part;
}

/// Appends to a list that a device keeps for good: it grows by a little, not to twice its size.
pub(super) fn append<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(32);
    }
    list.push(item);
}

/// The rectangles of a day, as edges.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    edges: Vec<Edge>,
    length: u32,
    single_phase: bool,
}

impl Pulses {
    /// Begins a day of so many seconds anew, in the memory of the one before.
    pub(super) fn begin(&mut self, length: u32, single_phase: bool) {
        self.edges.clear();
        self.length = length;
        self.single_phase = single_phase;
    }

    /// Adds a rectangle from second `begin` of the day up to `end`, as far as it is in the day.
    pub(super) fn add(&mut self, begin: i64, end: i64, placement: Placement, strength: Strength) {
        let within = |second: i64| {
            u32::try_from(second.max(0)).map_or(self.length, |second| second.min(self.length))
        };
        let (begin, end) = (within(begin), within(end));
        if begin >= end
            || strength == Strength::default()
            || self.edges.len() + 2 > limits::DAY_EDGES
        {
            return;
        }
        let phase = match placement {
            _ if self.single_phase => 0,
            Placement::L1 => 0,
            Placement::L2 => 1,
            Placement::L3 => 2,
            Placement::All => Edge::ALL,
        };
        let Strength { active, reactive } = strength;
        append(&mut self.edges, Edge { at: begin, phase, active, reactive });
        if end < self.length {
            append(&mut self.edges, Edge { at: end, phase, active: -active, reactive: -reactive });
        }
    }

    /// The edges in the order of time. What happens at one moment adds up, in whatever order.
    pub(super) fn finish(&mut self) {
        self.edges.sort_unstable_by_key(|edge| edge.at);
    }

    /// Bytes that they take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.edges.capacity() * size_of::<Edge>()
    }

    /// The edges.
    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }
}
