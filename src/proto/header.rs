//! Frame headers as they are read: at once, or in any pieces. Must never know what came before the frame.

use super::fault::Fault;
use super::frame::{FIN, HEADER_BYTES_MAX, LENGTH_16, LENGTH_64, MASK, Opcode, RESERVED};
use crate::limits::CONTROL_BYTES_MAX;

/// Which side of the connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Frames come from a client and must be masked (RFC 6455 §5.1).
    Server,
    /// Frames come from a server and must not be masked.
    Client,
}

/// The header of one frame, lawful by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether the frame is the last of its message.
    pub(super) fin: bool,
    /// What the frame is.
    pub(super) opcode: Opcode,
    /// The key of a masked frame.
    pub(super) key: Option<[u8; 4]>,
    /// Bytes of payload announced.
    pub(super) payload_len: usize,
    /// Bytes that the header itself took.
    header_len: usize,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` while bytes of it are missing.
    ///
    /// A byte is judged as soon as it is there and in the order of arrival, so more bytes never change the fault.
    #[inline]
    fn read(bytes: &[u8], role: Role) -> Result<Option<Self>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Fault::ReservedBits);
        }
        let opcode = Opcode::from_wire(first & 0x0F).ok_or(Fault::ReservedOpcode)?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Fault::ControlFragmented);
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASK != 0;
        match role {
            Role::Server if !masked => return Err(Fault::Unmasked),
            Role::Client if masked => return Err(Fault::Masked),
            Role::Server | Role::Client => {}
        }
        let short = second & !MASK;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Fault::ControlTooLong);
        }

        let Some((payload_len, after_len)) = read_length(short, bytes)? else { return Ok(None) };
        let (key, header_len) = if masked {
            let Some(key) = bytes[after_len..].first_chunk() else { return Ok(None) };
            (Some(*key), after_len + key.len())
        } else {
            (None, after_len)
        };
        Ok(Some(Self { fin, opcode, key, payload_len, header_len }))
    }
}

/// The payload length and the place after it; `short` is the second byte of the header without its top bit.
#[inline]
fn read_length(short: u8, bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let (len, after_len) = match short {
        LENGTH_16 => {
            let Some(len) = bytes[2..].first_chunk() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(*len));
            if len < u64::from(LENGTH_16) {
                return Err(Fault::LengthNotMinimal);
            }
            (len, 4)
        }
        LENGTH_64 => {
            let Some(len) = bytes[2..].first_chunk() else { return Ok(None) };
            let len = u64::from_be_bytes(*len);
            if len > i64::MAX as u64 {
                return Err(Fault::LengthTopBit);
            }
            if len <= u64::from(u16::MAX) {
                return Err(Fault::LengthNotMinimal);
            }
            (len, 10)
        }
        short => return Ok(Some((usize::from(short), 2))),
    };
    // What no address space holds is over every limit, too.
    Ok(Some((usize::try_from(len).unwrap_or(usize::MAX), after_len)))
}

/// Reads a header that may arrive in pieces. The default is a reader at the boundary between two frames.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HeaderReader {
    /// The bytes of an incomplete header.
    kept: [u8; HEADER_BYTES_MAX],
    /// How many they are: 0 at a boundary.
    kept_len: u8,
}

impl HeaderReader {
    /// Whether no byte of a header is waiting for its fellows.
    pub(super) fn is_empty(&self) -> bool {
        self.kept_len == 0
    }

    /// Takes a header off `input` from `at` on, which it moves; `None` when all of `input` was taken and more is needed.
    #[inline]
    pub(super) fn take(&mut self, input: &[u8], at: &mut usize, role: Role) -> Result<Option<Header>, Fault> {
        if self.is_empty()
            && let Some(header) = Header::read(&input[*at..], role)?
        {
            *at += header.header_len;
            return Ok(Some(header));
        }
        self.resume(input, at, role)
    }

    /// [`HeaderReader::take`] where the header is in pieces.
    #[cold]
    fn resume(&mut self, input: &[u8], at: &mut usize, role: Role) -> Result<Option<Header>, Fault> {
        let old_len = usize::from(self.kept_len);
        let more = &input[*at..input.len().min(*at + HEADER_BYTES_MAX - old_len)];
        let len = old_len + more.len();
        self.kept[old_len..len].copy_from_slice(more);
        let header = Header::read(&self.kept[..len], role)?;
        if let Some(header) = header {
            // The kept bytes alone were no header, so this one ends within the bytes just added.
            *at += header.header_len - old_len;
            self.kept_len = 0;
        } else {
            *at += more.len();
            self.kept_len = len as u8;
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(bytes: &[u8]) -> Result<Option<Header>, Fault> {
        Header::read(bytes, Role::Server)
    }

    #[test]
    fn each_form_of_the_length_is_read_to_its_bounds_and_not_below() {
        let read = |bytes: &[u8]| server(bytes).map(|header| header.unwrap().payload_len);
        assert_eq!(read(&[0x82, 0x80, 0, 0, 0, 0]), Ok(0));
        assert_eq!(read(&[0x82, 0x80 | 125, 0, 0, 0, 0]), Ok(125));
        assert_eq!(read(&[0x82, 0xFE, 0, 125, 0, 0, 0, 0]), Err(Fault::LengthNotMinimal));
        assert_eq!(read(&[0x82, 0xFE, 0, 126, 0, 0, 0, 0]), Ok(126));
        assert_eq!(read(&[0x82, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0]), Ok(65_535));
        assert_eq!(read(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), Err(Fault::LengthNotMinimal));
        assert_eq!(read(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Ok(65_536));
        assert_eq!(read(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::LengthTopBit));
        assert_eq!(read(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0]), Err(Fault::LengthTopBit));
    }

    #[test]
    fn a_faulty_byte_is_told_the_moment_it_is_there() {
        for reserved in [0x40, 0x20, 0x10, 0x70] {
            for opcode in [0x0, 0x1, 0x8] {
                assert_eq!(server(&[0x80 | reserved | opcode]), Err(Fault::ReservedBits));
            }
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(server(&[0x80 | opcode]), Err(Fault::ReservedOpcode));
        }
        for opcode in [8, 9, 10] {
            assert_eq!(server(&[opcode]), Err(Fault::ControlFragmented));
            for short in [126, 127] {
                assert_eq!(server(&[0x80 | opcode, 0x80 | short]), Err(Fault::ControlTooLong));
            }
        }
        assert_eq!(server(&[0x81, 0x05]), Err(Fault::Unmasked));
        assert_eq!(Header::read(&[0x81, 0x85], Role::Client), Err(Fault::Masked));
    }

    #[test]
    fn every_pair_of_first_bytes_is_judged_the_same_in_one_piece_and_in_two() {
        for role in [Role::Server, Role::Client] {
            for pair in 0..=u16::MAX {
                let mut bytes = [1; HEADER_BYTES_MAX];
                bytes[..2].copy_from_slice(&pair.to_be_bytes());
                let whole = Header::read(&bytes, role);
                for cut in 1..HEADER_BYTES_MAX {
                    let mut reader = HeaderReader::default();
                    let mut at = 0;
                    let in_two = reader.take(&bytes[..cut], &mut at, role).and_then(|header| match header {
                        Some(header) => Ok(Some(header)),
                        None => reader.take(&bytes, &mut at, role),
                    });
                    assert_eq!(in_two, whole, "{pair:04X} cut at {cut}");
                    if let Ok(Some(header)) = whole {
                        assert_eq!(at, header.header_len, "{pair:04X} cut at {cut}");
                        assert!(reader.is_empty());
                    }
                }
            }
        }
    }
}
