//! A bank as its clients see it: request bytes in, reply bytes out.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::Context;
use tokio_modbus::prelude::{
    Client as _, Reader as _, Request as PeerRequest, Response, Slave, Writer as _,
};

use super::*;
use crate::wire::{MbapHeader, split_frame, write_frame};

fn at(seconds: f64) -> VirtualTime {
    VirtualTime::ZERO.after(Duration::from_secs_f64(seconds))
}

fn stored(address: u16, value_type: RegisterType, value: i64) -> Register {
    Register::new(address, value_type, RegisterSource::Stored(RegisterValue::Integer(value)))
}

fn shorts(address: u16, count: u32) -> Register {
    Register { count, ..stored(address, RegisterType::Short, 0) }
}

fn range(addresses: RangeInclusive<u16>, value: bool) -> BitRange {
    BitRange { addresses, name: None, value, access: RegisterAccess::ReadWrite }
}

fn bank(layout: &UnitLayout) -> Bank {
    Bank::new(layout, 7, RandomStream::named("unit")).unwrap()
}

fn holding(holding: Vec<Register>) -> Bank {
    bank(&UnitLayout { holding, ..UnitLayout::default() })
}

/// Returns the reply to a request PDU at a time.
fn ask_at(bank: &mut Bank, seconds: f64, pdu: &[u8]) -> Vec<u8> {
    let mut reply = ReplyPdu::default();
    bank.handle(pdu, at(seconds), &mut reply);
    reply.pdu().to_vec()
}

fn ask(bank: &mut Bank, pdu: &[u8]) -> Vec<u8> {
    ask_at(bank, 0.0, pdu)
}

fn words(bank: &mut Bank, address: u16, count: u16) -> Vec<u16> {
    bank.peek(Table::HoldingRegisters, address, count, at(0.0)).unwrap()
}

/// Returns a unit with an entry of every kind.
fn layout() -> UnitLayout {
    UnitLayout {
        coils: vec![
            range(0..=15, true),
            BitRange { access: RegisterAccess::READ_ONLY, ..range(16..=19, false) },
            BitRange { access: RegisterAccess::ReadOnly { exception: 4 }, ..range(30..=30, false) },
        ],
        discrete: vec![range(0..=2, true), range(3..=9, false)],
        holding: vec![
            shorts(0, 10),
            Register { limits: Some(20.0..=60.0), ..stored(10, RegisterType::Int, 50) },
            Register { access: RegisterAccess::READ_ONLY, ..stored(12, RegisterType::Ushort, 7) },
            Register {
                access: RegisterAccess::ReadOnly { exception: 4 },
                ..stored(13, RegisterType::Ushort, 8)
            },
            Register::new(14, RegisterType::Ushort, RegisterSource::Computed(Computed::Uptime)),
            Register {
                access: RegisterAccess::ReadOnly { exception: 1 },
                ..Register::new(
                    15,
                    RegisterType::Ushort,
                    RegisterSource::Computed(Computed::Uptime),
                )
            },
            shorts(65_535, 1),
        ],
        input: vec![stored(0, RegisterType::Uint, 0x0102_0304)],
    }
}

// Ruling: PEER-4.
#[test]
fn every_function_replies_as_specified() {
    let mut bank = bank(&layout());
    let table: [(&[u8], &[u8]); 13] = [
        (&[1, 0, 12, 0, 7], &[1, 1, 0b000_1111]),
        (&[2, 0, 0, 0, 10], &[2, 2, 0b0000_0111, 0]),
        (&[5, 0, 1, 0, 0], &[5, 0, 1, 0, 0]),
        (&[5, 0, 2, 0xFF, 0], &[5, 0, 2, 0xFF, 0]),
        (&[15, 0, 7, 0, 9, 2, 0x55, 0xFE], &[15, 0, 7, 0, 9]),
        (&[1, 0, 0, 0, 16], &[1, 2, 0b1111_1101, 0b0010_1010]),
        (&[4, 0, 0, 0, 2], &[4, 4, 1, 2, 3, 4]),
        (&[6, 0, 4, 0, 0x12], &[6, 0, 4, 0, 0x12]),
        // The example of the specification, §6.16.
        (&[22, 0, 4, 0, 0xF2, 0, 0x25], &[22, 0, 4, 0, 0xF2, 0, 0x25]),
        (&[3, 0, 4, 0, 1], &[3, 2, 0, 0x17]),
        (&[16, 0, 0, 0, 2, 4, 0, 1, 0, 2], &[16, 0, 0, 0, 2]),
        (&[23, 0, 0, 0, 3, 0, 1, 0, 1, 2, 0, 9], &[23, 6, 0, 1, 0, 9, 0, 0]),
        (&[17], b"\x11\x07W\xFFwwsim"),
    ];
    for (request, reply) in table {
        assert_eq!(ask(&mut bank, request), reply, "{request:?}");
    }
}

