"""Settings of the whole set; its presence also puts this folder on the path of the tests in subfolders."""

import torch
from finished_runs import search_run, train_run  # noqa: F401  fixtures of all tests

torch.set_num_threads(1)
