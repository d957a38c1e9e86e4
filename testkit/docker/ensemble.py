"""What is written through one container is read from the others, while containers are killed and come back.

Run by testkit/docker/run, with the ensemble of docker-compose.yml up and healthy. Arguments: how to call compose.
"""

import logging
import subprocess
import sys

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

# Lost connections are the point of this.
logging.disable()

COMPOSE = sys.argv[1:]
PORTS = {"zoo1": 2181, "zoo2": 2182, "zoo3": 2183}


def compose(*words):
    subprocess.run([*COMPOSE, *words], check=True)


def client(*services):
    hosts = ",".join(f"127.0.0.1:{PORTS[service]}" for service in services)
    retry = KazooRetry(max_tries=-1, deadline=30)
    zk = KazooClient(hosts, timeout=10, connection_retry=retry, command_retry=retry, randomize_hosts=False)
    zk.start(timeout=30)
    return zk


def leader():
    for service, port in PORTS.items():
        zk = KazooClient(f"127.0.0.1:{port}")
        try:
            zk.start(timeout=5)
            if b"Mode: leader" in zk.command(b"srvr").encode():
                return service
        except Exception as error:  # a member that is down is no leader
            print(f"{service} is not asked: {error}")
        finally:
            zk.stop()
            zk.close()
    raise SystemExit("nobody leads")


def expect(what, value, wanted):
    if value != wanted:
        raise SystemExit(f"{what}: {value!r} instead of {wanted!r}")
    print(f"ok: {what}")


def kill_and_read(victim):
    others = [service for service in PORTS if service != victim]
    path = f"/killed-{victim}"
    writer = client(victim)
    writer.ensure_path(path)
    names = [writer.create(f"{path}/entry-", b"x", sequence=True) for _ in range(100)]
    compose("kill", "-s", "KILL", victim)
    reader = client(*others)
    reader.sync(path)
    seen = sorted(f"{path}/{name}" for name in reader.get_children(path))
    expect(f"what was written through {victim} is read from {others[0]} after it was killed", seen, sorted(names))
    reader.create(f"{path}/after", b"y")
    writer.stop()
    reader.stop()
    compose("start", victim)
    returned = client(victim)
    returned.sync(path)
    expect(f"{victim} has caught up", returned.get(f"{path}/after")[0], b"y")
    returned.stop()


def main():
    first = leader()
    print(f"{first} leads")
    kill_and_read(next(service for service in PORTS if service != first))
    kill_and_read(leader())
    everybody = client(*PORTS)
    everybody.create("/kept", b"over a restart of all")
    everybody.stop()
    compose("restart")
    again = client("zoo3", "zoo1")
    expect("volumes keep what was written", again.get("/kept")[0], b"over a restart of all")
    again.stop()


main()
