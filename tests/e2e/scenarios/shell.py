"""roost from a shell: what `roost publish` sends, `roost tail` prints."""

import json
import signal

from harness import scenario
from node import binary


@scenario("roost tail prints what roost publish sends")
def tail_and_publish(world):
    tail = world.run([binary(), "tail", "news", "other", "--url", f"ws://{world.public}/live"])
    # tail is silent until something arrives; the node knows when it has subscribed.
    while sum(one["subscribers"] for one in world.curl("/channels").json()["channels"]) < 2:
        assert tail.poll() is None, tail.communicate()
    publish = world.run([binary(), "publish", "news", '{"count": 3}', "--api", world.api])
    said, complaint = publish.communicate(timeout=10)
    assert publish.returncode == 0, complaint
    assert "-1" in said, said
    line = json.loads(tail.stdout.readline())
    assert (line["channel"], line["data"], line["offset"]) == ("news", {"count": 3}, 1), line


@scenario("roost publish says what was wrong and ends with exit code 1")
def publish_fails(world):
    for arguments in [["news", "{nonsense"], ["not a name", "1"]]:
        publish = world.run([binary(), "publish", *arguments, "--api", world.api])
        _, complaint = publish.communicate(timeout=10)
        assert publish.returncode == 1 and complaint.strip(), (arguments, publish.returncode, complaint)
    world.signal(signal.SIGTERM)
    world.wait()
    publish = world.run([binary(), "publish", "news", "1", "--api", world.api])
    _, complaint = publish.communicate(timeout=10)
    assert publish.returncode == 1 and world.api in complaint, complaint
