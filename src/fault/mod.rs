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

pub use self::window_schedule::{Course, Cut, Window};
pub use self::delay::Delay;
pub use self::effect::{
    ActionEffect, ActionPlace, Address, ApiEffect, ApiPlace, ConnectFault, Fault, LiveEffect,
    Method, ModbusPlace, Moment, MqttEffect, QueueEffect, SlaveEffect, SlavePlace, TargetEffect,
    TargetPlace, WireFault,
};
pub use self::engine::{
    ActionCall, AdmissionVerdict, ApiCall, Connect, Engine, EngineError, Hold, Listener,
    LiveVerdict, ModbusRequest, MqttMessage, Peer, Refusing, Rhythms, Rule, RuleStatus,
    SlaveRequest, TargetRequest, Verdict,
};
pub use self::meter::{Befalling, ClockDrift, Episode, Episodes, MeterEffect, MeterState, Silence};
pub use self::reply_plan::{End, ReplyPlan, reply_plan};
pub use self::trigger::{Trigger, TriggerState};
