//! How a shard stands with the kernel's scheduler. Must never wait for anything.

use std::thread;
use std::time::Duration;

/// Gives the processor to others for a moment. A thread that always has work is given it in turn with all others; one that
/// rested gets it as soon as mail comes.
pub fn rest() {
    thread::sleep(REST);
}

/// Lets whoever waits for this processor go first, and costs half a microsecond where nobody does. Between the turns of a long
/// piece of work: without it a thread is interrupted only by the kernel's tick, which comes every few milliseconds.
pub fn give_way() {
    thread::yield_now();
}

/// About as long as a turn in which a crowd leaves: whoever waits for mail meanwhile gets it before the next one.
const REST: Duration = Duration::from_millis(1);
