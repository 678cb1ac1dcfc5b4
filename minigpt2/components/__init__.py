"""The components of GPT-2, notebook 2.5: one file each, every forward pass above its backward pass."""
