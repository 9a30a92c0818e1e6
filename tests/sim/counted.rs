//! The end of a world: everyone who was ever told how many follow a channel knows it.

use crate::book::Kind;
use crate::client::{Client, Stage, Way};
use crate::finish::follows;
use crate::truth::Channel;
use crate::world::World;
use roost::clock::TICK_MS;
use roost::limits::PRESENCE_DEBOUNCE_MS;

impl World {
    /// Once nothing has changed for a while, everyone who was ever told knows how many follow; and when somebody leaves
    /// then, everyone is told.
    pub(crate) fn everyone_is_counted(&mut self) {
        let counted = |world: &Self| {
            let channels = 0..world.truth.names.len();
            channels.filter(|&channel| world.truth.counted[channel]).collect::<Vec<_>>()
        };
        self.nothing_changes();
        for channel in counted(self) {
            self.check_presence(channel, false);
        }
        if self.has_tight_rate() {
            return;
        }
        self.everyone_asks();
        for channel in counted(self) {
            let able =
                |client: &Client| follows(client, channel) && client.can_speak() && client.is_websocket();
            let Some(at) = self.clients.iter().position(able) else { continue };
            let (clients, scene) = self.scene();
            clients[at].ask(Kind::Unsubscribe, Some(channel), scene.truth);
            self.settle();
            self.nothing_changes();
            self.check_presence(channel, true);
        }
        self.check_settled();
    }

    /// Waits until nobody has come or gone for as long as a change may wait for its announcement. Whoever polls comes and goes
    /// with every answer.
    fn nothing_changes(&mut self) {
        loop {
            let before = (self.followers(), self.polls_answered());
            self.wait(PRESENCE_DEBOUNCE_MS + 2 * TICK_MS);
            if (self.followers(), self.polls_answered()) == before {
                return;
            }
        }
    }

    fn polls_answered(&self) -> u64 {
        let answered = |client: &Client| if let Way::Poll(poll) = &client.way { poll.answered } else { 0 };
        self.clients.iter().map(answered).sum()
    }

    /// How many follow each channel. Nobody comes any more.
    fn followers(&self) -> Vec<u64> {
        let channels = 0..self.truth.names.len();
        let of = |channel| self.clients.iter().filter(|client| follows(client, channel)).count() as u64;
        channels.map(of).collect()
    }

    /// Whoever follows a channel knows how many do, if it was told at all and cannot have missed it; all of them that are
    /// looked at must when `told` is set, which is after a change that nothing kept them from hearing of.
    fn check_presence(&self, channel: Channel, told: bool) {
        let count = self.followers()[channel];
        let name = &self.truth.names[channel];
        let listens = |client: &&Client| hears(client) && follows(client, channel);
        for client in self.clients.iter().filter(listens) {
            let announced = client.book.announced(channel);
            let excused = announced.is_none() || client.book.may_have_missed(channel, &self.truth);
            let knows = announced == Some(count) || (!told && excused);
            assert!(knows, "client {} knows of {announced:?} in {name}, not of {count}", client.serial);
        }
    }

    /// Every channel's count is what everyone is answered.
    fn everyone_asks(&mut self) {
        self.what_is_due_happens();
        let (clients, scene) = self.scene();
        let able = |client: &Client| {
            client.can_speak() && client.stage == Stage::Open && !client.stalled && client.is_websocket()
        };
        for client in clients.iter_mut().filter(|client| able(client)) {
            for channel in 0..scene.truth.names.len() {
                client.ask(Kind::Presence, Some(channel), scene.truth);
            }
        }
        self.settle();
        let followers = self.followers();
        for client in self.clients.iter().filter(|client| able(client)) {
            for (channel, count) in followers.iter().enumerate() {
                let told = client.book.count(channel);
                let expected = self.truth.counted[channel].then_some(*count);
                assert_eq!(told, expected, "client {} asks about {channel}", client.serial);
            }
        }
    }
}

/// Whether it is told how many follow a channel. Nobody is that polls.
fn hears(client: &Client) -> bool {
    !client.stalled && !client.hidden && !matches!(client.way, Way::Poll(_))
}
