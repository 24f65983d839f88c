"""The ledger on one PostgreSQL database, shared by replicas on many machines."""
