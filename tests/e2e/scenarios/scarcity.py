"""Descriptors run out: newcomers are told so, those who are connected notice nothing, and it passes by itself."""

import json
import re
import resource
import socket
import time

from harness import WAIT_SECONDS, World, in_parallel, refuses, scenario
from wire import PING, TEXT, Wire, frame, upgrade

PUBLISHERS = '[channels.""]\nclients_may_publish = true\n'
NEWCOMERS = 2000
PUBLICATIONS = 200
# Where the crowds come from. A load generator beside us binds nearly every port, and connect(2) of an unbound socket then
# passes over them on all addresses; bind(2) passes over those of its own address only.
SOURCE = "127.0.0.2"
# As many as the API takes at once.
API_CONNECTIONS = 1024
# A limit below what is open, yet above the number of the spare descriptor, which the node opens before its clients.
BENEATH = 40
# A limit below every number that a node has: not even a client to be refused can be accepted.
NOTHING = 4


def carries(connections, confined):
    """Demands that a node starts and holds so many."""
    other = World("--max-connections", str(connections), "--shards", "2", confined=confined)
    try:
        wires = [other.wire(source=SOURCE).open() for _ in range(connections)]
        assert knocks(other.public) == (503, "1"), "there is room for one more"
        assert says(wires[0], {"type": "ping"}) == {"type": "pong"}
        other.end()
    finally:
        other.kill()


@scenario("more connections than the host carries are refused at start with the limit, what it allows, and the command that lifts it")
def too_many(world):
    options = ["serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--shards", "2", "--max-connections"]
    code, words = refuses(*options, "2000", confined=("100", "none"))
    found = re.search(r"--max-connections 2000: \d+ tables of 100 descriptors carry (\d+); .*`ulimit -Hn (\d+)`", words)
    assert code == 1 and found, words
    fits, needed = map(int, found.groups())
    # Both numbers are right.
    carries(fits, confined=("100", "none"))
    refuses(*options, str(fits + 1), confined=("100", "none"))
    carries(2000, confined=(str(needed), "none"))
    # Neither files nor memory of any host carry a billion; which of them is named first is the host's affair.
    code, words = refuses(*options, "1000000000")
    found = re.search(r"--max-connections 1000000000: .*(`sysctl -w fs\.file-max=\d+`|`systemctl set-property UNIT MemoryMax=\d+M`)", words)
    assert code == 1 and found, words


