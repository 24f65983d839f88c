"""Real chat clients in front of the server, each with a scripted model on loopback.

`python -m tests.clients TOOLS [NAME...]` installs what is not there yet into the folder TOOLS (the
newest releases, from PyPI and npm), runs each client against `serve --sandbox` and prints what came
back to its model: the rows of *What was run* in docs/clients.md. Clients with a screen of their own
are run by hand, with `--model PORT` as their model; docs/clients.md says how.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests share what is in support
