//! Formats the rows of the log (`sd_csv_columns.csv`).

use std::fmt::Write;
use std::sync::LazyLock;

use crate::device::Snapshot;
use crate::meter::{Quantity, Reading};

/// The header line of each file.
pub(super) static HEADER: LazyLock<String> = LazyLock::new(|| {
    let mut header = "RID,TIME,MID,MSTAT,TARIFF".to_owned();
    for quantity in quantities() {
        header.push(',');
        header.push_str(quantity.sd_column());
    }
    header.push_str(",MIDENT,MMODEL,MIF,MPROT,RP\n");
    header
});

/// Returns the columns with numbers of the meter, in order. The power factor is the first.
fn quantities() -> impl Iterator<Item = Quantity> {
    let rest = Quantity::ALL.iter().copied().filter(|quantity| *quantity != Quantity::PowerFactor);
    std::iter::once(Quantity::PowerFactor).chain(rest)
}

/// Formats the row of a reading. Texts are quoted, numbers are not, and a value that the meter does
/// not send is empty. `TIME` is the local time of the meter's clock after the device's correction,
/// although it ends in `Z`. `RP` is in milliseconds (documented).
pub(super) fn row(snapshot: &Snapshot, reading: &Reading) -> String {
    let text = |field: fn(&crate::meter::MeterIdentity) -> &str| {
        let text = snapshot.meter.meter.as_deref().map_or("", field);
        format!("\"{}\"", text.replace('"', "\"\""))
    };
    let mut row = String::with_capacity(400);
    // Writing to a String cannot fail.
    let _ = write!(
        row,
        "{},\"{}\",{},\"{}\",",
        reading.id,
        snapshot.meter_time_of(reading).date_time(),
        text(|meter| &meter.id),
        snapshot.meter.status.as_str(),
    );
    if let Some(tariff) = reading.tariff {
        let _ = write!(row, "{tariff}");
    }
    for quantity in quantities() {
        row.push(',');
        if let Some(value) = snapshot.value_in(reading, quantity) {
            let _ = write!(row, "{value}");
        }
    }
    let _ = writeln!(
        row,
        ",{},{},{},{},{}",
        text(|meter| &meter.logical_name),
        text(|meter| &meter.model),
        text(|meter| meter.interface.as_str()),
        text(|meter| meter.protocol.as_str()),
        reading.interval.as_millis(),
    );
    row
}
