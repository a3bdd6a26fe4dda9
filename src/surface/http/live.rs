//! `/api/v1/live`: every reading of the meter as a Server-Sent Event, for one client (LIVE-1 to LIVE-6,
//! `live_fields.csv`).
//!
//! A task per client waits for readings and puts their events into the client's queue, past the rules
//! at the place `live`. Where nobody follows, there is no task.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{Call, HttpReply};
use crate::clock::{Clock, Sleep};
use crate::decimal::Decimal;
use crate::device::{CivilTime, Device, Feature, Profile, Snapshot};
use crate::fault::{Engine, LiveEffect, LiveVerdict};
use crate::journal::Event;
use crate::limits;
use crate::meter::{Quantity, Reading};
use crate::net::http::StreamBreaker;
use crate::net::http::json::JsonWriter;
use crate::services::Readings;

/// Follows the readings that come from now on; whoever followed before has to go.
pub(super) fn follow(call: &Call<'_>) -> HttpReply {
    let api = call.api();
    let (events, queue) = mpsc::channel(limits::LIVE_QUEUE);
    let breaks = StreamBreaker::default();
    let client = LiveSubscriber {
        device: Arc::clone(&api.device),
        engine: Arc::clone(&api.engine),
        clock: api.clock.clone(),
        seat: api.live.take(),
        readings: Readings::new(Arc::clone(&api.device)),
        events,
        breaks: breaks.clone(),
        held: VecDeque::new(),
    };
    api.device.record(|device| Event::LiveFollowed { device });
    api.streams.spawn(api.clock.activity().track(client.serve()));
    HttpReply::events_with_breaker(queue, breaks)
}

/// The one place for a client.
#[derive(Debug, Default)]
pub(super) struct SubscriberSlot {
    /// Counts those who took it.
    taken: watch::Sender<u64>,
}

/// A seat as long as nobody else takes it.
#[derive(Debug)]
struct Subscription {
    taken: watch::Receiver<u64>,
    own: u64,
}

impl SubscriberSlot {
    fn take(&self) -> Subscription {
        let mut own = 0;
        self.taken.send_modify(|taken| {
            *taken += 1;
            own = *taken;
        });
        Subscription { taken: self.taken.subscribe(), own }
    }
}

impl Subscription {
    /// Waits until somebody else takes it.
    async fn lost(&mut self) {
        let own = self.own;
        // The sender lives as long as the API, and so longer than its streams.
        let _ = self.taken.wait_for(|taken| *taken != own).await;
    }
}

/// A client that follows.
struct LiveSubscriber {
    device: Arc<Device>,
    engine: Arc<Engine>,
    clock: Clock,
    seat: Subscription,
    readings: Readings,
    events: mpsc::Sender<Bytes>,
    breaks: StreamBreaker,
    /// Events that rules hold back, in their order.
    held: VecDeque<Held>,
}

/// An event on its way.
struct Held {
    text: Bytes,
    /// What it waits for.
    until: Vec<Sleep>,
    effect: Option<LiveEffect>,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubscriptionEnd {
    /// The client left.
    Left,
    /// Another one took the seat.
    TakenOver,
    /// A rule threw it out.
    ThrownOut,
    /// A rule cut it.
    Cut,
    /// It does not read.
    NotRead,
}

impl LiveSubscriber {
    async fn serve(mut self) {
        let ending = self.follow().await;
        let cause = match ending {
            SubscriptionEnd::Left => return,
            SubscriptionEnd::TakenOver => "taken over",
            SubscriptionEnd::ThrownOut => "thrown out",
            SubscriptionEnd::Cut => {
                self.breaks.break_after_last();
                "cut"
            }
            SubscriptionEnd::NotRead => {
                self.breaks.reset();
                "not read"
            }
        };
        self.device.record(|device| Event::LiveEnded { device, cause });
    }

    async fn follow(&mut self) -> SubscriptionEnd {
        loop {
            let come = {
                let Self { readings, events, seat, held, .. } = self;
                tokio::select! {
                    biased;
                    () = events.closed() => return SubscriptionEnd::Left,
                    () = seat.lost() => return SubscriptionEnd::TakenOver,
                    () = std::future::poll_fn(|context| poll_due(held, context)) => None,
                    snapshot = readings.next() => Some(snapshot),
                }
            };
            if let Some(snapshot) = come {
                self.take_in(&snapshot);
            }
            while self.held.front().is_some_and(|first| first.until.is_empty()) {
                let Some(first) = self.held.pop_front() else { break };
                if let Err(ending) = self.send(first).await {
                    return ending;
                }
            }
        }
    }

    /// Lines up the event of a reading.
    fn take_in(&mut self, snapshot: &Snapshot) {
        let Some(reading) = snapshot.reading() else { return };
        let LiveVerdict { delay, stall, effect } =
            self.engine.live(self.device.identity().id.as_str());
        let delay = (!delay.is_zero()).then(|| self.clock.sleep(delay));
        if self.held.len() == limits::LIVE_HELD {
            self.held.pop_front();
        }
        self.held.push_back(Held {
            text: event(snapshot, reading),
            until: delay.into_iter().chain(stall).collect(),
            effect,
        });
    }

