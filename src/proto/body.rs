//! How long a request body is, and a reader for it that resumes at any byte (RFC 9112 §6 and §7).
//! Must never know what a body means.
//!
//! Two readers that disagree about where a body ends are how requests are smuggled: everything that leaves
//! room for doubt is refused, and a connection that sent it is cut.

use super::http::{Head, Refusal, is_token_byte};
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX};
use crate::metrics::cause::Cause;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// Announced by `Content-Length`, in bytes; 0 when nothing was announced.
    Length(u64),
    /// The body says it itself, chunk by chunk.
    Chunked,
}

/// Reads from a head how the body ends.
///
/// # Errors
/// 400 for `Content-Length` that is repeated, empty, not a number or above 2^64, for `Transfer-Encoding`
/// beside it or on HTTP/1.0, and where `chunked` is not the last coding; 501 for every coding but `chunked`.
pub fn body_length(head: &Head<'_>) -> Result<BodyLength, Refusal> {
    let content_length = head.only("content-length")?;
    if head.header("transfer-encoding").is_none() {
        return content_length.map_or(Ok(BodyLength::Length(0)), parse_content_length);
    }
    if content_length.is_some() {
        return Err(Refusal::bad_request("`Content-Length` beside `Transfer-Encoding`: send one of them"));
    }
    if head.minor == 0 {
        return Err(Refusal::bad_request("`Transfer-Encoding` on HTTP/1.0: send `Content-Length`"));
    }
    parse_transfer_encoding(head)
}

fn parse_content_length(value: &[u8]) -> Result<BodyLength, Refusal> {
    let refusal = || Refusal::bad_request("`Content-Length` is not a number of bytes");
    // The standard parser would also take a plus sign.
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(refusal());
    }
    let digits = str::from_utf8(value).map_err(|_| refusal())?;
    digits.parse().map(BodyLength::Length).map_err(|_| refusal())
}

fn parse_transfer_encoding(head: &Head<'_>) -> Result<BodyLength, Refusal> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let count = head.members("transfer-encoding").count();
    let chunked_at = head.members("transfer-encoding").position(is_chunked);
    match (count, chunked_at) {
        (1, Some(0)) => Ok(BodyLength::Chunked),
        (0, _) => Err(Refusal::bad_request("`Transfer-Encoding` is empty: leave it out, or send `chunked`")),
        (_, Some(at)) if at + 1 < count => {
            Err(Refusal::bad_request("`chunked` must be the last `Transfer-Encoding`"))
        }
        (_, _) => Err(Refusal::new(
            501,
            "not_implemented",
            "the only `Transfer-Encoding` understood here is `chunked`",
        )),
    }
}

/// Reads one body, in whatever pieces it arrives, and keeps none of it: the bytes go to the caller's buffer,
/// and never more than the bound it was made with.
///
/// ```text
///  ┌────────────────────────── next chunk ───────────────────────────┐
///  ▼                                                                 │
/// Size ──┬──────────────────────────▶ SizeLf ──▶ Data ▶ DataCr ▶ DataLf
///        │                              ▲ │
///        └▶ Name ▶ Value or Quoted ─────┘ │ size 0
///           (extensions, ignored)         ▼
///                                ┌────▶ Line ──▶ EndLf ──▶ Done
///                                │        │
///                                │        └▶ Trailer ▶ TrailerValue ▶ TrailerLf
///                                └──────────────── next trailer ──────────┘
/// ```
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// Body bytes that may still come before the bound is reached.
    room: u64,
    /// Bytes of chunk extensions and of trailers that may still come, over the whole body.
    extension_room: usize,
    trailer_room: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The rest of a body of announced length.
    Announced { left: u64 },
    /// The hexadecimal size of a chunk.
    Size { size: u64, digits: u8 },
    /// The name of a chunk extension.
    Name { size: u64, empty: bool },
    /// The value of a chunk extension.
    Value { size: u64, empty: bool },
    /// Within a quoted value.
    Quoted { size: u64 },
    /// After a backslash within a quoted value.
    Escaped { size: u64 },
    /// After a quoted value.
    Closed { size: u64 },
    /// The LF that ends the line with the size.
    SizeLf { size: u64 },
    /// The data of a chunk.
    Data { left: u64 },
    /// The CR after the data.
    DataCr,
    /// The LF after the data.
    DataLf,
    /// The beginning of a line after the last chunk: another trailer, or the end.
    Line,
    /// The name of a trailer.
    Trailer,
    /// The value of a trailer.
    TrailerValue,
    /// The LF that ends a trailer.
    TrailerLf,
    /// The LF that ends the body.
    EndLf,
    /// The body is complete.
    Done,
}

