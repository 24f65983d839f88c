"""Programs that make what is committed: the generated tables, the bundle, the sandbox's clips."""

import sys
from pathlib import Path

# Run as `python -m tests.tools.NAME`, these find what the tests share as the tests do.
if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
