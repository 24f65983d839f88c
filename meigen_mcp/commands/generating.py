"""The commands `image` and `video`, with an option for each argument that a call may have."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from decimal import Decimal
from typing import IO, Any, Literal

import anyio
import anyio.to_thread
import click

from meigen_mcp import settings
from meigen_mcp.commands import output
from meigen_mcp.commands.output import say
from meigen_mcp.commands.parameters import Name
from meigen_mcp.errors import MeigenError
from meigen_mcp.foreign import printable
from meigen_mcp.settings import Settings

Medium = Literal["image", "video"]
LEFT_OUT = ("prompt", "wait", "requestId")
"""Arguments of the tools that are no option: a command waits to the end, and a key names it."""
_NAMED = 5
_CHAT_WORDS = {
    "list_models": "meigen-mcp models",
    "check_status": "meigen-mcp jobs",
    "generate_image": "meigen-mcp image",
    "generate_video": "meigen-mcp video",
}
"""What a person in a terminal calls by another name, besides the arguments."""


class Argument(click.Option):
    """An argument of the tool as an option; its text is that of the tool, read for the help."""

    def __init__(self, name: str, medium: Medium, *, many: bool, flag: bool, hidden: bool) -> None:
        word = re.sub("([A-Z])", r"-\1", name).lower()
        words = [f"--{word.removesuffix('s') if many else word}"]
        words += ["--model"] if name == "modelId" else []
        super().__init__([name, *words], multiple=many, is_flag=flag, hidden=hidden)
        self._of = name, medium

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option with what it may be."""
        from meigen_mcp.catalogue.arguments import TOOL_OF  # noqa: PLC0415  # for the help alone
        from meigen_mcp.catalogue.models import shipped  # noqa: PLC0415  # as above
        from meigen_mcp.server.tool_schemas import generate_schema  # noqa: PLC0415  # as above

        name, medium = self._of
        schema = generate_schema(TOOL_OF[medium], shipped())["properties"].get(name, {})
        values = f" One of {', '.join(map(str, schema['enum']))}." if "enum" in schema else ""
        again = " May be given again." if self.multiple else ""
        self.help = f"{schema.get('description', '')}{values}{again}"
        return super().get_help_record(ctx)


class MediumCommand(click.Command):
    """Makes media of one kind; its options are known when it is called for."""

    def __init__(self, medium: Medium) -> None:
        about = f"Make {'an' if medium == 'image' else 'a'} {medium}, and wait until it is saved."
        super().__init__(
            medium,
            {"allow_extra_args": True},  # to say what is meant instead
            callback=self._run,
            help=f"{about}\n\n{_HELP}",
            short_help=about,
        )
        self._medium: Medium = medium

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options, made on first use."""
        if not self.params:
            self.params = [
                click.Argument(["prompt"], required=False),
                *_arguments(self._medium),
                *_OWN,
            ]
        return super().get_params(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what was typed; of an option that is none, say what there is instead."""
        try:
            rest = super().parse_args(ctx, args)
            if rest:
                said = printable(" ".join([str(ctx.params.get("prompt") or ""), *rest]).strip())
                raise click.UsageError(f'put the whole prompt into quotes: "{said}"', ctx)
            return rest
        except click.NoSuchOption as wrong:
            from meigen_mcp.commands import typed  # noqa: PLC0415  # for a mistake alone

            own = [one for one in self.params if isinstance(one, Argument) and not one.hidden]
            words = {str(one.name): one.opts[0] for one in own}
            options = [word for one in self.params for word in one.opts if word[:1] == "-"]
            said = typed.no_such_option(wrong.option_name, words, options, _CHAT_WORDS)
            raise click.UsageError(said, ctx) from None

    def _run(
        self,
        *,
        prompt: str | None,
        prompts: IO[str] | None,
        key: str | None,
        yes_up_to: float | None,
        as_json: bool,
        sandbox: str | None,
        **arguments: Any,
    ) -> None:
        from meigen_mcp.catalogue.arguments import TOOL_OF  # noqa: PLC0415  # on first use
        from meigen_mcp.commands import orders, results, tokens, typed  # noqa: PLC0415  # as above

        if prompt is not None and prompts is not None:
            raise click.UsageError("give a prompt, or a file of them with --prompts, and not both")
        if prompt is None and prompts is None:
            taken = f"; {sandbox} was taken for the name of a sandbox" if sandbox else ""
            raise click.UsageError(f"give a prompt, or a file of them with --prompts{taken}")
        lines = [prompt or ""] if prompts is None else _prompts(prompts)
        options = arguments["niji7Options"]
        if options and not options.lstrip().startswith("{"):
            raise click.UsageError(
                "--niji7-options: it is written as JSON, such as '{\"stylize\": 250}'"
            )
        given = {name: typed.whole_paths(name, _spelled(one)) for name, one in arguments.items()}
        if prompts is not None and key is None and not arguments["dryRun"]:
            raise click.UsageError("--prompts needs --key, by which it goes on after an end")
        order = orders.Order(
            TOOL_OF[self._medium],
            {name: value for name, value in given.items() if value},
            [_spelled(line) for line in lines],
            several=prompts is not None,
            key=key,
            yes_up_to=None if yes_up_to is None else Decimal(str(yes_up_to)),
        )
        loaded = settings.load()
        output.log_to_stderr(loaded.log_level)
        if sandbox is None and (hint := tokens.kept_token_hint(loaded)):
            say(hint, err=True)
        shown = results.Results(
            as_json=as_json, saves=loaded.output_dir is not None, words=self._words()
        )

        async def run() -> int:
            async with chosen(loaded, sandbox) as loaded_so:
                return await orders.run(loaded_so, order, shown, _ask if _somebody() else None)

        try:
            status = anyio.run(run)
        except MeigenError as error:
            raise click.ClickException(error.message) from None
        except KeyboardInterrupt:
            say(_stopped(shown.waited_for, sandbox), err=True)
            sys.stdout.flush()
            os._exit(130)  # a question may still wait for its answer in a thread
        raise SystemExit(status)

    def _words(self) -> dict[str, str]:
        """Return what the words of a chat are here: `aspectRatio` is `--aspect-ratio`."""
        own = {p.name: p.opts[0] for p in self.params if isinstance(p, Argument) and p.name}
        named = {f"- {name}": f"- {word}" for name, word in own.items()}  # at the head of a problem
        return _CHAT_WORDS | named | {name: own[name] for name in own if not name.islower()}


