"""What a person types at `image` and `video`: options that are none, files and lines of prompts."""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any

from meigen_mcp.catalogue import meant, prompt_flags
from meigen_mcp.wording import nearest

REFERENCES = (
    "referenceImages",
    "referenceVideo",
    "referenceVideos",
    "referenceAudios",
    "contentReferenceImages",
)
_RELATIVE = re.compile(r"[^:/\\~][^:]*", re.DOTALL)
_NO_SUCH = "there is no such option"
_COMMENT = re.compile(r"#(\s|$)")
_ELSEWISE: Mapping[str, str] = {
    "prompt": "the prompt stands by itself, in quotes, before the options",
    "wait": "a command waits to the end; leave it out",
    "requestid": "--key NAME names one generation for ever",
}
"""Arguments of the tool that are no option, with what there is instead."""


def no_such_option(
    option: str, arguments: Mapping[str, str], options: Iterable[str], chat: Mapping[str, str]
) -> str:
    """Say what to do instead of an option that does not exist.

    Args:
        option: as it was typed.
        arguments: the option of each argument that has one.
        options: all options, as they are typed.
        chat: what else is called otherwise in a terminal than in a chat.
    """
    word = option.lstrip("-")
    problem = meant.unknown(option, word, [*arguments, "prompt"])
    message, fix = problem.message.replace(meant.NO_SUCH, _NO_SUCH), problem.fix
    guess = re.fullmatch(r"did you mean (\w+)\?", fix)
    if instead := _ELSEWISE.get(word.replace("-", "").lower()):
        message, fix = _NO_SUCH, instead
    elif guess and guess[1] in arguments and len(word) > 2:
        fix = f"did you mean {arguments[guess[1]]}?"
    elif guess or (message == _NO_SUCH and fix.startswith("use ")):
        flag = prompt_flags.instead(word)
        fix = _near(option, options) if flag is None else _translated(flag, arguments, words=False)
    else:
        fix = fix.replace("in the list ", "as ").replace("of the list ", "")
        fix = fix.replace("call the tool", "run the command")
        fix = _translated(fix, {**chat, **arguments})
    return f"{option}: {message}; {fix}"


def _translated(fix: str, names: Mapping[str, str], *, words: bool = True) -> str:
    """Return a sentence with the names of a terminal; those that are words stay, if not wanted."""
    known = {name: names[name] for name in names if words or not name.islower()}
    return re.sub(r"\w+", lambda word: known.get(word[0], word[0]), fix)


def _near(option: str, options: Iterable[str]) -> str:
    guess = nearest(option, options) if len(option.lstrip("-")) > 1 else None
    return f"did you mean {guess}?" if guess else "--help lists them"


def whole_paths(name: str, value: Any) -> Any:
    """Return references with whole paths: a shell's user means the folder that they are in."""
    if name not in REFERENCES:
        return value
    if isinstance(value, list):
        return [whole_paths(name, one) for one in value]
    relative = isinstance(value, str) and _RELATIVE.fullmatch(value)
    return os.path.abspath(value) if relative else value  # noqa: PTH100  # it raises nothing


def allow_folder() -> str:
    """Say how a folder is allowed for this terminal."""
    setting = "set" if sys.platform == "win32" else "export"
    return (
        f"to allow another folder in this terminal: {setting} MEIGEN_REFERENCE_DIRS=FOLDER (several"
        f" with {os.pathsep} between)"
    )


def prompts_in(file: IO[str]) -> tuple[list[str], int]:
    """Return the prompts of a file, one a line, and how many lines are comments.

    Blank lines are none, and a line that is `#`, or begins with `# `, is a comment.
    """
    lines = [line for line in map(str.strip, file) if line]
    prompts = [line for line in lines if not _COMMENT.match(line)]
    return prompts, len(lines) - len(prompts)
