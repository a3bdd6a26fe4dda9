//! The quantities that a meter can send: one table, from which each surface takes its names.
//!
//! Sources: `report_fields.csv`, `template_variables.csv`, `live_fields.csv`, `sd_csv_columns.csv`
//! and `modbus_identifiers.csv` of `docs/device/tables`, joined by OBIS code.
//!
//! "Imported" and "exported" of a reactive energy refer to the reactive energy, not to the active energy:
//! imported capacitive energy (6.8.0) is counted in quadrant II, while active energy is exported. The
//! quadrants are those of [`Energies`](super::signal::Energies).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The unit of a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantityUnit {
    /// kWh.
    KilowattHour,
    /// kvarh.
    KilovarHour,
    /// kW.
    Kilowatt,
    /// kvar.
    Kilovar,
    /// kVA.
    KilovoltAmpere,
    /// V.
    Volt,
    /// A.
    Ampere,
    /// A ratio without unit.
    Ratio,
}

impl QuantityUnit {
    /// Returns the symbol.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::KilowattHour => "kWh",
            Self::KilovarHour => "kvarh",
            Self::Kilowatt => "kW",
            Self::Kilovar => "kvar",
            Self::KilovoltAmpere => "kVA",
            Self::Volt => "V",
            Self::Ampere => "A",
            Self::Ratio => "",
        }
    }

    /// Returns `true` if the unit is 1000 times that of DLMS.
    #[must_use]
    pub const fn is_kilo(self) -> bool {
        !matches!(self, Self::Volt | Self::Ampere | Self::Ratio)
    }

    /// Returns `true` if the device multiplies the quantity by `conv_factor`: power, energy, current and
    /// maximum demand, but neither voltage nor power factor (METER-1).
    #[must_use]
    pub const fn has_conversion_factor(self) -> bool {
        !matches!(self, Self::Volt | Self::Ratio)
    }
}

macro_rules! quantities {
    ($($name:ident $obis:literal $unit:ident $live:expr, $sd:literal $report:literal $about:literal)*) => {
        /// A quantity that a meter can send, identified by its OBIS code. The order is that of the
        /// columns of the SD log.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Quantity {
            $(#[doc = concat!("`", $obis, "`: ", $about, ".")] $name,)*
        }

        impl Quantity {
            /// All quantities.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the OBIS code, as the Modbus map names it: `1.8.0`. The variable has underscores
            /// in place of dots.
            #[must_use]
            pub const fn obis(self) -> &'static str {
                match self { $(Self::$name => $obis,)* }
            }

            /// Returns the unit before any scaler.
            #[must_use]
            pub const fn unit(self) -> QuantityUnit {
                match self { $(Self::$name => QuantityUnit::$unit,)* }
            }

            /// Returns the field of live events. `None` if they do not have it.
            #[must_use]
            pub const fn live_field(self) -> Option<&'static str> {
                match self { $(Self::$name => $live,)* }
            }

            /// Returns the column of the SD log.
            #[must_use]
            pub const fn sd_column(self) -> &'static str {
                match self { $(Self::$name => $sd,)* }
            }

            /// Returns the path in `/report`, below `report`.
            #[must_use]
            pub const fn report_path(self) -> &'static str {
                match self { $(Self::$name => $report,)* }
            }
        }
    };
}

