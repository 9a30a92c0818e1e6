"""The native dialect over WebSocket: what each message is answered, with Python `websockets` as the client."""

import re

import websockets.exceptions
from harness import scenario

from scenarios.api import metrics

CHANNELS_MAX = 128
NAME_BYTES_MAX = 164


@scenario("a subscriber to a fresh channel is told a cursor that ends in 0")
def fresh_cursor(world):
    client = world.client()
    answer = client.ask({"type": "subscribe", "channel": "a"})
    cursor = answer.pop("cursor")
    assert answer == {"type": "subscribed", "channel": "a"}, answer
    assert re.fullmatch(r"[0-9A-Za-z]+-0", cursor), cursor


@scenario("offsets rise by one from 1 and the cursor follows in the same epoch")
def offsets(world):
    client = world.subscriber("a")
    cursors = [world.publish("a", number)["cursor"] for number in range(5)]
    assert [client.hear()["offset"] for _ in range(5)] == [1, 2, 3, 4, 5]
    epochs = {cursor.rpartition("-")[0] for cursor in cursors}
    assert len(epochs) == 1 and [cursor.rpartition("-")[2] for cursor in cursors] == list("12345"), cursors
    assert world.client().subscribe("a") == cursors[-1]


@scenario("every direct answer carries the id of its request, whatever JSON that is")
def ids(world):
    client = world.client()
    for value in [7, -1.5, "x", None, True, [1, {"a": "b"}], {"n": []}]:
        assert client.ask({"type": "ping", "id": value}) == {"type": "pong", "id": value}
    answer = client.ask({"type": "subscribe", "channel": "a", "id": "s"})
    assert answer["type"] == "subscribed" and answer["id"] == "s", answer
    answer = client.ask({"type": "unsubscribe", "channel": "a", "id": "u"})
    assert answer == {"type": "unsubscribed", "channel": "a", "id": "u"}, answer
    client.error({"type": "nonsense", "id": "e"}, "unknown_type", id="e")
    client.error({"type": "subscribe", "channel": "not a name", "id": 9}, "bad_channel", id=9)


@scenario("what is not understood is answered by an error and the connection lives on")
def errors(world):
    client = world.client()
    for text in ["", "{", "nonsense", '{"type":"ping"', '{"type":"ping"} x', '{"type":"ping",}', "\u0000", "[" * 3000]:
        client.error(text, "bad_json")
    for text in ["[]", "1", "null", "{}", '"ping"', '{"type":1}', '{"type":"subscribe"}', '{"type":"unsubscribe"}']:
        client.error(text, "bad_request")
    client.error({"type": "subscribe", "channel": 1}, "bad_request")
    client.error({"type": "subscribe", "channel": ["a"]}, "bad_request")
    client.error({"type": "nonsense"}, "unknown_type")
    client.error({"type": "Ping"}, "unknown_type")


@scenario("unknown members are ignored")
def unknown_members(world):
    client = world.client()
    assert client.ask({"type": "ping", "colour": {"deep": [1]}, "flags": None}) == {"type": "pong"}
    assert client.ask({"more": 1, "type": "subscribe", "channel": "a"})["type"] == "subscribed"


@scenario("a channel name has 1 to 164 bytes of its alphabet")
def names(world):
    client = world.client()
    for name in ["", "a" * (NAME_BYTES_MAX + 1), "a b", "ä", "a*", "a\n", "a#", "a?", "a%20", "{a}"]:
        client.error({"type": "subscribe", "channel": name}, "bad_channel")
    for name in ["a", "a" * NAME_BYTES_MAX, "azAZ09_-=@,.;:/", "/", "chat:1"]:
        client.subscribe(name)


@scenario("subscribing twice or leaving what was not joined is an error")
def twice(world):
    client = world.subscriber("a")
    client.error({"type": "subscribe", "channel": "a"}, "already_subscribed")
    client.error({"type": "unsubscribe", "channel": "b"}, "not_subscribed")
    assert client.ask({"type": "unsubscribe", "channel": "a"}) == {"type": "unsubscribed", "channel": "a"}
    client.error({"type": "unsubscribe", "channel": "a"}, "not_subscribed")
    client.subscribe("a")


