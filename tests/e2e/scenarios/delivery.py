"""What is published arrives: unchanged, in order, once, at everybody who is subscribed."""

import json
import os
import re

from harness import in_parallel, scenario
from wire import CLOSE, TEXT, frame

MESSAGES = 100
CROWD = 300
STALLED = 24
ODD_DATA = (
    '{ "n" : 12345678901234567890123,\t"f":1.0e+02,  "s":"\\u00e9\\/\\ud83d\\ude00 é 😀",\n'
    '"dup":1,"dup":2, "deep":[[ [ ] ]] , "lone":"\\ud800", "":-0.0 }'
)


@scenario("data arrives byte for byte, odd spacing, long numbers and escapes included")
def byte_for_byte(world):
    client = world.subscriber("a")
    for data in [ODD_DATA, "null", '""', " [ 1 ,2 ] ", "1E5", "-0", '"\\u0000"']:
        body = f'{{"channel":"a" , "data":{data}}}'.encode()
        answer = world.curl("/publish", "-H", "Content-Type: application/json", body=body)
        assert answer.status == 200, answer
        text = client.hear_text()
        assert f'"data":{data.strip()},' in text or f'"data":{data.strip()}}}' in text, text
        assert set(json.loads(text)) == {"type", "channel", "data", "timestamp", "offset"}, text


@scenario("two clients each hear a hundred messages in order")
def in_order(world):
    clients = [world.subscriber("a"), world.subscriber("a")]
    for number in range(MESSAGES):
        world.publish("a", number)
    for client in clients:
        heard = [client.hear() for _ in range(MESSAGES)]
        assert [message["data"] for message in heard] == list(range(MESSAGES))
        assert [message["offset"] for message in heard] == list(range(1, MESSAGES + 1))