def _stopped(names: Sequence[str], sandbox: str | None) -> str:
    """Say to whom stops waiting what becomes of what is under way."""
    if sandbox == "":
        return "Not waited for any longer. The sandbox ends with this command, and what it made."
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    which = f": {', '.join(names[:_NAMED])}{more}" if names else ""
    inside = f" --sandbox {sandbox}" if sandbox else ""
    name = names[0] if len(names) == 1 else "ID"
    return (
        f"Not waited for any longer{which}. What MeiGen has goes on; the next chat client, or the"
        " next command that makes something, saves it, and sends what is queued. `meigen-mcp jobs"
        f"{inside}` says how it stood then; `meigen-mcp jobs {name} --call-off{inside}` ends what"
        " is queued."
    )


_HELP = """What a model takes is as shipped; MeiGen's list of the day decides, which --dry-run asks.

What costs more than MEIGEN_CONFIRM_ABOVE is asked about in a terminal, and needs --yes-up-to
elsewhere. The saved files are printed, one a line.

Exit status: 0 done, 2 refused, 3 over a cap, 4 needs a yes, 5 failed and not charged or refunded,
6 failed and charged, 7 not known."""
_OWN: Sequence[click.Parameter] = (
    click.Option(["--prompts"], type=click.File(encoding="utf-8-sig", errors="replace"),
                 metavar="FILE", help="One prompt a line instead, also one that begins with -,"
                 " under one quote and, whatever it comes to, one yes. Lines that begin with"
                 " `# ` are comments."),
    click.Option(["--key"], metavar="NAME", callback=output.spelled,
                 help="Any text: what it names is made once, however often it is called for."),
    click.Option(["--yes-up-to"], type=click.FloatRange(0), metavar="CREDITS",
                 help="Your yes to a quote up to this, all prompts of a file together; what"
                 " is more needs another."),
    click.Option(["as_json", "--json"], is_flag=True, help="One JSON object a line."),
    click.Option(["--sandbox"], is_flag=False, flag_value="", type=Name(optional=True),
                 metavar="[NAME]", help="Use the embedded sandbox: no key, no credits; with a name"
                 " one that remembers. After the prompt."),
)  # fmt: skip


def _arguments(medium: Medium) -> Iterator[Argument]:
    """Yield an option for each argument of a medium's tool, by the rules of its models."""
    from meigen_mcp.catalogue import arguments as args  # noqa: PLC0415  # on first use
    from meigen_mcp.catalogue.models import shipped  # noqa: PLC0415  # as above
    from meigen_mcp.catalogue.rules import Flag, Items  # noqa: PLC0415  # as above

    models = shipped().accepted(medium)
    rules = {name: rule for m in models for name, rule in args.generation_rules(m).items()}
    for name in [*args.GENERATION, *args.CONTROL]:
        if name not in LEFT_OUT:
            rule = args.CONTROL.get(name) or rules.get(name)  # one of them tells the kind
            yield Argument(
                name,
                medium,
                many=isinstance(rule, Items),
                flag=isinstance(rule, Flag),
                hidden=rule is None,  # a live model may take it all the same
            )


def _prompts(file: IO[str]) -> list[str]:
    """Return the prompts of a file; what is left out of it is said."""
    from meigen_mcp.commands import typed  # noqa: PLC0415  # on first use

    prompts, comments = typed.prompts_in(file)
    if not prompts:
        raise click.UsageError("there is no prompt in that file")
    if comments:
        begin = "1 line begins" if comments == 1 else f"{comments} lines begin"
        say(f"{begin} with # and a space: a comment, not made", err=True)
    return prompts


def _spelled(value: Any) -> Any:
    """Return what was typed without bytes that are no text."""
    if isinstance(value, tuple):
        return [_spelled(item) for item in value]
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def chosen(loaded: Settings, sandbox: str | None) -> AbstractAsyncContextManager[Settings]:
    """Return the settings to be used, on a sandbox of this process if that is wished."""
    from meigen_mcp.app import sandboxed  # noqa: PLC0415  # on first use

    return nullcontext(loaded) if sandbox is None else sandboxed(loaded, sandbox)


def _somebody() -> bool:
    """Say whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def _ask(question: str) -> bool:
    """Ask at the terminal; only a typed yes is one."""
    words = printable(question)

    def answer() -> bool:
        try:
            return click.confirm(words, err=True)
        except click.Abort:  # the end of the input
            return False

    return await anyio.to_thread.run_sync(answer, abandon_on_cancel=True)
