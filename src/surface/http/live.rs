//! `/api/v1/live`: every reading of the meter as a Server-Sent Event, for one client (LIVE-1 to LIVE-6,
//! `live_fields.csv`).
//!
//! A task per subscriber waits for readings, applies the fault rules of the `live` seam to their events,
//! and sends the events to the client's queue. Without a subscriber there is no task.

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
use crate::net::http::EventStreamControl;
use crate::net::http::json::JsonWriter;
use crate::services::Readings;

/// Starts the event stream of a client. The client before it, if there is one, is dropped (LIVE-1).
pub(super) fn stream_events(call: &Call<'_>) -> HttpReply {
    let api = call.api();
    let (events, queue) = mpsc::channel(limits::LIVE_QUEUE);
    let stream_control = EventStreamControl::default();
    // Recorded before the subscription before this one can end.
    api.device.record(|device| Event::LiveSubscribed { device });
    let subscriber = LiveSubscriber {
        device: Arc::clone(&api.device),
        engine: Arc::clone(&api.engine),
        clock: api.clock.clone(),
        subscription: api.live.claim(),
        readings: Readings::new(Arc::clone(&api.device)),
        events,
        stream_control: stream_control.clone(),
        pending: VecDeque::new(),
    };
    api.streams.spawn(api.clock.activity().track(subscriber.run()));
    HttpReply::events_with_control(queue, stream_control)
}

/// The slot for the one subscriber of a device.
#[derive(Debug, Default)]
pub(super) struct SubscriberSlot {
    /// The number of the newest subscription; the first one is 1.
    newest: watch::Sender<u64>,
}

/// A claim on the slot, good until the next client claims it.
#[derive(Debug)]
struct Subscription {
    newest: watch::Receiver<u64>,
    number: u64,
}

impl SubscriberSlot {
    /// Claims the slot; the subscription before this one is replaced.
    fn claim(&self) -> Subscription {
        let mut number = 0;
        self.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        Subscription { newest: self.newest.subscribe(), number }
    }
}

impl Subscription {
    /// Waits until another client claims the slot.
    async fn wait_replaced(&mut self) {
        let number = self.number;
        // The sender lives as long as the API, and so longer than its streams.
        let _ = self.newest.wait_for(|newest| *newest != number).await;
    }
}

/// A subscribed client.
struct LiveSubscriber {
    device: Arc<Device>,
    engine: Arc<Engine>,
    clock: Clock,
    subscription: Subscription,
    readings: Readings,
    events: mpsc::Sender<Bytes>,
    stream_control: EventStreamControl,
    /// Events in their order, as long as fault rules delay them; at most [`limits::LIVE_HELD`].
    pending: VecDeque<PendingEvent>,
}

/// An event that was not sent yet.
struct PendingEvent {
    text: Bytes,
    /// Timers that must end before the event is sent.
    timers: Vec<Sleep>,
    effect: Option<LiveEffect>,
}

/// The reason for which a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubscriptionEnd {
    /// The client disconnected.
    Disconnect,
    /// Another client claimed the slot.
    Replacement,
    /// A fault rule ended the stream as another client's claim would.
    TakeoverRule,
    /// A fault rule cut the stream.
    CutRule,
    /// The client does not read.
    SlowReader,
}

impl LiveSubscriber {
    /// Sends events until the stream ends, and records why it ended.
    async fn run(mut self) {
        let cause = match self.send_events().await {
            SubscriptionEnd::Disconnect => return,
            SubscriptionEnd::Replacement => "taken over",
            SubscriptionEnd::TakeoverRule => "thrown out",
            SubscriptionEnd::CutRule => {
                self.stream_control.end_incomplete();
                "cut"
            }
            SubscriptionEnd::SlowReader => {
                self.stream_control.reset();
                "not read"
            }
        };
        self.device.record(|device| Event::LiveEnded { device, cause });
    }

    async fn send_events(&mut self) -> SubscriptionEnd {
        loop {
            let snapshot = {
                let Self { readings, events, subscription, pending, .. } = self;
                tokio::select! {
                    biased;
                    () = events.closed() => return SubscriptionEnd::Disconnect,
                    () = subscription.wait_replaced() => return SubscriptionEnd::Replacement,
                    () = std::future::poll_fn(|context| poll_first_due(pending, context)) => None,
                    snapshot = readings.next() => Some(snapshot),
                }
            };
            if let Some(snapshot) = snapshot {
                self.enqueue(&snapshot);
            }
            while self.pending.front().is_some_and(|first| first.timers.is_empty()) {
                let Some(first) = self.pending.pop_front() else { break };
                if let Err(end) = self.send(first).await {
                    return end;
                }
            }
        }
    }

