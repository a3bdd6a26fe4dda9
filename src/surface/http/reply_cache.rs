//! Kept reply bodies: a body is rendered again only after something that it shows has changed.
//!
//! Nothing has to be invalidated. Each body is kept with its sources, and is good for as long as the device has
//! the same ones: for some paths configuration and firmware alone, for others a [`Snapshot`], of whose time they
//! show whole seconds.
//!
//! A body that shows a snapshot is kept only from the second GET within a second on. A device that is asked now
//! and then therefore keeps none, and neither does one that is asked for other paths.

use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use jiff::Timestamp;

use super::system::ServiceStates;
use crate::device::network::Pairing;
use crate::device::{Boot, Config, Firmware, Snapshot, View};
use crate::meter::{MeterIdentity, MeterStatus, Reading};

/// The kept bodies of the GET replies of a device, at most one for each path.
#[derive(Debug, Default)]
pub(super) struct ReplyCache(Mutex<Vec<Entry>>);

/// The kept state of one path.
#[derive(Debug)]
struct Entry {
    path: &'static str,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// A body that shows configuration and firmware alone.
    View(ViewSources, Bytes),
    /// The second of the newest GET of a body that shows a snapshot.
    Second(u64),
    /// A body that shows a snapshot.
    Snapshot(Box<(SnapshotSources, Bytes)>),
}

/// The sources of a body that shows configuration and firmware.
///
/// The references are weak, so that the cache keeps neither a replaced configuration with its secrets nor an
/// earlier reading alive. A weak reference keeps the allocation, so that nothing else can have the same address.
#[derive(Debug)]
struct ViewSources {
    config: Weak<Config>,
    firmware: Firmware,
}

/// The sources of a body that shows a snapshot, and the states of services beside it.
#[derive(Debug)]
struct SnapshotSources {
    view: ViewSources,
    boot: Boot,
    pairing: Option<Pairing>,
    seconds: SnapshotSeconds,
    status: MeterStatus,
    meter: Option<Weak<MeterIdentity>>,
    reading: Option<Weak<Reading>>,
    services: Option<ServiceStates>,
}

/// The times of a snapshot, as precisely as replies show them. Each begins its seconds at another instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SnapshotSeconds {
    since_start: u64,
    since_boot: u64,
    /// The civil time in seconds, cut off towards 1970, and true if something negative was cut off.
    civil: (i64, bool),
}

impl ReplyCache {
    /// Returns the body of a path that shows configuration and firmware alone. `render` is called if it is not
    /// kept.
    pub(super) fn view_body(
        &self,
        path: &'static str,
        view: &View,
        render: impl FnOnce() -> Bytes,
    ) -> Bytes {
        if let Some(Kept::View(sources, body)) = find(&mut self.lock(), path)
            && sources.are_those_of(view)
        {
            return body.clone();
        }
        // Outside the lock. If two calls render at the same time, either body may stay.
        let body = without_spare_room(&render());
        self.put(path, Kept::View(ViewSources::new(view), body.clone()));
        body
    }

    /// Returns the body of a path that shows a snapshot, and perhaps the states of services. `render` is called if
    /// it is not kept, and must not show anything else that can change.
    pub(super) fn snapshot_body(
        &self,
        path: &'static str,
        snapshot: &Snapshot,
        services: Option<ServiceStates>,
        render: impl FnOnce() -> Bytes,
    ) -> Bytes {
        let seconds = SnapshotSeconds::of(snapshot);
        let asked_before = match find(&mut self.lock(), path) {
            Some(Kept::Snapshot(kept)) if kept.0.are_those_of(snapshot, seconds, services) => {
                return kept.1.clone();
            }
            Some(Kept::Snapshot(kept)) => kept.0.seconds.since_start == seconds.since_start,
            Some(Kept::Second(second)) => *second == seconds.since_start,
            Some(Kept::View(..)) | None => false,
        };
        if asked_before && snapshot.time != Timestamp::MAX {
            let body = without_spare_room(&render());
            let sources = SnapshotSources::new(snapshot, seconds, services);
            self.put(path, Kept::Snapshot(Box::new((sources, body.clone()))));
            return body;
        }
        self.put(path, Kept::Second(seconds.since_start));
        render()
    }

    fn put(&self, path: &'static str, kept: Kept) {
        let mut entries = self.lock();
        let previous = if let Some(entry) = find(&mut entries, path) {
            Some(std::mem::replace(entry, kept))
        } else {
            // As many as there are paths at most.
            entries.push(Entry { path, kept });
            None
        };
        drop(entries);
        drop(previous);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock()
    }
}

fn find<'a>(entries: &'a mut [Entry], path: &'static str) -> Option<&'a mut Kept> {
    // The paths are those of the table of routes, so equal ones are the same text.
    let entry = entries.iter_mut().find(|entry| std::ptr::eq(entry.path, path));
    entry.map(|entry| &mut entry.kept)
}

/// Returns the same body in an allocation of its size, because it may stay for long.
fn without_spare_room(body: &Bytes) -> Bytes {
    Bytes::copy_from_slice(body)
}

impl ViewSources {
    fn new(view: &View) -> Self {
        Self { config: Arc::downgrade(&view.config), firmware: view.firmware }
    }

    fn are_those_of(&self, view: &View) -> bool {
        Weak::as_ptr(&self.config) == Arc::as_ptr(&view.config) && self.firmware == view.firmware
    }
}

