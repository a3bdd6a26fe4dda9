//! Days of the week and windows of time that repeat weekly.

use jiff::civil::Weekday;

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// A set of days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Days(u8);

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);
    /// Monday to Friday.
    pub const WORKDAYS: Self = Self(0b001_1111);
    /// Saturday.
    pub const SATURDAY: Self = Self(0b010_0000);
    /// Sunday.
    pub const SUNDAY: Self = Self(0b100_0000);
    /// Saturday and Sunday.
    pub const WEEKEND: Self = Self(0b110_0000);

    /// Returns the set of these days.
    #[must_use]
    pub fn from_weekdays(days: &[Weekday]) -> Self {
        Self(days.iter().fold(0, |set, day| set | bit(*day)))
    }

    /// Returns `true` if `day` is in the set.
    #[must_use]
    pub const fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    /// Returns `true` if the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

/// A window of time on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyWindow {
    /// The days on which the window begins.
    pub days: Days,
    /// The minute of the day at which it begins; 0..1440.
    pub from: u16,
    /// The minute of the day before which it ends; 0..=1440. If it is not later than `from`, the window
    /// ends on the next day.
    pub to: u16,
}

impl DailyWindow {
    /// Returns `true` if the window contains `minute` of `day`.
    #[must_use]
    pub fn contains(&self, day: Weekday, minute: u16) -> bool {
        let today = self.days.contains(day);
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        (today && minute >= self.from) || (self.days.contains(day.previous()) && minute < self.to)
    }
}
