"""The end of a node that has clients."""

import time

from harness import QUICK, case
from wire import CLOSE

CLIENTS = 40


@case("systemctl stop sends every client away with 1001 and a moment to come back, and is done in time")
def stop(world):
    with world.node(**QUICK) as guest:
        clients = [world.connect() for _ in range(CLIENTS)]
        start = time.monotonic()
        guest.run("systemctl", "stop", "roost.service")
        took = time.monotonic() - start
        for client in clients:
            opcode, payload = client.frame()
            assert opcode == CLOSE and int.from_bytes(payload[:2], "big") == 1001, payload
            assert b"retry_after_ms=" in payload, payload
            client.ended()
        # drain_over is 2 s; an emulated processor takes its time.
        assert took < 20, took
        assert world.show("Result") == "success" and world.show("ExecMainStatus") == "0", guest.log()
