"""The official conformance suite against this server: `python -m tests.conformance`."""