quantities! {
    ActiveImportEnergy "1.8.0" KilowattHour Some("E_In"), "EAP_T" "energy.active.positive.total" "imported active energy"
    ActiveImportEnergyT1 "1.8.1" KilowattHour Some("E_In_T1"), "EAP_T1" "energy.active.positive.t1" "imported active energy, tariff 1"
    ActiveImportEnergyT2 "1.8.2" KilowattHour Some("E_In_T2"), "EAP_T2" "energy.active.positive.t2" "imported active energy, tariff 2"
    ActiveExportEnergy "2.8.0" KilowattHour Some("E_Out"), "EAN_T" "energy.active.negative.total" "exported active energy"
    ActiveExportEnergyT1 "2.8.1" KilowattHour Some("E_Out_T1"), "EAN_T1" "energy.active.negative.t1" "exported active energy, tariff 1"
    ActiveExportEnergyT2 "2.8.2" KilowattHour Some("E_Out_T2"), "EAN_T2" "energy.active.negative.t2" "exported active energy, tariff 2"
    ReactiveImportEnergy "3.8.0" KilovarHour Some("rE_In"), "ERP_T" "energy.reactive.positive.total" "imported reactive energy"
    ReactiveImportEnergyT1 "3.8.1" KilovarHour None, "ERP_T1" "energy.reactive.positive.t1" "imported reactive energy, tariff 1"
    ReactiveImportEnergyT2 "3.8.2" KilovarHour None, "ERP_T2" "energy.reactive.positive.t2" "imported reactive energy, tariff 2"
    ReactiveExportEnergy "4.8.0" KilovarHour Some("rE_Out"), "ERN_T" "energy.reactive.negative.total" "exported reactive energy"
    ReactiveExportEnergyT1 "4.8.1" KilovarHour None, "ERN_T1" "energy.reactive.negative.t1" "exported reactive energy, tariff 1"
    ReactiveExportEnergyT2 "4.8.2" KilovarHour None, "ERN_T2" "energy.reactive.negative.t2" "exported reactive energy, tariff 2"
    InductiveImportEnergy "5.8.0" KilovarHour Some("rEii"), "ERII_T" "energy.reactive.imported.inductive.total" "imported reactive energy, inductive (quadrant I)"
    InductiveImportEnergyT1 "5.8.1" KilovarHour None, "ERII_T1" "energy.reactive.imported.inductive.t1" "imported reactive energy, inductive (quadrant I), tariff 1"
    InductiveImportEnergyT2 "5.8.2" KilovarHour None, "ERII_T2" "energy.reactive.imported.inductive.t2" "imported reactive energy, inductive (quadrant I), tariff 2"
    CapacitiveImportEnergy "6.8.0" KilovarHour Some("rEic"), "ERIC_T" "energy.reactive.imported.capacitive.total" "imported reactive energy, capacitive (quadrant II)"
    CapacitiveImportEnergyT1 "6.8.1" KilovarHour None, "ERIC_T1" "energy.reactive.imported.capacitive.t1" "imported reactive energy, capacitive (quadrant II), tariff 1"
    CapacitiveImportEnergyT2 "6.8.2" KilovarHour None, "ERIC_T2" "energy.reactive.imported.capacitive.t2" "imported reactive energy, capacitive (quadrant II), tariff 2"
    InductiveExportEnergy "7.8.0" KilovarHour Some("rEei"), "EREI_T" "energy.reactive.exported.inductive.total" "exported reactive energy, inductive (quadrant III)"
    InductiveExportEnergyT1 "7.8.1" KilovarHour None, "EREI_T1" "energy.reactive.exported.inductive.t1" "exported reactive energy, inductive (quadrant III), tariff 1"
    InductiveExportEnergyT2 "7.8.2" KilovarHour None, "EREI_T2" "energy.reactive.exported.inductive.t2" "exported reactive energy, inductive (quadrant III), tariff 2"
    CapacitiveExportEnergy "8.8.0" KilovarHour Some("rEec"), "EREC_T" "energy.reactive.exported.capacitive.total" "exported reactive energy, capacitive (quadrant IV)"
    CapacitiveExportEnergyT1 "8.8.1" KilovarHour None, "EREC_T1" "energy.reactive.exported.capacitive.t1" "exported reactive energy, capacitive (quadrant IV), tariff 1"
    CapacitiveExportEnergyT2 "8.8.2" KilovarHour None, "EREC_T2" "energy.reactive.exported.capacitive.t2" "exported reactive energy, capacitive (quadrant IV), tariff 2"
    ImportDemand "1.6.0" Kilowatt Some("P_P_In"), "MDAP_T" "max_demand.active.positive.total" "maximum demand of import"
    ImportDemandT1 "1.6.1" Kilowatt Some("P_P_In_T1"), "MDAP_T1" "max_demand.active.positive.t1" "maximum demand of import, tariff 1"
    ImportDemandT2 "1.6.2" Kilowatt Some("P_P_In_T2"), "MDAP_T2" "max_demand.active.positive.t2" "maximum demand of import, tariff 2"
    ExportDemand "2.6.0" Kilowatt None, "MDAN_T" "max_demand.active.negative.total" "maximum demand of export"
    ExportDemandT1 "2.6.1" Kilowatt None, "MDAN_T1" "max_demand.active.negative.t1" "maximum demand of export, tariff 1"
    ExportDemandT2 "2.6.2" Kilowatt None, "MDAN_T2" "max_demand.active.negative.t2" "maximum demand of export, tariff 2"
    ImportPower "1.7.0" Kilowatt Some("P_In"), "IPAP_T" "instantaneous_power.active.positive.total" "imported active power"
    ImportPowerL1 "21.7.0" Kilowatt Some("P_P1_In"), "IPAP_L1" "instantaneous_power.active.positive.l1" "imported active power, phase 1"
    ImportPowerL2 "41.7.0" Kilowatt Some("P_P2_In"), "IPAP_L2" "instantaneous_power.active.positive.l2" "imported active power, phase 2"
    ImportPowerL3 "61.7.0" Kilowatt Some("P_P3_In"), "IPAP_L3" "instantaneous_power.active.positive.l3" "imported active power, phase 3"
    ExportPower "2.7.0" Kilowatt Some("P_Out"), "IPAN_T" "instantaneous_power.active.negative.total" "exported active power"
    ExportPowerL1 "22.7.0" Kilowatt Some("P_P1_Out"), "IPAN_L1" "instantaneous_power.active.negative.l1" "exported active power, phase 1"
    ExportPowerL2 "42.7.0" Kilowatt Some("P_P2_Out"), "IPAN_L2" "instantaneous_power.active.negative.l2" "exported active power, phase 2"
    ExportPowerL3 "62.7.0" Kilowatt Some("P_P3_Out"), "IPAN_L3" "instantaneous_power.active.negative.l3" "exported active power, phase 3"
    ReactiveImportPower "3.7.0" Kilovar Some("rP_In"), "IPRP_T" "instantaneous_power.reactive.positive.total" "imported reactive power"
    ReactiveImportPowerL1 "23.7.0" Kilovar Some("rP_P1_In"), "IPRP_L1" "instantaneous_power.reactive.positive.l1" "imported reactive power, phase 1"
    ReactiveImportPowerL2 "43.7.0" Kilovar Some("rP_P2_In"), "IPRP_L2" "instantaneous_power.reactive.positive.l2" "imported reactive power, phase 2"
    ReactiveImportPowerL3 "63.7.0" Kilovar Some("rP_P3_In"), "IPRP_L3" "instantaneous_power.reactive.positive.l3" "imported reactive power, phase 3"
    ReactiveExportPower "4.7.0" Kilovar Some("rP_Out"), "IPRN_T" "instantaneous_power.reactive.negative.total" "exported reactive power"
    ReactiveExportPowerL1 "24.7.0" Kilovar Some("rP_P1_Out"), "IPRN_L1" "instantaneous_power.reactive.negative.l1" "exported reactive power, phase 1"
    ReactiveExportPowerL2 "44.7.0" Kilovar Some("rP_P2_Out"), "IPRN_L2" "instantaneous_power.reactive.negative.l2" "exported reactive power, phase 2"
    ReactiveExportPowerL3 "64.7.0" Kilovar Some("rP_P3_Out"), "IPRN_L3" "instantaneous_power.reactive.negative.l3" "exported reactive power, phase 3"
    ApparentPower "9.7.0" KilovoltAmpere None, "IPA_T" "instantaneous_power.apparent.total" "apparent power"
    VoltageL1 "32.7.0" Volt Some("V_P1"), "V_L1" "voltage.l1" "voltage, phase 1"
    VoltageL2 "52.7.0" Volt Some("V_P2"), "V_L2" "voltage.l2" "voltage, phase 2"
    VoltageL3 "72.7.0" Volt Some("V_P3"), "V_L3" "voltage.l3" "voltage, phase 3"
    CurrentL1 "31.7.0" Ampere Some("I_P1"), "I_L1" "current.l1" "current, phase 1, unsigned"
    CurrentL2 "51.7.0" Ampere Some("I_P2"), "I_L2" "current.l2" "current, phase 2, unsigned"
    CurrentL3 "71.7.0" Ampere Some("I_P3"), "I_L3" "current.l3" "current, phase 3, unsigned"
    PowerFactor "13.7.0" Ratio Some("PF"), "PF" "power_factor" "power factor"
}