@scenario("a connection holds 128 channels and not one more")
def too_many(world):
    # The query subscribes them in one message, so that the rate limit for messages plays no part.
    query = "&".join(f"channel=c{number}" for number in range(CHANNELS_MAX))
    client = world.client("/live?" + query)
    heard = {client.hear()["channel"] for _ in range(CHANNELS_MAX)}
    assert len(heard) == CHANNELS_MAX
    client.error({"type": "subscribe", "channel": "more"}, "too_many_channels")
    assert client.ask({"type": "unsubscribe", "channel": "c0"})["type"] == "unsubscribed"
    client.subscribe("more")


@scenario("who has unsubscribed hears nothing more of that channel")
def unsubscribed(world):
    client = world.subscriber("a", "b")
    assert client.ask({"type": "unsubscribe", "channel": "a"})["type"] == "unsubscribed"
    world.publish("a", "not for you")
    world.publish("b", "for you")
    assert client.hear()["data"] == "for you"
    assert client.ask({"type": "ping"}) == {"type": "pong"}


@scenario("a client may not publish unless its channel's policy says so")
def forbidden(world):
    client = world.subscriber("a")
    client.error({"type": "publish", "channel": "a", "data": 1}, "forbidden")


@scenario("where the policy lets clients publish, everybody hears it, the publisher too", config='[channels."chat:"]\nclients_may_publish = true\n')
def may_publish(world):
    writer = world.subscriber("chat:1")
    reader = world.subscriber("chat:1")
    writer.say('{"type":"publish","channel":"chat:1","data":{ "a":1 },"id":5}')
    assert '"data":{ "a":1 }' in reader.hear_text()
    heard = sorted((writer.hear(), writer.hear()), key=lambda message: message["type"])
    assert heard[0]["type"] == "notification" and heard[0]["offset"] == 1, heard
    assert heard[1] == {"type": "published", "channel": "chat:1", "offset": 1, "id": 5}, heard
    writer.error({"type": "publish", "channel": "other", "data": 1}, "forbidden")
    writer.error({"type": "publish", "channel": "chat:1"}, "bad_request")


@scenario("with roost.v1 the server speaks first, without it only when asked")
def welcome(world):
    client = world.client(subprotocols=["roost.v1"])
    assert client.ws.subprotocol == "roost.v1"
    message = client.hear()
    assert message.pop("session") and message.pop("node") is not None, message
    assert message == {"type": "welcome", "ping_ms": 25000}, message
    silent = world.client()
    assert silent.ws.subprotocol is None
    assert silent.ask({"type": "ping"}) == {"type": "pong"}, "the first message is the answer"


@scenario("a query subscribes during the handshake")
def query(world):
    client = world.client("/live?channel=a&channel=b%3A1")
    heard = [client.hear(), client.hear()]
    assert sorted(message["channel"] for message in heard) == ["a", "b:1"], heard
    assert {message["type"] for message in heard} == {"subscribed"}, heard
    world.publish("b:1", 1)
    assert client.hear()["channel"] == "b:1"


@scenario("a query that cannot be served is refused with 400 before the upgrade")
def bad_query(world):
    many = "&".join(f"channel=c{number}" for number in range(CHANNELS_MAX + 1))
    for bad in ["channel=not%20a%20name", "channel=", many, "channel=a&since=x-1&since=y-2", "channel=a&since=broken"]:
        try:
            world.client("/live?" + bad)
        except websockets.exceptions.InvalidStatus as refusal:
            assert refusal.response.status_code == 400, f"{bad[:40]}: {refusal.response.status_code}"
        else:
            raise AssertionError(f"{bad[:40]} was accepted")


