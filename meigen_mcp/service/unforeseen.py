"""An error that nobody foresaw: its text stays in the log, and a reference to it is told."""

import logging
import secrets

from meigen_mcp.errors import Unforeseen

log = logging.getLogger(__name__)


def unforeseen(what: str, error: Exception) -> Unforeseen:
    """Return what is told of an error that nobody foresaw.

    Args:
        what: the method or tool that met it, for the log.
        error: what went wrong.
    """
    reference = secrets.token_hex(4)
    log.error("%s failed, reference %s", what, reference, exc_info=error)
    return Unforeseen(reference)
