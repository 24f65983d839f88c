"""What Claude Desktop starts from the bundle."""  # noqa: INP001  # a script, not a package

from meigen_mcp.commands.cli import main

main()
