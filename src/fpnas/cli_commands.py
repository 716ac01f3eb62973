"""What each command of the command line takes, does and answers.

PyTorch is imported by the functions that need it, so that `--help` and mistakes in options answer at once.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fpnas.builtin_files import find_network
from fpnas.checks import check_choices, check_ranges
from fpnas.cli_parser import CommandParser
from fpnas.cli_tables import show_cost, show_figures, show_predictions, show_space, show_spaces
from fpnas.errors import UserError, first_line, tell
from fpnas.files import what_is_at
from fpnas.launcher import rank
from fpnas.quantities import parse_quantity
from fpnas.search_config import SearchConfig
from fpnas.train_config import TrainConfig

__all__ = ["COMMANDS", "EXPORT_FORMATS", "Command"]

EXPORT_FORMATS = ("onnx", "onnx-int8", "torch", "folder")


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        help: one line on what it does.
        add_arguments: adds what it takes to its parser.
        run: does it, and gives the document that `--json` prints.
        show: prints that document for people.
    """

    help: str
    add_arguments: Callable[[CommandParser], None]
    run: Callable[[Any], Any]
    show: Callable[[Any], None]


def _no_arguments(parser: CommandParser) -> None:
    pass


def _spaces(arguments: Any) -> list[dict[str, Any]]:
    from fpnas.space import builtin_space_names
    from fpnas.space_file import load_space
    from fpnas.space_summary import summarise_space

    return [summarise_space(load_space(name)) for name in builtin_space_names()]


def _add_input_size(parser: CommandParser) -> None:
    parser.add("--input-size", int | None, default=None, help="side of the images, pixels; its own when left out")


def _space_arguments(parser: CommandParser) -> None:
    parser.add("space", metavar="SPACE", help="a built-in search space or a TOML file")
    _add_input_size(parser)
    parser.add("--in-channels", int | None, default=None, help="of the images; the space's own when left out")
    parser.add("--num-classes", int | None, default=None, help="of the data; the space's own when left out")
    parser.add("--target-macs", str | None, default=None, help="a budget: what share of the space meets it")


def _space(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, input_size=(1, 4096), in_channels=(1, 16), num_classes=(2, 10**6))
    target = None if arguments.target_macs is None else parse_quantity(arguments.target_macs, "--target-macs")
    from fpnas.space_file import load_space
    from fpnas.space_summary import describe_space

    return describe_space(
        load_space(arguments.space),
        input_size=arguments.input_size,
        in_channels=arguments.in_channels,
        num_classes=arguments.num_classes,
        target=target,
        budget_floor=SearchConfig.budget_floor,
    )


def _cost_arguments(parser: CommandParser) -> None:
    parser.add("file", metavar="FILE", help="a network or architecture file, or a built-in network's name")
    parser.add(
        "--space",
        str | None,
        default=None,
        help="of an architecture file: a built-in space or a TOML file; when left out, the space.toml beside it, as "
        "searches leave it, or the built-in space it names",
    )
    _add_input_size(parser)


def _cost(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, input_size=(1, 4096))
    from fpnas.architecture import ARCHITECTURE_FORMAT, architecture_from_json
    from fpnas.files import read_json
    from fpnas.network_file import network_from_json
    from fpnas.network_spec import resolve
    from fpnas.network_summary import describe_network
    from fpnas.space_file import load_space

    path = find_network(arguments.file)
    content = read_json(path, "network file")
    where = f"network file {path}"
    kind = content.get("format")
    # Of an architecture file with another version, the message should still be one about architectures.
    if isinstance(kind, str) and kind.partition("/")[0] == ARCHITECTURE_FORMAT.partition("/")[0]:
        where = f"architecture file {path}"
        name = content.get("space")
        if not isinstance(name, str):
            raise UserError(f"{where}: space = {name}: a search space's name is expected")
        beside = path.with_name("space.toml")
        try:
            space = load_space(arguments.space or (beside if beside.is_file() else name))
        except UserError as error:
            raise UserError(f"{where}: {error}; --space names a file") from None
        spec = resolve(space, architecture_from_json(space, content, where))
    else:
        spec = network_from_json(content, where)
    if arguments.input_size is not None:
        spec = spec.at_input_size(arguments.input_size)
    return describe_network(spec)


