"""A client that follows channels over WebSocket, a stream of events or polls, comes back with its cursors, and keeps the books.

Must never know what else is going on: it sees what any client sees.
"""

import asyncio
import json
import struct

from asking import LOST, Line
from ledger import Book, Wrong
from wire import CLOSE, PING, PONG, TEXT, frame, upgrade

WEBSOCKET, EVENTS, POLL = "websocket", "events", "poll"
BACKOFF_SECONDS = 0.05
BACKOFF_SECONDS_MAX = 1.0
UPGRADE_SECONDS = 15
POLL_WAIT_SECONDS = (1, 8)
# Of a server that cannot serve now: the client tries again later, elsewhere.
LATER = {"unavailable", "overloaded", "rate_limited"}


class Away(Exception):
    """The server ended it, or refused for now."""


class Follower:
    """One client. `places` says where it may connect to; `stay` is the range of seconds it stays, or None for as long as it can.

    `itinerary` gives transport and address of each connection where chance shall not choose. `connections` counts those that were
    opened, `losses` those that ended without its doing.
    """

    def __init__(self, ledger, rng, name, channels, transports, places, stay=None, token=None):
        self.rng, self.name, self.channels = rng, name, channels
        self.transports, self.places, self.stay, self.token = transports, places, stay, token
        self.books = {channel: Book(ledger, name, channel) for channel in channels}
        self.connections = 0
        self.losses = []
        self.failures = 0
        self.itinerary = None
        self.using = None
        self.joined = asyncio.Event()

    def __repr__(self):
        return f"{self.name} ({self.using}, {self.connections} connections, lost: {self.losses[-3:]})"

    async def run(self):
        """Follows until it is cancelled, or finds something wrong."""
        while True:
            transport, address = next(self.itinerary) if self.itinerary else self.choose()
            self.using = f"{transport} at {address}"
            for book in self.books.values():
                book.note(f"--- {self.using}, from {book.cursor}")
                book.owed = None
            try:
                await self.visit(transport, address)
            except (*LOST, Away) as fault:
                self.losses.append(f"{type(fault).__name__} {fault}")
                await self.back_off()

    def choose(self):
        return self.rng.choice(self.transports), self.rng.choice(self.places())

    async def back_off(self):
        """Exponential, with full jitter."""
        bound = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2**self.failures)
        self.failures += 1
        await asyncio.sleep(self.rng.uniform(0, bound))

    async def visit(self, transport, address):
        """One connection, for as long as it stays."""
        follow = {WEBSOCKET: self.websocket, EVENTS: self.events, POLL: self.poll}[transport]
        seconds = self.rng.uniform(*self.stay) if self.stay else None
        leaving = asyncio.timeout(seconds)
        try:
            async with leaving, Line(address) as line:
                await follow(line)
        except TimeoutError:
            if not leaving.expired():
                raise

    def query(self, path, cursors=True):
        words = [f"channel={channel}" for channel in self.channels]
        if cursors and any(book.cursor for book in self.books.values()):
            words += [f"since={book.cursor or ''}" for book in self.books.values()]
        return f"{path}?{'&'.join(words)}"

    def headers(self):
        return [("Authorization", f"Bearer {self.token}")] if self.token else []

    def serves(self):
        """The server did something for it."""
        self.failures = 0
        if all(book.cursor for book in self.books.values()):
            self.joined.set()

    def take(self, message):
        """A notification or a gap."""
        book = self.books.get(message.get("channel"))
        if book is None or message["type"] not in ("notification", "gap"):
            raise Wrong(f"{self.name} at {self.using}: {message}")
        (book.notification if message["type"] == "notification" else book.gap)(message)

    # ---- WebSocket ----

    async def websocket(self, line):
        # Cursors travel in the query, or in messages: both ways are the same.
        by_query = self.rng.random() < 0.5
        path = self.query("/live") if by_query else "/live"
        line.send(upgrade(path=path, host=line.address, headers=self.headers()))
        async with asyncio.timeout(UPGRADE_SECONDS):
            response = await line.head()
        demand_served(response, 101)
        self.connections += 1
        sent = {channel: by_query or None for channel in self.channels}
        if not by_query:
            for channel, book in self.books.items():
                since = {"since": book.cursor} if book.cursor else {}
                line.send(frame(TEXT, json.dumps({"type": "subscribe", "channel": channel, **since})))
        while True:
            opcode, payload = await read_frame(line)
            if opcode == TEXT:
                self.heard(json.loads(payload), sent)
            elif opcode == PING:
                line.send(frame(PONG, payload))
            elif opcode == CLOSE:
                raise Away(f"closed with {struct.unpack('>H', payload[:2])[0]} {payload[2:].decode()}")

    def heard(self, message, sent):
        if message["type"] == "subscribed":
            self.books[message["channel"]].subscribed(message["cursor"], message.get("recovered"))
            self.serves()
        elif message["type"] == "error":
            if message["code"] not in LATER:
                raise Wrong(f"{self.name} at {self.using}: {message}")
            raise Away(message["code"])
        elif message["type"] != "presence":
            self.take(message)

    # ---- a stream of events ----

    async def events(self, line):
        cursors = [book.cursor for book in self.books.values()]
        known = all(cursors)
        by_header = known and self.rng.random() < 0.5
        headers = [f"Last-Event-ID: {','.join(cursors)}"] if by_header else []
        headers += [f"{name}: {value}" for name, value in self.headers()]
        path = self.query("/events", cursors=not by_header)
        async with asyncio.timeout(UPGRADE_SECONDS):
            response = await line.ask("GET", path, headers)
        demand_served(response, 200)
        self.connections += 1
        while True:
            fields = await read_event(line)
            if "data" in fields:
                message = json.loads(fields["data"])
                if message["type"] != fields.get("event"):
                    raise Wrong(f"{self.name} at {self.using}: event {fields}")
                if message["type"] == "presence":
                    continue
                self.take(message)
            if "id" in fields:
                for book, cursor in zip(self.books.values(), fields["id"].split(","), strict=True):
                    book.stands(cursor)
                self.serves()

    # ---- polls ----

    async def poll(self, line):
        headers = [f"{name}: {value}" for name, value in self.headers()]
        self.connections += 1
        while True:
            wait = self.rng.randint(*POLL_WAIT_SECONDS)
            known = all(book.cursor for book in self.books.values())
            path = f"{self.query('/poll')}&wait={wait if known else 0}"
            # Not wait_for: in Python 3.11 that loses a cancellation which comes together with the answer.
            async with asyncio.timeout(wait + UPGRADE_SECONDS):
                response = await line.ask("GET", path, headers)
            demand_served(response, 200)
            answer = json.loads(response.body)
            for message in answer["messages"]:
                self.take(message)
            for channel, book in self.books.items():
                book.stands(answer["cursors"][channel])
            self.serves()


def demand_served(response, status):
    """Refused for now is no fault; refused for good is."""
    if response.status == 503:
        raise Away(f"503 {response.body[:80]!r}")
    if response.status != status:
        raise Wrong(f"status {response.status} {response.body[:200]!r}")


async def read_frame(line):
    """The next frame of a server: opcode and payload."""
    first, second = await line.reader.readexactly(2)
    if first & 0xF0 != 0x80 or second & 0x80:
        raise Wrong(f"fragmented, masked, or reserved bits: {first:#x} {second:#x}")
    length = second
    if second == 126:
        (length,) = struct.unpack(">H", await line.reader.readexactly(2))
    elif second == 127:
        (length,) = struct.unpack(">Q", await line.reader.readexactly(8))
    return first & 0x0F, await line.reader.readexactly(length)


async def read_event(line):
    """The fields of the next block of a stream of events; none of a comment."""
    fields = {}
    while True:
        text = (await line.reader.readuntil(b"\n")).decode().rstrip("\n")
        if not text:
            return fields
        name, _, value = text.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
