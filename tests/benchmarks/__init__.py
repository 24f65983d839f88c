"""How fast and how lean the server is, as ratios in one run.

`python -m tests.benchmarks` measures everything and takes about six minutes;
`tests/test_benchmarks.py` runs every part at a size for continuous integration, and judges no
times. Each server is a process of its own, and so is the API behind it.
"""

import sys
from pathlib import Path

# As a module of the repository it finds the test helpers beside it, as it does under pytest.
if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
