//! Lowering of the Modbus slaves and their registers.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::model::SlavePlan;
use super::super::path::{FieldPath, Segment};
use super::super::raw;
use super::{LoadContext, Lowered};
use crate::modbus::bank::{
    Bank, BitRange, ByteOrder, Computed, Reaction, ReactionChange, Register, RegisterAccess,
    RegisterSource, RegisterType, RegisterValue, Table, UnitLayout, WordOrder,
};
use crate::modbus::limits;
use crate::notation::shortened;

/// Lowers the slaves.
pub(super) fn slaves(
    raw: &raw::Scenario,
    context: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Lowered<SlavePlan>> {
    let base = FieldPath::root().key("slaves");
    let slave = |(name, raw): (&raw::NameText, &raw::Slave)| {
        let path = base.key(name.as_str());
        if name.as_str() == raw::NameText::ANY {
            mistakes.push(
                Mistake::new(path.clone(), "`any` means every slave; use another name").on_key(),
            );
        }
        slave(name.as_str(), raw, &path, context, mistakes)
    };
    raw.slaves.iter().flatten().map(slave).collect()
}

fn slave(
    name: &str,
    raw: &raw::Slave,
    path: &FieldPath,
    context: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Lowered<SlavePlan> {
    let mistakes_before = mistakes.len();
    if raw.idle.is_some_and(|idle| idle.0.is_zero()) {
        let mistake = Mistake::new(path.key("idle"), "an idle time of 0 closes every connection")
            .help("leave it out for 5m");
        mistakes.push(mistake);
    }
    let units_path = path.key("units");
    let mut units = Vec::new();
    for (id, unit) in raw.units.iter().flatten() {
        let path = units_path.key(&id.to_string());
        let before = mistakes.len();
        let unit = LoweredUnit::lower(unit, &path, mistakes);
        unit.check(before, (context.has_mistakes)(&path), &path, mistakes);
        units.push((id.0, unit.layout));
    }
    let plan = SlavePlan {
        name: name.into(),
        listen: raw.listen.map_or(SlavePlan::DEFAULT_LISTENER, |listen| listen.0),
        hosts: raw.hosts.iter().flatten().map(|host| host.0.clone()).collect(),
        units,
        unknown_unit: match raw.unknown_unit {
            None | Some(raw::UnknownUnit::Silence) => None,
            Some(raw::UnknownUnit::Exception(code)) => Some(code),
        },
        latency: raw.latency.map_or(Duration::ZERO, |latency| latency.0),
        max_connections: raw.max_connections.map_or(limits::SLAVE_CONNECTIONS, |max| max as usize),
        idle: raw.idle.map_or(limits::SLAVE_IDLE, |idle| idle.0),
    };
    Lowered { plan, valid: mistakes.len() == mistakes_before }
}

/// The layout of a unit, without the registers that have mistakes of their own.
struct LoweredUnit {
    layout: UnitLayout,
    /// The positions of the holding registers of the layout in their list of the file.
    holding: Vec<usize>,
    /// The same of the input registers.
    input: Vec<usize>,
    is_complete: bool,
}

impl LoweredUnit {
    fn lower(raw: &raw::Unit, path: &FieldPath, mistakes: &mut Mistakes) -> Self {
        let (holding_positions, holding) =
            registers(raw.holding.as_deref(), Table::HoldingRegisters, path, mistakes);
        let (input_positions, input) =
            registers(raw.input.as_deref(), Table::InputRegisters, path, mistakes);
        let count = |registers: &Option<Vec<raw::Register>>| registers.as_ref().map_or(0, Vec::len);
        let is_complete = count(&raw.holding) == holding.len() && count(&raw.input) == input.len();
        let layout = UnitLayout {
            coils: bits(raw.coils.as_deref(), Table::Coils, path, mistakes),
            discrete: bits(raw.discrete.as_deref(), Table::DiscreteInputs, path, mistakes),
            holding,
            input,
        };
        Self { layout, holding: holding_positions, input: input_positions, is_complete }
    }

    /// Checks the registers and bits that were lowered. A reaction whose target is missing is reported
    /// only if nothing else is missing, neither here nor in the decoded file. `before` is the number of
    /// mistakes before those of the unit's lowering.
    fn check(
        &self,
        before: usize,
        has_structural_mistakes: bool,
        path: &FieldPath,
        mistakes: &mut Mistakes,
    ) {
        let problems = if self.is_complete && !has_structural_mistakes {
            Bank::check(&self.layout)
        } else {
            Bank::check_part(&self.layout)
        };
        for problem in problems {
            let mut mistake = Mistake::from_problem(path, problem);
            mistake.path = self.path_in_file(&mistake.path, path.segments().len());
            // Lowering has reported some of these already, at the key that is wrong.
            let is_reported = |path: &FieldPath| path.starts_with(&mistake.path);
            if !mistakes.paths().skip(before).any(is_reported) {
                mistakes.push(mistake);
            }
        }
    }

    /// Converts a path of the layout, in which the name of the table is the segment `depth`, to the path
    /// of the file, whose lists may have more registers.
    fn path_in_file(&self, path: &FieldPath, depth: usize) -> FieldPath {
        let positions = match path.segments().get(depth) {
            Some(Segment::Key(table)) if **table == *Table::HoldingRegisters.name() => {
                &self.holding
            }
            Some(Segment::Key(table)) if **table == *Table::InputRegisters.name() => &self.input,
            _ => return path.clone(),
        };
        let mut in_file = FieldPath::root();
        for (at, segment) in path.segments().iter().enumerate() {
            in_file.push(match segment {
                Segment::Index(index) if at == depth + 1 => {
                    Segment::Index(positions.get(*index).copied().unwrap_or(*index))
                }
                other => other.clone(),
            });
        }
        in_file
    }
}

fn bits(
    raw: Option<&[raw::Bits]>,
    table: Table,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Vec<BitRange> {
    let path = path.key(table.name());
    let range = |(index, raw): (usize, &raw::Bits)| {
        let path = path.index(index);
        if table == Table::DiscreteInputs {
            let keys = [
                ("read_only", raw.read_only.is_some()),
                ("write_exception", raw.write_exception.is_some()),
            ];
            refuse_write_keys(&keys, table, &path, mistakes);
        }
        BitRange {
            addresses: raw.address.inclusive(),
            name: raw.name.as_ref().map(|name| name.0.clone()),
            value: raw.value.unwrap_or(false),
            access: access(raw.read_only, raw.write_exception, false, &path, mistakes),
        }
    };
    raw.unwrap_or_default().iter().enumerate().map(range).collect()
}

/// Reports the keys about writing that are set in a table that no function writes.
fn refuse_write_keys(
    keys: &[(&str, bool)],
    table: Table,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) {
    for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
        let message = format!(
            "`{key}` says nothing here: no function writes {} registers or bits",
            table.name()
        );
        mistakes.push(Mistake::new(path.key(key), message).on_key());
    }
}

fn access(
    read_only: Option<bool>,
    exception: Option<u8>,
    computed: bool,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> RegisterAccess {
    match (read_only, exception) {
        (Some(false), Some(_)) => {
            let mistake = Mistake::new(
                path.key("write_exception"),
                "a register that can be written refuses no write",
            )
            .help("leave `read_only: false` out, or the exception");
            mistakes.push(mistake);
            RegisterAccess::ReadWrite
        }
        (Some(false), None) if computed => {
            let mistake = Mistake::new(path.key("read_only"), "a computed value cannot be written")
                .help("use `value`, or leave `read_only` out");
            mistakes.push(mistake);
            RegisterAccess::READ_ONLY
        }
        (_, Some(exception)) => RegisterAccess::ReadOnly { exception },
        (Some(true), None) => RegisterAccess::READ_ONLY,
        (None, None) if computed => RegisterAccess::READ_ONLY,
        (Some(false) | None, None) => RegisterAccess::ReadWrite,
    }
}

/// Lowers the registers of a table. Returns them with their positions in the list of the file.
fn registers(
    raw: Option<&[raw::Register]>,
    table: Table,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> (Vec<usize>, Vec<Register>) {
    let path = path.key(table.name());
    let lowered = raw.unwrap_or_default().iter().enumerate().filter_map(|(index, raw)| {
        register(raw, table, &path.index(index), mistakes).map(|register| (index, register))
    });
    lowered.unzip()
}

fn register(
    raw: &raw::Register,
    table: Table,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<Register> {
    if table == Table::InputRegisters {
        let keys = [
            ("read_only", raw.read_only.is_some()),
            ("write_exception", raw.write_exception.is_some()),
            ("min", raw.min.is_some()),
            ("max", raw.max.is_some()),
            ("on_write", raw.on_write.is_some()),
        ];
        refuse_write_keys(&keys, table, path, mistakes);
    }
    let value_type = value_type(raw, path, mistakes)?;
    let count = count(raw, value_type, path, mistakes)?;
    let source = source(raw, value_type, path, mistakes)?;
    let computed = matches!(source, RegisterSource::Computed(_));
    let reactions = raw.on_write.iter().flatten().enumerate();
    let reactions = reactions
        .filter_map(|(index, raw)| reaction(raw, &path.key("on_write").index(index), mistakes))
        .collect();
    Some(Register {
        address: raw.address.first,
        count,
        name: raw.name.as_ref().map(|name| name.0.clone()),
        value_type,
        word_order: match raw.word_order {
            None | Some(raw::WordOrder::Msw) => WordOrder::Msw,
            Some(raw::WordOrder::Lsw) => WordOrder::Lsw,
        },
        byte_order: match raw.byte_order {
            None | Some(raw::ByteOrder::Big) => ByteOrder::Big,
            Some(raw::ByteOrder::Little) => ByteOrder::Little,
        },
        source,
        access: access(raw.read_only, raw.write_exception, computed, path, mistakes),
        limits: write_limits(raw, path, mistakes),
        reactions,
    })
}

fn value_type(
    raw: &raw::Register,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<RegisterType> {
    let numeric = match raw.r#type.unwrap_or(raw::ValueType::Ushort) {
        raw::ValueType::Short => RegisterType::Short,
        raw::ValueType::Ushort => RegisterType::Ushort,
        raw::ValueType::Int => RegisterType::Int,
        raw::ValueType::Uint => RegisterType::Uint,
        raw::ValueType::Long => RegisterType::Long,
        raw::ValueType::Float => RegisterType::Float,
        raw::ValueType::Double => RegisterType::Double,
        raw::ValueType::Hex => {
            return words(raw, 2, path, mistakes).map(|words| RegisterType::Hex { words });
        }
        raw::ValueType::String => {
            return words(raw, 1, path, mistakes).map(|words| RegisterType::String { words });
        }
    };
    if raw.words.is_some() {
        let mistake =
            Mistake::new(path.key("words"), "the type says how many registers a number takes")
                .help("for several numbers one after another use `count`")
                .on_key();
        mistakes.push(mistake);
    }
    Some(numeric)
}

/// Returns the number of registers of a text that has `characters` for each byte.
fn words(
    raw: &raw::Register,
    characters: usize,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<u16> {
    if let Some(words) = raw.words {
        return Some(words);
    }
    let RegisterAddresses { length, is_range } = register_addresses(raw);
    if is_range && raw.count.is_none() {
        let words = u16::try_from(length).ok();
        if words.is_none() {
            let message = format!("a text of {length} registers: expected at most {}", u16::MAX);
            let mistake = Mistake::new(path.key("address"), message)
                .help("leave one address out, or give `words` for several texts");
            mistakes.push(mistake);
        }
        return words;
    }
    if let Some(raw::RegisterValue::Text(text)) = &raw.value {
        let bytes = text.len().div_ceil(characters);
        return Some(u16::try_from(bytes.div_ceil(2)).unwrap_or(u16::MAX).max(1));
    }
    if raw.value.is_some() {
        // The lowering of the value reports the mistake.
        return Some(1);
    }
    let mistake = Mistake::new(path.clone(), "how many registers does the text take?")
        .help("give `words`, a range as `address`, or a `value` of that length");
    mistakes.push(mistake);
    None
}

/// The addresses of a register as written.
struct RegisterAddresses {
    length: u32,
    /// True if it has more than one address.
    is_range: bool,
}

fn register_addresses(raw: &raw::Register) -> RegisterAddresses {
    let raw::RangeText { first, last } = raw.address;
    RegisterAddresses { length: u32::from(last - first) + 1, is_range: last > first }
}

fn count(
    raw: &raw::Register,
    value_type: RegisterType,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<u32> {
    let RegisterAddresses { length, is_range } = register_addresses(raw);
    let words = u32::from(value_type.words());
    match raw.count {
        Some(_) if is_range => {
            let mistake =
                Mistake::new(path.key("count"), "both a range of addresses and `count` are given")
                    .help("give the first address and `count`, or only the range");
            mistakes.push(mistake);
            None
        }
        Some(count) => Some(count),
        None if !is_range => Some(1),
        None if length % words != 0 => {
            let message = format!(
                "{length} registers hold no whole number of values of {words} registers each"
            );
            mistakes.push(Mistake::new(path.key("address"), message));
            None
        }
        None => Some(length / words),
    }
}

fn source(
    raw: &raw::Register,
    value_type: RegisterType,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<RegisterSource> {
    let keys = [
        ("value", raw.value.is_some()),
        ("ramp", raw.ramp.is_some()),
        ("sine", raw.sine.is_some()),
        ("counter", raw.counter.is_some()),
        ("random_walk", raw.random_walk.is_some()),
        ("uptime", raw.uptime == Some(true)),
    ];
    let mut keys = keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key);
    if let (Some(first), Some(second)) = (keys.next(), keys.next()) {
        let message =
            format!("a register gets its value from `{first}` or from `{second}`, not from both");
        mistakes
            .push(Mistake::new(path.key(second), message).related(path.key(first), first).on_key());
        return None;
    }
    match computed(raw, path, mistakes) {
        Some(computed) => Some(RegisterSource::Computed(computed)),
        None => value(raw.value.as_ref(), value_type, &path.key("value"), mistakes)
            .map(RegisterSource::Stored),
    }
}

fn computed(raw: &raw::Register, path: &FieldPath, mistakes: &mut Mistakes) -> Option<Computed> {
    let mut above_zero = |duration: raw::DurationText, key: &str, field: &str| {
        if duration.0.is_zero() {
            let mistake =
                Mistake::new(path.key(key).key(field), format!("`{field}` must be longer than 0"));
            mistakes.push(mistake);
        }
        duration.0
    };
    if let Some(ramp) = &raw.ramp {
        let over = above_zero(ramp.over, "ramp", "over");
        let repeat = ramp.repeat.unwrap_or(false);
        return Some(Computed::Ramp { from: ramp.from, to: ramp.to, over, repeat });
    }
    if let Some(sine) = &raw.sine {
        return Some(Computed::Sine {
            mean: sine.mean,
            amplitude: sine.amplitude,
            period: above_zero(sine.period, "sine", "period"),
            phase: sine.phase.map_or(Duration::ZERO, |phase| phase.0),
        });
    }
    if let Some(counter) = &raw.counter {
        return Some(Computed::Counter {
            start: counter.start.unwrap_or(0.0),
            step: counter.step.unwrap_or(1.0),
            every: above_zero(counter.every, "counter", "every"),
        });
    }
    if let Some(walk) = &raw.random_walk {
        let every = above_zero(walk.every, "random_walk", "every");
        let within = walk.min..=walk.max;
        if !within.contains(&walk.start) {
            let message = format!("start {} lies outside {}..{}", walk.start, walk.min, walk.max);
            mistakes.push(Mistake::new(path.key("random_walk").key("start"), message));
        }
        return Some(Computed::RandomWalk { start: walk.start, step: walk.step, every, within });
    }
    (raw.uptime == Some(true)).then_some(Computed::Uptime)
}

fn value(
    raw: Option<&raw::RegisterValue>,
    value_type: RegisterType,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<RegisterValue> {
    let message = match (raw, value_type) {
        (None, RegisterType::Hex { words }) => {
            return Some(RegisterValue::Bytes(vec![0; usize::from(words) * 2]));
        }
        (None, RegisterType::String { .. }) => return Some(RegisterValue::Text(String::new())),
        (None, _) => return Some(RegisterValue::Integer(0)),
        (Some(raw::RegisterValue::Text(digits)), RegisterType::Hex { .. }) => {
            match parse_hex(digits) {
                Some(bytes) => return Some(RegisterValue::Bytes(bytes)),
                None => {
                    format!(
                        "`{}`: expected an even number of hexadecimal digits",
                        shortened(digits)
                    )
                }
            }
        }
        (Some(raw::RegisterValue::Text(text)), RegisterType::String { .. }) => {
            return Some(RegisterValue::Text(text.clone()));
        }
        (Some(_), RegisterType::Hex { .. } | RegisterType::String { .. }) => {
            "a number, but the type takes text; put it into quotes".to_owned()
        }
        (Some(raw::RegisterValue::Integer(number)), _) => {
            return Some(RegisterValue::Integer(*number));
        }
        (Some(raw::RegisterValue::Number(number)), _) => {
            return Some(RegisterValue::Number(*number));
        }
        (Some(raw::RegisterValue::Text(text)), _) => {
            format!("text `{}`, but the type takes a number", shortened(text))
        }
    };
    mistakes.push(Mistake::new(path.clone(), message));
    None
}

fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

fn write_limits(
    raw: &raw::Register,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<RangeInclusive<f64>> {
    let (min, max) = match (raw.min, raw.max) {
        (None, None) => return None,
        (min, max) => (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY)),
    };
    if min > max {
        let mistake = Mistake::new(path.key("min"), format!("min {min} is above max {max}"))
            .help("no write would be accepted; for that use `read_only`");
        mistakes.push(mistake);
        return None;
    }
    Some(min..=max)
}

fn reaction(raw: &raw::OnWrite, path: &FieldPath, mistakes: &mut Mistakes) -> Option<Reaction> {
    let mut refuse = |path: FieldPath, message: &str| {
        mistakes.push(Mistake::new(path, message));
        None
    };
    let (register, change) = match (raw.set, raw.copy, raw.ramp) {
        (Some(register), None, None) => {
            let Some(value) = &raw.value else {
                return refuse(path.clone(), "`set` needs `value`: what the register becomes");
            };
            (register, ReactionChange::Set(register_value(value)))
        }
        (None, Some(register), None) => (register, ReactionChange::Copy),
        (None, None, Some(register)) => {
            let Some(per_second) = raw.per_second else {
                return refuse(
                    path.clone(),
                    "`ramp` needs `per_second`: how far it moves in a second",
                );
            };
            (register, ReactionChange::RampToWritten { per_second })
        }
        _ => return refuse(path.clone(), "expected exactly one of `set`, `copy` and `ramp`"),
    };
    if raw.value.is_some() && raw.set.is_none() {
        return refuse(path.key("value"), "`value` belongs to `set`");
    }
    if raw.per_second.is_some() && raw.ramp.is_none() {
        return refuse(path.key("per_second"), "`per_second` belongs to `ramp`");
    }
    let (table, address) = match register {
        raw::StoredRegister::Holding(address) => (Table::HoldingRegisters, address),
        raw::StoredRegister::Input(address) => (Table::InputRegisters, address),
    };
    let after = raw.after.map_or(Duration::ZERO, |after| after.0);
    Some(Reaction { after, table, address, change })
}

fn register_value(raw: &raw::RegisterValue) -> RegisterValue {
    match raw {
        raw::RegisterValue::Integer(number) => RegisterValue::Integer(*number),
        raw::RegisterValue::Number(number) => RegisterValue::Number(*number),
        raw::RegisterValue::Text(text) => RegisterValue::Text(text.clone()),
    }
}