#[test]
fn requests_are_checked_in_the_specified_order() {
    let mut bank = bank(&layout());
    let before = words(&mut bank, 0, 14);
    let table: [(&[u8], &[u8]); 21] = [
        (&[], &[0x80, 1]),
        (&[7], &[0x87, 1]),
        (&[0x83, 0, 0, 0, 0], &[0x83, 1]),
        // Length and quantity are checked before the address.
        (&[3, 0xFF, 0, 0, 0], &[0x83, 3]),
        (&[15, 0xFF, 0, 0, 16, 1, 0xFF], &[0x8F, 3]),
        (&[3, 0, 20, 0, 1], &[0x83, 2]),
        (&[3, 0, 0, 0, 17], &[0x83, 2]),
        (&[3, 0xFF, 0xFF, 0, 2], &[0x83, 2]),
        (&[4, 0, 1, 0, 2], &[0x84, 2]),
        (&[1, 0, 19, 0, 2], &[0x81, 2]),
        (&[5, 0, 20, 0, 0], &[0x85, 2]),
        // Access: the first register that refuses determines the exception.
        (&[5, 0, 16, 0, 0], &[0x85, 2]),
        (&[5, 0, 30, 0, 0], &[0x85, 4]),
        (&[15, 0, 15, 0, 2, 1, 3], &[0x8F, 2]),
        (&[6, 0, 12, 0, 1], &[0x86, 2]),
        (&[6, 0, 13, 0, 1], &[0x86, 4]),
        (&[6, 0, 14, 0, 1], &[0x86, 2]),
        (&[22, 0, 15, 0, 1, 0, 1], &[0x96, 1]),
        // The addresses of all registers are checked before the access of any, and the access of
        // all before a value.
        (&[16, 0, 15, 0, 2, 4, 0, 1, 0, 1], &[0x90, 2]),
        (&[16, 0, 10, 0, 4, 8, 0, 0, 0, 61, 0, 1, 0, 1], &[0x90, 2]),
        (&[16, 0, 9, 0, 3, 6, 0, 5, 0, 0, 0, 61], &[0x90, 3]),
    ];
    for (request, reply) in table {
        assert_eq!(ask(&mut bank, request), reply, "{request:?}");
    }
    assert_eq!(words(&mut bank, 0, 14), before, "a refused write changes nothing");
    assert_eq!(bank.writes().count(), 0);
}

#[test]
fn function_23_checks_both_ranges_before_it_writes() {
    let mut bank = bank(&layout());
    assert_eq!(ask(&mut bank, &[23, 0, 99, 0, 1, 0, 0, 0, 1, 2, 0, 9]), [0x97, 2]);
    assert_eq!(ask(&mut bank, &[23, 0, 0, 0, 1, 0, 12, 0, 1, 2, 0, 9]), [0x97, 2]);
    assert_eq!(words(&mut bank, 0, 1), [0]);
}

// Ruling: PEER-5.
#[test]
fn a_partial_write_obeys_the_limits_of_the_whole_value() {
    let mut bank = bank(&layout());
    assert_eq!(ask(&mut bank, &[6, 0, 11, 0, 60]), [6, 0, 11, 0, 60]);
    assert_eq!(ask(&mut bank, &[6, 0, 11, 0, 61]), [0x86, 3]);
    assert_eq!(ask(&mut bank, &[6, 0, 10, 0, 1]), [0x86, 3]);
    assert_eq!(ask(&mut bank, &[22, 0, 11, 0xFF, 0xFF, 0, 0]), [22, 0, 11, 0xFF, 0xFF, 0, 0]);
    assert_eq!(words(&mut bank, 10, 2), [0, 60]);
}

#[test]
fn a_register_with_limits_refuses_nan() {
    let mut bank =
        holding(vec![Register { limits: Some(0.0..=100.0), ..stored(0, RegisterType::Float, 1) }]);
    assert_eq!(ask(&mut bank, &[16, 0, 0, 0, 2, 4, 0x7F, 0xC0, 0, 0]), [0x90, 3]);
    assert_eq!(ask(&mut bank, &[16, 0, 0, 0, 2, 4, 0x42, 0xC8, 0, 0]), [16, 0, 0, 0, 2]);
}

