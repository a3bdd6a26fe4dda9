//! Faults: what may befall a house, when, and the one engine that decides.
//!
//! A [`Rule`] names a place, a moment and an effect. The [`Engine`] is asked at each seam (admission,
//! connect, slave reply, HTTP service…), counts, decides and explains; the layer at the seam carries
//! the verdict out. Code of the device and of the slaves knows nothing of it.

mod window_schedule;
mod delay;
mod effect;
mod engine;
mod meter;
mod reply_plan;
pub mod result;
mod trigger;

pub use self::delay::Delay;
pub use self::effect::{
    ActionEffect, ActionPlace, AddressRange, ApiEffect, ApiPlace, ConnectFault, Fault, LiveEffect,
    Method, ModbusPlace, MqttEffect, QueueEffect, ReplyPhase, SlaveEffect, SlavePlace,
    TargetEffect, TargetPlace, WireFault,
};
pub use self::engine::{
    ActionCall, AdmissionVerdict, ApiCall, Connect, DeviceModbusRequest, Engine, EngineError,
    FaultListener, Hold, LiveVerdict, MqttMessage, PeerRef, Refusing, Rule, RuleStatus,
    SlaveRequest, TargetRequest, Verdict, WindowBudget,
};
pub use self::meter::{
    ActiveFaults, ClockDrift, Episode, Episodes, MeterEffect, MeterState, Silence,
};
pub use self::reply_plan::{End, ReplyPlan, reply_plan};
pub use self::trigger::{Trigger, TriggerState};
pub use self::window_schedule::{Interruption, ScheduledWindow, WindowSchedule};
