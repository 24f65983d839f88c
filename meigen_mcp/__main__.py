"""`python -m meigen_mcp` is `meigen-mcp`."""

from meigen_mcp.cli import main

main()
