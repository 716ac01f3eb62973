"""Run by `torchrun`: commands of fpnas one after the other, from a file with a list of argument lists.

Each process writes the exit codes beside that file.
"""

import json
import sys
from pathlib import Path

from fpnas.cli import main
from fpnas.launcher import rank

if __name__ == "__main__":
    commands = Path(sys.argv[1])
    codes = [main(arguments) for arguments in json.loads(commands.read_text())]
    commands.with_name(f"codes{rank()}.json").write_text(json.dumps(codes))
