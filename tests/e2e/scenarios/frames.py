"""Bytes that no well-behaved client sends, and limits of size and rate: the right close code, and nobody else notices."""

import json

from harness import scenario
from wire import BINARY, CLOSE, PING, PONG, TEXT, frame

MESSAGE_BYTES_MAX = 64 * 1024
PING_MESSAGE = '{"type":"ping"}'
CONTINUATION = 0


def closes(world, code, *frames):
    """Demands that a fresh connection which sends `frames` is closed with `code`, and that a bystander lives on."""
    bystander = world.client()
    wire = world.wire().open()
    wire.send(b"".join(frames))
    got = wire.close_code()
    assert got == code, f"closed with {got}, not {code}: {[one[:20] for one in frames]}"
    # RFC 6455 section 7.1.1: the server closes the TCP connection once both have sent their close frame.
    wire.send(frame(CLOSE, code.to_bytes(2, "big")))
    wire.ended()
    assert bystander.ask({"type": "ping"}) == {"type": "pong"}


@scenario("a message of exactly 64 KiB is accepted and one byte more closes with 1009")
def largest(world):
    client = world.client()
    assert client.ask(PING_MESSAGE.ljust(MESSAGE_BYTES_MAX)) == {"type": "pong"}
    client.say(PING_MESSAGE.ljust(MESSAGE_BYTES_MAX + 1))
    assert client.closed()[0] == 1009


@scenario("a message that grows too big by its fragments closes with 1009")
def too_big_by_fragments(world):
    half = frame(TEXT, " " * (MESSAGE_BYTES_MAX // 2), fin=False)
    rest = frame(CONTINUATION, " " * (MESSAGE_BYTES_MAX // 2), fin=False)
    closes(world, 1009, half, rest, frame(CONTINUATION, " "))


@scenario("a frame that announces too much is refused before its payload arrives")
def announced(world):
    for length in [MESSAGE_BYTES_MAX + 1, 1 << 32, (1 << 63) - 1]:
        closes(world, 1009, frame(TEXT, b"", length=length))
    closes(world, 1002, frame(TEXT, b"", length=(1 << 64) - 1))


@scenario("a binary message closes with 1003")
def binary(world):
    closes(world, 1003, frame(BINARY, b"\x01\x02"))
    closes(world, 1003, frame(BINARY, b""))


@scenario("text that is not UTF-8 closes with 1007, as soon as that is certain")
def bad_utf8(world):
    for text in [b"\xff", b"ok\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]:
        closes(world, 1007, frame(TEXT, text))
    closes(world, 1007, frame(TEXT, b"\xe2\x28", fin=False))
    unfinished = frame(TEXT, b"\xff" + b" " * 100)[:-50]
    closes(world, 1007, unfinished)


@scenario("frames that break RFC 6455 close with 1002")
def broken(world):
    closes(world, 1002, frame(TEXT, PING_MESSAGE, masked=False))
    for reserved in [1, 2, 4, 7]:
        closes(world, 1002, frame(TEXT, PING_MESSAGE, reserved=reserved))
    for opcode in [3, 7, 11, 15]:
        closes(world, 1002, frame(opcode))
    closes(world, 1002, frame(PING, b"x" * 126))
    closes(world, 1002, frame(PING, b"x", fin=False))
    closes(world, 1002, frame(CONTINUATION, b"x"))
    closes(world, 1002, frame(TEXT, b"x", fin=False), frame(TEXT, b"y"))
    # A length in more bytes than it needs.
    closes(world, 1002, bytes([0x81, 0xFE, 0, 5]) + bytes(9))
    closes(world, 1002, bytes([0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5]) + bytes(9))


@scenario("a close frame with a code that may not be sent, a bad reason or one byte closes with 1002 or 1007")
def bad_close(world):
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535]:
        closes(world, 1002, frame(CLOSE, code.to_bytes(2, "big")))
    closes(world, 1002, frame(CLOSE, b"x"))
    closes(world, 1007, frame(CLOSE, b"\x03\xe8\xff"))


@scenario("a close is answered with the same code and nothing after it")
def close(world):
    for code in [1000, 1001, 3000, 4999]:
        wire = world.wire().open()
        wire.send(frame(CLOSE, code.to_bytes(2, "big") + b"bye") + frame(TEXT, PING_MESSAGE))
        opcode, payload = wire.frame()
        assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big")), (opcode, payload)
        wire.ended()
    wire = world.wire().open()
    wire.send(frame(CLOSE))
    assert wire.frame() in [(CLOSE, b""), (CLOSE, b"\x03\xe8")]
    wire.ended()


@scenario("after an invalid frame nothing that follows is processed")
def nothing_after(world):
    listener = world.subscriber("a")
    wire = world.wire().open()
    wire.send(frame(TEXT, b"\xff") + frame(TEXT, '{"type":"subscribe","channel":"a"}'))
    assert wire.close_code() == 1007
    assert world.curl("/channels/a").json()["subscribers"] == 1
    world.publish("a", 1)
    assert listener.hear()["data"] == 1


@scenario("a message in one-byte fragments with pings between them is put together")
def fragments(world):
    wire = world.wire().open()
    for at, one in enumerate(PING_MESSAGE):
        last = at == len(PING_MESSAGE) - 1
        wire.send(frame(TEXT if at == 0 else CONTINUATION, one, fin=last))
        if not last:
            wire.send(frame(PING, str(at)))
            assert wire.frame() == (PONG, str(at).encode())
    opcode, payload = wire.frame()
    assert (opcode, json.loads(payload)) == (TEXT, {"type": "pong"})


@scenario("a client that never stops sending is told rate_limited, then closed with 1008")
def rate(world):
    wire = world.wire().open()
    # More than burst and second together allow, in one go; the close may reset what was not read.
    wire.send(frame(TEXT, PING_MESSAGE) * 2000)
    answers = []
    opcode, payload = wire.frame()
    while opcode != CLOSE:
        answers.append(json.loads(payload))
        opcode, payload = wire.frame()
    assert int.from_bytes(payload[:2], "big") == 1008, payload
    assert [one for one in answers[:100] if one != {"type": "pong"}] == [], "a burst of 100 is always accepted"
    assert any(one.get("code") == "rate_limited" for one in answers), answers[-1]


@scenario("a connection that ends without a close frame leaves nothing behind")
def vanished(world):
    wire = world.wire().open()
    wire.send(frame(TEXT, '{"type":"subscribe","channel":"a"}'))
    assert b"subscribed" in wire.frame()[1]
    assert world.curl("/channels/a").json()["subscribers"] == 1
    wire.socket.close()
    listener = world.subscriber("a")
    # The node notices by an event of its own; asking it again and again waits for that event.
    while world.curl("/channels/a").json()["subscribers"] != 1:
        pass
    world.publish("a", 1)
    assert listener.hear()["data"] == 1
