"""The gate names once what it needs besides Python, and leaves none of it out."""

import re

import pytest
from tools import gate


@pytest.mark.skipif(not gate.GATE.exists(), reason="only a clone has the gate")
def test_each_part_that_the_gate_has_besides_is_a_step_of_it() -> None:
    """The list is what the tests say at their end, so nothing on it may be an empty promise."""
    lines = gate.GATE.read_text("utf-8").splitlines()
    named = "".join(line for line in lines if line.startswith("step "))
    steps = re.findall(r"\$\{besides\[(\w+)\]\}", named)
    assert steps == list(gate.list_besides())
    assert len(steps) > 3
