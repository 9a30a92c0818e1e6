//! The configuration is read anew, as SIGHUP asks for. Must never change anything where it is wrong.

use super::Control;
use crate::shard::mail::{Mail, Rules};
use std::sync::Arc;
use std::time::Duration;

/// What is in force after the configuration was read anew.
#[derive(Debug)]
pub struct Reload {
    /// For the shards.
    pub rules: Rules,
    /// See [`super::Settings::drain_delay`].
    pub drain_delay: Duration,
    /// See [`super::Settings::drain_over`].
    pub drain_over: Duration,
}

/// Reads the configuration anew, and says what came of it in the log. None where it cannot be run with.
pub type Reloader = Box<dyn FnMut() -> Option<Reload>>;

impl Control {
    /// Takes over what can be of a configuration that may have changed. A wrong one changes nothing.
    pub(super) fn reload(&mut self) {
        if self.signals.reloads.count() == 0 {
            return;
        }
        self.tell_reloading();
        if let Some(Reload { rules, drain_delay, drain_over }) = (self.reload)() {
            self.settings.drain_delay = drain_delay;
            self.settings.drain_over = drain_over;
            self.settings.queue_soft_bytes = rules.queue_soft_bytes;
            self.settings.policies = rules.policies.clone();
            let rules = Arc::new(rules);
            self.tell_all(|| Mail::Reload(rules.clone()));
        }
        self.tell_ready();
    }
}
