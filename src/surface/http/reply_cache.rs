//! Cached reply bodies: those that depend on configuration and firmware alone are rendered once for each
//! configuration, not for each GET.
//!
//! No invalidation is necessary, because a configuration is replaced as a whole: a cached body is valid
//! as long as the configuration from which it was rendered is in force.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::device::{Config, Firmware, View};

/// A cache of the newest body of one path.
#[derive(Debug, Default)]
pub(super) struct ReplyCache(Mutex<Option<CachedBody>>);

#[derive(Debug)]
struct CachedBody {
    /// Weak, so that the cache does not keep a replaced configuration and its secrets alive. The weak
    /// reference keeps the allocation, so that no other configuration can have the same address.
    config: Weak<Config>,
    firmware: Firmware,
    body: Bytes,
}

impl ReplyCache {
    /// Returns the body for this configuration and firmware. `render` is called if it is not cached.
    pub(super) fn get_or_render(&self, view: &View, render: impl FnOnce() -> Bytes) -> Bytes {
        let is_current = |cached: &&CachedBody| {
            Weak::as_ptr(&cached.config) == Arc::as_ptr(&view.config)
                && cached.firmware == view.firmware
        };
        if let Some(cached) = self.lock().as_ref().filter(is_current) {
            return cached.body.clone();
        }
        // Outside the lock. If two calls render at the same time, either body may stay.
        let body = render();
        *self.lock() = Some(CachedBody {
            config: Arc::downgrade(&view.config),
            firmware: view.firmware,
            body: body.clone(),
        });
        body
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Option<CachedBody>> {
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

    /// Returns the body, and true if this call rendered it.
    fn body(cache: &ReplyCache, view: &View, body: &'static str) -> (Bytes, bool) {
        let mut rendered = false;
        let body = cache.get_or_render(view, || {
            rendered = true;
            body.into()
        });
        (body, rendered)
    }

    #[test]
    fn a_body_is_rendered_once_per_configuration_and_firmware() {
        let (cache, first) = (ReplyCache::default(), view("2.0.2"));
        assert_eq!(body(&cache, &first, "a"), ("a".into(), true));
        assert_eq!(body(&cache, &first.clone(), "b"), ("a".into(), false));
        // An equal configuration, but another one.
        let second = view("2.0.2");
        assert_eq!(body(&cache, &second, "c"), ("c".into(), true));
        assert_eq!(body(&cache, &first, "d"), ("d".into(), true));
        let older = View { firmware: "1.9.0".parse().unwrap(), ..first };
        assert_eq!(body(&cache, &older, "e"), ("e".into(), true));
        assert_eq!(body(&cache, &older, "f"), ("e".into(), false));
    }

    #[test]
    fn the_cache_does_not_keep_a_replaced_configuration() {
        let (cache, view) = (ReplyCache::default(), view("2.0.2"));
        body(&cache, &view, "a");
        let config = Arc::downgrade(&view.config);
        drop(view);
        assert!(config.upgrade().is_none());
    }
}
