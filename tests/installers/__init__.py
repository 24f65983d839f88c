"""Many installers at once, as real processes: whatever says that it is done is there.

`python -m tests.installers` runs 24 at once, 20 times, round the clients; the exit status is 0 if
no entry was lost and nothing but the one file was written.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests share what is in support
