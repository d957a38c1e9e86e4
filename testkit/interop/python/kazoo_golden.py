"""A fixed script whose bytes are recorded on the way. Usage: kazoo_golden.py HOST:PORT."""

import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NoNodeError, NotEmptyError
from kazoo.security import make_acl, make_digest_acl


def fails(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{kind} expected")


zk = KazooClient(hosts=sys.argv[1], timeout=30)
zk.start()
zk.create("/golden", b"one")
zk.get("/golden")
zk.set("/golden", b"two", version=0)
fails(BadVersionError, zk.set, "/golden", b"x", version=5)
zk.exists("/golden")
zk.exists("/golden/none")
created = threading.Event()
zk.exists("/golden/a", watch=lambda event: created.set())
zk.create("/golden/a", ephemeral=True)
assert created.wait(10)
zk.create("/golden/s-", sequence=True)
zk.create("/golden/b", b"x", include_data=True)
zk.get_children("/golden")
zk.get_children("/golden", include_data=True)
zk.add_auth("digest", "jack:pass")
zk.create("/golden/d", acl=[make_digest_acl("jack", "pass", all=True)])
zk.get_acls("/golden/d")
zk.set_acls("/golden/d", [make_acl("world", "anyone", all=True)])
transaction = zk.transaction()
transaction.check("/golden", 1)
transaction.create("/golden/t", b"y")
transaction.set_data("/golden", b"z")
transaction.delete("/golden/d")
assert not any(isinstance(result, KazooException) for result in transaction.commit())
transaction = zk.transaction()
transaction.delete("/golden/t")
transaction.check("/golden", 9)
transaction.create("/golden/u")
transaction.commit()
zk.sync("/golden")
fails(NotEmptyError, zk.delete, "/golden")
fails(NoNodeError, zk.delete, "/golden/none")
zk.delete("/golden/t")
zk.get("/")
zk.stop()
print("@done", flush=True)
