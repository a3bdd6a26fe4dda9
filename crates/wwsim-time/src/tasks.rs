//! The spawned tasks of one owner. They are aborted on request, and at the latest when the owner
//! drops them.
//!
//! A server keeps the tasks of its connections here, so that a device that goes down can drop the
//! connections while the server stays. To share a [`Tasks`] with the tasks in it, put it into an `Arc`
//! outside; a task that holds this `Arc` keeps the set, and therefore itself, alive.

use parking_lot::{Mutex, MutexGuard};
use std::future::Future;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A set of tasks that are aborted together, at the latest when the set is dropped.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Spawns a task. Finished tasks are removed from the set here, so that the set never holds
    /// more entries than tasks were alive at once.
    ///
    /// # Panics
    /// Outside a tokio runtime, as [`tokio::spawn`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set();
        remove_ended(&mut set);
        set.spawn(task);
    }

    /// Spawns a task and waits until it has ended. The task continues if the caller stops waiting.
    ///
    /// # Panics
    /// As [`Tasks::spawn`].
    pub async fn run_to_completion(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (running, ended) = oneshot::channel::<()>();
        self.spawn(async move {
            task.await;
            drop(running);
        });
        // Nothing is ever sent. The channel closes when the task has ended.
        let _ = ended.await;
    }

    /// Returns the number of tasks that have not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut set = self.set();
        remove_ended(&mut set);
        set.len()
    }

    /// Aborts all tasks and waits until they have ended and everything they owned is dropped. Tasks
    /// that are spawned meanwhile are not affected.
    pub async fn abort_all(&self) {
        let mut set = std::mem::take(&mut *self.set());
        set.shutdown().await;
    }

    fn set(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock()
    }
}

/// Removes tasks that have ended. A panic needs no handling, because the panic hook has reported
/// it.
fn remove_ended(set: &mut JoinSet<()>) {
    while set.try_join_next().is_some() {}
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn ended_tasks_leave_the_set() {
        let tasks = Tasks::default();
        let (done, finished) = oneshot::channel::<()>();
        tasks.spawn(pending());
        tasks.spawn(async move { drop(done) });
        let _ = finished.await;
        while tasks.count() == 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.count(), 1);
    }

    #[tokio::test]
    async fn abort_all_drops_every_task_and_new_ones_can_follow() {
        let (tasks, held) = (Tasks::default(), Arc::new(()));
        for _ in 0..3 {
            let held = Arc::clone(&held);
            tasks.spawn(async move {
                pending::<()>().await;
                drop(held);
            });
        }
        tasks.abort_all().await;
        assert_eq!(Arc::strong_count(&held), 1);
        tasks.spawn(pending());
        assert_eq!(tasks.count(), 1);
    }

    #[tokio::test]
    async fn a_task_continues_if_its_caller_stops_waiting() {
        let tasks = Tasks::default();
        let (begin, waiting) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let task = async move {
            let _ = waiting.await;
            done.send(()).unwrap();
        };
        tokio::select! {
            biased;
            () = tasks.run_to_completion(task) => panic!("it has not begun"),
            () = std::future::ready(()) => {}
        }
        drop(begin);
        finished.await.unwrap();
        tasks.run_to_completion(async {}).await;
    }

    #[tokio::test]
    async fn dropping_the_set_aborts_its_tasks() {
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
