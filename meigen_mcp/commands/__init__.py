"""The command line.

What is set here counts for the whole process, before any other library defines its models.
"""

import os

# Else pydantic looks for plugins in the metadata of every installed package, at each start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel  # it reads that variable

# Of the protocol's 500 models, in three versions, a session uses a few dozen: each is made ready
# when it is used first. All of them at the start were a tenth of it.
BaseModel.model_config["defer_build"] = True
