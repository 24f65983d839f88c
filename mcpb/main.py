"""What Claude Desktop starts from the bundle."""  # noqa: INP001  # a script, not a package

from meigen_mcp.cli import main

main()
