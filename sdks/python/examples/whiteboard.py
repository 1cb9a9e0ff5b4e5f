"""
A whiteboard that several programs share, in whatever language they are written: each draws strokes now and then, and prints what the others draw.

    python examples/whiteboard.py [--expect n] <url> <name> <strokes>

It ends by itself when it has drawn its strokes and, with --expect, has seen n strokes in all.
"""

import argparse
import queue
import random
import sys
import threading
import time

import stargus

COLOURS = ("red", "green", "blue", "black")

#: The longest time between two strokes, in seconds.
WAIT_MAX = 0.3


def draw_all(client: stargus.Client, name: str, count: int) -> None:
    """Draws under a lock on the strokes whose keys begin with the name, so that two programs of one name don't mix theirs."""
    for _ in range(count):
        with client.lock("strokes", prefix=f"{name}/") as held:
            key = f"{name}/{time.time_ns()}-{random.randrange(1_000_000):06}"
            stroke = {"x": random.randrange(100), "y": random.randrange(100), "colour": random.choice(COLOURS), "by": name}
            held.set("strokes", key, stroke)
        time.sleep(random.uniform(0, WAIT_MAX))


def draw(url: str, name: str, count: int, expect: int) -> None:
    # What happens, in its order: an item, None when all is drawn, or what failed.
    happened: "queue.Queue[stargus.Item | Exception | None]" = queue.Queue()

    def drawing(client: stargus.Client) -> None:
        try:
            draw_all(client, name, count)
            happened.put(None)
        except Exception as error:
            happened.put(error)

    def reading(board: stargus.Mirror, changes: stargus.Changes) -> None:
        try:
            for change in changes:
                for item in board.values() if change.op == "reset" else [change.item]:
                    if item is not None:
                        happened.put(item)
        except Exception as error:
            happened.put(error)

    seen: set[str] = set()

    def see(item: stargus.Item) -> None:
        if item.key not in seen:
            seen.add(item.key)
            if item["by"] != name:
                print(f"{item['by']} drew {item['colour']} at {item['x']},{item['y']}", flush=True)

    with stargus.connect(url, "whiteboard") as client:
        board = client.attach("strokes")
        changes = board.changes()
        board.wait_ready(30)
        threading.Thread(target=drawing, args=(client,), daemon=True).start()
        for item in board.values():
            see(item)
        threading.Thread(target=reading, args=(board, changes), daemon=True).start()
        is_drawn = False
        while not is_drawn or len(seen) < expect:
            what = happened.get()
            if isinstance(what, Exception):
                raise what
            if what is None:
                is_drawn = True
            else:
                see(what)


def main() -> int:
    parser = argparse.ArgumentParser(description="A whiteboard that several programs share.")
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("strokes", type=int)
    parser.add_argument("--expect", type=int, default=0, help="end only when so many strokes have been seen in all")
    arguments = parser.parse_args()
    try:
        draw(arguments.url, arguments.name, arguments.strokes, arguments.expect)
    except (stargus.StargusError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