def _configuration(kind: type, arguments: Any) -> Any:
    values = {field.name: getattr(arguments, field.name) for field in fields(kind)}
    for field in fields(kind):
        # YAML's null passes as a value of any type.
        if values[field.name] is None and field.default is not None:
            raise UserError(f"--{field.name.replace('_', '-')} null: a value is expected")
    return kind(**values)


def _search_arguments(parser: CommandParser) -> None:
    parser.add_configuration(SearchConfig)


def _search(arguments: Any) -> dict[str, Any]:
    config = _configuration(SearchConfig, arguments)
    config.target_macs = str(config.target_macs)
    config.validate()
    from fpnas.runtime.run_directory import RunDirectory
    from fpnas.search import CONVERGED_NATS, run_search

    result = run_search(config, after_epoch=_keep_report)
    if not result.converged and not rank():
        tell(
            f"fpnas: the search did not converge: {result.entropy_nats:.1f} nats are left where fewer than "
            f"{CONVERGED_NATS:g} are expected; more --epochs may help"
        )
    run = RunDirectory(config.output, "search", asdict(config))
    figures = {field.name: getattr(result, field.name) for field in fields(result)}
    files = {"output": str(run.path), "architecture": str(run.architecture_path), "network": str(run.network_path)}
    return figures | files


def _derive_arguments(parser: CommandParser) -> None:
    parser.add("run", Path, metavar="RUN", help="the --output of a search")
    parser.add("--target-macs", str | None, default=None, help="another budget; the search's own when left out")
    parser.add("--output", Path | None, default=None, help="network file to write; the run's own when left out")


def _derive(arguments: Any) -> dict[str, Any]:
    from fpnas.derive import derive_run

    derived = derive_run(arguments.run, target_macs=arguments.target_macs, output=arguments.output)
    return asdict(derived) | {"architecture": str(derived.architecture), "network": str(derived.network)}


def _train_arguments(parser: CommandParser) -> None:
    parser.add(
        "network_file",
        metavar="FILE",
        help="a network file, a built-in network's name, or a model folder, whose weights are the start",
    )
    parser.add_configuration(TrainConfig)


def _train(arguments: Any) -> dict[str, Any]:
    config = _configuration(TrainConfig, arguments)
    config.validate()
    folder = what_is_at(arguments.network_file, "network") == "folder"
    source = Path(arguments.network_file) if folder else find_network(arguments.network_file)
    from fpnas.train import run_train

    result = run_train(source, config, after_epoch=_keep_report)
    figures = {name: getattr(result, name) for name in ("top1", "top5", "macs", "params", "seconds", "skipped_images")}
    return figures | {"output": str(config.output)}


def _add_model(parser: CommandParser, files: str = "") -> None:
    parser.add("run", Path, metavar="MODEL", help=f"a model folder, the --output of a training{files}")


def _evaluate_arguments(parser: CommandParser) -> None:
    _add_model(parser, ", or an ONNX file")
    parser.add("--data", required=True, help="a data set whose test images are taken; names as in `fpnas train`")
    parser.add("--device", default="auto", help="auto, cpu or cuda")
    parser.add("--workers", int, default=2, help="threads that load images")


def _evaluate(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, workers=(0, 256))
    check_choices(arguments, device=("auto", "cpu", "cuda"))
    from fpnas.predict import evaluate_model

    return asdict(evaluate_model(arguments.run, arguments.data, device=arguments.device, workers=arguments.workers))


def _predict_arguments(parser: CommandParser) -> None:
    _add_model(parser, ", or an ONNX file")
    parser.add("images", str, metavar="IMAGE", nargs="+", help="image files")


def _predict(arguments: Any) -> list[dict[str, Any]]:
    from fpnas.predict import predict_images, prediction_to_json

    predictions = predict_images(arguments.run, [Path(image) for image in arguments.images])
    return [prediction_to_json(prediction) for prediction in predictions]


def _export_arguments(parser: CommandParser) -> None:
    _add_model(parser)
    parser.add("--format", required=True, help=", ".join(EXPORT_FORMATS))
    parser.add("--output", Path, required=True, help="the file to write; for --format folder, a new folder")
    parser.add(
        "--data",
        str | None,
        default=None,
        help="images to compare and quantise by; the training's when left out",
    )
    parser.add("--workers", int, default=2, help="threads that load images")


def _export(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, workers=(0, 256))
    check_choices(arguments, format=EXPORT_FORMATS)
    from fpnas.export import export_model

    exported = export_model(
        arguments.run, arguments.output, arguments.format, data=arguments.data, workers=arguments.workers
    )
    return asdict(exported) | {"path": str(exported.path)}


