"""Settings of the whole set; its presence also puts this folder on the path of the tests in subfolders."""

import torch

torch.set_num_threads(1)
