//! How a client comes back: from which cursors, and after how long. Must never know a socket, a clock or a random source.

use std::time::Duration;

use crate::disconnect::Disconnect;
use crate::limits::{RECONNECT_BASE_MS, RECONNECT_CAP_MS, RETRY_AFTER_MS_MAX};

/// The channels of a client, each with the cursor up to which it has everything (PROTOCOL §2, "cursors").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursors {
    channels: Vec<(String, Option<Cursor>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    epoch: String,
    offset: u64,
}

impl Cursors {
    /// The channels, nothing received yet.
    pub(super) fn new(channels: impl IntoIterator<Item = String>) -> Self {
        Self { channels: channels.into_iter().map(|channel| (channel, None)).collect() }
    }

    /// The query that subscribes to all channels where each was left.
    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let resumes = self.channels.iter().any(|(_, cursor)| cursor.is_some());
        for (channel, cursor) in &self.channels {
            query.append_pair("channel", channel);
            if resumes {
                let since = cursor.as_ref().map(|cursor| format!("{}-{}", cursor.epoch, cursor.offset));
                query.append_pair("since", &since.unwrap_or_default());
            }
        }
        query.finish()
    }

    /// The node subscribed us; `cursor` is the head of the channel. What was missed comes after this, so only a client
    /// that had nothing starts at the head; in a new epoch it has nothing until notifications or a gap say otherwise.
    pub(super) fn subscribed(&mut self, channel: &str, cursor: &str) {
        if let (Some(ours), Some(head)) = (self.of(channel), parse(cursor)) {
            match ours {
                None => *ours = Some(head),
                Some(ours) if ours.epoch == head.epoch => {}
                Some(ours) => *ours = Cursor { epoch: head.epoch, offset: 0 },
            }
        }
    }

    /// A notification came.
    pub(super) fn notified(&mut self, channel: &str, offset: u64) {
        if let Some(Some(ours)) = self.of(channel) {
            ours.offset = offset;
        }
    }

    /// Publications are lost, and the node says where we stand after them.
    pub(super) fn skipped(&mut self, channel: &str, cursor: &str) {
        if let (Some(ours), Some(after)) = (self.of(channel), parse(cursor)) {
            *ours = Some(after);
        }
    }

    fn of(&mut self, channel: &str) -> Option<&mut Option<Cursor>> {
        self.channels.iter_mut().find(|(name, _)| name == channel).map(|(_, cursor)| cursor)
    }
}

fn parse(cursor: &str) -> Option<Cursor> {
    let (epoch, offset) = cursor.rsplit_once('-')?;
    Some(Cursor { epoch: epoch.to_owned(), offset: offset.parse().ok()? })
}

/// How long to wait before the next attempt: full jitter, so that a crowd cut off at once does not come back at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a connection that lasted `lasted`. `random` is any number; `asked` is what the node asked for, and
    /// at least that is waited. Only a connection that held for a while shows that the trouble is over.
    pub(super) fn wait(&mut self, lasted: Duration, asked: Option<Duration>, random: u64) -> Duration {
        if lasted >= Duration::from_millis(RECONNECT_CAP_MS) {
            self.failures = 0;
        }
        let doubled = RECONNECT_BASE_MS.saturating_mul(1u64.checked_shl(self.failures).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1);
        let jittered = random % (doubled.min(RECONNECT_CAP_MS) + 1);
        let asked = asked.unwrap_or_default().min(Duration::from_millis(RETRY_AFTER_MS_MAX));
        asked.max(Duration::from_millis(jittered))
    }
}

/// Whether a close with this code leaves a client welcome: as the table of disconnects says, else yes.
pub(super) fn may_return(code: u16) -> bool {
    Disconnect::ALL
        .iter()
        .find(|disconnect| disconnect.code() == code)
        .is_none_or(|disconnect| disconnect.may_return())
}

