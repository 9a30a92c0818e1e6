//! The walk over all connections of a shard, for an operator who wants to know who is at the top of them, or to be rid of some
//! ([`super::kick`] ends them). Must never look at more than its budget in one turn, and never change what it looks at.
//!
//! One walk at a time, the others behind it. It keeps no more than were asked for, and tells of those at its end, again within
//! the budget. Whoever comes or goes meanwhile is seen or not, as it happens; whoever was there all the time is seen once.

use super::Shard;
use super::conn_table::Token;
use super::mail::{Answer, Parcel, Report};
use crate::api::connections::{Connection, Listing, Top};
use crate::api::disconnect::{Kick, Who};
use crate::clock::Now;
use crate::conn::Conn;
use crate::conn::socket::Socket;
use crate::limits::{KERNEL_LOOKS, KICKS_MAX, WALK_BUDGET, WALKS_MAX};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A walk under way, or waiting.
#[derive(Debug)]
pub(super) struct Walk {
    /// The question that its end answers.
    ticket: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The next slot, how many were seen, and the best of them: the worst on top, equals by their slots.
    Ranking { slot: u32, total: u64, listing: Listing, best: BinaryHeap<Reverse<(u64, Reverse<u32>, u32)>> },
    /// The best, the last one first, and what was told of the first ones already.
    Telling { total: u64, best: Vec<Token>, told: Vec<Connection> },
    /// The next slot, and those that are meant so far. `youngest` is the generation given out last when the call came: whoever
    /// comes later was not there to be meant, but may be somebody who was, and is back.
    Picking { slot: u32, kick: Box<Kick>, youngest: u32, picked: Vec<Token> },
}

impl<S: Socket> Shard<S> {
    /// Sets out when those that were asked for before are done. Where too many wait already, nobody is answered: whoever asks
    /// hears that from the control thread when its time is over.
    pub(super) fn begin_walk(&mut self, ticket: u64, listing: Listing) {
        if self.walks.len() < WALKS_MAX {
            let stage = Stage::Ranking { slot: 0, total: 0, listing, best: BinaryHeap::new() };
            self.walks.push_back(Walk { ticket, stage });
        }
    }

    /// The same for whom `kick` means.
    pub(super) fn look_for(&mut self, ticket: u64, kick: Box<Kick>) {
        let picking = self.walks.iter().filter(|walk| matches!(walk.stage, Stage::Picking { .. }));
        if self.kicks.len() + picking.count() >= KICKS_MAX {
            return self.answer(ticket, Answer::Disconnected(None));
        }
        let youngest = self.conns.ages().newest();
        let stage = Stage::Picking { slot: 0, kick, youngest, picked: Vec::new() };
        self.walks.push_back(Walk { ticket, stage });
    }

    /// Walks on. True while there is more to see.
    pub(super) fn walk_step(&mut self, now: Now) -> bool {
        let Some(mut walk) = self.walks.pop_front() else { return false };
        let mut left = WALK_BUDGET;
        while left > 0 {
            let (next, looks) = self.look_on(now, walk);
            let Some(next) = next else { return !self.walks.is_empty() };
            (walk, left) = (next, left.saturating_sub(looks));
        }
        self.walks.push_front(walk);
        true
    }

    /// One step of a walk, and what it weighs. None when it is at its end.
    fn look_on(&mut self, now: Now, Walk { ticket, stage }: Walk) -> (Option<Walk>, usize) {
        let slots = self.conns.slots();
        let (stage, looks) = match stage {
            Stage::Ranking { slot, mut total, listing, mut best } if (slot as usize) < slots => {
                let seen = self.rank_in(slot, listing.top);
                if let Some((rank, token)) = seen {
                    total += 1;
                    best.push(Reverse((rank, Reverse(token.slot), token.generation)));
                    if best.len() > listing.limit {
                        best.pop();
                    }
                }
                let looks = if seen.is_some() && listing.top == Top::Bytes { KERNEL_LOOKS } else { 1 };
                (Stage::Ranking { slot: slot + 1, total, listing, best }, looks)
            }
            Stage::Ranking { total, best, .. } => {
                let token = |Reverse((_, Reverse(slot), generation))| Token { slot, generation };
                let best: Vec<Token> = best.into_sorted_vec().into_iter().rev().map(token).collect();
                (Stage::Telling { total, told: Vec::with_capacity(best.len()), best }, 1)
            }
            Stage::Telling { total, mut best, mut told } => {
                let Some(token) = best.pop() else {
                    self.answer(ticket, Answer::Connections { connections: told, total });
                    return (None, 1);
                };
                told.extend(self.tell_of(now, token));
                (Stage::Telling { total, best, told }, 2 * KERNEL_LOOKS)
            }
            Stage::Picking { slot, kick, youngest, mut picked } if (slot as usize) < slots => {
                picked.extend(self.pick(slot, &kick, youngest));
                let looks = if matches!(kick.who, Who::Ip(_)) { KERNEL_LOOKS } else { 1 };
                (Stage::Picking { slot: slot + 1, kick, youngest, picked }, looks)
            }
            Stage::Picking { kick, picked, .. } => {
                self.answer(ticket, Answer::Disconnected(Some(picked.len() as u64)));
                self.begin_kick(now, &kick, picked);
                return (None, 1);
            }
        };
        (Some(Walk { ticket, stage }), looks)
    }

    fn answer(&mut self, ticket: u64, answer: Answer) {
        self.parcels.push(Parcel::Control(Report::Answer { ticket, shard: self.settings.id, answer }));
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

    /// Who is in a slot, if it is meant and was there when the call came.
    fn pick(&self, slot: u32, kick: &Kick, youngest: u32) -> Option<Token> {
        let generation = self.conns.in_slot(slot)?.generation;
        let was_there = self.conns.ages().rank(generation) >= self.conns.ages().rank(youngest);
        (was_there && self.is_meant(slot, kick)).then_some(Token { slot, generation })
    }
}

/// Weight of what waits for a connection.
pub(super) fn queued_bytes<S>(conn: &Conn<S>) -> u64 {
    conn.active.as_ref().map_or(0, |active| active.out().weight()) as u64
}