impl SnapshotSources {
    fn new(snapshot: &Snapshot, seconds: SnapshotSeconds, services: Option<ServiceStates>) -> Self {
        let Snapshot { view, meter, .. } = snapshot;
        Self {
            view: ViewSources::new(view),
            boot: view.boot,
            pairing: view.pairing,
            seconds,
            status: meter.status,
            meter: meter.meter.as_ref().map(Arc::downgrade),
            reading: meter.reading.as_ref().map(Arc::downgrade),
            services,
        }
    }

    fn are_those_of(
        &self,
        snapshot: &Snapshot,
        seconds: SnapshotSeconds,
        services: Option<ServiceStates>,
    ) -> bool {
        let Snapshot { now: _, time: _, view, meter } = snapshot;
        let View { config: _, firmware: _, boot, pairing } = view;
        self.seconds == seconds
            && is_same(self.reading.as_ref(), meter.reading.as_ref())
            && is_same(self.meter.as_ref(), meter.meter.as_ref())
            && self.status == meter.status
            && self.boot == *boot
            && self.pairing == *pairing
            && self.services == services
            && self.view.are_those_of(view)
    }
}

fn is_same<T>(kept: Option<&Weak<T>>, current: Option<&Arc<T>>) -> bool {
    kept.map(Weak::as_ptr) == current.map(Arc::as_ptr)
}

impl SnapshotSeconds {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            since_start: snapshot.now.since_start().as_secs(),
            since_boot: snapshot.uptime().as_secs(),
            civil: (snapshot.time.as_second(), snapshot.time.subsec_nanosecond() < 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::VirtualTime;
    use crate::device::DeviceId;
    use crate::meter::Observation;

    static PATH: &str = "/a";

    fn view(firmware: &str) -> View {
        let id: DeviceId = "A842E39F8124".parse().unwrap();
        View {
            config: Arc::new(Config::factory(&id)),
            firmware: firmware.parse().unwrap(),
            boot: Boot::new(&id, 0, 0, VirtualTime::ZERO),
            pairing: None,
        }
    }

    fn snapshot(millis: u64, view: &View) -> Snapshot {
        let now = VirtualTime::ZERO.after(Duration::from_millis(millis));
        Snapshot {
            now,
            time: Timestamp::UNIX_EPOCH + now.since_start(),
            view: view.clone(),
            meter: Observation { status: MeterStatus::NoData, meter: None, reading: None },
        }
    }

    /// Returns the body, and true if this call rendered it.
    fn body(cache: &ReplyCache, view: &View, body: &'static str) -> (Bytes, bool) {
        let mut rendered = false;
        let body = cache.view_body(PATH, view, || {
            rendered = true;
            body.into()
        });
        (body, rendered)
    }

    /// Returns true if a GET of this snapshot renders the body.
    fn renders(cache: &ReplyCache, snapshot: &Snapshot) -> bool {
        let mut rendered = false;
        cache.snapshot_body(PATH, snapshot, None, || {
            rendered = true;
            Bytes::from_static(b"body")
        });
        rendered
    }

    fn kept_bodies(cache: &ReplyCache) -> usize {
        cache.lock().iter().filter(|entry| !matches!(entry.kept, Kept::Second(_))).count()
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

    #[test]
    fn a_snapshot_is_rendered_twice_a_second_and_kept_only_if_it_is_asked_for_often() {
        let (cache, view) = (ReplyCache::default(), view("2.0.2"));
        for second in [1_u64, 2] {
            let at = |millis| snapshot(second * 1000 + millis, &view);
            assert!(renders(&cache, &at(0)));
            assert_eq!(kept_bodies(&cache), 0, "it may be the only one");
            assert!(renders(&cache, &at(0)));
            assert!(!renders(&cache, &at(999)));
            assert_eq!(kept_bodies(&cache), 1);
        }
    }

    type Change = fn(&mut Snapshot, &DeviceId);

    #[test]
    fn each_source_of_a_snapshot_counts() {
        let (cache, view) = (ReplyCache::default(), view("2.0.2"));
        let id: DeviceId = "A842E39F8124".parse().unwrap();
        let base = || snapshot(1500, &view);
        let reading = || {
            let interval = Duration::from_secs(5);
            Some(Arc::new(Reading::new(1, VirtualTime::ZERO, interval, Timestamp::UNIX_EPOCH)))
        };
        let changes: [(&str, Change); 6] = [
            ("config", |snapshot, id| snapshot.view.config = Arc::new(Config::factory(id))),
            ("firmware", |snapshot, _| snapshot.view.firmware = "1.9.0".parse().unwrap()),
            ("boot", |snapshot, id| snapshot.view.boot = Boot::new(id, 0, 1, VirtualTime::ZERO)),
            ("pairing", |snapshot, _| {
                snapshot.view.pairing = Some(Pairing { since: VirtualTime::ZERO });
            }),
            ("status", |snapshot, _| snapshot.meter.status = MeterStatus::Recognition),
            ("time", |snapshot, _| snapshot.time += Duration::from_millis(500)),
        ];
        for (name, change) in changes {
            renders(&cache, &base());
            renders(&cache, &base());
            assert!(!renders(&cache, &base()), "{name}");
            let mut other = base();
            change(&mut other, &id);
            assert!(renders(&cache, &other), "{name}");
        }
        let (mut first, mut second) = (base(), base());
        (first.meter.reading, second.meter.reading) = (reading(), reading());
        renders(&cache, &first);
        renders(&cache, &first);
        assert!(!renders(&cache, &first));
        assert!(renders(&cache, &second), "an equal reading, but another one");
    }
}
