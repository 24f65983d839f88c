"""Many people on the replicas of one team: who reaches what of whom, and are the sums right."""

import sys
from pathlib import Path

if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