@scenario("who resumes at the head has recovered, and a malformed cursor is a bad request")
def resume(world):
    client = world.subscriber("fresh")
    world.publish("used", 1)
    head = world.client().subscribe("used")
    answer = client.ask({"type": "subscribe", "channel": "used", "since": head})
    assert answer["recovered"] is True and answer["cursor"] == head, answer
    for bad in ["x", "-1", "a-", "a--1", "a-x", f"{head}0000000000000000000000", 7]:
        client.error({"type": "subscribe", "channel": "other", "since": bad}, "bad_request")


@scenario("who resumes gets what it missed behind the answer, and a gap for what is kept no more", "--history", "4")
def missed(world):
    head = [world.publish("a", number)["cursor"] for number in range(1, 8)][-1]
    epoch = head.rpartition("-")[0]
    client = world.client(f"/live?channel=a&since={epoch}-5")
    assert client.hear() == {"type": "subscribed", "channel": "a", "cursor": head, "recovered": True}
    assert [client.hear()["data"] for _ in range(2)] == [6, 7]
    client = world.client()
    answer = client.ask({"type": "subscribe", "channel": "a", "since": f"{epoch}-1", "id": 9})
    assert answer == {"type": "subscribed", "channel": "a", "cursor": head, "recovered": False, "id": 9}, answer
    assert client.hear() == {"type": "gap", "channel": "a", "from": 2, "to": 3, "cursor": f"{epoch}-3"}
    assert [client.hear()["offset"] for _ in range(4)] == [4, 5, 6, 7]
    assert client.ask({"type": "ping"}) == {"type": "pong"}
    assert world.curl("/channels/a").json() == {"channel": "a", "subscribers": 2, "cursor": head, "history": 4}


@scenario("who resumes with another epoch is told so and gets a gap")
def other_epoch(world):
    world.publish("a", 1)
    world.publish("a", 2)
    client = world.client()
    answer = client.ask({"type": "subscribe", "channel": "a", "since": "elsewhere-7"})
    assert answer["type"] == "subscribed" and answer["recovered"] is False, answer
    gap = client.hear()
    assert gap == {"type": "gap", "channel": "a", "from": 1, "to": 2, "cursor": answer["cursor"]}, gap


@scenario(
    "presence counts over all shards, tells everyone of a change once, and of no page that is loaded anew",
    "--shards", "2", config='[channels."room:"]\npresence = true\n',
)
def presence(world):
    rooms = [f"room:{number}" for number in range(4)]
    stays, *others = [world.subscriber(*rooms) for _ in range(7)]

    def told(count):
        """Hears announcements until every room has this count; returns all counts that came."""
        heard, last = set(), {}
        while [last.get(room) for room in rooms] != [count] * len(rooms):
            message = stays.hear()
            assert set(message) == {"type", "channel", "count"} and message["type"] == "presence", message
            last[message["channel"]] = message["count"]
            heard.add(message["count"])
        return heard

    told(7)
    for room in rooms:
        assert world.curl(f"/presence/{room}").json() == {"channel": room, "count": 7}
        asked = {"type": "presence", "channel": room, "id": [room]}
        assert stays.ask(asked) == {"type": "presence", "channel": room, "count": 7, "id": [room]}
    # A page is loaded anew, so that the next change of all that is announced is that of the one who stays away.
    others.pop().ws.close()
    others.append(world.subscriber(*rooms))
    assert world.curl("/presence/room:0").json()["count"] == 7
    others.pop().ws.close()
    assert told(6) == {6}
    assert metrics(world)["roost_presence_events_total"] >= 2 * len(rooms)
    assert metrics(world)["roost_presence_channels"] == len(rooms)
    world.curl("/presence/hall").error(403, "forbidden")
    world.curl("/presence/a%20b").error(400, "bad_channel")
    for path in ["/presence/room:a/b", "/presence/room:a%2Fb"]:
        assert world.curl(path).json() == {"channel": "room:a/b", "count": 0}, path
    stays.error({"type": "presence", "channel": "hall", "id": 1}, "forbidden", id=1)
    answer = stays.ask({"type": "presence", "channel": "room:nobody"})
    assert answer == {"type": "presence", "channel": "room:nobody", "count": 0}, answer
