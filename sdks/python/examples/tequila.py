"""
Tequila's example of 1999, by this library: a program attaches an array that is shared, sets `one` to 1 and reads it back; another program sees it.

    python examples/tequila.py [<url>]

The other program is this one, which starts it.
"""

import subprocess
import sys
import uuid

import stargus

#: The array is an item: its elements are attributes, which any program may set by name.
COLLECTION, ARRAY = "arrays", "tequila"


def first(url: str, pool: str) -> None:
    with stargus.connect(url, pool) as client, client.attach(COLLECTION) as shared:
        shared.wait_ready(30)
        other = subprocess.Popen([sys.executable, __file__, url, pool], stdout=subprocess.PIPE, text=True)
        shared.merge(ARRAY, {"one": 1})
        print(f"this program set one, and reads {shared[ARRAY]['one']}")
        said, _ = other.communicate(timeout=60)
        print(said, end="")
        client.api.pools.delete_pool(pool)
    if other.returncode != 0:
        raise SystemExit(f"The other program ended with {other.returncode}.")


def second(url: str, pool: str) -> None:
    with stargus.connect(url, pool) as client, client.attach(COLLECTION) as shared:
        changes = shared.changes()
        shared.wait_ready(30)
        while "one" not in shared.get(ARRAY, {}):
            next(changes)
        print(f"another program sees one as {shared[ARRAY]['one']}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        second(sys.argv[1], sys.argv[2])
    else:
        first(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080", f"tequila-{uuid.uuid4().hex[:8]}")
