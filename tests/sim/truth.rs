//! What was really published: the owner's numbering is the truth, and everybody's notifications must agree with it.

use std::collections::HashMap;

/// Data by channel, epoch and offset, from whoever names it first.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    data: HashMap<(String, u64), String>,
    heads: HashMap<String, String>,
    next: u64,
}

impl Truth {
    /// Data that was never published before, with oddities that must survive byte for byte.
    pub(crate) fn fresh_data(&mut self) -> String {
        self.next += 1;
        format!(r#"{{ "n":{}, "big":12345678901234567890,"e":"\u00e9" }}"#, self.next)
    }

    /// Somebody says that `data` is publication `offset` of `channel`.
    pub(crate) fn agree(&mut self, channel: &str, offset: u64, data: &str) {
        let known = self.data.entry((channel.to_owned(), offset)).or_insert_with(|| data.to_owned());
        assert_eq!(known, data, "two publications are number {offset} of {channel}");
    }

    /// Somebody says where a channel stands.
    pub(crate) fn note_epoch(&mut self, channel: &str, epoch: &str) {
        let known = self.heads.entry(channel.to_owned()).or_insert_with(|| epoch.to_owned());
        assert_eq!(known, epoch, "two epochs of {channel} in one run");
    }
}
