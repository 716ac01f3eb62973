"""Parts of training: data, augmentation, optimizers, evaluation."""
