"""A few callers from an address of their own: wrk has that of the machine, and a server shares its time by address.

    python prober.py PORT PATH BODY_FILE CALLERS SECONDS ADDRESS

prints the median latency in milliseconds, and how many answers there were of status 200 and of others.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import sys
import time
from pathlib import Path


def main() -> None:
    """Ask on some connections, one request after the other on each."""
    port, path, file, callers, seconds, address = sys.argv[1:]
    body = Path(file).read_bytes()
    head = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    request = "\r\n".join([*head, "", ""]).encode() + body
    selector = selectors.DefaultSelector()
    began: dict[socket.socket, float] = {}
    for _ in range(int(callers)):
        one = socket.create_connection(("127.0.0.1", int(port)), source_address=(address, 0))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(one, selectors.EVENT_READ)
        began[one] = time.perf_counter()
        one.sendall(request)
    end = time.perf_counter() + float(seconds)
    took: list[float] = []
    others = 0
    while time.perf_counter() < end:
        for key, _ in selector.select(end - time.perf_counter()):
            one = key.fileobj
            answer = one.recv(1 << 16)  # one row's answer comes in a piece
            now = time.perf_counter()
            took.append(now - began[one])
            others += not answer.startswith(b"HTTP/1.1 200")
            began[one] = now
            one.sendall(request)
    waiting = [end - at for at in began.values()]
    print(statistics.median([*took, *waiting] or [0.0]) * 1e3, len(took) - others, others)


if __name__ == "__main__":
    main()
