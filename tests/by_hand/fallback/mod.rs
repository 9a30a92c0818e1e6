//! Clients without a WebSocket, in virtual time: a stream of events, or polls.

mod passes;
mod slow;
mod time;
mod world;
