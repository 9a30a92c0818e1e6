"""A TCP relay in front of an address, whose connections can be cut: what a network does to clients.

Must never know what it carries.
"""

import contextlib
import socket
import threading

PIECE_BYTES = 65536


class Relay:
    """Listens at `address` (`host:port`) for as long as it is open, and leads every connection to `target`."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.pairs = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                with self.lock:
                    self.pairs.append((near, far))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=[source, sink], daemon=True).start()

    def cut(self):
        """Ends every connection that goes through it now."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for one in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()


def _carry(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
    # Whoever comes to the end first says so to the other side.
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
