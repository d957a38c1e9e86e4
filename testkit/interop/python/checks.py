"""What the Kafka suites share: checks that run in the order they are written, one line each."""

import time
import traceback
import uuid

CHECKS = []


def check(function):
    """Registers a check; its name is the function's."""
    CHECKS.append(function)
    return function


def fresh(name):
    """A topic or group nobody else uses."""
    return name + "-" + uuid.uuid4().hex[:12]


def eventually(condition, seconds=20, what="the condition"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def values(count, prefix="value"):
    return [f"{prefix}-{number}".encode() for number in range(count)]


def take(poll, count, seconds=30):
    """Polls until so many records are there; `poll` is told how many are missing."""
    records = []
    deadline = time.monotonic() + seconds
    while len(records) < count and time.monotonic() < deadline:
        records.extend(poll(count - len(records)))
    return records


def same(expected, actual):
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def run():
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except Exception as error:
            traceback.print_exc()
            print(f"FAIL {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
        else:
            print("ok " + name, flush=True)
    print("@done", flush=True)
