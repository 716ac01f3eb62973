"""`fpnas report`, and the page that a run keeps up to date by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpnas.checks import check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_figures
from fpnas.commands.base import Command
from fpnas.errors import UserError, first_line, tell
from fpnas.files import check_output_file
from fpnas.launcher import rank

if TYPE_CHECKING:
    from fpnas.runtime.callbacks import Moment

__all__ = ["COMMAND", "PAGE_NAME", "keep_page", "write_page"]

PAGE_NAME = "report.html"


def keep_page(moment: "Moment") -> None:
    """The page of a run as it is after an epoch."""
    if moment.kind == "epoch" and moment.run is not None:
        write_page(moment.run)


def write_page(run: Path) -> None:
    """The page of a run as it is now, beside its record; of several processes the first one writes it."""
    if rank():
        return
    from fpnas.report.page import write_report

    page = run / PAGE_NAME
    try:
        write_report([run], page)
    except Exception as error:  # no picture of a run is worth the run
        tell(f"fpnas: {page}: cannot be written: {first_line(error)}")


def _add_arguments(parser: CommandParser) -> None:
    parser.add("runs", str, metavar="RUN", nargs="+", help="--output of searches and trainings")
    parser.add("--output", Path, default=Path(PAGE_NAME), help="the HTML file to write")
    parser.add("--live", bool, default=False, help="serve the page to this machine, up to date, instead of writing it")
    parser.add("--port", int, default=0, help="to serve on; any free one for 0")


def _run(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, port=(0, 65535))
    if arguments.port and not arguments.live:
        raise UserError(f"--port {arguments.port}: is where --live serves the page")
    if arguments.live and arguments.output != Path(PAGE_NAME):
        raise UserError(f"--output {arguments.output}: --live serves the page instead of writing it")
    paths = [Path(path) for path in arguments.runs]
    if arguments.live:
        from fpnas.report.live import serve

        serve(paths, arguments.port)  # ends by an interruption alone
    check_output_file(arguments.output)
    from fpnas.report.page import write_report

    write_report(paths, arguments.output)
    return {"output": str(arguments.output), "bytes": arguments.output.stat().st_size}


COMMAND = Command("write a page about runs, or serve it", _add_arguments, _run, show_figures)
