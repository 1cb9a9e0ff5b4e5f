"""What schemathesis doesn't know by itself of this API."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context, value):
    """Lines are sent as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def filter_case(_context, case):
    """A header that nobody knows is no fault of a request's."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.hook
def map_case(_context, case):
    """A revision that isn't there yet is waited for and in the end is 503, as it should be; and answers come at once."""
    for values, name, highest in ((case.headers, "Stargus-Min-Revision", 2**53 - 1), (case.query, "waitMs", 600_000)):
        value = str((values or {}).get(name, ""))
        if value.isascii() and value.isdigit() and int(value) <= highest:
            values[name] = "0"
    return case