#[test]
fn computed_values_depend_on_the_clock_and_not_on_reads() {
    let every = Duration::from_secs(1);
    let walk = Computed::RandomWalk { start: 50.0, step: 3.0, every, within: 0.0..=100.0 };
    let layout = UnitLayout {
        input: vec![
            Register::new(10, RegisterType::Ushort, RegisterSource::Computed(Computed::Uptime)),
            Register {
                count: 3,
                word_order: WordOrder::Lsw,
                ..Register::new(11, RegisterType::Double, RegisterSource::Computed(walk))
            },
        ],
        ..UnitLayout::default()
    };
    let (mut often, mut once) = (bank(&layout), bank(&layout));
    for second in 0..=1000 {
        often.peek(Table::InputRegisters, 10, 13, at(f64::from(second))).unwrap();
    }
    let mut read = |address, count| {
        let words = often.peek(Table::InputRegisters, address, count, at(1000.0)).unwrap();
        let other = once.peek(Table::InputRegisters, address, count, at(1000.0)).unwrap();
        assert_eq!(words, other);
        words
    };
    assert_eq!(read(10, 1), [1000]);
    let all = read(11, 12);
    assert_eq!(read(14, 2), all[3..5], "across two values");
    assert_ne!(all[..4], all[4..8], "every value has its own walk");
    let last = once.peek(Table::InputRegisters, 11, 12, at(900.0)).unwrap();
    assert_ne!(last, all);
}

fn reaction(after: f64, table: Table, address: u16, change: ReactionChange) -> Reaction {
    Reaction { after: Duration::from_secs_f64(after), table, address, change }
}

/// Returns a unit with a setpoint at 0 (short) whose reactions change input registers 0 (short) and
/// 1 (float).
fn setpoint(reactions: Vec<Reaction>) -> Bank {
    bank(&UnitLayout {
        holding: vec![Register { reactions, ..stored(0, RegisterType::Short, 20) }, shorts(1, 1)],
        input: vec![stored(0, RegisterType::Short, 20), stored(1, RegisterType::Float, 20)],
        ..UnitLayout::default()
    })
}

fn write(bank: &mut Bank, seconds: f64, value: u8) {
    assert_eq!(ask_at(bank, seconds, &[6, 0, 0, 0, value]), [6, 0, 0, 0, value]);
}

fn short_at(bank: &mut Bank, seconds: f64) -> u16 {
    bank.peek(Table::InputRegisters, 0, 1, at(seconds)).unwrap()[0]
}

fn float_at(bank: &mut Bank, seconds: f64) -> f32 {
    let words = bank.peek(Table::InputRegisters, 1, 2, at(seconds)).unwrap();
    f32::from_bits(u32::from(words[0]) << 16 | u32::from(words[1]))
}

// Ruling: PEER-7.
#[test]
fn every_write_has_its_reaction_at_its_own_time() {
    let mut bank = setpoint(vec![reaction(2.0, Table::InputRegisters, 0, ReactionChange::Copy)]);
    write(&mut bank, 0.0, 30);
    write(&mut bank, 1.5, 40);
    let values = [1.9, 2.0, 3.4, 3.5, 9.0].map(|seconds| short_at(&mut bank, seconds));
    assert_eq!(values, [20, 30, 30, 40, 40]);
}

#[test]
fn due_reactions_apply_in_order_for_late_reads_too() {
    let set = |after, value| {
        reaction(
            after,
            Table::InputRegisters,
            0,
            ReactionChange::Set(RegisterValue::Integer(value)),
        )
    };
    let mut bank = setpoint(vec![set(3.0, 1), set(1.0, 2), set(1.0, 3)]);
    write(&mut bank, 0.0, 30);
    let mut late = setpoint(vec![set(3.0, 1), set(1.0, 2), set(1.0, 3)]);
    write(&mut late, 0.0, 30);
    assert_eq!([0.5, 1.0, 3.0].map(|seconds| short_at(&mut bank, seconds)), [20, 3, 1]);
    assert_eq!(short_at(&mut late, 100.0), 1);
}

#[test]
fn a_ramp_moves_towards_the_written_value() {
    let ramp = || {
        let change = ReactionChange::RampToWritten { per_second: 0.5 };
        vec![
            reaction(1.0, Table::InputRegisters, 1, change.clone()),
            reaction(1.0, Table::InputRegisters, 0, change),
        ]
    };
    let mut bank = setpoint(ramp());
    write(&mut bank, 0.0, 30);
    assert_eq!([1.0, 2.0, 2.5].map(|at| float_at(&mut bank, at)), [20.0, 20.5, 20.75]);
    // 21 is reached at 3 s, when the newer ramp reverses the direction.
    write(&mut bank, 2.0, 10);
    assert_eq!([3.0, 4.0, 5.0].map(|at| float_at(&mut bank, at)), [21.0, 20.5, 20.0]);
    assert_eq!(short_at(&mut bank, 5.0), 20);
    assert_eq!([25.0, 1000.0].map(|at| float_at(&mut bank, at)), [10.0, 10.0]);
    let mut late = setpoint(ramp());
    write(&mut late, 0.0, 30);
    write(&mut late, 2.0, 10);
    assert_eq!([4.0, 9.0].map(|at| float_at(&mut late, at)), [20.5, 18.0]);
}