def _keep_report(run: Path) -> None:
    """The run's page as it is now, beside its record."""
    from fpnas.report.page import write_report

    try:
        write_report([run], run / "report.html")
    except Exception as error:  # no picture of a run is worth the run
        tell(f"fpnas: {run / 'report.html'}: cannot be written: {first_line(error)}")


def _report_arguments(parser: CommandParser) -> None:
    parser.add("runs", str, metavar="RUN", nargs="+", help="--output of searches and trainings")
    parser.add("--output", Path, default=Path("report.html"), help="the HTML file to write")
    parser.add("--live", bool, default=False, help="serve the page to this machine, up to date, instead of writing it")
    parser.add("--port", int, default=0, help="to serve on; any free one for 0")


def _report(arguments: Any) -> dict[str, Any]:
    check_ranges(arguments, port=(0, 65535))
    paths = [Path(path) for path in arguments.runs]
    if arguments.live:
        from fpnas.report.live import serve

        serve(paths, arguments.port)
    from fpnas.report.page import write_report

    write_report(paths, arguments.output)
    return {"output": str(arguments.output), "bytes": arguments.output.stat().st_size}


def _import_arguments(parser: CommandParser) -> None:
    parser.add(
        "strings",
        str,
        metavar="STRING",
        nargs="+",
        help="a stage as timm writes it, e.g. ir_r3_k5_s2_e3_c40_se0.25; se0.25 is of the block's hidden width as in "
        "MobileNetV3, not of its input as in EfficientNet",
    )
    parser.add("--output", Path, required=True, help="network file to write")
    parser.add("--name", str | None, default=None, help="the network's name; that of the file when left out")
    parser.add("--input-size", int, default=224, help="side of the images, pixels")
    parser.add("--num-classes", int, default=1000, help="classes")
    parser.add("--stem-channels", int, default=32, help="channels of the first convolution, a multiple of 8")
    parser.add("--head-channels", int, default=1280, help="channels before the classifier")
    parser.add("--activation", default="relu", help="relu, swish or hswish, where a string names none")


def _import(arguments: Any) -> dict[str, Any]:
    from fpnas.cost.counts import network_cost
    from fpnas.files import check_output_file, write_json_atomic
    from fpnas.network_file import network_to_json
    from fpnas.space import ACTIVATIONS
    from fpnas.timm_strings import network_from_timm_strings

    check_ranges(arguments, input_size=(1, 4096), num_classes=(2, 10**6))
    check_ranges(arguments, stem_channels=(8, 65536), head_channels=(1, 65536))
    check_choices(arguments, activation=ACTIVATIONS)
    output = arguments.output
    check_output_file(output)
    spec = network_from_timm_strings(
        arguments.strings,
        name=output.stem if arguments.name is None else arguments.name,
        input_size=arguments.input_size,
        num_classes=arguments.num_classes,
        stem_channels=arguments.stem_channels,
        head_channels=arguments.head_channels,
        activation=arguments.activation,
    )
    write_json_atomic(output, network_to_json(spec))
    cost = network_cost(spec)
    figures = {"macs": cost.macs, "params": cost.params, "weights": cost.weights, "input_size": spec.input_size}
    return {"network": str(output)} | figures


COMMANDS: dict[str, Command] = {
    "spaces": Command("list the built-in search spaces", _no_arguments, _spaces, show_spaces),
    "space": Command("show one search space in full", _space_arguments, _space, show_space),
    "cost": Command("count what a network costs, block by block", _cost_arguments, _cost, show_cost),
    "search": Command("search a network for data and a budget", _search_arguments, _search, show_figures),
    "derive": Command("take a network for another budget from a search", _derive_arguments, _derive, show_figures),
    "train": Command("train a network, from scratch or from other weights", _train_arguments, _train, show_figures),
    "evaluate": Command("accuracy of a trained network", _evaluate_arguments, _evaluate, show_figures),
    "predict": Command("classes of images", _predict_arguments, _predict, show_predictions),
    "export": Command("write a trained network for other programs", _export_arguments, _export, show_figures),
    "report": Command("write a page about runs, or serve it", _report_arguments, _report, show_figures),
    "import": Command("write a network file from timm's strings", _import_arguments, _import, show_figures),
}
