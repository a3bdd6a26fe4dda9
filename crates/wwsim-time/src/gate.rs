//! A gate in front of the work of many tasks, which their owner closes for a while.
//!
//! The connections of a listener work behind its gate. A reset closes it: each connection decides for itself
//! what it ends, gives its pass back, and goes on once the gate is open again.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

/// A gate. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    /// The number of closings that are in progress or complete.
    closings: watch::Sender<usize>,
    /// Held for reading with each pass, and for writing while the gate is closed.
    passes: Arc<RwLock<()>>,
}

/// The permission to work until it is recalled.
#[derive(Debug)]
pub struct Pass {
    closings: watch::Receiver<usize>,
    _guard: OwnedRwLockReadGuard<()>,
}

/// A closed gate, which opens when this is dropped.
#[derive(Debug)]
#[must_use = "the gate opens once this is dropped"]
pub struct ClosedGate {
    // Dropped in this order, so that nobody gets a pass that is recalled at once.
    _closing: Closing,
    _guard: OwnedRwLockWriteGuard<()>,
}

/// A closing in progress, or complete. A closing that is given up recalls no pass any more.
#[derive(Debug)]
struct Closing(Arc<GateState>);

impl Gate {
    /// Waits until the gate is open, and returns a pass.
    pub async fn enter(&self) -> Pass {
        let mut closings = self.0.closings.subscribe();
        // A pass that was recalled before it was given would be asked for again at once. The sender is a
        // field of `self`, so it cannot close.
        let _ = closings.wait_for(|closings| *closings == 0).await;
        let guard = Arc::clone(&self.0.passes).read_owned().await;
        Pass { closings, _guard: guard }
    }

    /// Recalls all passes, and returns when each was given back. There are no others until the returned value
    /// is dropped.
    pub async fn close(&self) -> ClosedGate {
        self.0.closings.send_modify(|closings| *closings += 1);
        let closing = Closing(Arc::clone(&self.0));
        let guard = Arc::clone(&self.0.passes).write_owned().await;
        ClosedGate { _closing: closing, _guard: guard }
    }
}

impl Pass {
    /// Waits until the pass is recalled. Its owner is to drop it then.
    pub async fn recalled(&mut self) {
        // A gate that is gone can recall nothing any more.
        if self.closings.wait_for(|closings| *closings > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closings.send_modify(|closings| *closings -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::task::yield_now;

    use super::*;

    /// Polls a future once, and returns true if it is ready.
    async fn is_ready(future: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = future => true,
            () = yield_now() => false,
        }
    }

    #[tokio::test]
    async fn a_closing_recalls_every_pass_and_waits_for_them() {
        let gate = Gate::default();
        let (mut first, mut second) = (gate.enter().await, gate.enter().await);
        assert!(!is_ready(first.recalled()).await);
        let mut closing = pin!(gate.close());
        assert!(!is_ready(async { drop((&mut closing).await) }).await);
        first.recalled().await;
        second.recalled().await;
        drop(first);
        assert!(!is_ready(async { drop((&mut closing).await) }).await);
        drop(second);
        let closed = closing.await;
        assert!(!is_ready(async { drop(gate.enter().await) }).await);
        drop(closed);
        let mut pass = gate.enter().await;
        assert!(!is_ready(pass.recalled()).await);
    }

    #[tokio::test]
    async fn a_closing_that_is_given_up_leaves_the_gate_open() {
        let gate = Gate::default();
        let mut pass = gate.enter().await;
        assert!(!is_ready(async { drop(gate.close().await) }).await);
        assert!(!is_ready(pass.recalled()).await);
        drop(gate.enter().await);
    }

    #[tokio::test]
    async fn the_gate_opens_after_the_last_of_two_closings() {
        let gate = Gate::default();
        let first = gate.close().await;
        let mut second = pin!(gate.close());
        assert!(!is_ready(async { drop((&mut second).await) }).await);
        drop(first);
        let second = second.await;
        assert!(!is_ready(async { drop(gate.enter().await) }).await);
        drop(second);
        drop(gate.enter().await);
    }
}
