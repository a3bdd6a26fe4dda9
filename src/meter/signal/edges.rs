//! Rectangular pulses of power, and the edges that they leave in a day.

use super::plan::Placement;

/// Edges of a day at most. A family's day has some 400. A plan at all its limits has more; it loses
/// those that do not fit, so that memory stays bounded.
const MAX_EDGES: usize = 4096;

/// Active power and the reactive power that comes with it, over all phases, in mW and mvar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LoadPower {
    pub active: i32,
    pub reactive: i32,
}

impl LoadPower {
    /// Returns the power of a load of `watts` with a power factor, capacitive or inductive.
    pub(super) fn new(watts: f64, power_factor: f64, capacitive: bool) -> Self {
        let factor = power_factor.clamp(0.1, 1.0);
        let reactive = watts * libm::sqrt(1.0 - factor * factor) / factor;
        Self {
            active: thousandths(watts),
            reactive: thousandths(if capacitive { -reactive } else { reactive }),
        }
    }

    /// Returns the power of the same load times `factor`.
    pub(super) fn scaled(self, factor: f64) -> Self {
        let scale = |value: i32| thousandths(f64::from(value) * factor / 1000.0);
        Self { active: scale(self.active), reactive: scale(self.reactive) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn thousandths(value: f64) -> i32 {
    libm::round(value * 1000.0) as i32
}

/// A step of power: the begin or the end of a pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    /// Seconds since midnight.
    pub at: u32,
    /// The phase: 0 to 2, or [`Edge::ALL_PHASES`].
    phase: u8,
    active: i32,
    reactive: i32,
}

impl Edge {
    const ALL_PHASES: u8 = 3;

    /// Adds the step to the powers of the phases.
    #[inline]
    pub(super) fn apply(&self, active: &mut [i64; 3], reactive: &mut [i64; 3]) {
        if self.phase == Self::ALL_PHASES {
            add_balanced(i64::from(self.active), active);
            add_balanced(i64::from(self.reactive), reactive);
        } else {
            active[usize::from(self.phase)] += i64::from(self.active);
            reactive[usize::from(self.phase)] += i64::from(self.reactive);
        }
    }
}

/// Adds `total` to three phases in equal parts, and the remainder to the first.
pub(super) fn add_balanced(total: i64, phases: &mut [i64; 3]) {
    let part = total / 3;
    phases[0] += total - 2 * part;
    phases[1] += part;
    phases[2] += part;
}

/// Appends to a list that a device keeps for its lifetime. The list grows by a constant instead of
/// doubling, so that little memory is unused.
pub(super) fn push_compact<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(32);
    }
    list.push(item);
}

/// The edges of all pulses of a day.
#[derive(Debug, Default)]
pub(super) struct EdgeList {
    edges: Vec<Edge>,
    day_length: u32,
    single_phase: bool,
}

impl EdgeList {
    /// Empties the list for a day of `day_length` seconds, and keeps its memory.
    pub(super) fn reset(&mut self, day_length: u32, single_phase: bool) {
        self.edges.clear();
        self.day_length = day_length;
        self.single_phase = single_phase;
    }

    /// Adds the part of a pulse that lies within the day. The pulse lasts from second `begin` of the
    /// day up to `end`.
    pub(super) fn add_pulse(
        &mut self,
        begin: i64,
        end: i64,
        placement: Placement,
        power: LoadPower,
    ) {
        let within_day = |second: i64| {
            u32::try_from(second.max(0))
                .map_or(self.day_length, |second| second.min(self.day_length))
        };
        let (begin, end) = (within_day(begin), within_day(end));
        if begin >= end || power == LoadPower::default() || self.edges.len() + 2 > MAX_EDGES {
            return;
        }
        let phase = match placement {
            _ if self.single_phase => 0,
            Placement::L1 => 0,
            Placement::L2 => 1,
            Placement::L3 => 2,
            Placement::All => Edge::ALL_PHASES,
        };
        let LoadPower { active, reactive } = power;
        push_compact(&mut self.edges, Edge { at: begin, phase, active, reactive });
        if end < self.day_length {
            let end = Edge { at: end, phase, active: -active, reactive: -reactive };
            push_compact(&mut self.edges, end);
        }
    }

    /// Sorts the edges by time. The order of edges at one second does not matter, because steps add up.
    pub(super) fn sort(&mut self) {
        self.edges.sort_unstable_by_key(|edge| edge.at);
    }

    /// Returns the edges.
    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Returns the bytes allocated on the heap.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn heap_bytes(&self) -> usize {
        self.edges.capacity() * size_of::<Edge>()
    }
}
