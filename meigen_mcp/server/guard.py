"""The border of errors: the text of an unforeseen one stays in the log."""

from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from meigen_mcp.errors import MeigenError, Unforeseen
from meigen_mcp.service.unforeseen import unforeseen

Context = ServerRequestContext[Any, Any]


def guarded(
    handler: Callable[..., Awaitable[Any]], tell: Callable[[str], str]
) -> Callable[..., Awaitable[Any]]:
    """Keep the text of unforeseen errors from clients; 2025 sessions would be sent it as it is.

    Args:
        handler: what answers a method.
        tell: says a sentence as the request under way may hear it.
    """

    async def wrapped(ctx: Context, params: Any) -> Any:
        try:
            return await foresee(handler(ctx, params), ctx.method)
        except Unforeseen as error:
            message = f"Internal error, reference {error.reference} in this server's log"
            raise MCPError(t.INTERNAL_ERROR, message) from None
        except MeigenError as error:
            raise MCPError(t.INTERNAL_ERROR, tell(error.message)) from None

    return wrapped


async def foresee(
    answer: Awaitable[Any], what: str, foreseen: tuple[type[Exception], ...] = ()
) -> Any:
    """Return an answer; the border at which an error that nobody foresaw loses its text.

    Args:
        answer: what is awaited.
        what: the method or tool that answers, for the log.
        foreseen: errors that pass, besides ours and the protocol's.

    Raises:
        Unforeseen: something else went wrong; the log has it under a reference.
    """
    try:
        return await answer
    except (MCPError, MeigenError):
        raise
    except foreseen:
        raise
    except Exception as error:  # noqa: BLE001  # it is logged, and told by its reference
        raise unforeseen(what, error) from None
