"""One of several programs in different languages that want the same thing at the same time.

Arguments: hosts, recipe, folder, rounds. What the folder holds is told in src/interop/contention.rs.
"""

import sys
import time

from kazoo.client import KazooClient
from kazoo.recipe.barrier import DoubleBarrier
from kazoo.recipe.lock import Lock, ReadLock, WriteLock

NAME = "kazoo"
OTHERS = ["-lock-", "-__WRIT__", "-__READ__"]
WRITERS = ["-__WRIT__"]


def contend(zk, recipe, folder, rounds):
    path = folder + "/contended"
    for number in range(rounds):
        if recipe == "lock":
            lock, writes = Lock(zk, path, NAME, extra_lock_patterns=OTHERS), True
        elif recipe == "rw-lock" and number % 3 == 0:
            lock, writes = WriteLock(zk, path, NAME, extra_lock_patterns=OTHERS), True
        elif recipe == "rw-lock":
            lock, writes = ReadLock(zk, path, NAME, extra_lock_patterns=WRITERS), False
        elif recipe == "double-barrier":
            meet(zk, folder, number)
            continue
        else:
            raise ValueError(recipe)
        with lock:
            inside(zk, folder, writes, lock.node)


def inside(zk, folder, writes, node):
    """Leaves a trace while it is inside, and looks whether anybody else is."""
    mine = zk.create(folder + ("/inside/w-" if writes else "/inside/r-"), NAME.encode(), ephemeral=True, sequence=True)
    names = zk.get_children(folder + "/inside")
    if len(names) > 1 and (writes or any(name.startswith("w-") for name in names)):
        print("FAIL not alone inside: %s" % names, flush=True)
    zk.create(folder + "/log/e-", ("%s %s %s" % (NAME, "w" if writes else "r", node[-10:])).encode(), sequence=True)
    time.sleep(0.002)
    zk.delete(mine)


def meet(zk, folder, number):
    barrier = DoubleBarrier(zk, "%s/meeting-%d" % (folder, number), 3)
    zk.create(folder + "/arrived-%d/" % number, sequence=True)
    barrier.enter()
    arrived = len(zk.get_children(folder + "/arrived-%d" % number))
    if arrived != 3:
        print("FAIL entered when %d had come" % arrived, flush=True)
    barrier.leave()
    zk.create(folder + "/log/e-", NAME.encode(), sequence=True)


def main():
    hosts, recipe, folder, rounds = sys.argv[1:]
    zk = KazooClient(hosts, timeout=20)
    zk.start()
    zk.create(folder + "/parties/" + NAME, ephemeral=True)
    while not zk.exists(folder + "/gate"):
        time.sleep(0.01)
    contend(zk, recipe, folder, int(rounds))
    zk.stop()


main()