    /// Appends the event of a reading to the pending ones. If there are too many, the oldest is lost.
    fn enqueue(&mut self, snapshot: &Snapshot) {
        let Some(reading) = snapshot.reading() else { return };
        let LiveVerdict { delay, stall, effect } =
            self.engine.live(self.device.identity().id.as_str());
        let delay = (!delay.is_zero()).then(|| self.clock.sleep(delay));
        if self.pending.len() == limits::LIVE_HELD {
            self.pending.pop_front();
        }
        self.pending.push_back(PendingEvent {
            text: render_event(snapshot, reading),
            timers: delay.into_iter().chain(stall).collect(),
            effect,
        });
    }

    /// Sends an event with the effect of the fault rules.
    async fn send(&mut self, event: PendingEvent) -> Result<(), SubscriptionEnd> {
        let PendingEvent { text, effect, .. } = event;
        match effect {
            Some(LiveEffect::Takeover) => Err(SubscriptionEnd::TakeoverRule),
            Some(LiveEffect::Cut { after }) => {
                if after > 0 {
                    self.send_bytes(text.slice(..after.min(text.len()))).await?;
                }
                Err(SubscriptionEnd::CutRule)
            }
            Some(LiveEffect::Duplicate) => {
                self.send_bytes(text.clone()).await?;
                self.send_bytes(text).await
            }
            // The timers of a delay and of a stall have ended.
            None | Some(LiveEffect::Delay(_) | LiveEffect::Stall { .. }) => {
                self.send_bytes(text).await
            }
        }
    }

    /// Sends bytes to the client's queue. If the queue is full, a movement of the clock waits up to
    /// [`limits::LIVE_GRACE`] of real time, so that a client that reads has the time to do so.
    async fn send_bytes(&mut self, text: Bytes) -> Result<(), SubscriptionEnd> {
        let Err(refused) = self.events.try_send(text) else { return Ok(()) };
        let mpsc::error::TrySendError::Full(text) = refused else {
            return Err(SubscriptionEnd::Disconnect);
        };
        let _activity = self.clock.activity().enter();
        tokio::select! {
            biased;
            () = self.subscription.wait_replaced() => Err(SubscriptionEnd::Replacement),
            sent = self.events.send(text) => sent.map_err(|_| SubscriptionEnd::Disconnect),
            () = tokio::time::sleep(limits::LIVE_GRACE) => Err(SubscriptionEnd::SlowReader),
        }
    }
}

/// Returns ready when the first pending event is due. All events are polled, because a movement of the
/// clock waits until the sleeper of each timer that fired was polled.
fn poll_first_due(pending: &mut VecDeque<PendingEvent>, context: &mut Context<'_>) -> Poll<()> {
    for event in &mut *pending {
        event.timers.retain_mut(|sleep| Pin::new(sleep).poll(context).is_pending());
    }
    match pending.front() {
        Some(first) if first.timers.is_empty() => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

/// The quantities of an event in the order in which the device sends them.
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

/// Renders the event of a reading. Older firmware sends what the meter does not measure as 0.
fn render_event(snapshot: &Snapshot, reading: &Reading) -> Bytes {
    let fills_missing = !Profile::new(snapshot.view.firmware).has(Feature::LiveOmitsMissing);
    let mut json = JsonWriter::with_capacity(1024);
    json.raw("event: live\ndata: ");
    json.begin();
    for quantity in FIELDS {
        let Some(name) = quantity.live_field() else { continue };
        match snapshot.value_in(reading, quantity) {
            Some(value) => json.plain(name, value),
            None if fills_missing => json.plain(name, 0_u8),
            None => {}
        }
    }
    match reading.tariff {
        Some(tariff) => json.plain("T", tariff),
        None if fills_missing => json.plain("T", 0_u8),
        None => {}
    }
    if fills_missing || !reading.volumes.is_empty() {
        write_volumes(&mut json, reading, fills_missing);
    }
    let time = snapshot.meter_time_of(reading);
    json.word("Date", time.date());
    json.word("Time", time.time());
    json.plain("Uptime", uptime_hours(snapshot));
    json.end();
    json.raw("\n\n");
    json.into_string().into()
}

fn write_volumes(json: &mut JsonWriter, reading: &Reading, fills_missing: bool) {
    json.array("Vol");
    for volume in &reading.volumes {
        json.begin();
        json.plain("Bus", volume.channel);
        json.text("M_ID", &volume.meter_id);
        match volume.meter_time {
            Some(at) => json.word("DT", CivilTime::new(at).date_time_without_zone()),
            None if fills_missing => json.word("DT", ""),
            None => {}
        }
        match volume.cumulative {
            Some(cumulative) => json.plain("Cum", cumulative),
            None if fills_missing => json.plain("Cum", 0_u8),
            None => {}
        }
        json.end();
    }
    json.end_array();
}

/// Returns the time since boot, in hours with two decimal places.
fn uptime_hours(snapshot: &Snapshot) -> Decimal {
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
