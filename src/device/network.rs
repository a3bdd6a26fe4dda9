//! What the device is plugged into, and its network as it follows from that and the configuration.

/// What a device is plugged into and what is around it; a scenario says it, no client can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Whether there is power on USB; the meter's plug alone feeds the device otherwise.
    pub usb: bool,
    /// Whether an Ethernet cable is plugged in, with something at its other end.
    pub cable: bool,
}

impl Default for Site {
    fn default() -> Self {
        Self { usb: true, cable: true }
    }
}

impl Site {
    /// Whether the Ethernet link is up with these settings (contract §2): with USB power, `enable`,
    /// and `power_save` off.
    #[must_use]
    pub fn ethernet_up(&self, config: &super::Config) -> bool {
        self.usb && self.cable && config.eth.enable && !config.settings.system.power_save
    }
}
