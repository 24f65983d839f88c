"""The ledger on one SQLite file, shared by all server processes of a person."""
