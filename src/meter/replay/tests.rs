//! Recordings: what the parser accepts, and the values between rows.

use proptest::prelude::*;

use super::*;

const HEAD: &str = "RID,TIME,MSTAT,TARIFF,EAP_T,EAP_T1,EAP_T2,IPAP_T,IPAN_T,V_L1,NEW,MPROT";

fn text(rows: &[&str]) -> String {
    format!("{HEAD}\n{}\n", rows.join("\n"))
}

fn three_rows() -> Recording {
    Recording::parse(&text(&[
        r#"1,"2026-06-10T11:00:00Z","OK",1,10.5,10.25,0.25,0.4,0,233,x,"KMP""#,
        r#"5,"2026-06-10T11:00:10Z","OK",1,10.501,10.251,0.25,0,0.2,234,x,"KMP""#,
        r#"9,"2026-06-10T11:00:20Z","OK",2,11,10.5,0.5,0,1,235.5,,"KMP""#,
    ]))
    .unwrap()
}

fn values(sample: PlaybackSample<'_>) -> [String; 5] {
    use Quantity as Q;
    [Q::ActiveImportEnergy, Q::ActiveImportEnergyT1, Q::ImportPower, Q::ExportPower, Q::VoltageL1]
        .map(|quantity| sample.value(quantity).unwrap().to_string())
}

#[test]
fn values_are_interpolated_between_rows() {
    let recording = three_rows();
    assert_eq!((recording.kind(), recording.duration()), (Some(MeterKind::Kamstrup), 20_000));
    let at = |ms| values(recording.sample(ms, ReplayMode::Loop, true));
    assert_eq!(at(0), ["10.5", "10.25", "0.4", "0", "233"]);
    assert_eq!(at(5000), ["10.5", "10.25", "0.1", "0", "233.5"]);
    assert_eq!(at(7500), ["10.5", "10.25", "0", "0.1", "233.8"]);
    assert_eq!(at(10_000), ["10.501", "10.251", "0", "0.2", "234"]);
    assert_eq!(at(15_000), ["10.75", "10.375", "0", "0.6", "234.8"]);
    let stepped = |ms| values(recording.sample(ms, ReplayMode::Loop, false));
    assert_eq!(stepped(9999), at(0));
}

const POWERS: &str = "TIME,IPAP_T,IPAN_T,IPAP_L1,IPAN_L1,IPAP_L2,IPAN_L2,IPAP_L3,IPAN_L3";

/// Returns the net power of the total and of each phase.
fn net_powers(sample: PlaybackSample<'_>) -> [i64; 4] {
    use Quantity as Q;
    [
        (Q::ImportPower, Q::ExportPower),
        (Q::ImportPowerL1, Q::ExportPowerL1),
        (Q::ImportPowerL2, Q::ExportPowerL2),
        (Q::ImportPowerL3, Q::ExportPowerL3),
    ]
    .map(|(import, export)| {
        let [import, export] = [import, export].map(|one| sample.value(one).unwrap());
        assert!(import.mantissa() == 0 || export.mantissa() == 0);
        import.mantissa() - export.mantissa()
    })
}

proptest! {
    #[test]
    fn both_directions_round_alike_and_phases_add_up(
        rows in prop::collection::vec(prop::array::uniform3(-9_i64..10), 2),
        ms in 0..10_000_i64,
        interpolate: bool,
    ) {
        let recording = |sign: i64| {
            let row = |(second, phases): (usize, &[i64; 3])| {
                let total: i64 = phases.iter().sum();
                let fields = [total, phases[0], phases[1], phases[2]].map(|net| {
                    let net = net * sign;
                    format!("{},{}", net.max(0), (-net).max(0))
                });
                format!("2026-06-10T11:00:{second}0Z,{}\n", fields.join(","))
            };
            let rows: String = rows.iter().enumerate().map(row).collect();
            Recording::parse(&format!("{POWERS}\n{rows}")).unwrap()
        };
        let [import, export] = [1, -1].map(|sign| {
            net_powers(recording(sign).sample(ms, ReplayMode::End, interpolate))
        });
        prop_assert_eq!(import, export.map(|net| -net));
        prop_assert_eq!(import[0], import[1] + import[2] + import[3]);
        for (phase, net) in import[1..].iter().enumerate() {
            let (from, to) = (rows[0][phase], rows[1][phase]);
            prop_assert!((from.min(to)..=from.max(to)).contains(net));
        }
    }
}

#[test]
fn the_largest_powers_have_both_directions() {
    for (import, export, shown) in [
        ("-0.000000001", "1000000000", ["0", "1000000000.000000001"]),
        ("1000000000.000000000", "-1000000000", ["2000000000", "0"]),
        ("1000000000", "1000000000.000000000", ["0", "0"]),
    ] {
        let rows = ["11:00:00", "11:00:10"]
            .map(|time| format!("2026-06-10T{time}Z,{import},{export}"))
            .join("\n");
        let recording = Recording::parse(&format!("TIME,IPAP_T,IPAN_T\n{rows}\n")).unwrap();
        let sample = recording.sample(5000, ReplayMode::Loop, true);
        let values = [Quantity::ImportPower, Quantity::ExportPower]
            .map(|quantity| sample.value(quantity).unwrap().to_string());
        assert_eq!(values, shown);
    }
}

