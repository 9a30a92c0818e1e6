"""A network that delays and loses packets."""

import re

from harness import QUICK, case

# Together fewer than what one client may publish at once.
PUBLICATIONS, CUTS = 30, 3


@case("over a network that delays and loses packets a client that is cut comes back with its cursor, and misses nothing")
def lossy(world):
    with world.node(**QUICK) as guest:
        guest.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "20ms", "10ms", "loss", "20%")
        try:
            with world.connect() as client:
                cursor = client.ask(type="subscribe", channel="open:a")["cursor"]
            heard = []
            with world.connect() as publisher:
                for part in range(1, CUTS + 1):
                    for number in range((part - 1) * PUBLICATIONS, part * PUBLICATIONS):
                        publisher.say(type="publish", channel="open:a", data=number)
                    # Cut in the middle of what it gets.
                    cursor = follow(world, cursor, heard, part * PUBLICATIONS - PUBLICATIONS // 2)
                follow(world, cursor, heard, CUTS * PUBLICATIONS)
                answers = [publisher.hear()["type"] for _ in heard]
                assert set(answers) == {"published"}, answers
            assert heard == list(range(CUTS * PUBLICATIONS)), heard
            lost = int(re.search(r"dropped (\d+)", guest.run("tc", "-s", "qdisc", "show", "dev", "eth0"))[1])
            assert lost > 0
        finally:
            guest.run("tc", "qdisc", "del", "dev", "eth0", "root")


def follow(world, cursor, heard, count):
    """Comes back with a cursor, adds what it hears until that is so many, and returns the new cursor."""
    with world.connect() as client:
        answer = client.ask(type="subscribe", channel="open:a", since=cursor)
        assert answer["recovered"], answer
        while len(heard) < count:
            message = client.hear()
            assert message["type"] == "notification", message
            heard.append(message["data"])
        return f"{cursor.split('-')[0]}-{message['offset']}"
