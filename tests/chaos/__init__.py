"""Money-safety under faults: the acceptance of the promises in `docs/money-safety.md`.

`python -m tests.chaos` runs all of it and takes about half an hour; `tests/test_chaos.py` runs
every part at a size for continuous integration.
"""

import sys
from pathlib import Path

# As a module of the repository it finds the test helpers beside it, as it does under pytest.
if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