#[test]
fn a_slow_ramp_that_restarts_often_progresses() {
    let change = ReactionChange::RampToWritten { per_second: 1.0 };
    let mut bank = setpoint(vec![reaction(0.0, Table::InputRegisters, 0, change)]);
    for tenth in 0..100_u8 {
        write(&mut bank, f64::from(tenth) / 10.0, 100);
    }
    assert_eq!(short_at(&mut bank, 10.0), 30);
}

#[test]
fn another_write_to_a_register_ends_its_ramp() {
    let change = ReactionChange::RampToWritten { per_second: 1.0 };
    let mut bank = setpoint(vec![reaction(0.0, Table::HoldingRegisters, 1, change)]);
    let second = |bank: &mut Bank, seconds| {
        bank.peek(Table::HoldingRegisters, 1, 1, at(seconds)).unwrap()[0]
    };
    write(&mut bank, 0.0, 10);
    assert_eq!(second(&mut bank, 4.0), 4);
    assert_eq!(ask_at(&mut bank, 4.0, &[6, 0, 1, 0, 99]), [6, 0, 1, 0, 99]);
    assert_eq!(second(&mut bank, 6.0), 99);
    write(&mut bank, 6.0, 10);
    bank.poke(Table::HoldingRegisters, 1, &[50], at(7.0)).unwrap();
    assert_eq!(second(&mut bank, 9.0), 50);
}

#[test]
fn reactions_pair_the_values_of_repeated_registers() {
    let reactions = vec![reaction(1.0, Table::InputRegisters, 10, ReactionChange::Copy)];
    let mut bank = bank(&UnitLayout {
        holding: vec![Register { reactions, ..shorts(0, 3) }],
        input: vec![Register { count: 4, ..stored(8, RegisterType::Int, -1) }],
        ..UnitLayout::default()
    });
    ask(&mut bank, &[16, 0, 1, 0, 2, 4, 0, 5, 0xFF, 0xFE]);
    let words = bank.peek(Table::InputRegisters, 8, 8, at(1.0)).unwrap();
    assert_eq!(words, [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0, 5, 0xFFFF, 0xFFFE]);
}

#[test]
fn text_and_bytes_are_copied_up_to_the_target_length() {
    let text = |address, words, text: &str, reactions| Register {
        reactions,
        ..Register::new(
            address,
            RegisterType::String { words },
            RegisterSource::Stored(RegisterValue::Text(text.to_owned())),
        )
    };
    let copy = |address| reaction(0.0, Table::HoldingRegisters, address, ReactionChange::Copy);
    let mut short = text(10, 1, "zz", vec![]);
    short.byte_order = ByteOrder::Little;
    let mut bank = holding(vec![
        text(0, 2, "ab", vec![copy(10), copy(20)]),
        short,
        text(20, 3, "zzzzzz", vec![]),
    ]);
    ask(&mut bank, b"\x10\0\0\0\x02\x04wxyz");
    assert_eq!(words(&mut bank, 10, 1), [u16::from_le_bytes(*b"wx")]);
    let wxyz = [u16::from_be_bytes(*b"wx"), u16::from_be_bytes(*b"yz"), 0];
    assert_eq!(words(&mut bank, 20, 3), wxyz);
}

#[test]
fn function_23_reads_immediate_reactions() {
    let reactions = vec![reaction(0.0, Table::HoldingRegisters, 1, ReactionChange::Copy)];
    let mut bank = setpoint(reactions);
    assert_eq!(ask(&mut bank, &[23, 0, 0, 0, 2, 0, 0, 0, 1, 2, 0, 9]), [23, 4, 0, 9, 0, 9]);
}

#[test]
fn a_write_with_too_many_reactions_is_refused() {
    let mut bank = setpoint(vec![reaction(10.0, Table::InputRegisters, 0, ReactionChange::Copy)]);
    for _ in 0..limits::PENDING_REACTIONS {
        write(&mut bank, 0.0, 1);
    }
    assert_eq!(ask(&mut bank, &[6, 0, 0, 0, 2]), [0x86, 6]);
    assert_eq!(words(&mut bank, 0, 1), [1]);
    write(&mut bank, 10.0, 2);
    assert_eq!(short_at(&mut bank, 20.0), 2);
}

