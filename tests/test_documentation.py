"""README and docs are run: what a reader copies works, and what is shown is what there is."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import NOT_RUN, ROOT, Block, blocks_of, lines_of, run_blocks
from PIL import Image
from shown_commands import check_line, check_span, spans_of

from fpnas.errors import UserError
from fpnas.quantities import format_quantity
from fpnas.space import builtin_space_names
from fpnas.space_file import load_space
from fpnas.space_summary import summarise_space

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

# Pages that are run in one folder one after the other: the later ones use what the earlier ones made.
RUN_TOGETHER = [
    ["README.md"],
    ["docs/start.md"],
    ["docs/own-images.md", "docs/questions.md"],
    ["docs/spaces.md"],
    ["docs/compared.md"],
]
RUN_ELSEWHERE = {"docs/extending.md": "tests/test_extending.py"}
# Pages whose commands are all only parsed.
MEASURED = dict.fromkeys(("docs/results.md", "docs/tried.md"), "measurements that take minutes to hours")

# What is added to commands that would take long. They are run as shown otherwise.
LITTLE = ("--epochs=1", "--max-images=64", "--batch-size=16", "--threads=1")
APPENDED = {
    "search": (*LITTLE, "--warmup-epochs=0", "--architecture-batch-size=16"),
    "train": (*LITTLE, "--warmup-epochs=0"),
    "select": (*LITTLE, "--warmup-epochs=0"),
}
KINDS_TO_RUN = {"bash", "console", "python", "toml"}
DIRECTIVE = re.compile(r"\{\w+\}")

HOSTS = {"arxiv.org", "github.com", "huggingface.co", "squidfunk.github.io", "zensical.org"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def picture(path: Path, mode: str, tint: int, seed: int) -> None:
    """An image of noise with a tint that tells its class."""
    pixels = np.random.default_rng(seed).integers(0, 120, (50, 61, 3), dtype=np.uint8)
    pixels[:, :, tint] += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def stand_ins(folder: Path) -> None:
    """What the pages take for granted.

    Class folders `photos` and `others`, three with mistakes, `photo.jpg`, and the repository's benchmarks.
    """
    for data, classes in {"photos": ("red kites", "blaue Vögel"), "others": ("猫", "犬", "鳥 1")}.items():
        for tint, name in enumerate(classes):
            for index in range(40):
                picture(folder / data / "train" / name / f"photo {index} ü.jpg", "RGB", tint, index)
            for index in range(6):
                picture(folder / data / "val" / name / f"{index}.JPG", "RGB", tint, 100 + index)
            picture(folder / data / "train" / name / "grey.jpg", "L", tint, 200)
            picture(folder / data / "train" / name / "transparent.png", "RGBA", tint, 201)
    picture(folder / "photo.jpg", "RGB", 0, 300)
    picture(folder / "flat" / "photo.jpg", "RGB", 0, 300)
    for number, place in enumerate(("train/cat", "train/dog", "val/cat", "val/dogs")):
        picture(folder / "mixed" / place / "1.jpg", "RGB", 0, number)
    for number, place in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        picture(folder / "damaged" / place / "1.jpg", "RGB", 0, number)
    (folder / "damaged" / "train" / "dog" / "2.jpg").write_text("no image")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")


def is_marked(block: Block) -> bool:
    """Whether a comment says why a block is not run, or what it shows."""
    return block.note.startswith((NOT_RUN, "shown: ")) and len(block.note.split()) > 2


def unaccounted(name: str, document: str) -> list[int]:
    """Lines of the blocks that are neither run nor marked."""
    if name in RUN_ELSEWHERE or name in MEASURED:
        return []
    run = any(name in together for together in RUN_TOGETHER)
    return [
        block.line
        for block in blocks_of(document)
        if not (
            is_marked(block)
            or DIRECTIVE.fullmatch(block.kind)
            or (run and (block.kind in KINDS_TO_RUN or block.note == "output"))
        )
    ]


def faults(name: str, document: str) -> list[str]:
    """Commands that are shown and not run, and would not work."""
    lines = [
        line
        for block in blocks_of(document)
        if block.note.startswith(NOT_RUN) or name in MEASURED
        for line in lines_of(block.text)
    ]
    found = []
    for check, commands in ((check_line, lines), (check_span, spans_of(document))):
        for command in commands:
            try:
                check(command)
            except (AssertionError, UserError, SystemExit, ValueError) as error:
                found.append(f"{command}: {error}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_found_and_run_or_marked(name: str) -> None:
    document = text_of(name)
    assert unaccounted(name, document) == []
    assert 2 * len(blocks_of(document)) == len(re.findall(r"^\s*```", document, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_are_not_run_would_work(name: str) -> None:
    assert faults(name, text_of(name)) == []


@pytest.mark.parametrize("names", RUN_TOGETHER, ids=lambda names: names[0])
def test_the_page_is_what_a_reader_gets(names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stand_ins(tmp_path)
    for name in names:
        run_blocks(blocks_of(text_of(name)), name, APPENDED)


@pytest.mark.parametrize("name", RUN_ELSEWHERE)
def test_the_pages_that_are_run_elsewhere_are(name: str) -> None:
    assert Path(name).name in (ROOT / RUN_ELSEWHERE[name]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "block",
    [
        "```bash\nfpnas nonsense\n```",
        "```bash\nfpnas spaces --epochs 3\n```",
        "```bash\nrm photo.jpg\n```",
        "```console\n$ fpnas space nonsense\nfpnas: error: another message\n```",
        "```python\nprint(1)\n```",
        "```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```",
        "```python\n1 / 0\n```",
    ],
)
def test_a_block_that_fails_is_found(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((AssertionError, ZeroDivisionError)):
        run_blocks(blocks_of(block + "\n"), "page")


@pytest.mark.parametrize(
    "block",
    [
        "```\nfpnas spaces\n```",
        "```text\nsome output\n```",
        "```sh\nls\n```",
        "<!-- shown: -->\n```text\nfpnas spaces\n```",
        "<!-- a remark -->\n```text\nfpnas spaces\n```",
    ],
)
def test_a_block_that_is_neither_run_nor_marked_is_found(block: str) -> None:
    assert unaccounted("README.md", block + "\n") == [2 + block.startswith("<!")]
    assert unaccounted("docs/method.md", "```bash\nfpnas spaces\n```\n") == [2]


@pytest.mark.parametrize(
    "command",
    [
        "fpnas nonsense",
        "fpnas spaces --nonsense",
        "fpnas search --data d --space s --target-macs 2M",
        "fpnas search --data d --space s --target-macs 2X --output r",
        "fpnas search --data d --space s --target-macs 2M --output r --epochs many",
        "fpnas train f --data d --output r --config no-such-recipe",
        "fpnas train f --data d --output r --optimizer none",
        "torchrun --nonsense 8 -m fpnas spaces",
        "torchrun --nproc-per-node 8 -m fpnas spaces --nonsense",
        "make nonsense",
        "python benchmarks/nonsense.py",
        "python benchmarks/kills.py --nonsense",
        "true && fpnas spaces",
        "export A=1; fpnas spaces --nonsense",
    ],
)
def test_a_command_that_would_not_work_is_found(command: str) -> None:
    assert faults("README.md", f"<!-- not run: it is wrong -->\n```bash\n{command}\n```\n")


@pytest.mark.parametrize("span", ["fpnas nonsense", "fpnas search --nonsense", "--nonsense", "make nonsense"])
def test_a_wrong_command_in_a_sentence_is_found(span: str) -> None:
    assert faults("README.md", f"Take `{span}` for it.")


def space_table() -> str:
    """The table of built-in spaces, as the page about spaces has it."""
    heads = ("space", "groups", "blocks", "networks", "entropy, nats", "start K", "input", "MACs min", "median", "max")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in builtin_space_names():
        space: dict[str, Any] = summarise_space(load_space(name))
        number = int(space["architectures"])
        networks = f"{number:,}" if number < 10**6 else f"{number:.2e}".replace("e+", "e")
        cells = [f"`{name}`", space["groups"], space["blocks"], networks]
        cells += [f"{space['entropy_nats']:.2f}", space["initial_samples"], space["input_size"]]
        cells += [format_quantity(space["macs"][name]) for name in ("min", "median", "max")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def test_the_table_of_spaces_is_the_packages() -> None:
    (table,) = re.findall(r"<!-- table: fpnas spaces -->\n\n((?:\|.*\n)+)", text_of("docs/spaces.md"))
    assert table == space_table(), f"the table is now\n{space_table()}"


def test_the_table_of_spaces_in_the_readme_is_right() -> None:
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| .* \|$", text_of("README.md"), re.MULTILINE)
    sizes = {name: load_space(name).number_of_architectures for name in builtin_space_names()}
    assert len(rows) >= 6
    for names, stated in rows:
        for name in re.findall(r"`([\w-]+)`", names):
            if not name.startswith("-"):
                digits = f"{sizes[name]:.1e}".split("e+")
                assert f"{digits[0]} x 10^{int(digits[1])}" in stated or f"{sizes[name]:,}" in stated, name


def test_external_links_are_to_known_places() -> None:
    """They are not fetched: `sphinx-build -b linkcheck` does that by hand."""
    for name in NAMES:
        for link in re.findall(r"\w+://[^\s)>\"`]+", re.sub(r"^```.*?^```$", "", text_of(name), flags=re.M | re.S)):
            assert re.match(r"https://([\w.]+)/", link + "/"), f"{name}: {link}"
            assert link.split("/")[2] in HOSTS, f"{name}: {link}: a host to be added to HOSTS, if it is meant"


def test_every_link_between_files_leads_somewhere() -> None:
    for page, name in zip(PAGES, NAMES, strict=True):
        for link in re.findall(r"\]\(([^)#\s]+)", text_of(name)):
            assert "://" in link or (page.parent / link).exists(), f"{name}: {link}"


def test_pictures_that_are_shown_and_those_that_are_there_are_the_same() -> None:
    shown = {link for name in NAMES for link in re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", text_of(name))}
    assert shown == {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
