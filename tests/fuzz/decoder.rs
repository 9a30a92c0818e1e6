//! The decoder against itself: the same bytes in any pieces say the same, and cost no more memory than the limit.

use std::collections::HashMap;

use roost::limits::CONTROL_BYTES_MAX;
use roost::proto::decoder::{Decoder, Event, Fault, Role, Rules};

use crate::rng::Rng;
use crate::streams;

/// Streams tried.
const SEEDS: u64 = 5_000;
/// Bytes of a stream of which every cut is tried.
const EVERY_CUT_BYTES_MAX: usize = 64;
/// Random cuttings of a longer one.
const CUTTINGS: usize = 4;

/// What a stream said, and the fault that ended it.
pub(crate) type Outcome = (Vec<String>, Option<Fault>);

/// Holds for any bytes, whoever they come from and whatever the limit.
pub(crate) fn decoder(bytes: &[u8]) {
    for role in [Role::Server, Role::Client] {
        for message_bytes_max in [0, 100, streams::MESSAGE_BYTES_MAX, usize::MAX] {
            cuts_make_no_difference(bytes, &Rules { role, message_bytes_max });
        }
    }
}

/// What `bytes` say in one piece, in single bytes, in every two pieces if they are few, else in random ones.
fn cuts_make_no_difference(bytes: &[u8], rules: &Rules) {
    let whole = decode(bytes, std::iter::empty(), rules);
    assert_eq!(decode(bytes, 1..bytes.len(), rules), whole, "byte by byte: {rules:?} {bytes:02X?}");
    if bytes.len() <= EVERY_CUT_BYTES_MAX {
        for cut in 1..bytes.len() {
            assert_eq!(decode(bytes, [cut], rules), whole, "cut at {cut}: {rules:?} {bytes:02X?}");
        }
        return;
    }
    let mut rng = Rng::new(bytes.len() as u64);
    for _ in 0..CUTTINGS {
        let mut cuts: Vec<usize> = (0..=rng.below(20)).map(|_| rng.below(bytes.len())).collect();
        cuts.sort_unstable();
        assert_eq!(
            decode(bytes, cuts.iter().copied(), rules),
            whole,
            "cut at {cuts:?}: {rules:?} {bytes:02X?}"
        );
    }
}

/// Decodes `bytes`, cut at these places, which rise.
pub(crate) fn decode(bytes: &[u8], cuts: impl IntoIterator<Item = usize>, rules: &Rules) -> Outcome {
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    let mut start = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        let mut piece = bytes[start..end].to_vec();
        if let Err(fault) = feed(&mut decoder, &mut piece, rules, &mut said) {
            let again = feed(&mut decoder, &mut bytes[end..].to_vec(), rules, &mut said);
            assert_eq!(again, Err(fault), "a dead decoder repeats its fault");
            return (said, Some(fault));
        }
        start = end;
        assert!(decoder.heap_bytes() <= 2 * start + CONTROL_BYTES_MAX, "more memory than twice what arrived");
        if decoder.is_idle() {
            assert_eq!(decoder.heap_bytes(), 0, "an idle decoder owns no heap");
            // The shard does so: nobody may notice.
            decoder = Decoder::default();
        }
    }
    (said, None)
}

/// Feeds one piece, and adds what it says to `said`.
fn feed(decoder: &mut Decoder, piece: &mut [u8], rules: &Rules, said: &mut Vec<String>) -> Result<(), Fault> {
    let heap_bytes_max = rules.message_bytes_max.saturating_add(CONTROL_BYTES_MAX);
    let mut at = 0;
    loop {
        let mut used = 0;
        let event = decoder.next(&mut piece[at..], &mut used, rules)?;
        at += used;
        let incomplete = event == Event::Incomplete;
        if !incomplete {
            said.push(format!("{event:?}"));
        }
        assert!(decoder.heap_bytes() <= heap_bytes_max, "more memory than the limit: {rules:?}");
        if incomplete {
            assert_eq!(at, piece.len(), "incomplete before the input was used up");
            return Ok(());
        }
    }
}

#[test]
fn the_decoder_understands_any_bytes_the_same_in_any_pieces() {
    for seed in 0..SEEDS {
        let stream = streams::any(&mut Rng::new(seed));
        let outcome = std::panic::catch_unwind(|| decoder(&stream));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_seeded_streams_show_every_fault_of_a_client_many_times() {
    let rules = Rules { role: Role::Server, message_bytes_max: streams::MESSAGE_BYTES_MAX };
    let mut counts = HashMap::new();
    for seed in 0..SEEDS {
        let (_, fault) = decode(&streams::any(&mut Rng::new(seed)), std::iter::empty(), &rules);
        *counts.entry(fault.map(|fault| std::mem::discriminant(&fault))).or_insert(0) += 1;
    }
    let faults = [
        Fault::ReservedBits,
        Fault::ReservedOpcode,
        Fault::Unmasked,
        Fault::LengthNotMinimal,
        Fault::LengthTopBit,
        Fault::ControlTooLong,
        Fault::ControlFragmented,
        Fault::ContinuationWithoutStart,
        Fault::DataInsideMessage,
        Fault::TooBig,
        Fault::TooManyFragments,
        Fault::InvalidUtf8,
        Fault::CloseTooShort,
        Fault::CloseCode(0),
    ];
    for fault in faults.map(Some).into_iter().chain([None]) {
        let count = counts.get(&fault.map(|fault| std::mem::discriminant(&fault))).copied().unwrap_or(0);
        assert!(count >= 10, "{fault:?} came {count} times");
    }
}