@scenario("a client that comes back with its cursor forty times hears every message once", "--shards", "2", "--history", "5000")
def comes_back(world):
    count, heard = 2_000, []
    lines = "\n".join(json.dumps({"channel": "a", "data": n}) for n in range(1, 51))
    cursor = world.client().subscribe("a")

    def publish():
        for _ in range(count // 50):
            answer = world.curl("/publish", "-H", "Content-Type: application/x-ndjson", body=lines.encode())
            assert answer.status == 200, answer

    def read():
        at = cursor
        for visit in range(41):
            last = visit == 40
            client = world.client() if visit % 2 else world.client(f"/live?channel=a&since={at}")
            answer = client.ask({"type": "subscribe", "channel": "a", "since": at}) if visit % 2 else client.hear()
            assert (answer["type"], answer["recovered"]) == ("subscribed", True), answer
            while len(heard) < (count if last else (visit + 1) * 37):
                message = client.hear()
                assert message["type"] == "notification", message
                heard.append((message["offset"], message["data"]))
                at = f"{at.rpartition('-')[0]}-{message['offset']}"
            client.ws.socket.close()

    in_parallel(publish, read)
    assert heard == [(offset, (offset - 1) % 50 + 1) for offset in range(1, count + 1)]


@scenario("publishers at the same time: every subscriber hears one and the same order")
def one_order(world):
    clients = [world.subscriber("a") for _ in range(4)]
    in_parallel(*(lambda who=who: [world.publish("a", [who, n]) for n in range(20)] for who in range(4)))
    heard = [[(m["offset"], tuple(m["data"])) for m in (client.hear() for _ in range(80))] for client in clients]
    assert [offset for offset, _ in heard[0]] == list(range(1, 81))
    assert all(one == heard[0] for one in heard)


@scenario("one call publishes to many channels and answers in their order")
def many_channels(world):
    names = [f"c{number}" for number in range(20)]
    client = world.subscriber(*names)
    answer = world.curl("/publish", body=json.dumps({"channels": names, "data": 5}).encode())
    results = answer.json()["results"]
    assert [result["channel"] for result in results] == names, results
    assert all(re.fullmatch(r"[0-9A-Za-z]+-1", result["cursor"]) for result in results), results
    assert {client.hear()["channel"] for _ in names} == set(names)


@scenario("one bad name among many channels and nothing goes out")
def all_or_nothing(world):
    client = world.subscriber("a", "b")
    answer = world.curl("/publish", body=b'{"channels":["a","not a name","b"],"data":1}')
    answer.error(400, "bad_channel")
    world.publish("b", "first")
    heard = client.hear()
    assert (heard["data"], heard["offset"]) == ("first", 1), heard


@scenario("a bad line of NDJSON is named by its number and the others go out")
def ndjson(world):
    client = world.subscriber("a", "b")
    lines = ['{"channel":"a","data":1}', "nonsense", '{"channel":"b","data":{ "x":2 }}', '{"channel":"a b","data":3}', '{"channel":"a","data":4}']
    answer = world.curl("/publish", "-H", "Content-Type: application/x-ndjson", body="\n".join(lines).encode())
    assert answer.status == 200, answer
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert [one.get("line") for one in answers] == [None, 2, None, 4, None], answers
    assert [one["error"]["code"] for one in answers if "error" in one] == ["bad_json", "bad_channel"], answers
    assert [one["channel"] for one in answers if "error" not in one] == ["a", "b", "a"], answers
    heard = [client.hear_text() for _ in range(3)]
    assert '"data":{ "x":2 }' in heard[1] or any('"data":{ "x":2 }' in text for text in heard), heard
    assert [json.loads(text)["data"] for text in heard if json.loads(text)["channel"] == "a"] == [1, 4]


@scenario(
    "2 MiB of NDJSON from curl: twenty thousand publications, one answer each, one order",
    # The node publishes faster than a Python client reads: here nobody is to be cut for that.
    *("--queue-soft", "16MiB", "--queue-hard", "16MiB"),
)
def ndjson_long(world):
    count = 20_000
    client = world.subscriber("a")
    body = "\n".join(json.dumps({"channel": "a", "data": {"n": n, "pad": "x" * 64}}) for n in range(count)).encode()

    def publish():
        answer = world.curl("/publish", "-H", "Content-Type: application/x-ndjson", body=body)
        answers = [json.loads(line) for line in answer.text.splitlines()]
        assert len(answers) == count and all("cursor" in one for one in answers), answers[:3]

    def read():
        assert [client.hear()["data"]["n"] for _ in range(count)] == list(range(count))

    in_parallel(publish, read)


@scenario(f"{CROWD} connections made at once all hear one publication")
def crowd(world):
    wires = [world.wire() for _ in range(CROWD)]
    subscribe = frame(TEXT, '{"type":"subscribe","channel":"all"}')
    for wire in wires:
        wire.open()
        wire.send(subscribe)
    for wire in wires:
        assert b'"subscribed"' in wire.frame()[1]
    assert world.curl("/channels/all").json()["subscribers"] == CROWD
    world.publish("all", "hello")
    for wire in wires:
        assert json.loads(wire.frame()[1])["data"] == "hello"


@scenario("a reader that stalls is cut and everybody else hears everything")
def slow_reader(world):
    stalled = world.wire(receive_buffer=4096).open()
    stalled.send(frame(TEXT, '{"type":"subscribe","channel":"a"}'))
    assert b'"subscribed"' in stalled.frame()[1]
    client = world.subscriber("a")
    data = os.urandom(16 * 1024).hex()
    number = 0
    # Publishes until the node has counted the stalled reader out; the other one keeps up all the while.
    while world.curl("/channels/a").json()["subscribers"] == 2:
        number += 1
        assert world.publish("a", data)["cursor"].endswith(f"-{number}")
        assert client.hear()["offset"] == number
        assert number < 2000, "the node queues without end"
    assert client.ask({"type": "ping"}) == {"type": "pong"}
    assert _end_of_stalled(stalled) in (4003, "reset")


@scenario(
    "more waits for all than may: the node cuts those with most, takes no more memory, and readers hear everything",
    *("--queue-total", "1MiB", "--queue-hard", "512KiB", "--queue-soft", "512KiB", "--send-buffer", "16KiB"),
    *("--shards", "2", "--history", "0"),
)
def all_that_waits(world):
    names = [f"slow{number}" for number in range(STALLED)]
    stalled = [world.wire(receive_buffer=4096).open(path=f"/live?channel={name}") for name in names]
    assert all(b'"subscribed"' in wire.frame()[1] for wire in stalled)
    reader = world.subscriber("news")
    rss = _rss_bytes(world)
    # Each waits for what nobody else does: without the bound, all together for twelve times what it allows.
    body = json.dumps({"channels": names, "data": os.urandom(8 * 1024).hex()}).encode()
    rounds = 0
    while _sample(world, 'roost_slow_consumers_total{bound="total"}') < STALLED - 4:
        rounds += 1
        assert rounds < 200, "the node queues without end"
        assert world.curl("/publish", body=body).status == 200
        world.publish("news", rounds)
        assert reader.hear()["offset"] == rounds
        queued = sum(_sample(world, f'roost_queued_bytes{{shard="{shard}"}}') for shard in range(2))
        assert queued <= 2 * 1024 * 1024, queued
    assert _sample(world, "roost_queued_bytes_max") == 1024 * 1024
    assert _sample(world, 'roost_slow_consumers_total{bound="hard"}') == 0
    grown = _rss_bytes(world) - rss
    assert grown < 5 * 1024 * 1024, f"{grown} bytes more"
    kept = [bool(world.curl(f"/channels/{name}").json()["subscribers"]) for name in names]
    ends = {_end_of_stalled(wire) for wire, kept in zip(stalled, kept) if not kept}
    assert 4003 in ends and ends <= {4003, "reset"}, ends
    for wire in (wire for wire, kept in zip(stalled, kept) if kept):
        heard = [json.loads(wire.frame()[1])["offset"] for _ in range(rounds)]
        assert heard == list(range(1, rounds + 1)), heard


def _sample(world, name):
    """One sample of /metrics."""
    return int(re.search(rf"^{re.escape(name)} (\d+)$", world.curl("/metrics").text, re.MULTILINE)[1])


def _rss_bytes(world):
    return world.curl("/debug/density").json()["rss_bytes"]


PATIENT = """
history = 16
[channels."drop:"]
slow = "drop"
[channels."latest:"]
slow = "latest"
"""


@scenario("a reader of a drop channel that stalls is kept, and hears an exact gap and then the rest", config=PATIENT)
def slow_reader_of_drop(world):
    last = _stall(world, "drop:a", lambda number: None)
    heard = last.heard
    gaps = [one for one in heard if one["type"] == "gap"]
    assert [one["to"] for one in gaps] == [last.offset - 16], gaps
    assert [one["offset"] for one in heard[-16:]] == list(range(last.offset - 15, last.offset + 1))


@scenario("a reader of a latest channel that stalls is kept, and hears the last of each key", config=PATIENT)
def slow_reader_of_latest(world):
    last = _stall(world, "latest:a", lambda number: f"key {number % 3}")
    assert [one["offset"] for one in last.heard[-3:]] == list(range(last.offset - 2, last.offset + 1))
    assert last.heard[-4]["type"] == "gap", last.heard[-4]


class _Stalled:
    """What a reader heard that stalled and read on, and the last offset of its channel."""

    def __init__(self, heard, offset):
        self.heard = heard
        self.offset = offset


def _stall(world, channel, key):
    """Publishes until a reader that stalls is behind, and more than may wait for anybody; then lets it read to the end."""
    stalled = world.wire(receive_buffer=4096).open()
    stalled.send(frame(TEXT, json.dumps({"type": "subscribe", "channel": channel})))
    assert b'"subscribed"' in stalled.frame()[1]
    other = world.subscriber(channel)
    data = os.urandom(16 * 1024).hex()
    number, behind_at = 0, None
    while behind_at is None or number < behind_at + 30:
        number += 1
        body = {"channel": channel, "data": data} | ({"conflate": key(number)} if key(number) else {})
        assert world.curl("/publish", body=json.dumps(body).encode()).status == 200
        assert other.hear()["offset"] == number
        assert number < 2000, "the node queues without end"
        if behind_at is None and "\nroost_paused_total 0\n" not in world.curl("/metrics").text:
            behind_at = number
    heard, at = [], 0
    while at < number:
        message = json.loads(stalled.frame()[1])
        assert message.get("from", message.get("offset")) == at + 1, (at, message)
        at = message.get("to", message.get("offset"))
        heard.append({member: message.get(member) for member in ("type", "offset", "from", "to")})
    assert world.curl(f"/channels/{channel}").json()["subscribers"] == 2
    world.publish(channel, "live")
    assert json.loads(stalled.frame()[1])["data"] == "live"
    return _Stalled(heard, number)


def _end_of_stalled(wire):
    """The close code that ends the connection, or "reset" where it ends without one."""
    try:
        while True:
            opcode, payload = wire.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")
    except (EOFError, ConnectionResetError):
        return "reset"