impl Quantity {
    /// Number of quantities.
    pub const COUNT: usize = Self::ALL.len();

    /// Returns the index in [`Quantity::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns `true` for an energy register, which never decreases.
    #[must_use]
    pub const fn is_counter(self) -> bool {
        matches!(self.unit(), QuantityUnit::KilowattHour | QuantityUnit::KilovarHour)
    }

    /// Returns the registers of tariff 1 and 2 of a total. `None` if the quantity is not a total energy.
    #[must_use]
    pub fn tariff_registers(self) -> Option<[Self; 2]> {
        if !self.is_counter() || !self.obis().ends_with(".0") {
            return None;
        }
        // In the table, the tariffs follow their total.
        Some([Self::ALL[self.index() + 1], Self::ALL[self.index() + 2]])
    }

    /// Returns the power of the opposite direction; at most one of the two is above zero. `None` if the
    /// quantity is not a power with a direction.
    #[must_use]
    pub fn opposite_direction(self) -> Option<Self> {
        Some(match self {
            Self::ImportPower => Self::ExportPower,
            Self::ImportPowerL1 => Self::ExportPowerL1,
            Self::ImportPowerL2 => Self::ExportPowerL2,
            Self::ImportPowerL3 => Self::ExportPowerL3,
            Self::ExportPower => Self::ImportPower,
            Self::ExportPowerL1 => Self::ImportPowerL1,
            Self::ExportPowerL2 => Self::ImportPowerL2,
            Self::ExportPowerL3 => Self::ImportPowerL3,
            Self::ReactiveImportPower => Self::ReactiveExportPower,
            Self::ReactiveImportPowerL1 => Self::ReactiveExportPowerL1,
            Self::ReactiveImportPowerL2 => Self::ReactiveExportPowerL2,
            Self::ReactiveImportPowerL3 => Self::ReactiveExportPowerL3,
            Self::ReactiveExportPower => Self::ReactiveImportPower,
            Self::ReactiveExportPowerL1 => Self::ReactiveImportPowerL1,
            Self::ReactiveExportPowerL2 => Self::ReactiveImportPowerL2,
            Self::ReactiveExportPowerL3 => Self::ReactiveImportPowerL3,
            _ => return None,
        })
    }

