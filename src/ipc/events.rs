//! The events for one window.

use std::collections::VecDeque;

use tokio::sync::broadcast;

use super::{Ipc, message::Event};
use crate::scheduler::Listener;

/// How many events a window may fall behind before the oldest are dropped.
pub(super) const EVENTS_KEPT: usize = 256;

impl Ipc {
    /// The events for one window: first the current state, then what happens. A window that
    /// falls far behind loses the oldest events and never blocks the others.
    #[must_use]
    pub fn events(&self) -> IpcEvents {
        // Subscribed before the state is read, so nothing falls in between.
        let happened = self.0.events.subscribe();
        let (state, found) = self.0.scheduler.state_and_later();
        let progress = self.0.runs.progress();
        let progress = progress.into_iter().map(Event::ApplyProgress);
        IpcEvents {
            first: Event::of(&state).into_iter().chain(progress).collect(),
            happened,
            found,
        }
    }
}

/// The events for one window.
#[derive(Debug)]
pub struct IpcEvents {
    /// What was known when the window connected.
    first: VecDeque<Event>,
    happened: broadcast::Receiver<Event>,
    found: Listener,
}

impl IpcEvents {
    /// The next event as a JSON-RPC notification, or `None` once the daemon's end is gone.
    pub async fn next(&mut self) -> Option<String> {
        Some(self.event().await?.notification().to_string())
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.first.pop_front() {
                return Some(event);
            }
            tokio::select! {
                // What happens in a run comes before what the check after it finds.
                biased;
                happened = self.happened.recv() => match happened {
                    Ok(event) => return Some(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                state = self.found.next() => self.first.extend(Event::of(&state?)),
            }
        }
    }
}
