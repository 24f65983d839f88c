"""Odd places to run in: what each command comes to there, as real processes.

`python -m tests.environments` runs every command in every place; `--write PAGE` makes the page's
table anew. What a place needs (a C compiler to preload from, a locale that can be made) and is not
here is named in the table instead.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests share what is in support
