"""The command line. What a subcommand doesn't need is not imported: ``moorings --help`` must answer at once."""

import os
import sys


def main() -> None:
    """The program ``moorings``."""
    _have_standard_streams()
    from moorings.cli.commands import moorings

    moorings(prog_name="moorings")


def _have_standard_streams() -> None:
    """Input, output and errors are there, whatever this was started with, and take any text.

    Where one was closed the next file or socket that is opened would be taken for it. What an encoding other than UTF-8
    can't say is written as an escape.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # they are TextIOWrapper