#[test]
fn a_loop_continues_registers_and_an_end_holds_them() {
    let recording = three_rows();
    let at = |ms| values(recording.sample(ms, ReplayMode::Loop, true));
    // The last row lasts ten seconds, too.
    assert_eq!(at(29_999), ["11", "10.5", "0", "1", "235.5"]);
    assert_eq!(at(30_000), ["11", "10.5", "0.4", "0", "233"]);
    assert_eq!(at(3 * 30_000 + 10_000), ["12.001", "11.001", "0", "0.2", "234"]);
    let end = recording.sample(1_000_000, ReplayMode::End, true);
    assert_eq!(values(end), at(20_000));
    assert_eq!(end.tariff(), Some(2));
}

#[test]
fn the_repeated_hour_is_resolved_by_order() {
    let row = |time: &str, energy: u32| format!("1,{time},OK,1,{energy},,,0,0,230,,");
    let rows: Vec<String> =
        ["2026-10-25T02:59:50Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"]
            .into_iter()
            .zip(0..)
            .map(|(time, n)| row(time, n))
            .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let recording = Recording::parse(&text(&rows)).unwrap();
    assert_eq!(recording.times, [0, 10_000, 3_610_000]);
}

#[test]
fn the_devices_own_file_is_parsed() {
    let recording = Recording::parse(&text(&[
        r#"3093,"2025-10-07T20:21:11Z","OK",2,75.133,,,0,0,234,,"DLMS""#,
        r#"3094,"2025-10-07T20:21:18Z","NO DATA",2,,,,,,,,"DLMS""#,
        r#"3096,"2025-10-07T20:21:31Z","OK",2,75.133,,,0,0,235,,"DLMS""#,
    ]))
    .unwrap();
    assert_eq!((recording.kind(), recording.duration()), (Some(MeterKind::LandisGyr), 20_000));
    let quantities: Vec<Quantity> = recording.quantities().collect();
    assert!(!quantities.contains(&Quantity::ActiveImportEnergyT1), "it is empty throughout");
}

#[test]
fn mistakes_have_their_line_and_column() {
    let good = "1,2026-06-10T11:00:00Z,OK,1,1,,,0,0,230,,";
    let message = |rows: &[&str]| Recording::parse(&text(rows)).unwrap_err().to_string();
    for (row, expected) in [
        (
            "1,2026-06-10T11:00:10Z,OK,1,x,,,0,0,230,,",
            "line 3: column EAP_T: `x`: expected a decimal number, as 75.133",
        ),
        (
            "1,2026-06-10T11:00:10,OK,1,1,,,0,0,230,,",
            "line 3: column TIME: `2026-06-10T11:00:10`: expected a time as 2025-10-07T20:21:11Z",
        ),
        (
            "1,2026-06-10T11:00:00Z,OK,1,1,,,0,0,230,,",
            "line 3: column TIME: 2026-06-10T11:00:00Z is not later than the row before",
        ),
        (
            "1,2026-06-10T11:00:10Z,OK,7,1,,,0,0,230,,",
            "line 3: column TARIFF: `7`: expected 1 or 2",
        ),
        (
            "1,2026-06-10T11:00:10Z,OK,1,1,,,0,0,1e3,,",
            "line 3: column V_L1: `1e3`: expected a decimal number, as 75.133",
        ),
        (
            "1,2026-06-10T11:00:10Z,OK,1,99999999999999999999,,,0,0,1,,",
            "line 3: column EAP_T: `99999999999999999999`: expected a number from -1000000000 to 1000000000",
        ),
        (
            "1,2026-06-10T11:00:10Z,OK,1,1,,,-1000000000.001,0,1,,",
            "line 3: column IPAP_T: `-1000000000.001`: expected a number from -1000000000 to 1000000000",
        ),
        ("1,2026-06-10T11:00:10Z,OK", "line 3: 3 fields; the header has 12"),
    ] {
        assert_eq!(message(&[good, row]), expected);
    }
    assert!(message(&[good]).starts_with("1 rows with MSTAT OK"));
    let parse = |text: &str| Recording::parse(text).unwrap_err().to_string();
    assert!(parse("A,B\n1,2\n").starts_with("line 1: there is no column TIME"));
    assert_eq!(parse("TIME,EAP_T,EAP_T\n"), "line 1: column EAP_T: this column is there twice");
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "(RID|TIME|MSTAT|EAP_T|IPAP_T|[,\"\n0-9.TZ:-]|2026-06-10T11:00:0|OK){0,200}") {
        let _ = Recording::parse(&text);
    }

    #[test]
    fn registers_never_decrease_and_tariffs_add_up(
        ms in prop::collection::vec(0..200_000_i64, 2..40),
        interpolate: bool,
    ) {
        let recording = three_rows();
        let mut ms = ms;
        ms.sort_unstable();
        let mut last = 0;
        for ms in ms {
            let sample = recording.sample(ms, ReplayMode::Loop, interpolate);
            let value = |quantity| sample.value(quantity).unwrap().mantissa();
            let total = value(Quantity::ActiveImportEnergy);
            prop_assert!(total >= last);
            prop_assert_eq!(total, value(Quantity::ActiveImportEnergyT1) + value(Quantity::ActiveImportEnergyT2));
            prop_assert!(value(Quantity::ImportPower) == 0 || value(Quantity::ExportPower) == 0);
            last = total;
        }
    }
}
