"""Node.js clients: the tutorial's, unchanged, and npm's `ws`."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

from harness import scenario
from node import ROOT, WORK

CLIENTS = pathlib.Path(__file__).resolve().parents[1] / "clients"


def run_node(world, script, *arguments):
    environment = {**os.environ, "NODE_PATH": str(WORK / "node" / "node_modules")}
    return world.run(["node", str(CLIENTS / script), *arguments], env=environment)


@scenario("the unchanged tutorial client gets what curl publishes, with five members and no others")
def tutorial(world):
    client = run_node(world, "tutorial_host.js", world.public, str(CLIENTS / "tutorial.js"))
    subscribed = json.loads(client.stdout.readline())
    assert subscribed["type"] == "subscribed", subscribed
    # Word for word the command of the README: a form, as curl sends it without further options.
    answer = world.curl("/publish", "-d", '{"channel":"notifications","data":{"count":3}}')
    assert answer.status == 200, answer
    heard = json.loads(client.stdout.readline())
    timestamp = heard.pop("timestamp")
    assert heard == {"type": "notification", "channel": "notifications", "data": {"count": 3}, "offset": 1}, heard
    assert 1_600_000_000_000 < timestamp < 10_000_000_000_000, "milliseconds since 1970"


@scenario("the client and the curl call that README.md begins with work as they stand")
def readme(world):
    text = (ROOT / "README.md").read_text()
    script = re.search("```js\n(.*?)```", text, re.DOTALL)[1]
    command = re.search("```sh\n(curl .*?)\n```", text, re.DOTALL)[1]
    with tempfile.NamedTemporaryFile("w", suffix=".js") as file:
        file.write(script)
        file.flush()
        client = run_node(world, "tutorial_host.js", world.public, file.name)
        assert json.loads(client.stdout.readline())["type"] == "subscribed"
    done = subprocess.run(["sh", "-c", command.replace("localhost:8081", world.api)], capture_output=True, timeout=10, check=True)
    assert b'"cursor"' in done.stdout, done
    assert json.loads(client.stdout.readline())["data"] == {"count": 3}


def conversation(name):
    def play(world):
        client = run_node(world, "conversation.js", name, world.public, world.api)
        _, reason = client.communicate(timeout=25)
        assert client.returncode == 0, reason

    return play


scenario("ws: subscribes, hears a publication, unsubscribes and closes with 1000")(conversation("talk"))
scenario("ws: with subprotocol roost.v1 the first message is a welcome")(conversation("welcome"))
scenario("ws: 300 clients connect at once and each hears the publication")(conversation("many"))
scenario("ws: a message of exactly 64 KiB is accepted and one byte more closes with 1009")(conversation("largest"))
scenario("ws: a ping between two fragments is answered before the message")(conversation("fragments"))
