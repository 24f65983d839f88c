"""An MCP server that makes images and videos through the MeiGen REST API."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Give `__version__` from the installed metadata, its only home besides pyproject.toml."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # only when asked

        return str(globals().setdefault(name, version("meigen-mcp")))
    raise AttributeError(name)