impl BodyReader {
    /// A reader for one body of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// 413 when more is announced: before a byte of it is read.
    pub fn new(length: BodyLength, bytes_max: usize) -> Result<Self, Refusal> {
        let room = bytes_max as u64;
        let state = match length {
            BodyLength::Length(announced) if announced > room => return Err(too_large(room)),
            BodyLength::Length(0) => State::Done,
            BodyLength::Length(left) => State::Announced { left },
            BodyLength::Chunked => State::Size { size: 0, digits: 0 },
        };
        Ok(Self { state, room, extension_room: CHUNK_EXTENSION_BYTES_MAX, trailer_room: TRAILER_BYTES_MAX })
    }

    /// Reads `input` from position `*used` on, moves `*used` past what belongs to the body, and appends the
    /// body's bytes to `out`. Returns whether the body is complete; what follows it in `input` is the next
    /// request and stays untouched.
    ///
    /// # Errors
    /// 413 for more bytes than the bound; 400 for broken framing, and for extensions or trailers beyond
    /// [`CHUNK_EXTENSION_BYTES_MAX`] and [`TRAILER_BYTES_MAX`]. The reader is of no use afterwards.
    pub fn feed(&mut self, input: &[u8], used: &mut usize, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        while let Some(&byte) = input.get(*used) {
            match self.state {
                State::Done => break,
                State::Announced { left } => {
                    let left = take(left, input, used, out);
                    self.state = if left == 0 { State::Done } else { State::Announced { left } };
                }
                State::Data { left } => {
                    let left = take(left, input, used, out);
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                }
                state => {
                    self.state = self.after(state, byte)?;
                    *used += 1;
                }
            }
        }
        Ok(self.state == State::Done)
    }

    /// The state after one byte of framing.
    fn after(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        match state {
            State::Size { size, digits } => self.after_size(size, digits, byte),
            State::Name { .. }
            | State::Value { .. }
            | State::Quoted { .. }
            | State::Escaped { .. }
            | State::Closed { .. } => self.after_extension(state, byte),
            State::SizeLf { size } => {
                expect(byte, b'\n')?;
                self.room -= size; // The size was compared with the room digit by digit.
                Ok(if size == 0 { State::Line } else { State::Data { left: size } })
            }
            State::DataCr => expect(byte, b'\r').map(|()| State::DataLf),
            State::DataLf => expect(byte, b'\n').map(|()| State::Size { size: 0, digits: 0 }),
            State::Line | State::Trailer | State::TrailerValue => self.after_trailer(state, byte),
            State::TrailerLf => expect(byte, b'\n').map(|()| State::Line),
            State::EndLf => expect(byte, b'\n').map(|()| State::Done),
            // `feed` takes the bytes of these itself.
            State::Announced { .. } | State::Data { .. } | State::Done => Ok(state),
        }
    }

    fn after_size(&self, size: u64, digits: u8, byte: u8) -> Result<State, Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == SIZE_DIGITS_MAX {
                return Err(Refusal::bad_request("a chunk size has too many digits"));
            }
            // At most sixteen digits: no overflow.
            let size = size << 4 | u64::from(digit);
            return if size > self.room {
                Err(too_large(self.room))
            } else {
                Ok(State::Size { size, digits: digits + 1 })
            };
        }
        match byte {
            b'\r' if digits > 0 => Ok(State::SizeLf { size }),
            b';' if digits > 0 => Ok(State::Name { size, empty: true }),
            _ => Err(Refusal::bad_request("a chunk size is malformed: send hexadecimal digits and CRLF")),
        }
    }

    /// RFC 9112 §7.1.1, without the "bad whitespace" around `;` and `=` that only old senders need.
    fn after_extension(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        let malformed = || Refusal::bad_request("a chunk extension is malformed: send none");
        self.extension_room = self
            .extension_room
            .checked_sub(1)
            .ok_or_else(|| Refusal::bad_request("too many bytes of chunk extensions: send none"))?;
        match (state, byte) {
            (
                State::Name { size, empty: false }
                | State::Value { size, empty: false }
                | State::Closed { size },
                b'\r',
            ) => Ok(State::SizeLf { size }),
            (
                State::Name { size, empty: false }
                | State::Value { size, empty: false }
                | State::Closed { size },
                b';',
            ) => Ok(State::Name { size, empty: true }),
            (State::Name { size, empty: false }, b'=') => Ok(State::Value { size, empty: true }),
            (State::Name { size, .. }, byte) if is_token_byte(byte) => Ok(State::Name { size, empty: false }),
            (State::Value { size, .. }, byte) if is_token_byte(byte) => {
                Ok(State::Value { size, empty: false })
            }
            (State::Value { size, empty: true }, b'"') => Ok(State::Quoted { size }),
            (State::Quoted { size }, b'"') => Ok(State::Closed { size }),
            (State::Quoted { size }, b'\\') => Ok(State::Escaped { size }),
            (State::Quoted { size } | State::Escaped { size }, byte) if is_text(byte) => {
                Ok(State::Quoted { size })
            }
            (_, _) => Err(malformed()),
        }
    }

    /// Trailers are read to find their end, and ignored: nothing here waits for one (RFC 9110 §6.5.1).
    fn after_trailer(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        if state == State::Line && byte == b'\r' {
            return Ok(State::EndLf);
        }
        self.trailer_room = self
            .trailer_room
            .checked_sub(1)
            .ok_or_else(|| Refusal::new(431, "too_large", "the trailers are too long: send none"))?;
        match (state, byte) {
            (State::Line | State::Trailer, byte) if is_token_byte(byte) => Ok(State::Trailer),
            (State::Trailer, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_text(byte) => Ok(State::TrailerValue),
            (_, _) => Err(Refusal::bad_request("a trailer is malformed: send none")),
        }
    }
}

