//! The spawned tasks of one owner: they end when it says so, and with it when it is dropped.
//!
//! A listener keeps its connections here, so that a reset drops them while the listener stays. Who
//! shares a registry with its own tasks puts it into an `Arc` outside; a task that holds one keeps
//! the registry, and so itself, alive.

use parking_lot::{Mutex, MutexGuard};
use std::future::Future;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Tasks that are aborted together, at the latest when this is dropped.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Spawns a task. Those that have ended are forgotten here, so that the registry never holds
    /// more than were alive at once.
    ///
    /// # Panics
    /// Outside a tokio runtime, as [`tokio::spawn`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set();
        reap(&mut set);
        set.spawn(task);
    }

    /// Spawns a task and waits for its end. Where the caller gives up waiting, the task goes on.
    ///
    /// # Panics
    /// As [`Tasks::spawn`].
    pub async fn see_through(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (running, ended) = oneshot::channel::<()>();
        self.spawn(async move {
            task.await;
            drop(running);
        });
        // Nothing is ever sent: what tells is that the other end is gone.
        let _ = ended.await;
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut set = self.set();
        reap(&mut set);
        set.len()
    }

    /// Aborts all tasks and waits until they are gone, and with them all they held. New ones can be
    /// spawned meanwhile and are not concerned.
    pub async fn end_all(&self) {
        let mut set = std::mem::take(&mut *self.set());
        set.shutdown().await;
    }

    fn set(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock()
    }
}

/// Forgets tasks that have ended; what a panic had to say, the panic hook has said.
fn reap(set: &mut JoinSet<()>) {
    while set.try_join_next().is_some() {}
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn ended_tasks_are_forgotten() {
        let tasks = Tasks::default();
        let (done, waits) = oneshot::channel::<()>();
        tasks.spawn(pending());
        tasks.spawn(async move { drop(done) });
        let _ = waits.await;
        while tasks.count() == 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.count(), 1);
    }

    #[tokio::test]
    async fn all_are_gone_once_ended_and_new_ones_can_follow() {
        let (tasks, held) = (Tasks::default(), Arc::new(()));
        for _ in 0..3 {
            let held = Arc::clone(&held);
            tasks.spawn(async move {
                pending::<()>().await;
                drop(held);
            });
        }
        tasks.end_all().await;
        assert_eq!(Arc::strong_count(&held), 1);
        tasks.spawn(pending());
        assert_eq!(tasks.count(), 1);
    }

    #[tokio::test]
    async fn a_task_goes_on_where_nobody_waits_for_it_any_more() {
        let tasks = Tasks::default();
        let (begin, waiting) = oneshot::channel::<()>();
        let (done, waits) = oneshot::channel();
        let task = async move {
            let _ = waiting.await;
            done.send(()).unwrap();
        };
        tokio::select! {
            biased;
            () = tasks.see_through(task) => panic!("it has not begun"),
            () = std::future::ready(()) => {}
        }
        drop(begin);
        waits.await.unwrap();
        tasks.see_through(async {}).await;
    }

    #[tokio::test]
    async fn dropping_the_registry_ends_its_tasks() {
        let tasks = Tasks::default();
        let (held, ended) = oneshot::channel::<()>();
        tasks.spawn(async move {
            pending::<()>().await;
            drop(held);
        });
        drop(tasks);
        ended.await.unwrap_err();
    }
}