/// The `retry_after_ms=N` of a close reason.
pub(super) fn retry_after(reason: &str) -> Option<Duration> {
    let (_, after) = reason.split_once("retry_after_ms=")?;
    let digits = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn two() -> Cursors {
        Cursors::new(["a".to_owned(), "b:ä&".to_owned()])
    }

    #[test]
    fn a_client_that_has_nothing_asks_for_nothing_missed() {
        assert_eq!(two().query(), "channel=a&channel=b%3A%C3%A4%26");
    }

    #[test]
    fn a_client_comes_back_where_it_was_and_starts_a_new_channel_at_its_head() {
        let mut cursors = two();
        cursors.subscribed("a", "x-5");
        assert_eq!(cursors.query(), "channel=a&since=x-5&channel=b%3A%C3%A4%26&since=");
        cursors.notified("a", 6);
        cursors.subscribed("b:ä&", "x-0");
        assert_eq!(cursors.query(), "channel=a&since=x-6&channel=b%3A%C3%A4%26&since=x-0");
    }

    #[test]
    fn the_head_in_subscribed_does_not_skip_what_is_still_to_be_replayed() {
        let mut cursors = Cursors::new(["a".to_owned()]);
        cursors.subscribed("a", "x-5");
        cursors.subscribed("a", "x-9");
        assert_eq!(cursors.query(), "channel=a&since=x-5");
        cursors.notified("a", 6);
        assert_eq!(cursors.query(), "channel=a&since=x-6");
    }

    #[test]
    fn a_new_epoch_and_a_gap_move_the_cursor() {
        let mut cursors = Cursors::new(["a".to_owned()]);
        cursors.subscribed("a", "x-5");
        cursors.subscribed("a", "y-3");
        assert_eq!(cursors.query(), "channel=a&since=y-0");
        cursors.skipped("a", "y-3");
        assert_eq!(cursors.query(), "channel=a&since=y-3");
    }

    #[test]
    fn what_is_no_cursor_or_no_channel_of_ours_changes_nothing() {
        let mut cursors = two();
        cursors.subscribed("c", "x-5");
        cursors.subscribed("a", "x5");
        cursors.skipped("a", "x-");
        cursors.notified("a", 9);
        assert_eq!(cursors, two());
    }

    #[test]
    fn waits_double_up_to_a_cap_and_begin_anew_after_a_connection_that_held() {
        let mut backoff = Backoff::default();
        let mut longest = |lasted: u64| {
            let mut probe = Backoff { failures: backoff.failures };
            // Among this many numbers in a row every wait within the bound occurs, so the largest is the bound.
            let most = (0..=RECONNECT_CAP_MS).map(|random| {
                probe.failures = backoff.failures;
                probe.wait(Duration::from_millis(lasted), None, random)
            });
            let most = most.max().unwrap();
            backoff.wait(Duration::from_millis(lasted), None, 0);
            most.as_millis()
        };
        assert_eq!([0; 8].map(&mut longest), [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!([RECONNECT_CAP_MS, 0].map(&mut longest), [500, 1_000]);
    }

    #[test]
    fn at_least_what_the_node_asks_for_is_waited_within_reason() {
        let asked =
            |ms| Backoff::default().wait(Duration::ZERO, Some(Duration::from_millis(ms)), 0).as_millis();
        assert_eq!(asked(1_234), 1_234);
        assert_eq!(asked(u64::MAX), u128::from(RETRY_AFTER_MS_MAX));
    }

    #[test]
    fn a_close_reason_may_carry_the_wait() {
        assert_eq!(retry_after("going away retry_after_ms=1500"), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after("retry_after_ms=7; bye"), Some(Duration::from_millis(7)));
        for without in ["", "going away", "retry_after_ms=", "retry_after_ms=99999999999999999999"] {
            assert_eq!(retry_after(without), None, "{without}");
        }
    }

    #[test]
    fn a_client_stays_away_after_its_own_mistakes_only() {
        for (code, returns) in
            [(1001, true), (1011, true), (1013, true), (4003, true), (1006, true), (1002, false)]
        {
            assert_eq!(may_return(code), returns, "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_number_of_failures_makes_the_wait_overflow(failures in any::<u32>(), random in any::<u64>()) {
            let wait = Backoff { failures }.wait(Duration::ZERO, None, random);
            prop_assert!(wait <= Duration::from_millis(RECONNECT_CAP_MS));
        }
    }
}
