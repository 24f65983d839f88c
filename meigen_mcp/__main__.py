"""`python -m meigen_mcp` is `meigen-mcp`."""

from meigen_mcp.commands.cli import main

main()
