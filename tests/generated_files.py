"""Run as a program: damaged spaces, networks, architectures and configurations, given to the command line.

Prints one JSON document: how many were given and refused, the slowest command, the peak of memory, and what was not
as it should be.
"""

import contextlib
import io
import json
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from refusals import exit_code, sound_network

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.space_file import load_space, space_to_toml

EACH = 150
NESTED = 3000
CONFIGURATION = """\
epochs: 3
batch_size: 32
learning_rate: 0.1
optimizer: sgd
max_images: 500
augment: true
device: cpu
"""
VALUES = ("null", '""', '"x"', "-1", "0", "1e308", "-1e400", "NaN", "Infinity", "1" + "0" * 400, "[]", "{}", "[[1]]")
VALUES += ("true", "0.5", '"\\u202e\\u0000"', '"' + "é猫" * 50_000 + '"', "[" * NESTED + "]" * NESTED)
NONSENSE = (b"", b"\0" * 1000, b"[" * 100_000, b"{" * 100_000, b"1", b"[]", b"- " * 2000, b"&a [*a, *a]")
NONSENSE += (b"!!python/object/apply:os.system [ls]", "猫".encode() * 1000, b"\xff\xfe{\0}\0")


def cut(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content) - 2)]


def flipped(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.choice((1, 3, 30))):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def other_value(content: bytes, generator: random.Random) -> bytes:
    """Another value in the place of one."""
    places = list(re.finditer(rb'(?<=[:=] )("[^"]*"|[^\s,{}\[\]]+)', content))
    place = generator.choice(places)
    return content[: place.start()] + generator.choice(VALUES).encode() + content[place.end() :]


def other_name(content: bytes, generator: random.Random) -> bytes:
    """A field misspelt, gone, or twice."""
    places = list(re.finditer(rb'"?\w+"?\s?[:=] [^\n]*\n', content))
    place = generator.choice(places)
    line = place.group()
    new = generator.choice((b"", line + line, b"z" + line, line.replace(b" ", b"\xc2\xa0", 1), b"\xff" + line))
    return content[: place.start()] + new + content[place.end() :]


def nonsense(content: bytes, generator: random.Random) -> bytes:
    """No document of its kind at all."""
    return generator.choice((*NONSENSE, generator.randbytes(500)))


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (cut, flipped, other_value, other_name, nonsense)


def kinds() -> Iterator[tuple[str, bytes, list[str]]]:
    """File name, sound content, and the command it is given to."""
    space = load_space("tiny")
    architecture = Architecture(tuple(tuple(0 for _ in sizes) for sizes in space.cardinalities))
    yield "space.toml", space_to_toml(space).encode(), ["space", "space.toml"]
    yield "net.json", json.dumps(sound_network(), indent=1).encode(), ["cost", "net.json"]
    document = architecture_to_json(space, architecture)
    yield "choices.json", json.dumps(document, indent=1).encode(), ["cost", "choices.json", "--space", "tiny"]
    # There is no such network: what passes as a configuration is refused for that, and nothing is trained.
    yield (
        "run.yaml",
        CONFIGURATION.encode(),
        ["train", "absent.json", "--data=digits", "--output=run", "--config=run.yaml"],
    )


def peak_mib() -> float:
    """The most memory this program had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the process that started this one had
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """All damages of all kinds."""
    given = refused = 0
    slowest, wrong = (0.0, ""), []
    for name, sound, command in kinds():
        generator = random.Random(name)
        for number in range(EACH):
            damage = DAMAGES[number % len(DAMAGES)]
            content = damage(sound, generator)
            Path(name).write_bytes(content)
            begin = time.perf_counter()
            output, error = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
                code = exit_code(command)
            slowest = max(slowest, (time.perf_counter() - begin, f"{name}, {number}, {damage.__name__}"))
            given += 1
            refused += code == 2
            lines = error.getvalue().splitlines()
            # A flipped bit in a name or an exchanged number may leave a sound file.
            if not (code == 0 or (code == 2 and len(lines) == 1 and lines[0].startswith("fpnas: error: "))):
                wrong.append([name, number, damage.__name__, code, error.getvalue()[-2000:]])
            if len(error.getvalue()) > 1000:
                wrong.append([name, number, damage.__name__, "a long line", error.getvalue()[:200]])
    summary: dict[str, Any] = {
        "given": given,
        "refused": refused,
        "slowest": slowest,
        "peak_mib": peak_mib(),
        "wrong": wrong,
    }
    json.dump(summary, sys.stdout)


if __name__ == "__main__":
    main()
