"""Follows a channel with Python's `websockets`: `python subscribe.py ws://HOST:8080/live CHANNEL`, and prints each message as a line.

When the connection ends it comes back with the place that it has reached, so that nothing is missed.
"""

import json
import random
import re
import sys
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

BACKOFF_MAX_SECONDS = 30


def follow(url, channel, cursor=None):
    """Yields what the node sends about `channel`, for ever."""
    attempts = 0
    while True:
        wait = random.uniform(0, min(BACKOFF_MAX_SECONDS, 2**attempts))
        attempts += 1
        try:
            with connect(url) as ws:
                since = {"since": cursor} if cursor else {}
                ws.send(json.dumps({"type": "subscribe", "channel": channel, **since}))
                while True:
                    message = json.loads(ws.recv())
                    attempts = 0
                    cursor = place_after(message, cursor)
                    yield message
        except ConnectionClosed as closed:
            # A node that goes away says when to come back.
            asked = re.search(r"retry_after_ms=(\d+)", closed.rcvd.reason if closed.rcvd else "")
            wait = int(asked[1]) / 1000 if asked else wait
        except (OSError, InvalidHandshake) as refused:
            print(refused, file=sys.stderr)
        time.sleep(wait)


def place_after(message, cursor):
    """The cursor once `message` has been heard."""
    if message["type"] == "notification":
        return f"{cursor.split('-')[0]}-{message['offset']}"
    # What lies between `from` and `to` of a gap is lost, and its cursor is the place behind it. That of `subscribed` is the place
    # of the latest publication: where one begins, and no more than that for one who comes back.
    if message["type"] == "gap" or message["type"] == "subscribed" and cursor is None:
        return message["cursor"]
    return cursor


if __name__ == "__main__":
    for heard in follow(*sys.argv[1:]):
        print(json.dumps(heard), flush=True)
