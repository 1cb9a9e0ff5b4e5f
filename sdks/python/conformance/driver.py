"""
The driver of the Python clients (sdks/conformance/README.md): a line of JSON for each command on standard input, and for each answer on standard
output. With `--aio` it drives the asyncio client, else the one that waits.
"""

from __future__ import annotations

import sys


def main() -> int:
    if "--aio" in sys.argv[1:]:
        import with_asyncio as driver
    else:
        import with_threads as driver
    return driver.run()


if __name__ == "__main__":
    sys.exit(main())
