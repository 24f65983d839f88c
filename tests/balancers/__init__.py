"""Replicas behind the balancers and the pooler that people run, with the lines of docs/team.md."""

import sys
from pathlib import Path

if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
