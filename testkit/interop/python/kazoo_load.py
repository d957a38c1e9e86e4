"""One session that keeps so many requests under way; see src/bench/clients.rs.

Arguments: hosts, operation, path, depth, seconds. Warms up for so long, measures for as long, and prints operations,
seconds and CPU seconds of the measured time.
"""

import sys
import time
from collections import deque

from kazoo.client import KazooClient


def main():
    hosts, operation, path, depth, seconds = sys.argv[1:]
    zk = KazooClient(hosts, timeout=20)
    zk.start()
    data = bytes(100)
    ask = (lambda: zk.set_async(path, data)) if operation == "set" else (lambda: zk.get_async(path))
    under_way = deque(ask() for _ in range(int(depth)))

    def go_on(seconds):
        """How many answers came until then."""
        end, done = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            under_way.popleft().get()
            under_way.append(ask())
            done += 1
        return done

    go_on(float(seconds))
    begin, cpu = time.monotonic(), time.process_time()
    done = go_on(float(seconds))
    print(done, time.monotonic() - begin, time.process_time() - cpu, flush=True)
    for answer in under_way:
        answer.get()
    zk.stop()


main()
