"""The `caraway` command. Each subcommand is a module, imported when it is called."""

from __future__ import annotations

import atexit
import gc
import importlib

# A start makes many objects that stay: to look through them again and again, and once more at the end, takes a tenth.
gc.set_threshold(200_000)
atexit.register(gc.freeze)

import click  # noqa: E402 - of these objects a third are this library's

COMMANDS = {
    "demo": "See it work: a VM of our own, its screen, keys and clicks.",
    "inspect": "Show what a recorded session holds, message by message.",
    "key": "Press keys, such as ctrl+alt+delete.",
    "replay": "Put a recorded session through the client.",
    "migrate": "Move a VM to another QEMU; its viewers follow.",
    "screenshot": "Save a picture of the screen.",
    "serve": "Serve a guest's screen, keys and sound.",
    "type": "Type text.",
    "view": "Show the screen in a window, with keys and mouse.",
}


class _Commands(click.Group):
    """Knows the names and one-line helps of all commands without importing them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"caraway.cli.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            import difflib

            if near := difflib.get_close_matches(args[0], COMMANDS, n=1):
                context.fail(f"no such command {args[0]!r}; did you mean {near[0]!r}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="caraway")
def main() -> None:
    """SPICE consoles from the command line.

    Exit codes: 0 done, 2 usage, 3 credentials refused, 4 TLS, 5 unreachable, 6 protocol, 7 migration failed,
    8 deadline.
    """
