//! The property of a bank: it answers any bytes from a client with a PDU that fits and belongs to
//! the request. Shared by the fuzz target and the test that replays its corpus; each brings the
//! crate's modules into scope.

use std::time::Duration;

use super::bank::{
    Bank, BitRange, ByteOrder, Computed, Reaction, ReactionChange, Register, RegisterAccess,
    RegisterSource, RegisterType, RegisterValue, Table, UnitLayout, WordOrder,
};
use super::clock::VirtualTime;
use super::limits;
use super::rng::RandomStream;
use super::wire::{ReplyPdu, RequestPdu, split_frame, write_frame};

/// Serves all frames in `bytes`, a second apart, as one connection would.
pub(super) fn holds(bytes: &[u8]) {
    let mut bank = bank();
    let mut reply = ReplyPdu::default();
    let mut rest = bytes;
    let mut now = VirtualTime::ZERO;
    while let Ok(Some((frame, length))) = split_frame(rest) {
        assert!((1..=limits::PDU_BYTES).contains(&frame.pdu.len()));
        bank.handle(frame.pdu, now, &mut reply);
        let pdu = reply.pdu();
        assert!((2..=limits::PDU_BYTES).contains(&pdu.len()), "{pdu:?}");
        let function = frame.pdu[0];
        assert!(pdu[0] == function || pdu[0] == function | 0x80, "{pdu:?} to {function}");
        match RequestPdu::parse(frame.pdu) {
            Ok(request) => assert_eq!(request.function().0, function),
            Err(exception) => assert_eq!(reply.as_exception(), Some(exception)),
        }
        let mut out = Vec::new();
        write_frame(frame.header.transaction_id, frame.header.unit_id, pdu, &mut out);
        let (written, written_length) = split_frame(&out).unwrap().unwrap();
        assert_eq!((written.pdu, written_length), (pdu, out.len()));
        rest = &rest[length..];
        now = now.after(Duration::from_secs(1));
    }
    assert!(bank.writes().count() <= limits::BANK_CHANGES);
}

/// Returns a small unit with every kind of register: gaps, limits, read-only, computed and with
/// reactions.
fn bank() -> Bank {
    let register = |address, value_type, source| Register {
        address,
        count: 1,
        name: None,
        value_type,
        word_order: WordOrder::Lsw,
        byte_order: ByteOrder::Little,
        source,
        access: RegisterAccess::ReadWrite,
        limits: None,
        reactions: Vec::new(),
    };
    let zero = || RegisterSource::Stored(RegisterValue::Integer(0));
    let bits = |addresses, access| BitRange { addresses, name: None, value: true, access };
    let reaction = |after, table, address, change| Reaction {
        after: Duration::from_millis(after),
        table,
        address,
        change,
    };
    let reactions = vec![
        reaction(0, Table::HoldingRegisters, 8, ReactionChange::RampToWritten { per_second: 0.5 }),
        reaction(1500, Table::InputRegisters, 0, ReactionChange::Copy),
        reaction(3000, Table::HoldingRegisters, 8, ReactionChange::Set(RegisterValue::Integer(-1))),
    ];
    let ramp = Computed::Ramp { from: -9.0, to: 9.0, over: Duration::from_secs(7), repeat: true };
    let text = RegisterSource::Stored(RegisterValue::Text("wwsim".to_owned()));
    let layout = UnitLayout {
        coils: vec![
            bits(0..=10, RegisterAccess::ReadWrite),
            bits(11..=2010, RegisterAccess::READ_ONLY),
        ],
        discrete: vec![bits(3..=3, RegisterAccess::ReadWrite)],
        holding: vec![
            Register { count: 4, ..register(0, RegisterType::Short, zero()) },
            Register { limits: Some(-5.0..=5.0), ..register(4, RegisterType::Double, zero()) },
            register(8, RegisterType::Long, zero()),
            Register { reactions, ..register(12, RegisterType::Float, zero()) },
            register(20, RegisterType::String { words: 3 }, text),
            register(23, RegisterType::Int, RegisterSource::Computed(ramp)),
            register(65_535, RegisterType::Ushort, zero()),
        ],
        input: vec![Register { count: 130, ..register(0, RegisterType::Short, zero()) }],
    };
    Bank::new(&layout, 7, RandomStream::named("fuzz")).unwrap()
}