class Api:
    """A connection to the API that was there before the shortage."""

    def __init__(self, world):
        self.wire = world.wire(world.api)

    def ask(self, method, path, body=b""):
        self.wire.send(f"{method} {path} HTTP/1.1\r\nHost: api.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        response = self.wire.response()
        assert response.status == 200, f"{method} {path}: {response.status} {response.body!r}"
        return response.body.decode()

    def publish(self, channel, data):
        self.ask("POST", "/publish", json.dumps({"channel": channel, "data": data}).encode())

    def metric(self, name):
        """The sum over all labels."""
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", self.ask("GET", "/metrics"), re.MULTILINE)
        assert found, name
        return sum(float(value) for value in found)


def subscriber(world, channel="a"):
    """A bare WebSocket that follows a channel."""
    wire = world.wire(source=SOURCE).open(path=f"/live?channel={channel}")
    assert heard(wire)["type"] == "subscribed"
    return wire


def heard(wire):
    """The next message; the node's first ping may come before it."""
    opcode, payload = wire.frame()
    while opcode == PING:
        opcode, payload = wire.frame()
    assert opcode == TEXT, (opcode, payload)
    return json.loads(payload)


def says(wire, message):
    """Sends a message and returns the next one that arrives."""
    wire.send(frame(TEXT, json.dumps(message)))
    return heard(wire)


def silent(wire):
    """Whether nothing has arrived."""
    wire.socket.setblocking(False)
    try:
        return not wire.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        wire.socket.settimeout(WAIT_SECONDS)


def knocks(address, late=False):
    """A newcomer: the status of the answer to its upgrade, and when to try again if it is refused. A late one asks only
    when the answer has come."""
    with Wire(address, source=SOURCE) as wire:
        if late:
            wire.socket.recv(1, socket.MSG_PEEK)
        wire.send(upgrade())
        response = wire.response()
        return response.status, response.headers.get("retry-after")


def limits(world, soft):
    """Sets the limit of the running node; returns what it was. The hard one stays: who lowers that cannot go back."""
    before, hard = resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    return before


def complaints(world):
    """The lines of the log that speak of newcomers."""
    return [line for line in world.log.read_text().splitlines() if "newcomers" in line]


def within_one_table(world):
    log = world.log.read_text()
    (warning,) = [line for line in log.splitlines() if "close_range" in line]
    assert "WARN" in warning and "unshare" in warning and "within one table" in warning, log
    api = Api(world)
    room = int(api.metric("roost_connections_max"))
    assert 150 < room < 256, f"one table of 256 carries {room}?"
    wires = [subscriber(world) for _ in range(room)]
    assert api.metric("roost_connections") == room
    for _ in range(20):
        assert knocks(world.public) == (503, "1")
    for number in range(5):
        api.publish("a", number)
    for wire in wires:
        assert [heard(wire)["data"] for _ in range(5)] == [0, 1, 2, 3, 4]
    # A place that becomes free is given away.
    wires.pop().socket.close()
    while api.metric("roost_connections") == room:
        pass
    wires.append(subscriber(world))


@scenario(
    "a filter refuses close_range and unshare with EPERM: the node says so and runs within one table",
    "--max-connections", "1000", "--shards", "2", confined=("256", "EPERM"),
)
def filtered(world):
    within_one_table(world)


@scenario(
    "an old kernel has neither close_range nor unshare, ENOSYS: the node says so and runs within one table",
    "--max-connections", "1000", "--shards", "2", confined=("256", "ENOSYS"),
)
def unknown(world):
    within_one_table(world)


def runs_short(world, connected, api_status):
    """The limit falls below what is open while thousands come; it rises, and they come in. `api_status` is what a
    newcomer at the API gets meanwhile."""
    api = Api(world)
    wires = [subscriber(world) for _ in range(connected)]
    assert api.metric("roost_connections") == connected
    before = limits(world, BENEATH)
    begin = time.monotonic()
    outcomes = []

    def crowd():
        outcomes.extend(knocks(world.public, late=number % 2) for number in range(NEWCOMERS // 4))

    def those_connected():
        for number in range(PUBLICATIONS):
            api.publish("a", number)
            assert heard(wires[0])["data"] == number
        assert says(wires[0], {"type": "subscribe", "channel": "b"})["type"] == "subscribed"
        assert says(wires[1], {"type": "subscribe", "channel": "c"})["data"] == 0, "it has not read a yet"
        wires[1].send(frame(TEXT, json.dumps({"type": "publish", "channel": "b", "data": "from a client"})))
        assert heard(wires[0])["data"] == "from a client"

    in_parallel(those_connected, *[crowd] * 4)
    seconds = time.monotonic() - begin
    assert len(outcomes) == NEWCOMERS
    assert set(outcomes) == {(503, "1")}, {one: outcomes.count(one) for one in set(outcomes)}
    for wire in wires[2:]:
        assert [heard(wire)["data"] for _ in range(PUBLICATIONS)] == list(range(PUBLICATIONS))
    assert api.metric("roost_connections") == connected
    assert api.metric("roost_accepts_refused_total") == NEWCOMERS
    assert world.curl("/healthz").status == api_status
    lines = complaints(world)
    assert 1 <= len(lines) <= seconds + 2, f"{len(lines)} lines in {seconds:.1f} s: {lines}"
    assert all("WARN" in line and "503" in line for line in lines), lines
    limits(world, before)
    begin = time.monotonic()
    assert knocks(world.public)[0] == 101 and world.curl("/healthz").status == 200
    assert time.monotonic() - begin < 1
    for wire in [wires[0], wires[-1]]:
        assert says(wire, {"type": "ping"}) == {"type": "pong"}
    # The spare descriptor is there again.
    limits(world, BENEATH)
    assert knocks(world.public) == (503, "1")
    limits(world, before)


@scenario("descriptors run out: newcomers get 503, the log a line a second, and those connected miss nothing", "--shards", "2", config=PUBLISHERS)
def short_table(world):
    runs_short(world, connected=150, api_status=503)


@scenario(
    "descriptors run out in tables of their own: the same",
    "--shards", "2", "--max-connections", "400", config=PUBLISHERS, confined=("120", "none"),
)
def short_tables(world):
    # The control thread has a table too, with room in it.
    runs_short(world, connected=350, api_status=200)


@scenario("not even a client to be refused can be accepted: newcomers wait, and come in by themselves", "--shards", "2")
def nothing_left(world):
    connected, api = subscriber(world), Api(world)
    assert api.metric("roost_connections") == 1
    before = limits(world, NOTHING)
    public, second = world.wire(), world.wire(world.api)
    public.send(upgrade())
    second.send(b"GET /healthz HTTP/1.1\r\nHost: api.test\r\n\r\n")
    api.publish("a", 1)
    assert heard(connected)["data"] == 1
    while not complaints(world):
        pass
    for wire in (public, second):
        assert silent(wire), "somebody answered without a descriptor"
    limits(world, before)
    begin = time.monotonic()
    # Nobody else comes: no edge tells of those who wait.
    assert public.response().status == 101
    assert second.response().status == 200
    assert time.monotonic() - begin < 1


@scenario("the API has all the connections that it takes: one more gets 503, and those that are there are answered")
def full_api(world):
    held = [world.wire(world.api, source=SOURCE) for _ in range(API_CONNECTIONS)]
    late = world.wire(world.api)
    response = late.response()
    assert (response.status, response.headers["retry-after"]) == (503, "1"), response.status
    late.ended()
    for wire in held:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: api.test\r\n\r\n")
        assert wire.response().status == 200
    (line,) = complaints(world)
    assert "API" in line, line
