"""``minigpt2 train``, except that --lora-rank trains the table ``wte`` beside the adapters.

    python notebooks/experiments/lora_and_wte.py --out runs/x --init-from shakespeare --data my.txt --lora-rank 8

``wte`` holds a vector for each token and is the output layer as well. Adapters leave it as it is, also the vectors of
tokens that the first training never met; the experiment of ``domains.py`` asks how much of LoRA's loss is due to that.
"""

import sys

from minigpt2 import cli, training
from minigpt2.fine_tuning import LoRA


class LoRAAndTable(LoRA):
    """Adapters beside the weights of attention, and the table of the tokens itself."""

    def __init__(self, model, *arguments, **options):
        super().__init__(model, *arguments, **options)
        self.params = {**self.params, "wte": model.params["wte"]}

    def grads(self, grads):
        """The gradients of all that is trained, nested like ``params``."""
        trained = super().grads(grads)
        trained["wte"]["weight"][...] = grads["wte"]["weight"]
        return trained


if __name__ == "__main__":
    training.LoRA = LoRAAndTable
    sys.exit(cli.main(["train", *sys.argv[1:]]))
