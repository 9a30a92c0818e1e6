//! UTF-8 checked as it arrives: in any pieces, failing at the first byte that no text can contain at its place.
//! Must never know where the pieces come from.
//!
//! A character takes up to four bytes, so a piece may end within one. Its first one to three bytes are kept and
//! completed from the next piece; everything between is checked where it lies, at memory speed, by simdutf8.

/// The bytes are not UTF-8, and no further bytes could make them so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8;

/// A check of one text in progress. The default is a check of the empty text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8Checker {
    /// The beginning of a character that the pieces so far ended within, and room for its last byte.
    tail: [u8; 4],
    /// Bytes in `tail`: at most 3 between two calls.
    tail_len: u8,
}

impl Utf8Checker {
    /// Checks the next piece of the text.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as a byte cannot be part of any UTF-8 text, also within a character: the second byte
    /// of F4 90 or ED A0 is refused without waiting for a third. The checker is then as new.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete(piece)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            // No length means: valid so far, and the piece ends within a character.
            Err(error) if error.error_len().is_none() => {
                let tail = &rest[error.valid_up_to()..];
                self.tail[..tail.len()].copy_from_slice(tail);
                self.tail_len = tail.len() as u8;
                Ok(())
            }
            Err(_) => Err(InvalidUtf8),
        }
    }

    /// Ends the text and makes the checker as new.
    ///
    /// # Errors
    /// [`InvalidUtf8`] when the text ends within a character.
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        let tail_len = std::mem::take(&mut self.tail_len);
        if tail_len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Completes the kept character from the front of `piece` and returns what is left of it.
    fn complete<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        while self.tail_len > 0
            && let Some((&first, rest)) = piece.split_first()
        {
            let len = usize::from(self.tail_len) + 1;
            self.tail[len - 1] = first;
            self.tail_len = match std::str::from_utf8(&self.tail[..len]) {
                Ok(_) => 0,
                // Four bytes are a character or a fault, so this is at most the third byte.
                Err(error) if error.error_len().is_none() => self.tail_len + 1,
                Err(_) => {
                    self.tail_len = 0;
                    return Err(InvalidUtf8);
                }
            };
            piece = rest;
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether some text begins with `bytes`, and whether `bytes` are a text themselves.
    fn naive(bytes: &[u8]) -> (bool, bool) {
        match std::str::from_utf8(bytes) {
            Ok(_) => (true, true),
            Err(error) => (error.error_len().is_none(), false),
        }
    }

    /// Pushes `text` in pieces of the given lengths, in turn, and says how many bytes had been taken at the fault.
    fn check(text: &[u8], pieces: impl IntoIterator<Item = usize>) -> Result<(), usize> {
        let mut checker = Utf8Checker::default();
        let mut at = 0;
        for len in pieces {
            let end = text.len().min(at + len);
            checker.push(&text[at..end]).map_err(|InvalidUtf8| end)?;
            at = end;
            if at == text.len() {
                break;
            }
        }
        checker.push(&text[at..]).map_err(|InvalidUtf8| text.len())?;
        checker.finish().map_err(|InvalidUtf8| text.len() + 1)
    }

    /// What [`check`] gives for the smallest pieces, from the definition.
    fn first_impossible(text: &[u8]) -> Result<(), usize> {
        if let Some(end) = (1..=text.len()).find(|&end| !naive(&text[..end]).0) {
            return Err(end);
        }
        if naive(text).1 { Ok(()) } else { Err(text.len() + 1) }
    }

    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let text = prop_oneof![any::<String>(), "[a-zé€😀]{0,200}"];
        let mutation = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
        (text, mutation).prop_map(|(text, mutation)| {
            let mut bytes = text.into_bytes();
            if let Some((at, byte)) = mutation
                && !bytes.is_empty()
            {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn byte_by_byte_the_check_fails_at_the_first_impossible_byte(text in nearly_text()) {
            prop_assert_eq!(check(&text, std::iter::repeat(1)), first_impossible(&text));
        }

        #[test]
        fn in_any_pieces_the_check_fails_in_the_piece_with_the_first_impossible_byte(
            text in nearly_text(),
            pieces in prop::collection::vec(0usize..100, 0..20),
        ) {
            let expected = first_impossible(&text).map_err(|end| {
                let ends = pieces.iter().scan(0, |at, len| { *at += len; Some(*at) });
                // The end of the text is a piece of its own, and so is finishing it.
                ends.chain([text.len(), text.len() + 1])
                    .find(|&piece_end| piece_end >= end)
                    .map(|piece_end| if end > text.len() { end } else { piece_end.min(text.len()) })
                    .unwrap_or(end)
            });
            prop_assert_eq!(check(&text, pieces), expected);
        }
    }

    #[test]
    fn every_sequence_of_three_bytes_from_the_edges_of_the_table_is_judged_as_std_does() {
        // The bytes where the table of RFC 3629 §4 changes its mind.
        let edges = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
            0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ];
        for a in edges {
            for b in edges {
                for c in edges {
                    let text = [a, b, c];
                    assert_eq!(check(&text, std::iter::repeat(1)), first_impossible(&text), "{text:02X?}");
                    assert_eq!(check(&text, [3]).is_ok(), naive(&text).1, "{text:02X?}");
                }
            }
        }
    }

    #[test]
    fn every_length_and_every_cut_of_a_text_is_accepted_whatever_the_size_of_its_characters() {
        for unit in ["a", "é", "€", "😀", "aé€😀"] {
            let text = unit.repeat(300 / unit.len());
            for len in 0..=text.len() {
                let expected = text.is_char_boundary(len);
                for cut in [0, 1, 2, 3, len / 2, len.saturating_sub(1), len] {
                    let whole = check(&text.as_bytes()[..len], [cut.min(len)]);
                    assert_eq!(whole.is_ok(), expected, "{unit} cut at {cut} of {len}");
                }
            }
        }
    }

    #[test]
    fn a_hopeless_second_byte_fails_at_once() {
        for prefix in [[0xF4, 0x90], [0xED, 0xA0], [0xE0, 0x80], [0xF0, 0x80], [0xC3, 0x28]] {
            let mut checker = Utf8Checker::default();
            assert_eq!(checker.push(&prefix[..1]), Ok(()));
            assert_eq!(checker.push(&prefix[1..]), Err(InvalidUtf8), "{prefix:02X?}");
        }
    }

    #[test]
    fn after_a_fault_or_an_end_the_checker_is_as_new() {
        let mut checker = Utf8Checker::default();
        checker.push(&[0xF0, 0x9F]).unwrap();
        assert_eq!(checker.finish(), Err(InvalidUtf8));
        checker.push(&[0xF0, 0x9F]).unwrap();
        assert_eq!(checker.push(b"a"), Err(InvalidUtf8));
        assert_eq!(checker.push(b"a"), Ok(()));
        assert_eq!(checker.finish(), Ok(()));
    }
}
