//! The masking of RFC 6455 §5.3: an XOR with a key of four bytes. Must never know what the bytes mean.

/// Bytes masked at a time: four machine words, which the compiler turns into vector instructions.
const BLOCK_BYTES: usize = 32;
/// Bytes of the steps between the last block and the last few bytes.
const WORD_BYTES: usize = 8;

/// Unmasks `payload` in place; the same call masks, for XOR is its own inverse.
///
/// `phase` is the place of the first byte within the frame's whole payload; only its remainder modulo 4 counts.
/// A payload that arrives in pieces is unmasked piece by piece.
#[inline]
pub fn unmask(payload: &mut [u8], mut key: [u8; 4], phase: usize) {
    // With the key turned to the first byte's place, every block, word and tail below begins at key[0].
    key.rotate_left(phase % 4);
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);

    let (blocks, rest) = payload.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<WORD_BYTES>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    let (words, tail) = rest.as_chunks_mut::<WORD_BYTES>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key_byte) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key_byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The RFC's own words: octet i is XORed with octet i modulo 4 of the key.
    fn unmask_naive(payload: &mut [u8], key: [u8; 4], phase: usize) {
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[(phase + at) % 4];
        }
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at as u8).wrapping_mul(37) ^ 0x5A).collect()
    }

    #[test]
    fn every_length_alignment_and_phase_gives_what_the_naive_twin_gives() {
        let key = [0x12, 0xA4, 0x00, 0xFF];
        for len in 0..=300 {
            for alignment in 0..8 {
                for phase in 0..4 {
                    let mut fast = sample(alignment + len);
                    let mut naive = fast.clone();
                    unmask(&mut fast[alignment..], key, phase);
                    unmask_naive(&mut naive[alignment..], key, phase);
                    assert_eq!(fast, naive, "length {len}, alignment {alignment}, phase {phase}");
                }
            }
        }
    }

    #[test]
    fn a_payload_unmasked_in_two_pieces_is_the_payload_unmasked_at_once() {
        let key = [1, 2, 3, 4];
        let mut whole = sample(100);
        unmask(&mut whole, key, 0);
        for cut in 0..=100 {
            let mut pieces = sample(100);
            let (head, tail) = pieces.split_at_mut(cut);
            unmask(head, key, 0);
            unmask(tail, key, cut);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_masked_hello_of_the_rfc_is_read() {
        // RFC 6455 §5.7, "A single-frame masked text message".
        let mut payload = [0x7F, 0x9F, 0x4D, 0x51, 0x58];
        unmask(&mut payload, [0x37, 0xFA, 0x21, 0x3D], 0);
        assert_eq!(&payload, b"Hello");
    }
}