    async fn send(&mut self, Held { text, effect, .. }: Held) -> Result<(), SubscriptionEnd> {
        match effect {
            Some(LiveEffect::Takeover) => Err(SubscriptionEnd::ThrownOut),
            Some(LiveEffect::Cut { after }) => {
                if after > 0 {
                    self.put(text.slice(..after.min(text.len()))).await?;
                }
                Err(SubscriptionEnd::Cut)
            }
            Some(LiveEffect::Duplicate) => {
                self.put(text.clone()).await?;
                self.put(text).await
            }
            // A delay and a stall are over by now.
            None | Some(LiveEffect::Delay(_) | LiveEffect::Stall { .. }) => self.put(text).await,
        }
    }

    /// Puts bytes into the client's queue. Where that is full, a client that reads gets the time to:
    /// a movement of the clock waits for it, in real time.
    async fn put(&mut self, text: Bytes) -> Result<(), SubscriptionEnd> {
        let Err(refused) = self.events.try_send(text) else { return Ok(()) };
        let mpsc::error::TrySendError::Full(text) = refused else {
            return Err(SubscriptionEnd::Left);
        };
        let _under_way = self.clock.activity().enter();
        tokio::select! {
            biased;
            () = self.seat.lost() => Err(SubscriptionEnd::TakenOver),
            sent = self.events.send(text) => sent.map_err(|_| SubscriptionEnd::Left),
            () = tokio::time::sleep(limits::LIVE_GRACE) => Err(SubscriptionEnd::NotRead),
        }
    }
}

/// Ready when the first of the events held back may go. All are polled, so that a timer of a later
/// one that goes off is taken note of, which a movement of the clock waits for.
fn poll_due(held: &mut VecDeque<Held>, context: &mut Context<'_>) -> Poll<()> {
    for event in &mut *held {
        event.until.retain_mut(|sleep| Pin::new(sleep).poll(context).is_pending());
    }
    match held.front() {
        Some(first) if first.until.is_empty() => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

/// The numbers of an event in the order in which the device sends them.
static FIELDS: [Quantity; 38] = {
    use Quantity as Q;
    [
        Q::ImportPower,
        Q::ExportPower,
        Q::ImportPowerL1,
        Q::ImportPowerL2,
        Q::ImportPowerL3,
        Q::ExportPowerL1,
        Q::ExportPowerL2,
        Q::ExportPowerL3,
        Q::ImportDemand,
        Q::ImportDemandT1,
        Q::ImportDemandT2,
        Q::ReactiveImportPower,
        Q::ReactiveExportPower,
        Q::ReactiveImportPowerL1,
        Q::ReactiveImportPowerL2,
        Q::ReactiveImportPowerL3,
        Q::ReactiveExportPowerL1,
        Q::ReactiveExportPowerL2,
        Q::ReactiveExportPowerL3,
        Q::PowerFactor,
        Q::CurrentL1,
        Q::CurrentL2,
        Q::CurrentL3,
        Q::VoltageL1,
        Q::VoltageL2,
        Q::VoltageL3,
        Q::ActiveImportEnergy,
        Q::ActiveImportEnergyT1,
        Q::ActiveImportEnergyT2,
        Q::ActiveExportEnergy,
        Q::ActiveExportEnergyT1,
        Q::ActiveExportEnergyT2,
        Q::ReactiveImportEnergy,
        Q::ReactiveExportEnergy,
        Q::InductiveImportEnergy,
        Q::CapacitiveImportEnergy,
        Q::InductiveExportEnergy,
        Q::CapacitiveExportEnergy,
    ]
};

/// The event of a reading.
fn event(snapshot: &Snapshot, reading: &Reading) -> Bytes {
    let filled = !Profile::of(snapshot.view.firmware).has(Feature::LiveLeavesOut);
    let mut json = JsonWriter::with_capacity(1024);
    json.raw("event: live\ndata: ");
    json.begin();
    for quantity in FIELDS {
        let Some(name) = quantity.live_field() else { continue };
        match snapshot.value_in(reading, quantity) {
            Some(value) => json.plain(name, value),
            None if filled => json.plain(name, 0),
            None => {}
        }
    }
    match reading.tariff {
        Some(tariff) => json.plain("T", tariff),
        None if filled => json.plain("T", 0),
        None => {}
    }
    if filled || !reading.volumes.is_empty() {
        write_volumes(&mut json, reading, filled);
    }
    let time = snapshot.meter_time_of(reading);
    json.word("Date", time.date());
    json.word("Time", time.time());
    json.plain("Uptime", hours(snapshot));
    json.end();
    json.raw("\n\n");
    json.into_string().into()
}

fn write_volumes(json: &mut JsonWriter, reading: &Reading, filled: bool) {
    json.array("Vol");
    for volume in &reading.volumes {
        json.begin();
        json.plain("Bus", volume.bus);
        json.text("M_ID", &volume.meter_id);
        match volume.meter_time {
            Some(at) => json.word("DT", CivilTime::of(at).bare()),
            None if filled => json.word("DT", ""),
            None => {}
        }
        match volume.cumulative {
            Some(cumulative) => json.plain("Cum", cumulative),
            None if filled => json.plain("Cum", 0),
            None => {}
        }
        json.end();
    }
    json.end_array();
}

/// How long the device has been up, in hours to two places.
fn hours(snapshot: &Snapshot) -> Decimal {
    let hundredths = snapshot.uptime().as_secs() / 36;
    Decimal::new(i64::try_from(hundredths).unwrap_or(i64::MAX), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_is_sent_once() {
        let mut sent: Vec<_> = FIELDS.to_vec();
        sent.sort();
        let table: Vec<_> = Quantity::ALL
            .iter()
            .copied()
            .filter(|quantity| quantity.live_field().is_some())
            .collect();
        assert_eq!(sent, table);
    }
}
