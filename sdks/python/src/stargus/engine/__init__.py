"""
What the client does, written once, in coroutines, for threads and for asyncio.

A coroutine here waits only through a `Runtime` (ports.py). That of asyncio suspends; that of threads blocks inside of the call, so that a
coroutine driven by it never suspends and runs through like a function.
"""
