"""The whole sign-in of real clients, by the identity provider of `deploy/issuer`."""

import sys
from pathlib import Path

if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)
