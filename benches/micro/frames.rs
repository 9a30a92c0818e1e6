//! Masking, UTF-8, decoding and encoding of frames.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group};
use roost::proto::decoder::{Decoder, Event, Role, Rules};
use roost::proto::frame::{Opcode, put_frame, put_header, put_masked_frame};
use roost::proto::mask::unmask;
use roost::proto::utf8::Utf8Checker;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// Payload bytes: a chat line, a page of JSON, the longest message by default.
const SIZES: [usize; 3] = [64, 1024, 64 * 1024];
/// Frames that one read brings in the decoder's benchmarks.
const FRAMES: usize = 16;

criterion_group!(frames, mask, utf8, decode, encode);

/// `unmask` beside the RFC's definition, byte by byte.
fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut payload = vec![0x5A; size];
        group.bench_function(BenchmarkId::new("roost", size), |bencher| {
            bencher.iter(|| unmask(black_box(&mut payload), black_box(KEY), black_box(1)));
        });
        group.bench_function(BenchmarkId::new("naive", size), |bencher| {
            bencher.iter(|| unmask_naive(black_box(&mut payload), black_box(KEY), black_box(1)));
        });
    }
}

fn unmask_naive(payload: &mut [u8], key: [u8; 4], phase: usize) {
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[(phase + at) % 4];
    }
}

/// A text in one piece and in two, beside std.
fn utf8(criterion: &mut Criterion) {
    for (name, unit) in [("ascii", "plain words "), ("mixed", "größer 5 € 😀 ")] {
        let mut group = criterion.benchmark_group(format!("utf8/{name}"));
        for size in SIZES {
            let text = unit.repeat(size / unit.len() + 1);
            let text = &text.as_bytes()[..text.floor_char_boundary(size)];
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new("simd", size), |bencher| {
                bencher.iter(|| simdutf8::basic::from_utf8(black_box(text)).is_ok());
            });
            group.bench_function(BenchmarkId::new("checker, two pieces", size), |bencher| {
                bencher.iter(|| {
                    let (head, tail) = black_box(text).split_at(size / 2 + 1);
                    let mut checker = Utf8Checker::default();
                    checker.push(head).and_then(|()| checker.push(tail)).and_then(|()| checker.finish())
                });
            });
            group.bench_function(BenchmarkId::new("std", size), |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(text)).is_ok());
            });
        }
    }
}

/// Reads of several text frames: whole ones, and the same cut into reads that end within a frame.
///
/// The input is copied afresh for each round, outside the measured time: decoding unmasks it.
fn decode(criterion: &mut Criterion) {
    let rules = Rules { role: Role::Server, message_bytes_max: 64 * 1024 };
    let mut group = criterion.benchmark_group("decode");
    for size in SIZES {
        let mut stream = Vec::new();
        for _ in 0..FRAMES {
            put_masked_frame(&mut stream, Opcode::Text, &vec![b'a'; size], KEY);
        }
        group.throughput(Throughput::Elements(FRAMES as u64));
        let whole = stream.len();
        bench_reads(&mut group, BenchmarkId::new("whole frames", size), &stream, whole, &rules);
        // Not a divisor of a frame, so that reads end in headers and payloads alike.
        let part = size / 2 + 5;
        bench_reads(&mut group, BenchmarkId::new("half frames", size), &stream, part, &rules);
    }
}

fn bench_reads(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    stream: &[u8],
    read_bytes: usize,
    rules: &Rules,
) {
    group.bench_function(id, |bencher| {
        bencher.iter_batched_ref(
            || stream.to_vec(),
            |input| {
                let mut decoder = Decoder::default();
                let messages: usize =
                    input.chunks_mut(read_bytes).map(|read| decode_read(&mut decoder, read, rules)).sum();
                assert_eq!(messages, FRAMES);
            },
            BatchSize::LargeInput,
        );
    });
}

/// Decodes all of one read and counts its messages.
fn decode_read(decoder: &mut Decoder, read: &mut [u8], rules: &Rules) -> usize {
    let mut at = 0;
    let mut messages = 0;
    loop {
        let mut used = 0;
        match decoder.next(&mut read[at..], &mut used, rules) {
            Ok(Event::Incomplete) | Err(_) => return messages,
            Ok(event) => {
                black_box(event);
                messages += 1;
            }
        }
        at += used;
    }
}

/// A header alone, as a shared publication needs it, and a whole frame.
fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in SIZES {
        let payload = vec![b'a'; size];
        let mut out = Vec::with_capacity(size + 64);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("header", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                put_header(&mut out, Opcode::Text, black_box(size));
                black_box(out.len())
            });
        });
        group.bench_function(BenchmarkId::new("frame", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                put_frame(&mut out, Opcode::Text, black_box(&payload));
                black_box(out.len())
            });
        });
        group.bench_function(BenchmarkId::new("masked frame", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                put_masked_frame(&mut out, Opcode::Text, black_box(&payload), KEY);
                black_box(out.len())
            });
        });
    }
}