// Ruling: PEER-7.
#[test]
fn poke_ignores_access_and_limits_and_causes_no_reaction() {
    let mut bank = bank(&layout());
    let now = at(0.0);
    bank.poke(Table::HoldingRegisters, 11, &[61, 9], now).unwrap();
    assert_eq!(words(&mut bank, 10, 3), [0, 61, 9]);
    bank.poke(Table::Coils, 15, &[0, 1], now).unwrap();
    assert_eq!(bank.peek(Table::Coils, 14, 4, now), Some(vec![1, 0, 1, 0]));
    bank.poke(Table::DiscreteInputs, 0, &[0], now).unwrap();
    assert_eq!(bank.peek(Table::DiscreteInputs, 0, 2, now), Some(vec![0, 1]));
    bank.poke(Table::InputRegisters, 1, &[5], now).unwrap();
    assert_eq!(bank.peek(Table::InputRegisters, 0, 2, now), Some(vec![0x0102, 5]));
    let refused: [(Table, u16, &[u16]); 6] = [
        (Table::HoldingRegisters, 13, &[1, 2]),
        (Table::HoldingRegisters, 9, &[1, 2, 3, 4, 5, 6, 7, 8]),
        (Table::HoldingRegisters, 65_535, &[1, 2]),
        (Table::HoldingRegisters, 0, &[]),
        (Table::Coils, 0, &[2]),
        (Table::Coils, 19, &[1, 1]),
    ];
    for (table, address, words) in refused {
        assert!(bank.poke(table, address, words, now).is_err(), "{table:?} {address}");
    }
    assert_eq!(bank.writes().count(), 4);

    let mut bank = setpoint(vec![reaction(0.0, Table::InputRegisters, 0, ReactionChange::Copy)]);
    bank.poke(Table::HoldingRegisters, 0, &[99], now).unwrap();
    assert_eq!(short_at(&mut bank, 1.0), 20);
}

#[test]
fn peek_refuses_addresses_that_do_not_exist() {
    let mut bank = bank(&layout());
    let now = at(0.0);
    assert_eq!(bank.peek(Table::HoldingRegisters, 15, 2, now), None);
    assert_eq!(bank.peek(Table::HoldingRegisters, 0, 0, now), None);
    assert_eq!(bank.peek(Table::Coils, 20, 1, now), None);
}

#[test]
fn large_writes_are_held_up_to_a_number_of_values() {
    let mut bank = holding(vec![shorts(0, 50_000)]);
    let words = vec![7; 50_000];
    for second in 0..45 {
        bank.poke(Table::HoldingRegisters, 0, &words, at(f64::from(second))).unwrap();
    }
    let times: Vec<VirtualTime> = bank.writes().map(|write| write.at).collect();
    assert_eq!(times.len(), limits::BANK_CHANGE_VALUES / 50_000);
    assert_eq!(times.last(), Some(&at(44.0)));
}

#[test]
fn the_newest_writes_are_held() {
    let mut bank = holding(vec![shorts(0, 10)]);
    let count = u16::try_from(limits::BANK_CHANGES).unwrap() + 5;
    for value in 0..count {
        let [high, low] = value.to_be_bytes();
        ask_at(&mut bank, f64::from(value), &[6, 0, 3, high, low]);
    }
    let writes: Vec<&WriteRecord> = bank.writes().collect();
    assert_eq!(writes.len(), limits::BANK_CHANGES);
    let entry = |value: u16| WriteRecord {
        at: at(f64::from(value)),
        table: Table::HoldingRegisters,
        address: 3,
        words: vec![value],
    };
    assert_eq!((writes[0], *writes.last().unwrap()), (&entry(5), &entry(count - 1)));
}

#[test]
fn a_read_allocates_nothing() {
    let mut layout = layout();
    layout.holding.push(shorts(100, 125));
    layout.coils.push(range(1000..=2999, true));
    let mut bank = bank(&layout);
    let mut reply = ReplyPdu::default();
    let mut out = Vec::with_capacity(limits::ADU_BYTES);
    let frames = [[1, 3, 232, 7, 208], [2, 0, 0, 0, 10], [3, 0, 100, 0, 125], [3, 0, 0, 0, 16]]
        .map(|pdu: [u8; 5]| {
            let mut frame = Vec::new();
            write_frame(1, 1, &pdu, &mut frame);
            frame
        });
    let allocations = allocation_counter::measure(|| {
        for frame in &frames {
            let (frame, _) = split_frame(frame).unwrap().unwrap();
            bank.handle(frame.pdu, at(1.0), &mut reply);
            out.clear();
            write_frame(frame.header.transaction_id, 1, reply.pdu(), &mut out);
            assert_eq!(reply.as_exception(), None);
        }
    });
    assert_eq!(allocations.count_total, 0);
    let write = allocation_counter::measure(|| bank.handle(&[6, 0, 0, 0, 1], at(1.0), &mut reply));
    assert!(write.count_total > 0, "a write allocates");
}

