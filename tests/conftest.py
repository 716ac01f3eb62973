"""Settings of the whole set; its presence also puts this folder on the path of the tests in subfolders."""

import signal

import torch
from finished_runs import search_run, train_run  # noqa: F401  fixtures of all tests

torch.set_num_threads(1)

# A shell's background jobs begin with Ctrl-C ignored, and so would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
