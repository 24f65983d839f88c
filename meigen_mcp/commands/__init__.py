"""The command line."""

import os

# Else pydantic looks for plugins in the metadata of every installed package, at each start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
