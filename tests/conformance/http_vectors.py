"""Sends HTTP/1.1 requests drawn from other parsers' tests to a node's listeners: `http_vectors.py`.

Prints `PASS name` or `FAIL name: why` for each request, and exits 1 when one failed or none was sent. Three rounds:

public, api   every vector as it stands. One that its source calls an error is never answered below 400; any is answered,
              or closed, and after the client's end of stream the connection ends; then a plain GET is answered again.
graft         the faulty header lines of the vectors put on an otherwise valid upgrade: none gets 101.
"""

import json
import pathlib
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from node import Node, limit_seconds  # noqa: E402  (the path above makes it importable)
from wire import KEY  # noqa: E402

TOGETHER = 8
# A node that has all it needs answers at once; a vector that is only the beginning of a request is given this long.
ANSWER_SECONDS = 0.5
END_SECONDS = 5
LIMIT_SECONDS = 180
# Faults in the first line or the body cannot be put on another request's head.
NOT_IN_A_HEADER = re.compile("[Mm]ethod|version|url|HTTP/|RTSP|SOURCE|CRLF after|[Pp]ause|protocol|[Cc]hunk|body|^Expected")
# The grafted request brings these lines itself.
OWN_LINES = re.compile(rb"(?i)(host|upgrade|sec-[a-z-]*|connection):")


def connect(address):
    """A TCP connection to `host:port`."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), END_SECONDS)


def read(connection, seconds):
    """What arrives within `seconds` of silence, and whether the peer has ended the connection."""
    connection.settimeout(seconds)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
        return received, True
    except TimeoutError:
        return received, False
    except OSError:
        return received, True


def exchange(address, request):
    """All that a node answers to a request whose sender then ends its stream; None where it keeps the connection."""
    with connect(address) as connection:
        try:
            connection.sendall(request)
            answer, ended = read(connection, ANSWER_SECONDS)
            if not ended:
                connection.shutdown(socket.SHUT_WR)
                rest, ended = read(connection, END_SECONDS)
                answer += rest
        except OSError:
            return b""  # refused while we were still sending
        return answer if ended else None


def fault_of_run(vector, address):
    """Why a node failed a vector that was sent as it stands; None where it did not."""
    answer = exchange(address, bytes.fromhex(vector["hex"]))
    if answer is None:
        return "the connection is kept after the client's end of stream"
    if answer and not answer.startswith(b"HTTP/1."):
        return f"the answer is not HTTP: {answer[:40]!r}"
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]
    # Whole messages before the faulty one may be answered as they deserve.
    later = statuses[vector["before"] :]
    if vector["error"] and later and later[0] < 400:
        return f"answered {statuses}, but it is an error: {vector['error']}"
    alive = exchange(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return None if alive and alive.startswith(b"HTTP/1.1 ") else "a plain GET is not answered any more"


def grafted(vector):
    """The vector's header lines on a valid upgrade, or None where its fault is not in a header line."""
    raw = bytes.fromhex(vector["hex"])
    if not vector["error"] or vector["before"] or b"\r\n" not in raw or NOT_IN_A_HEADER.search(vector["error"]):
        return None
    lines = raw.split(b"\r\n", 1)[1].split(b"\r\n\r\n")[0].split(b"\r\n")
    lines = b"\r\n".join(line for line in lines if not OWN_LINES.match(line))
    if not lines.strip():
        return None
    own = f"Host: roost.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    return b"GET /live HTTP/1.1\r\n" + own.encode() + lines + b"\r\n\r\n"


def fault_of_graft(vector, address):
    """Why a node failed a grafted vector; None where it did not."""
    answer = exchange(address, grafted(vector))
    if answer is None:
        return "the connection is kept after the client's end of stream"
    return f"101 although: {vector['error']}" if b" 101 " in answer[:20] else None


def rounds(vectors, node):
    """(round, vector, fault function, address) of everything there is to send."""
    yield from (("public", vector, fault_of_run, node.public) for vector in vectors)
    yield from (("api", vector, fault_of_run, node.api) for vector in vectors)
    yield from (("graft", vector, fault_of_graft, node.public) for vector in vectors if grafted(vector))


def main():
    vectors = json.loads((HERE / "vectors.json").read_text())
    limit_seconds(LIMIT_SECONDS, "the HTTP vectors")
    node = Node()
    failed = sent = 0
    try:
        tasks = list(rounds(vectors, node))
        with ThreadPoolExecutor(TOGETHER) as pool:
            faults = pool.map(lambda task: task[2](task[1], task[3]), tasks)
            for (kind, vector, _, _), fault in zip(tasks, faults):
                sent += 1
                failed += fault is not None
                verdict, why = ("PASS", "") if fault is None else ("FAIL", f": {fault}")
                print(f"{verdict} {kind}: {vector['src']}, {vector['name']}{why}", flush=True)
        node.end()
    finally:
        node.kill()
    return 1 if failed or not sent else 0


if __name__ == "__main__":
    sys.exit(main())
