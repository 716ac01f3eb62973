"""Run by `torchrun`: commands of fpnas one after the other, from `commandsRANK.json` in a folder, argument lists.

Each process writes the exit codes into that folder.
"""

import json
import sys
from pathlib import Path

from fpnas.cli import main
from fpnas.launcher import rank

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    codes = [main(arguments) for arguments in json.loads((folder / f"commands{rank()}.json").read_text())]
    (folder / f"codes{rank()}.json").write_text(json.dumps(codes))