proptest! {
    /// Compares any requests with the simplest model: a map.
    #[test]
    fn a_bank_is_a_map_with_gaps(
        requests in proptest::collection::vec(
            (proptest::sample::select(&[3_u8, 6, 16, 22, 23][..]), 0_u16..45, 1_u16..8, any::<u16>()),
            1..60,
        )
    ) {
        let mut bank = holding(vec![shorts(5, 10), stored(15, RegisterType::Long, 0), shorts(30, 9)]);
        let exists = |address: u16| (5..19).contains(&address) || (30..39).contains(&address);
        let mut map: HashMap<u16, u16> = HashMap::new();
        for (function, address, quantity, value) in requests {
            let word = |word: u16| word.to_be_bytes();
            let new: Vec<u16> = (0..quantity).map(|index| value.wrapping_add(index)).collect();
            let data: Vec<u8> = new.iter().flat_map(|new| word(*new)).collect();
            let count = u8::try_from(data.len()).unwrap();
            let (head, range) = (
                [word(address), word(quantity)].concat(),
                address..address + if matches!(function, 6 | 22) { 1 } else { quantity },
            );
            let good = range.clone().all(exists) && (function != 23 || exists(30));
            let pdu = match function {
                3 => [&[3], &head[..]].concat(),
                6 => [&[6], &word(address)[..], &word(value)].concat(),
                16 => [&[16], &head[..], &[count], &data].concat(),
                22 => [&[22], &word(address)[..], &word(0xF0F0), &word(value)].concat(),
                _ => [&[23, 0, 30, 0, 1], &head[..], &[count], &data].concat(),
            };
            let reply = ask(&mut bank, &pdu);
            if !good {
                prop_assert_eq!(reply, [function | 0x80, 2]);
                continue;
            }
            for (index, address) in range.clone().enumerate() {
                let old = map.get(&address).copied().unwrap_or(0);
                match function {
                    3 => {}
                    22 => drop(map.insert(address, (old & 0xF0F0) | (value & 0x0F0F))),
                    _ => drop(map.insert(address, new[index])),
                }
            }
            let read: Vec<u8> = match function {
                3 => range.flat_map(|a| word(map.get(&a).copied().unwrap_or(0))).collect(),
                23 => word(map.get(&30).copied().unwrap_or(0)).to_vec(),
                _ => continue,
            };
            prop_assert_eq!(&reply[2..], &read[..]);
        }
    }
}

// -------------------------------------------------------------------------------------------------
// Mistakes of a layout

/// Returns the paths and messages of all mistakes.
fn problems(layout: &UnitLayout) -> Vec<String> {
    let found = Bank::check(layout);
    assert_eq!(Bank::new(layout, 1, RandomStream::named("unit")).map(drop).unwrap_err(), found);
    found.iter().map(ToString::to_string).collect()
}

fn holding_problems(holding: Vec<Register>) -> Vec<String> {
    problems(&UnitLayout { holding, ..UnitLayout::default() })
}

#[test]
fn a_valid_layout_has_no_problems() {
    assert_eq!(Bank::check(&layout()), []);
    assert_eq!(Bank::check(&UnitLayout::default()), []);
}

