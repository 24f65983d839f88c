"""The entry for the MCP registry."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema

import meigen_mcp
from meigen_mcp.variables import SECRET, SETTINGS

ROOT = Path(__file__).parent.parent
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
(PACKAGE,) = SERVER["packages"]


def test_it_fits_the_registrys_schema() -> None:
    """The newest that is released, which it names."""
    path = ROOT / "tests" / "schemas" / "server-2025-12-11.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert SERVER["$schema"] == schema["$id"]
    jsonschema.Draft7Validator(schema).validate(SERVER)


def test_its_versions_are_the_packages() -> None:
    """The registry refuses what the index does not have."""
    assert SERVER["version"] == PACKAGE["version"] == meigen_mcp.__version__


def test_the_readme_proves_whose_package_it_is() -> None:
    """The registry looks for the name in the description on the index."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- mcp-name: (\S+) -->", readme) == [SERVER["name"]]


def test_every_variable_is_a_setting_and_secrets_are_marked() -> None:
    """So that a host asks for them without showing them."""
    variables = {v["name"]: v for v in PACKAGE["environmentVariables"]}
    assert variables.keys() <= {setting.name for setting in SETTINGS}
    assert all(variable["description"] for variable in variables.values())
    assert {name for name, v in variables.items() if v.get("isSecret")} == variables.keys() & set(
        SECRET
    )
