"""The entry point: a command's end as an exit code, and what is wrong as one line."""

from __future__ import annotations

import os
import sys
import threading

import cyclopts

from hiermodels.cli._app import app

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; turns errors into one line and an exit code."""
    code = _code(arguments)
    if any(thread.name.startswith("hiermodels-chunk") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # a stopped run does not wait for the chunks it gave up
    sys.exit(code)


def _code(arguments: list[str] | None) -> int:
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return _bad(_misused(error))
    except ValueError as error:
        return _bad(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.strerror is None:
            raise
        return _bad(f"{error.filename or 'system'}: {error.strerror}; check the path, its permissions and the space left")
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "stopped", file=sys.stderr)
        return int(getattr(stopped, "code", 130))
    return 0


def _misused(error: cyclopts.CycloptsError) -> str:
    """A mistake in the command itself, in one line."""
    command = " ".join(["hiermodels", *(error.command_chain or ())])
    text = " ".join(str(error).split()).removesuffix(".")
    text = text.removeprefix(f'Command "{command.partition(" ")[2]}" ')
    if isinstance(error, cyclopts.UnusedCliTokensError):
        text = f"expected no further argument, found {' '.join(error.unused_tokens or ())!r}"
    return f"{command}: {text}; see {command} --help"


def _bad(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