    /// Returns the phase (0 to 2) of the quantity. `None` if it is over all phases.
    #[must_use]
    pub fn phase(self) -> Option<usize> {
        let code = self.obis().strip_suffix(".7.0")?;
        match code.as_bytes() {
            [b'2' | b'3', _] => Some(0),
            [b'4' | b'5', _] => Some(1),
            [b'6' | b'7', _] => Some(2),
            _ => None,
        }
    }

    /// Returns the quantity of an OBIS code written with dots: `1.8.0`. `None` if there is none.
    #[must_use]
    pub fn from_obis(obis: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|quantity| quantity.obis() == obis)
    }
}

/// Serialized as the OBIS code.
impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.obis())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let obis = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_obis(&obis)
            .ok_or_else(|| serde::de::Error::custom(format!("no quantity `{obis}`")))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.obis())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn quantities_on(phase: Option<usize>) -> Vec<Quantity> {
        Quantity::ALL.iter().copied().filter(|quantity| quantity.phase() == phase).collect()
    }

    #[test]
    fn each_name_identifies_one_quantity() {
        let distinct = |names: Vec<&str>| names.iter().collect::<HashSet<_>>().len() == names.len();
        let all = Quantity::ALL.iter();
        assert!(distinct(all.clone().map(|quantity| quantity.obis()).collect()));
        assert!(distinct(all.clone().map(|quantity| quantity.sd_column()).collect()));
        assert!(distinct(all.clone().map(|quantity| quantity.report_path()).collect()));
        assert!(distinct(all.clone().filter_map(|quantity| quantity.live_field()).collect()));
        for (index, quantity) in all.enumerate() {
            assert_eq!(quantity.index(), index);
            assert_eq!(Quantity::from_obis(quantity.obis()), Some(*quantity));
            if let Some(other) = quantity.opposite_direction() {
                assert_eq!(
                    (other.opposite_direction(), other.phase()),
                    (Some(*quantity), quantity.phase())
                );
            }
            for (tariff, number) in quantity.tariff_registers().into_iter().flatten().zip(1..) {
                let total = quantity.obis().strip_suffix('0').unwrap();
                assert_eq!(tariff.obis(), format!("{total}{number}"));
            }
        }
        let phases = |phase| quantities_on(phase).len();
        assert_eq!((phases(Some(0)), phases(Some(1)), phases(Some(2))), (6, 6, 6));
        assert_eq!(Quantity::from_obis("1_8_0"), None);
    }
}
