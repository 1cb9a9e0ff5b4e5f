"""The version of this library, which its requests name."""

VERSION = "0.1.0"
USER_AGENT = f"stargus-python/{VERSION}"