#[test]
fn all_problems_of_a_layout_are_reported_at_once() {
    let found = problems(&UnitLayout {
        coils: vec![range(0..=9, false), range(5..=5, false)],
        #[expect(clippy::reversed_empty_ranges, reason = "the mistake to be found")]
        discrete: vec![range(9..=8, false)],
        holding: vec![
            shorts(10, 4),
            stored(12, RegisterType::Double, 0),
            Register { count: 0, ..shorts(30, 1) },
            stored(65_534, RegisterType::Long, 0),
            stored(40, RegisterType::Short, 40_000),
            Register::new(
                41,
                RegisterType::Hex { words: 0 },
                RegisterSource::Stored(RegisterValue::Bytes(vec![])),
            ),
            Register { access: RegisterAccess::ReadOnly { exception: 0 }, ..shorts(42, 1) },
            Register {
                count: u16::MAX.into(),
                ..stored(0, RegisterType::Hex { words: u16::MAX }, 0)
            },
        ],
        input: vec![shorts(7, 1), shorts(0, 8)],
    });
    assert_eq!(
        found,
        [
            "coils[1].address: 5..5 overlaps 0..9, which an earlier entry has",
            "discrete[0].address: 9..8: expected the first not above the last",
            "holding[2].count: count 0: expected 1 or more",
            "holding[3].address: 4 registers from 65534 reach to 65537: the last address is 65535",
            "holding[4].value: 40000 does not fit a short: expected -32768 to 32767",
            "holding[5].words: 0 words: expected 1 or more",
            "holding[6].read_only: exception 0: expected 1 to 11",
            "holding[7].address: 4294836225 registers from 0 reach to 4294836224: the last address is 65535",
            "holding[7].value: a number for a hex: expected bytes",
            "holding[1].address: 12..15 overlaps 10..13, which an earlier entry has",
            "input[1].address: 0..7 overlaps 7..7, which an earlier entry has",
        ]
    );
}

#[test]
fn limits_apply_to_numbers_and_to_the_first_value() {
    let limited = |limits, register| Register { limits: Some(limits), ..register };
    let found = holding_problems(vec![
        limited(9.0..=1.0, shorts(0, 1)),
        limited(f64::NAN..=1.0, shorts(1, 1)),
        limited(20.0..=60.0, stored(2, RegisterType::Short, 19)),
        limited(
            0.0..=1.0,
            Register::new(
                3,
                RegisterType::String { words: 1 },
                RegisterSource::Stored(RegisterValue::Text("a".into())),
            ),
        ),
    ]);
    assert_eq!(
        found,
        [
            "holding[0].min: 9 to 1: expected min not above max",
            "holding[1].min: NaN to 1: expected min not above max",
            "holding[2].value: 19 is outside its own limits: expected 20 to 60",
            "holding[3].min: limits on a string: only numbers have any, leave them out",
        ]
    );
}

#[test]
fn computed_values_must_be_functions_of_time_and_numbers() {
    let ramp = Computed::Ramp { from: 0.0, to: 1.0, over: Duration::ZERO, repeat: false };
    let found = holding_problems(vec![
        Register::new(0, RegisterType::Short, RegisterSource::Computed(ramp)),
        Register::new(
            1,
            RegisterType::Hex { words: 1 },
            RegisterSource::Computed(Computed::Uptime),
        ),
    ]);
    assert_eq!(
        found,
        [
            "holding[0].ramp: a ramp over 0: expected a time above zero",
            "holding[1].type: a computed hex: expected a numeric type",
        ]
    );
}

#[test]
fn reactions_need_a_writable_source_and_a_stored_target() {
    let on = |table, address, change| vec![reaction(1.0, table, address, change)];
    let with = |address, reactions| Register { reactions, ..shorts(address, 1) };
    let (input, copy) = (Table::InputRegisters, ReactionChange::Copy);
    let ramp = |per_second| ReactionChange::RampToWritten { per_second };
    let text = RegisterSource::Stored(RegisterValue::Text(String::new()));
    let found = problems(&UnitLayout {
        holding: vec![
            with(0, on(Table::Coils, 0, copy.clone())),
            with(1, on(input, 99, copy.clone())),
            with(2, on(input, 0, copy.clone())),
            with(3, on(input, 3, copy.clone())),
            Register { count: 2, ..with(4, on(input, 1, copy.clone())) },
            with(6, on(input, 2, ramp(0.0))),
            with(7, on(input, 4, copy.clone())),
            with(8, on(input, 4, ramp(1.0))),
            with(9, on(input, 1, ReactionChange::Set(RegisterValue::Integer(40_000)))),
            Register { access: RegisterAccess::READ_ONLY, ..with(10, on(input, 1, copy.clone())) },
        ],
        input: vec![
            Register::new(0, RegisterType::Short, RegisterSource::Computed(Computed::Uptime)),
            shorts(1, 1),
            stored(2, RegisterType::Int, 0),
            Register::new(4, RegisterType::String { words: 1 }, text),
            with(5, on(input, 1, copy)),
        ],
        ..UnitLayout::default()
    });
    assert_eq!(
        found,
        [
            "holding[0].on_write[0]: coils 0: expected a holding or input register",
            "holding[1].on_write[0]: input 99: there is no such register",
            "holding[2].on_write[0]: input 0 is computed: expected one that stores its value",
            "holding[3].on_write[0]: input 3 is in the middle of a value: expected 2",
            "holding[4].on_write[0]: input 1 has 1 values from there on: expected one for each of the 2",
            "holding[5].on_write[0]: 0 per second: expected a number above 0",
            "holding[6].on_write[0]: a short cannot be copied to a string: expected numbers, text or bytes on both sides",
            "holding[7].on_write[0]: a string cannot move towards a short: expected numbers on both sides",
            "holding[8].on_write[0]: 40000 does not fit a short: expected -32768 to 32767",
            "holding[9].on_write[0]: no client writes a read-only register, so nothing ever follows: put it on one that is written",
            "input[4].on_write[0]: no client writes an input register, so nothing ever follows: put it on one that is written",
        ]
    );
}

