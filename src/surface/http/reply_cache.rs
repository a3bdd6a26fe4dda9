//! Bodies that follow from configuration and firmware alone: made once for each that comes into
//! force, not for each GET.
//!
//! Nobody has to say that something has changed: a configuration is replaced as a whole, so a body
//! is good for as long as the very configuration it was made from is the one in force.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::device::{Config, Firmware, View};

/// The newest body of one path.
#[derive(Debug, Default)]
pub(super) struct ReplyCache(Mutex<Option<CachedBody>>);

#[derive(Debug)]
struct CachedBody {
    /// Weak: a configuration that was replaced does not stay, with all its secrets, for its body. Its
    /// place in memory is not given to another one meanwhile, so that the address tells them apart.
    config: Weak<Config>,
    firmware: Firmware,
    body: Bytes,
}

impl ReplyCache {
    /// The body of this configuration and firmware; `make` makes it where it is not kept.
    pub(super) fn body(&self, view: &View, make: impl FnOnce() -> Bytes) -> Bytes {
        let of_view = |made: &&CachedBody| {
            Weak::as_ptr(&made.config) == Arc::as_ptr(&view.config)
                && made.firmware == view.firmware
        };
        if let Some(made) = self.newest().as_ref().filter(of_view) {
            return made.body.clone();
        }
        // Outside the lock. Of two that make one at the same time, either may be kept.
        let body = make();
        *self.newest() = Some(CachedBody {
            config: Arc::downgrade(&view.config),
            firmware: view.firmware,
            body: body.clone(),
        });
        body
    }

    fn newest(&self) -> parking_lot::MutexGuard<'_, Option<CachedBody>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualTime;
    use crate::device::{Boot, DeviceId};

    fn view(firmware: &str) -> View {
        let id: DeviceId = "A842E39F8124".parse().unwrap();
        View {
            config: Arc::new(Config::factory(&id)),
            firmware: firmware.parse().unwrap(),
            boot: Boot::new(&id, 0, 0, VirtualTime::ZERO),
            pairing: None,
        }
    }

    /// The body, and whether it was made for this.
    fn body(kept: &ReplyCache, view: &View, body: &'static str) -> (Bytes, bool) {
        let mut made = false;
        let body = kept.body(view, || {
            made = true;
            body.into()
        });
        (body, made)
    }

    #[test]
    fn a_body_is_made_once_for_each_configuration_and_firmware() {
        let (kept, first) = (ReplyCache::default(), view("2.0.2"));
        assert_eq!(body(&kept, &first, "a"), ("a".into(), true));
        assert_eq!(body(&kept, &first.clone(), "b"), ("a".into(), false));
        // An equal configuration, but another one.
        let second = view("2.0.2");
        assert_eq!(body(&kept, &second, "c"), ("c".into(), true));
        assert_eq!(body(&kept, &first, "d"), ("d".into(), true));
        let older = View { firmware: "1.9.0".parse().unwrap(), ..first };
        assert_eq!(body(&kept, &older, "e"), ("e".into(), true));
        assert_eq!(body(&kept, &older, "f"), ("e".into(), false));
    }

    #[test]
    fn a_replaced_configuration_does_not_stay_for_its_body() {
        let (kept, view) = (ReplyCache::default(), view("2.0.2"));
        body(&kept, &view, "a");
        let config = Arc::downgrade(&view.config);
        drop(view);
        assert!(config.upgrade().is_none());
    }
}
