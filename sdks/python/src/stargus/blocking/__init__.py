"""The synchronous client: the engine's coroutines on threads and urllib3."""