/// Moves up to `left` bytes from `input` to `out`; returns how many are still to come.
fn take(left: u64, input: &[u8], used: &mut usize, out: &mut Vec<u8>) -> u64 {
    let rest = &input[*used..];
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    out.extend_from_slice(&rest[..count]);
    *used += count;
    left - count as u64
}

fn expect(byte: u8, wanted: u8) -> Result<(), Refusal> {
    if byte == wanted {
        Ok(())
    } else {
        Err(Refusal::bad_request("a chunk or its size does not end with CRLF"))
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

fn too_large(room: u64) -> Refusal {
    Refusal::new(413, "too_large", format!("the body is too long: {room} more bytes would be accepted here"))
        .because(Cause::TooLarge)
}

/// Hexadecimal digits of a chunk size: all that a `u64` holds, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn length(minor: u8, lines: &str) -> Result<BodyLength, u16> {
        let text = format!("POST / HTTP/1.{minor}\r\nHost: a\r\n{lines}\r\n");
        body_length(&Head::parse(text.as_bytes()).unwrap()).map_err(|refusal| refusal.status)
    }

    /// Body and number of bytes used once the body is complete, `None` while it is not.
    type Outcome = Result<Option<(Vec<u8>, usize)>, u16>;

    /// Reads `input` as if it had arrived up to each of `cuts` in turn, and then whole.
    fn read(length: BodyLength, bytes_max: usize, input: &[u8], cuts: &[usize]) -> Outcome {
        let mut reader = BodyReader::new(length, bytes_max).map_err(|refusal| refusal.status)?;
        let (mut used, mut out) = (0, Vec::new());
        for &cut in cuts.iter().chain([&input.len()]) {
            let done = reader.feed(&input[..cut], &mut used, &mut out).map_err(|refusal| refusal.status)?;
            assert!(used <= cut && out.len() <= bytes_max);
            if done {
                return Ok(Some((out, used)));
            }
            assert_eq!(used, cut, "an incomplete body leaves nothing behind");
        }
        Ok(None)
    }

    fn chunked(bytes_max: usize, input: &str) -> Outcome {
        let every_byte: Vec<usize> = (0..input.len()).collect();
        let at_once = read(BodyLength::Chunked, bytes_max, input.as_bytes(), &[]);
        assert_eq!(read(BodyLength::Chunked, bytes_max, input.as_bytes(), &every_byte), at_once, "{input:?}");
        at_once
    }

    fn whole(body: &str, used: usize) -> Outcome {
        Ok(Some((body.as_bytes().to_vec(), used)))
    }

    /// A reader of chunked bodies without extensions or trailers that looks at the whole of them at once.
    fn read_naively(bytes_max: usize, input: &[u8]) -> Outcome {
        let (mut out, mut rest) = (Vec::new(), input);
        loop {
            let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
            let Ok(size) = usize::from_str_radix(str::from_utf8(&rest[..end]).map_err(|_| 400u16)?, 16)
            else {
                return Err(400);
            };
            if size > bytes_max - out.len() {
                return Err(413);
            }
            rest = &rest[end + 2..];
            if rest.len() < size + 2 {
                return Ok(None);
            }
            if &rest[size..size + 2] != b"\r\n" {
                return Err(400);
            }
            out.extend_from_slice(&rest[..size]);
            rest = &rest[size + 2..];
            if size == 0 {
                return Ok(Some((out, input.len() - rest.len())));
            }
        }
    }

    #[test]
    fn a_head_without_a_word_about_it_has_no_body() {
        assert_eq!(length(1, ""), Ok(BodyLength::Length(0)));
        assert_eq!(read(BodyLength::Length(0), 0, b"GET", &[]), whole("", 0));
    }

    #[test]
    fn content_length_is_one_number() {
        for (value, expected) in [("0", 0), ("42", 42), ("003", 3), ("18446744073709551615", u64::MAX)] {
            assert_eq!(
                length(1, &format!("Content-Length: {value}\r\n")),
                Ok(BodyLength::Length(expected)),
                "{value}"
            );
        }
        for value in [
            "",
            "18446744073709551616",
            "1000000000000000000000",
            "-1",
            "+1",
            "4 2",
            "0x5",
            "1.0",
            "5,5",
            "5;",
            "\u{fc}",
        ] {
            assert_eq!(length(1, &format!("Content-Length: {value}\r\n")), Err(400), "{value}");
        }
        assert_eq!(length(1, "Content-Length: 5\r\nContent-Length: 5\r\n"), Err(400));
        assert_eq!(length(1, "Content-Length: 5\r\ncontent-length: 6\r\n"), Err(400));
    }

    #[test]
    fn chunked_is_the_one_coding_and_stands_alone() {
        assert_eq!(length(1, "Transfer-Encoding: chunked\r\n"), Ok(BodyLength::Chunked));
        assert_eq!(length(1, "transfer-encoding: CHUNKED ,\r\n"), Ok(BodyLength::Chunked));
        assert_eq!(length(0, "Transfer-Encoding: chunked\r\n"), Err(400));
        assert_eq!(length(1, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), Err(400));
        assert_eq!(length(1, "Content-Length: 0\r\nTransfer-Encoding:\r\n"), Err(400));
        for (value, status) in [
            ("", 400),
            (",", 400),
            ("chunked, chunked", 400),
            ("chunked, gzip", 400),
            ("gzip, chunked", 501),
            ("identity", 501),
            ("pigeons", 501),
            ("chunkedchunked", 501),
            ("chunked;q=1", 501),
            ("\"chunked\"", 501),
            ("x chunked", 501),
        ] {
            assert_eq!(length(1, &format!("Transfer-Encoding: {value}\r\n")), Err(status), "{value}");
        }
        assert_eq!(length(1, "Transfer-Encoding: chunked\r\nTransfer-Encoding: deflate\r\n"), Err(400));
        assert_eq!(length(1, "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n"), Err(501));
    }

    #[test]
    fn an_announced_body_is_read_to_its_last_byte_and_no_further() {
        for cut in 0..=8 {
            assert_eq!(read(BodyLength::Length(5), 5, b"helloGET", &[cut.min(4)]), whole("hello", 5));
        }
        assert_eq!(read(BodyLength::Length(5), 5, b"hell", &[]), Ok(None));
    }

    #[test]
    fn an_announced_body_beyond_the_bound_is_refused_before_it_is_read() {
        for (announced, accepted) in [(9, true), (10, true), (11, false), (u64::MAX, false)] {
            let made = BodyReader::new(BodyLength::Length(announced), 10)
                .map(|_| ())
                .map_err(|refusal| refusal.status);
            assert_eq!(made, if accepted { Ok(()) } else { Err(413) }, "{announced}");
        }
    }

    #[test]
    fn chunks_are_joined_and_what_follows_them_is_left_alone() {
        assert_eq!(chunked(99, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET"), whole("hello world", 26));
        assert_eq!(chunked(99, "0\r\n\r\n"), whole("", 5));
        assert_eq!(chunked(99, "000a\r\n0123456789\r\n000\r\n\r\n"), whole("0123456789", 25));
        assert_eq!(chunked(99, "A\r\n01\r\n\r\n6789\r\n0\r\n\r\n"), whole("01\r\n\r\n6789", 20));
        assert_eq!(chunked(99, "5\r\nhello\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn chunks_are_bounded_in_sum() {
        assert_eq!(chunked(5, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), whole("abcde", 20));
        assert_eq!(chunked(5, "3\r\nabc\r\n3"), Err(413));
        assert_eq!(chunked(5, "6"), Err(413));
        assert_eq!(chunked(usize::MAX, "ffffffffffffffff\r\nabc"), Ok(None));
        assert_eq!(chunked(usize::MAX, "fffffffffffffff0\r\nabc"), Ok(None));
        assert_eq!(chunked(5, "0000000000000005\r\nhello\r\n0\r\n\r\n"), whole("hello", 30));
        assert_eq!(chunked(5, "00000000000000005"), Err(400));
    }

    #[test]
    fn chunk_framing_is_strict() {
        for input in [
            "\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "5\r5",
            "5\rX",
            "x\r\n",
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\nhello\r0",
            "3\r\nhello",
            "0\r\n\n",
            "0\r\n\rX",
            ";a\r\n",
        ] {
            assert_eq!(chunked(99, input), Err(400), "{input:?}");
        }
    }

    #[test]
    fn extensions_are_checked_ignored_and_bounded() {
        for extension in [";a", ";a=b", ";a=\"b\"", ";a=\"\"", ";a;b=c;d=\"e; \\\" \\\\ \t\";f"] {
            let input = format!("2{extension}\r\nab\r\n0{extension}\r\n\r\n");
            assert_eq!(chunked(99, &input), whole("ab", input.len()), "{extension}");
        }
        for extension in [
            " ;a",
            "; a",
            ";",
            ";a;",
            ";=b",
            ";a=",
            ";a=b\"",
            ";a=\"b",
            ";a=\"b\"c",
            ";a b",
            ";a=\"\u{1}\"",
            ";a\n",
            ";a=\"b\n\"",
            ";a=\"\\\n\"",
        ] {
            assert_eq!(chunked(99, &format!("2{extension}\r\nab\r\n0\r\n\r\n")), Err(400), "{extension:?}");
        }
        // The semicolon and the CR of the extension: the first is read as the end of the size, the second
        // counts.
        let longest = "a".repeat(CHUNK_EXTENSION_BYTES_MAX - 1);
        assert!(chunked(99, &format!("0;{longest}\r\n\r\n")).is_ok_and(|body| body.is_some()));
        assert_eq!(chunked(99, &format!("0;{longest}a\r\n\r\n")), Err(400));
        // In sum, so that many short chunks cannot carry a load of them.
        assert_eq!(chunked(9999, &"1;aaaaaa\r\nx\r\n".repeat(CHUNK_EXTENSION_BYTES_MAX / 6)), Err(400));
    }

    #[test]
    fn trailers_are_checked_ignored_and_bounded() {
        let input = "0\r\nVary: *\r\nX-Y:\r\n\r\n";
        assert_eq!(chunked(9, input), whole("", input.len()));
        for trailer in [" X: y", "X", "X : y", ": y", "X: \u{1}", "X: y\r\n z", "X: a\nb"] {
            assert_eq!(chunked(9, &format!("0\r\n{trailer}\r\n\r\n")), Err(400), "{trailer:?}");
        }
        let longest = "a".repeat(TRAILER_BYTES_MAX - 3);
        assert!(chunked(9, &format!("0\r\nX:{longest}\r\n\r\n")).is_ok_and(|body| body.is_some()));
        assert_eq!(chunked(9, &format!("0\r\nX:{longest}a\r\n\r\n")), Err(431));
    }

    proptest! {
        #[test]
        fn every_split_reads_as_the_naive_twin_does(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            broken in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
            seeds in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            bytes_max in 0..200usize,
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\n\r\nGET / HTTP/1.1\r\n");
            if let Some((at, byte)) = broken {
                let at = at.index(input.len());
                input[at] = byte;
            }
            let mut cuts: Vec<usize> = seeds.iter().map(|seed| seed.index(input.len() + 1)).collect();
            cuts.sort_unstable();
            let at_once = read(BodyLength::Chunked, bytes_max, &input, &[]);
            prop_assert_eq!(&read(BodyLength::Chunked, bytes_max, &input, &cuts), &at_once);
            let every_byte: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&read(BodyLength::Chunked, bytes_max, &input, &every_byte), &at_once);
            if broken.is_none() {
                prop_assert_eq!(&at_once, &read_naively(bytes_max, &input));
            } else if let Ok(Some(body)) = at_once {
                // What the strict reader accepts, the naive one reads the same way, where it understands it
                // at all.
                if let Ok(Some(naive)) = read_naively(bytes_max, &input) {
                    prop_assert_eq!(body, naive);
                }
            }
        }
    }
}
