//! A request head arrives, in any pieces. Must never look at a byte twice that told nothing the first time.

use super::Shard;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::proto::http::{Head, HeadScanner, Refusal};

impl<S: Socket> Shard<S> {
    /// Looks for the end of the head, and does what it asks for once it is there. Returns how many of `bytes` belong to it.
    pub(super) fn feed_head(&mut self, now: Now, slot: u32, bytes: &[u8]) -> usize {
        self.begin_head(now, slot);
        let Some((mut head, mut scanner)) = self.take_head(slot) else {
            let mut scanner = HeadScanner::default();
            let used = self.head_in(now, slot, bytes, &mut scanner);
            return used.unwrap_or_else(|| self.keep_head(slot, bytes.to_vec(), scanner, bytes.len()));
        };
        let before = head.len();
        head.extend_from_slice(bytes);
        match self.head_in(now, slot, &head, &mut scanner) {
            Some(used) => used - before,
            None => self.keep_head(slot, head, scanner, bytes.len()),
        }
    }

    /// The first byte of another request: from now on it has as long as the first had.
    fn begin_head(&mut self, now: Now, slot: u32) {
        if self.conns[slot].phase == Phase::Kept {
            self.enter(slot, Phase::Head);
            self.conns[slot].since = now.tick();
            self.hand.expect(now.mono_ms + self.settings.limits.handshake_timeout_ms);
        }
    }

    /// What came of the head so far.
    fn take_head(&mut self, slot: u32) -> Option<(Vec<u8>, HeadScanner)> {
        let active = self.conns[slot].active.as_mut().filter(|active| !active.head.is_empty())?;
        Some((std::mem::take(&mut active.head), std::mem::take(&mut active.scanner)))
    }

    fn keep_head(&mut self, slot: u32, head: Vec<u8>, scanner: HeadScanner, used: usize) -> usize {
        let active = self.conns[slot].activate();
        (active.head, active.scanner) = (head, scanner);
        used
    }

    /// None when the head goes on behind `bytes`, else where it ends.
    fn head_in(&mut self, now: Now, slot: u32, bytes: &[u8], scanner: &mut HeadScanner) -> Option<usize> {
        let length = match scanner.scan(bytes) {
            Ok(length) => length?,
            Err(refusal) => return self.refuse_head(now, slot, &refusal, bytes.len()),
        };
        let answered = Head::parse(&bytes[..length]).and_then(|head| {
            let head_only = head.method == "HEAD";
            self.answer_head(now, slot, &head).map_err(|refusal| Refusal { head_only, ..refusal })
        });
        match answered {
            Ok(()) => Some(length),
            Err(refusal) => self.refuse_head(now, slot, &refusal, length),
        }
    }

    fn refuse_head(&mut self, now: Now, slot: u32, refusal: &Refusal, used: usize) -> Option<usize> {
        self.refuse(now, slot, refusal);
        Some(used)
    }
}
