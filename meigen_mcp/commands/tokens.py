"""The token of the clients: where it comes from, and where it is kept."""

import os
import sys
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path

from meigen_mcp.commands.config_file import ConfigurationRefused
from meigen_mcp.commands.launch import TOKEN, TOKEN_FILE
from meigen_mcp.media import whole_files
from meigen_mcp.settings import TOKEN_SHAPE, Settings


class Token(Enum):
    """Where the token of an entry comes from."""

    NONE = auto()
    GIVEN_FILE = auto()
    AS_IT_IS = auto()
    KEPT_FILE = auto()
    ASK = auto()


def token_source(*, sandbox: bool, given: bool, new: bool, named: bool, kept: bool) -> Token:
    """Decide where the token comes from.

    Args:
        sandbox: none is needed.
        given: the person named a file.
        new: the person wants to type another one.
        named: the entry names one already.
        kept: an earlier installation kept one.
    """
    if sandbox:
        return Token.NONE
    if given:
        return Token.GIVEN_FILE
    if new:
        return Token.ASK
    if named:
        return Token.AS_IT_IS
    return Token.KEPT_FILE if kept else Token.ASK


def token_here(loaded: Settings) -> str | None:
    """Return the token that this terminal has set.

    Raises:
        ConfigurationRefused: it is none, and so is not kept.
    """
    if loaded.token is not None and not TOKEN_SHAPE.fullmatch(loaded.token):
        raise ConfigurationRefused(
            f"What {TOKEN} or {TOKEN_FILE} says in this terminal is no token: meigen_sk_ and 32"
            " characters; nothing was changed. Set a token there, or unset it and type one."
        )
    return loaded.token


def token_problems(path: Path) -> Iterator[str]:
    """Say what is wrong with a token file of the person's own."""
    try:
        given, mode = path.read_text("utf-8", "replace").strip(), path.stat().st_mode
    except OSError:
        yield f"{path} cannot be read."
        return
    if not TOKEN_SHAPE.fullmatch(given):
        yield f"What {path} holds is no token: meigen_sk_ and 32 characters."
    if sys.platform != "win32" and mode & 0o077:
        yield f"Others can read {path}: chmod 600 {path}"


def token_path(data_dir: Path) -> Path:
    """Return where the token is kept."""
    return data_dir / "token"


def has_kept_token(data_dir: Path) -> bool:
    """Say whether one is kept; of a folder that may not be looked into, no."""
    return os.path.isfile(token_path(data_dir))  # noqa: PTH113  # it raises nothing


def kept_token_hint(loaded: Settings) -> str | None:
    """Return where the clients' token is, for a command of the person's that has none."""
    if loaded.token is not None or not has_kept_token(loaded.data_dir):
        return None
    path = token_path(loaded.data_dir)
    setting = "set" if sys.platform == "win32" else "export"
    return f"The token of your clients is here: {setting} {TOKEN_FILE}={path}"


def keep_token(data_dir: Path, token: str) -> Path:
    """Write the token into the private file of the data folder, whole or not at all.

    Raises:
        ConfigurationRefused: the folder cannot be written.
    """
    path = token_path(data_dir)
    try:
        with whole_files.new(data_dir, private=True) as partial:
            partial.write_text(f"{token.strip()}\n", encoding="utf-8")
            partial.replace(path)
    except OSError:
        raise unwritable(data_dir) from None
    return path


def unwritable(data_dir: Path) -> ConfigurationRefused:
    """Return the word that nothing can be kept in the data folder."""
    return ConfigurationRefused(
        f"The data folder {data_dir} cannot be written, or its file system knows no locks; nothing"
        " was changed. Set MEIGEN_DATA_DIR to a folder on a disk of this computer."
    )
