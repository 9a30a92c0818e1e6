//! The walk over all connections of a shard, for an operator who wants to know who is at the top of them. Must never look at more
//! than its budget in one turn, and never change what it looks at.
//!
//! One walk at a time, the others behind it. It keeps no more than were asked for, and tells of those at its end, again within
//! the budget. Whoever comes or goes meanwhile is seen or not, as it happens; whoever was there all the time is seen once.

use super::Shard;
use super::conn_table::Token;
use super::mail::{Answer, Parcel, Report};
use crate::api::connections::{Connection, Listing, Top};
use crate::clock::Now;
use crate::conn::Conn;
use crate::conn::socket::Socket;
use crate::limits::{KERNEL_LOOKS, WALK_BUDGET, WALKS_MAX};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A walk under way, or waiting.
#[derive(Debug)]
pub(super) struct Walk {
    /// The question that its end answers.
    ticket: u64,
    listing: Listing,
    stage: Stage,
    /// Connections seen.
    total: u64,
}

#[derive(Debug)]
enum Stage {
    /// The next slot, and the best so far: the worst of them on top, equals by their slots.
    Walking { slot: u32, best: BinaryHeap<Reverse<(u64, Reverse<u32>, u32)>> },
    /// The best, the last one first, and what was told of the first ones already.
    Telling { best: Vec<Token>, told: Vec<Connection> },
}

impl<S: Socket> Shard<S> {
    /// Sets out when those that were asked for before are done. Where too many wait already, nobody is answered: whoever asks
    /// hears that from the control thread when its time is over.
    pub(super) fn begin_walk(&mut self, ticket: u64, listing: Listing) {
        if self.walks.len() < WALKS_MAX {
            let stage = Stage::Walking { slot: 0, best: BinaryHeap::new() };
            self.walks.push_back(Walk { ticket, listing, stage, total: 0 });
        }
    }

    /// Walks on. True while there is more to see.
    pub(super) fn walk_step(&mut self, now: Now) -> bool {
        let Some(mut walk) = self.walks.pop_front() else { return false };
        let mut left = WALK_BUDGET;
        while left > 0 {
            left = match &mut walk.stage {
                Stage::Walking { slot, best } if (*slot as usize) < self.conns.slots() => {
                    let seen = self.rank_in(*slot, walk.listing.top);
                    *slot += 1;
                    let Some((rank, token)) = seen else {
                        left -= 1;
                        continue;
                    };
                    walk.total += 1;
                    best.push(Reverse((rank, Reverse(token.slot), token.generation)));
                    if best.len() > walk.listing.limit {
                        best.pop();
                    }
                    left.saturating_sub(looks(walk.listing.top))
                }
                Stage::Walking { best, .. } => {
                    let best = std::mem::take(best).into_sorted_vec();
                    let token = |Reverse((_, Reverse(slot), generation))| Token { slot, generation };
                    let best: Vec<Token> = best.into_iter().rev().map(token).collect();
                    walk.stage = Stage::Telling { told: Vec::with_capacity(best.len()), best };
                    left
                }
                Stage::Telling { best, told } => {
                    let Some(token) = best.pop() else {
                        self.answer_walk(walk);
                        return !self.walks.is_empty();
                    };
                    told.extend(self.tell_of(now, token));
                    left.saturating_sub(2 * KERNEL_LOOKS)
                }
            };
        }
        self.walks.push_front(walk);
        true
    }

    fn answer_walk(&mut self, walk: Walk) {
        let Stage::Telling { told: connections, .. } = walk.stage else { return };
        let answer = Answer::Connections { connections, total: walk.total };
        self.parcels.push(Parcel::Control(Report::Answer {
            ticket: walk.ticket,
            shard: self.settings.id,
            answer,
        }));
    }

    /// Who is in a slot, and how near to the top.
    fn rank_in(&self, slot: u32, top: Top) -> Option<(u64, Token)> {
        let conn = self.conns.in_slot(slot).filter(|conn| !conn.phase.is_over())?;
        let rank = match top {
            Top::Lag => queued_bytes(conn),
            Top::Age => u64::from(self.conns.rank(slot)),
            Top::Bytes => {
                conn.socket.traffic().map_or(0, |traffic| traffic.sent_bytes + traffic.received_bytes)
            }
        };
        Some((rank, Token { slot, generation: conn.generation }))
    }
}

/// Weight of what waits for a connection.
pub(super) fn queued_bytes<S>(conn: &Conn<S>) -> u64 {
    conn.active.as_ref().map_or(0, |active| active.out().weight()) as u64
}

/// What it weighs to find out how near to the top somebody is.
fn looks(top: Top) -> usize {
    match top {
        Top::Lag | Top::Age => 1,
        Top::Bytes => KERNEL_LOOKS,
    }
}
