"""The viewer in a real Chromium, in a host that speaks MCP Apps: `python -m tests.viewer`."""

import sys
from pathlib import Path

# As a module of the repository it finds the test helpers beside it, as it does under pytest.
if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
