//! Which connection of the node is meant, and how that is written: `welcome` says it to the client, the API to the operator.
//! Must never say whether there is one.

use super::ShardId;
use std::fmt;
use std::str::FromStr;

/// A connection, wherever it lives. A stale key finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey {
    /// Its shard.
    pub shard: ShardId,
    /// Its slot there.
    pub slot: u32,
    /// Which of the slot's connections it is.
    pub generation: u32,
}

/// A text that is no connection's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedConnKey;

impl fmt::Display for ConnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, slot, generation } = self;
        write!(f, "{:x}.{slot:x}.{generation:x}", shard.0)
    }
}

impl FromStr for ConnKey {
    type Err = MalformedConnKey;

    /// Every key has one spelling, the one that it is printed in.
    fn from_str(text: &str) -> Result<Self, MalformedConnKey> {
        let mut parts = text.split('.').map(|part| u32::from_str_radix(part, 16));
        let (Some(Ok(shard)), Some(Ok(slot)), Some(Ok(generation)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedConnKey);
        };
        let shard = ShardId(u16::try_from(shard).map_err(|_| MalformedConnKey)?);
        let key = Self { shard, slot, generation };
        if key.to_string() == text { Ok(key) } else { Err(MalformedConnKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_found_again_by_what_it_is_printed_as(shard: u16, slot: u32, generation: u32) {
            let key = ConnKey { shard: ShardId(shard), slot, generation };
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn any_other_text_is_none(text in "[0-9a-fA-F+. x]{0,12}") {
            if let Ok(key) = text.parse::<ConnKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn there_is_one_spelling() {
        for text in
            ["", "0", "0.1", "0.1.2.3", "0.01.2", "0.A.1", "+0.1.2", "0..1", "10000.0.0", " 0.1.2", "0.1.2 "]
        {
            assert_eq!(text.parse::<ConnKey>(), Err(MalformedConnKey), "{text:?}");
        }
        assert_eq!("0.1f.3".parse(), Ok(ConnKey { shard: ShardId(0), slot: 0x1f, generation: 3 }));
    }
}
