"""Pure parts, without clock, thread, socket or file: the synchronous and the asyncio client share them."""
