//! The listener of the device's Modbus server, as the device and the rules want it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use super::session::DeviceSession;
use super::{ListenState, ServerShared, wanted};
use crate::clock::{Sleep, VirtualTime};
use crate::fault::FaultListener;
use crate::limits;
use crate::modbus::server::{Acceptor, BACKLOG};
use crate::net::sockets;
use crate::tasks::Tasks;

/// Follows the device and the rules, and takes connections meanwhile.
#[derive(Debug)]
pub(super) struct Follower {
    shared: Arc<ServerShared>,
    door: Acceptor,
    /// Where the door is open.
    at: Option<SocketAddr>,
    refusing: bool,
    /// Whether the door is to be open and cannot.
    failed: bool,
    /// Ends when the rules are to be asked again.
    until: Sleep,
}

/// The rules that are followed. The timer before lives on until that is told, and with it its motion.
#[derive(Debug)]
struct AppliedListener {
    generation: u64,
    _before: Sleep,
}

impl Follower {
    /// A follower whose listener is as it is to be.
    pub(super) fn new(shared: Arc<ServerShared>, connections: Arc<Tasks>) -> Self {
        let motions = shared.parts.clock.activity().clone();
        let mut follower = Self {
            door: Acceptor::new(connections, motions, limits::MODBUS_CONNECTIONS),
            at: None,
            refusing: false,
            failed: false,
            until: shared.parts.clock.sleep_until(VirtualTime::MAX),
            shared,
        };
        let seen = *follower.shared.parts.device.changes().borrow();
        let rules = follower.follow();
        follower.applied(rules, seen);
        follower
    }

    /// Serves for good.
    pub(super) async fn run(mut self) {
        let mut changes = self.shared.parts.device.changes();
        // What happened since the start of this is among what is followed first.
        changes.mark_changed();
        loop {
            let again = self.failed.then_some(limits::MODBUS_BIND_RETRY);
            tokio::select! {
                biased;
                seen = changes.changed() => if seen.is_err() { return },
                () = &mut self.until => {}
                accepted = self.door.accept(again) => {
                    if let Some(stream) = accepted {
                        self.admit(stream);
                        continue;
                    }
                }
            }
            let before = self.at;
            // Before the device is looked at: what changes meanwhile is followed the next time.
            let seen = *changes.borrow_and_update();
            let rules = self.follow();
            if before.is_some() && before != self.at {
                self.door.wait_drained().await;
            }
            self.applied(rules, seen);
        }
    }

    /// Lets be known what is followed: the rules, and the device's changes up to `seen`.
    #[expect(clippy::needless_pass_by_value, reason = "its timer ends once that is known")]
    fn applied(&self, rules: AppliedListener, seen: u64) {
        self.shared.applied.send_replace(rules.generation);
        self.shared.parts.device.set_modbus_applied(Some(seen));
    }

    fn admit(&self, stream: TcpStream) {
        let stream = self.shared.parts.links.track_server(stream);
        self.door.admit(stream, DeviceSession::new(Arc::clone(&self.shared)));
    }

    /// Brings the listener to where it is to be.
    fn follow(&mut self) -> AppliedListener {
        let parts = &self.shared.parts;
        let port = match wanted(&parts.device) {
            Ok(port) => port,
            Err(off) => {
                self.refusing = false;
                let enabled = parts.device.view().config.settings.services.modbus.enable;
                self.shut(enabled.then(|| off.to_string()));
                // No rule can change that, so none need be followed.
                let until = self.shared.parts.clock.sleep_until(VirtualTime::MAX);
                return self.followed(until, u64::MAX);
            }
        };
        let id = &parts.device.identity().id;
        let asked = parts.engine.refusing(FaultListener::Modbus(id.as_str()), self.refusing);
        self.refusing = asked.refuse;
        if asked.refuse {
            self.shut(Some("a fault rule has it refuse".to_owned()));
        } else {
            self.open(port);
        }
        self.followed(asked.until, asked.generation)
    }

    fn followed(&mut self, until: Sleep, generation: u64) -> AppliedListener {
        AppliedListener { generation, _before: std::mem::replace(&mut self.until, until) }
    }

    fn shut(&mut self, note: Option<String>) {
        self.failed = false;
        if self.at.take().is_some() {
            self.door.close();
        }
        // Also where it was left open by a follower before this one.
        self.shared.close_home();
        self.tell(note);
    }

    /// Opens the door where the device's port says; where that is impossible it stays where it is, or
    /// opens at home.
    fn open(&mut self, device_port: u16) {
        let (wanted, home) = (self.shared.place_of(device_port), self.shared.home);
        if self.at == Some(wanted) {
            self.tell(None);
            return;
        }
        let Err(error) = self.move_to(wanted) else {
            self.tell(None);
            return;
        };
        let stays = match self.at {
            Some(at) => Some(at),
            None if wanted == home => None,
            None => self.move_to(home).is_ok().then_some(home),
        };
        let then = stays.map_or_else(|| "tries again".to_owned(), |at| format!("stays on {at}"));
        if stays.is_none() && !self.failed {
            let device = &self.shared.parts.device.identity().id;
            tracing::warn!(%device, %wanted, %error, "the Modbus server cannot listen");
        }
        self.failed = stays.is_none();
        self.tell(Some(format!("cannot listen on {wanted}: {error}; {then}")));
    }

    fn move_to(&mut self, place: SocketAddr) -> io::Result<()> {
        if place == self.shared.home {
            let listener = self.shared.port().open(BACKLOG)?;
            self.enter(place, listener);
        } else {
            let listener = sockets::bind_socket(place)?.listen(BACKLOG)?;
            self.enter(place, Arc::new(listener));
            self.shared.close_home();
        }
        Ok(())
    }

    fn enter(&mut self, address: SocketAddr, listener: Arc<TcpListener>) {
        self.failed = false;
        if self.at.is_some() {
            self.door.close();
        }
        self.at = Some(address);
        self.door.open(listener);
    }

    /// Lets be known how it is.
    fn tell(&self, note: Option<String>) {
        let listening = self.door.is_open();
        let address = self.at.unwrap_or_else(|| self.shared.place_now());
        self.shared.tell(|place| *place = ListenState { address, listening, note });
    }
}
