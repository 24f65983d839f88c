"""What a failure of the database means: whether it may pass, and what the person is told."""

import logging
import re

import psycopg
from psycopg import errors as sql
from psycopg_pool import PoolTimeout

from meigen_mcp.errors import LedgerUnavailable

log = logging.getLogger(__name__)

_AGAIN = (sql.DeadlockDetected, sql.SerializationFailure, sql.LockNotAvailable, sql.QueryCanceled)
"""What the server undid, and may well do the next time."""
_REFUSED = re.compile(
    r"FATAL:.*(authentication failed|does not exist|not permitted to log in|pg_hba\.conf)"
)


def explain(error: Exception, *, unsure: bool = False) -> LedgerUnavailable:
    """Return what a failure of the database means, and what to do."""
    if _is_refused(error):
        return LedgerUnavailable(
            "The server of MEIGEN_DATABASE_URL does not let this one in.",
            "Check the user, the password and the name of the database in it.",
        )
    if isinstance(error, sql.InsufficientPrivilege):
        return LedgerUnavailable(
            "The user of MEIGEN_DATABASE_URL may not use the schema meigen.",
            "Grant it, or let that user create it.",
        )
    if isinstance(error, sql.ReadOnlySqlTransaction):
        return LedgerUnavailable(
            "The database of MEIGEN_DATABASE_URL can only be read.",
            "Name the primary server.",
            unsure=unsure,
        )
    if isinstance(error, sql.DiskFull):
        return LedgerUnavailable(
            "The disk of the database is full.", "Make room on it.", unsure=unsure
        )
    if isinstance(error, (*_AGAIN, sql.IdleInTransactionSessionTimeout)):
        return LedgerUnavailable(
            "The database of MEIGEN_DATABASE_URL is too busy.", "Call again.", unsure=unsure
        )
    if may_pass(error):
        return LedgerUnavailable(
            "The database of MEIGEN_DATABASE_URL cannot be reached.",
            "It is tried again all the time; if this lasts, look whether it runs.",
            unsure=unsure,
        )
    log.error("the database refused a statement", exc_info=error)
    return LedgerUnavailable(
        "The database of MEIGEN_DATABASE_URL refused what the ledger needs.",
        "See this server's log, and `meigen-mcp doctor`.",
        unsure=unsure,
    )


def silent(*, unsure: bool) -> LedgerUnavailable:
    """Return the error of a database that does not answer."""
    return LedgerUnavailable(
        "The database of MEIGEN_DATABASE_URL does not answer.",
        "It is tried again all the time; if this lasts, look whether it runs.",
        unsure=unsure,
    )


def may_pass(error: Exception) -> bool:
    """Say whether a failure is one of the connection, or of the moment."""
    if isinstance(error, PoolTimeout | OSError | psycopg.InterfaceError):
        return True
    if isinstance(error, sql.DiskFull) or _is_refused(error):
        return False
    return isinstance(error, (psycopg.OperationalError, *_AGAIN))


def _is_refused(error: Exception) -> bool:
    """Say whether a connection was refused for good: the library tells it by its text only."""
    return isinstance(error, psycopg.OperationalError) and bool(_REFUSED.search(str(error)))
