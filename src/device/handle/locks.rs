//! The locks of a device, and their order.
//!
//! There are three. A caller takes them in this order, and may leave out any of them:
//! 1. the edit lock: one caller at a time changes the configuration, so that no two start from the same
//!    configuration and one has to start again;
//! 2. the catch-up lock: one caller at a time receives a long stretch of telegrams, and the others find
//!    it done;
//! 3. the state lock: held for some hundred nanoseconds, and never across an await.
//!
//! The types keep the order. A caller that takes a lock passes a token that says which locks are held:
//! [`NoLock`], or a borrow of the guard of an earlier lock. A state guard is no token. An operation of
//! the handle begins with one `NoLock`, and each function that it calls takes the token of its caller.
//!
//! No type prevents a second `NoLock`: an operation must not call another public operation of the device
//! while it holds a guard, and neither may a closure that it was given.

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

use crate::device::core::DeviceState;

/// The state of a device, and the locks around it.
#[derive(Debug)]
pub(super) struct Locks {
    edit: Mutex<()>,
    catch_up: Mutex<()>,
    state: Mutex<DeviceState>,
}

/// The token of a caller that holds no lock of the device.
#[derive(Debug)]
pub(super) struct NoLock;

/// The edit lock, held.
#[derive(Debug)]
pub(super) struct EditGuard<'d>(#[expect(dead_code, reason = "held")] MutexGuard<'d, ()>);

/// The catch-up lock, held beside the locks of `T`.
#[derive(Debug)]
pub(super) struct CatchUpGuard<'d, T> {
    guard: MutexGuard<'d, ()>,
    token: T,
}

/// The state lock, held beside the locks of `T`.
#[derive(Debug)]
pub(super) struct StateGuard<'d, T> {
    state: MutexGuard<'d, DeviceState>,
    token: T,
}

/// A token with which the catch-up lock may be taken.
pub(super) trait BeforeCatchUp {}

/// A token with which the state lock may be taken.
pub(super) trait BeforeState {}

impl BeforeCatchUp for NoLock {}
impl BeforeCatchUp for &mut EditGuard<'_> {}
impl BeforeState for NoLock {}
impl BeforeState for &mut EditGuard<'_> {}
impl<T> BeforeState for &mut CatchUpGuard<'_, T> {}

impl Locks {
    pub(super) fn new(state: DeviceState) -> Self {
        Self { edit: Mutex::default(), catch_up: Mutex::default(), state: Mutex::new(state) }
    }

    pub(super) fn edit(&self, _: NoLock) -> EditGuard<'_> {
        EditGuard(self.edit.lock())
    }

    pub(super) fn catch_up<T: BeforeCatchUp>(&self, token: T) -> CatchUpGuard<'_, T> {
        CatchUpGuard { guard: self.catch_up.lock(), token }
    }

    pub(super) fn state<T: BeforeState>(&self, token: T) -> StateGuard<'_, T> {
        StateGuard { state: self.state.lock(), token }
    }

    /// Returns `true` if some caller holds the state lock.
    #[cfg(test)]
    pub(super) fn is_state_locked(&self) -> bool {
        self.state.is_locked()
    }
}

impl<T> CatchUpGuard<'_, T> {
    /// Releases the lock, and returns the token with which it was taken.
    pub(super) fn unlock(self) -> T {
        drop(self.guard);
        self.token
    }
}

impl<T> StateGuard<'_, T> {
    /// Releases the lock, and returns the token with which it was taken.
    pub(super) fn unlock(self) -> T {
        drop(self.state);
        self.token
    }
}

impl<T> Deref for StateGuard<'_, T> {
    type Target = DeviceState;

    fn deref(&self) -> &DeviceState {
        &self.state
    }
}

impl<T> DerefMut for StateGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut DeviceState {
        &mut self.state
    }
}
