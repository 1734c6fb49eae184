"""The command line. What a subcommand doesn't need is not imported: ``moorings --help`` must answer at once."""


def main() -> None:
    """The program ``moorings``."""
    from moorings.cli.commands import moorings

    moorings(prog_name="moorings")