// -------------------------------------------------------------------------------------------------
// An independent client: tokio-modbus on the other end of a pipe in memory

/// Serves a bank on one end of a pipe, and returns a client on the other.
fn connect_client(mut bank: Bank) -> Context {
    let (client, mut server): (DuplexStream, DuplexStream) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        let (mut received, mut out, mut reply) = (Vec::new(), Vec::new(), ReplyPdu::default());
        while server.read_buf(&mut received).await.unwrap_or(0) > 0 {
            while let Some((frame, taken)) = split_frame(&received).unwrap() {
                bank.handle(frame.pdu, at(0.0), &mut reply);
                out.clear();
                let MbapHeader { transaction_id, unit_id, .. } = frame.header;
                write_frame(transaction_id, unit_id, reply.pdu(), &mut out);
                received.drain(..taken);
                server.write_all(&out).await.unwrap();
            }
        }
    });
    tokio_modbus::client::tcp::attach_slave(client, Slave(17))
}

#[tokio::test]
async fn an_independent_client_reads_and_writes_with_every_function() {
    let mut client = connect_client(bank(&layout()));
    let t = true;
    client.write_single_coil(3, false).await.unwrap().unwrap();
    client.write_multiple_coils(8, &[false, true, false]).await.unwrap().unwrap();
    let coils = client.read_coils(0, 12).await.unwrap().unwrap();
    assert_eq!(coils, [t, t, t, false, t, t, t, t, false, t, false, t]);
    let inputs = client.read_discrete_inputs(1, 3).await.unwrap().unwrap();
    assert_eq!(inputs, [t, t, false]);
    client.write_single_register(0, 0x12).await.unwrap().unwrap();
    client.write_multiple_registers(1, &[7, 8]).await.unwrap().unwrap();
    client.masked_write_register(0, 0xF2, 0x25).await.unwrap().unwrap();
    let read = client.read_holding_registers(0, 3).await.unwrap().unwrap();
    assert_eq!(read, [0x17, 7, 8]);
    let read = client.read_write_multiple_registers(0, 3, 1, &[9]).await.unwrap().unwrap();
    assert_eq!(read, [0x17, 9, 8], "function 23 writes before it reads");
    let read = client.read_input_registers(0, 2).await.unwrap().unwrap();
    assert_eq!(read, [0x0102, 0x0304]);
    let id = client.call(PeerRequest::ReportServerId).await.unwrap().unwrap();
    assert_eq!(id, Response::ReportServerId(b'W', true, b"wwsim".to_vec()));
}

#[tokio::test]
async fn an_independent_client_understands_the_echoes_and_exceptions() {
    let mut client = connect_client(bank(&layout()));
    let table = [
        (PeerRequest::WriteSingleCoil(1, true), Ok(Response::WriteSingleCoil(1, true))),
        (
            PeerRequest::WriteMultipleCoils(1, vec![true; 15].into()),
            Ok(Response::WriteMultipleCoils(1, 15)),
        ),
        (PeerRequest::WriteSingleRegister(2, 5), Ok(Response::WriteSingleRegister(2, 5))),
        (
            PeerRequest::WriteMultipleRegisters(0, vec![1; 10].into()),
            Ok(Response::WriteMultipleRegisters(0, 10)),
        ),
        (PeerRequest::MaskWriteRegister(2, 1, 2), Ok(Response::MaskWriteRegister(2, 1, 2))),
        (PeerRequest::Custom(0x41, vec![14, 1, 0].into()), Err(ExceptionCode::IllegalFunction)),
        (PeerRequest::ReadHoldingRegisters(99, 1), Err(ExceptionCode::IllegalDataAddress)),
        (PeerRequest::WriteSingleRegister(13, 1), Err(ExceptionCode::ServerDeviceFailure)),
        (PeerRequest::WriteSingleRegister(11, 61), Err(ExceptionCode::IllegalDataValue)),
    ];
    for (request, expected) in table {
        assert_eq!(client.call(request.clone()).await.unwrap(), expected, "{request:?}");
    }
}
