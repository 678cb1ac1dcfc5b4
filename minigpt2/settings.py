"""The settings of a training run, and the two runs that have a name."""

import dataclasses
import math
import reprlib
from dataclasses import dataclass, field


def _setting(default, meaning):
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the outcome of a run; the command line's flags are made from these fields.

    raises: TypeError when a value has the wrong type; ValueError when a number or name is out of its range.
    """

    data: tuple[str, ...] = _setting(
        ("shakespeare",), "corpora: text, .jsonl or .tokens files, or 'shakespeare' for a download; FILE:0.7 sets a "
        "weight in the mixture, FILE:0 is only evaluated"
    )  # fmt: skip
    objective: str = _setting("causal", "'causal', predict the next token, or 'mlm', guess masked ones as BERT does")
    init_from: str = _setting("", "a trained model to start from, a run or a name; sizes and tokenizer are its own")
    head_layers: int = _setting(0, "with init_from: this many new layers in place of the output layer; 0: keep it")
    freeze: tuple[str, ...] = _setting((), "parts that are not trained: wte, wpe, h.0, h.1.attn, ln_f, ...")
    lora_rank: int = _setting(0, "train only adapters of this rank beside attention's weights; 0: no adapters")
    lora_alpha: float = _setting(16.0, "scale of the adapters, alpha / rank")
    patience: int = _setting(0, "stop after this many evaluations without a lower loss; 0: never")
    tokenizer: str = _setting(
        "bpe", "'bpe', trained on the training split; 'char', one token per character; or a folder, or a model's name"
    )
    vocab_size: int = _setting(1024, "tokens in the bpe vocabulary")
    n_layer: int = _setting(4, "blocks")
    n_head: int = _setting(4, "attention heads, a divisor of n_embd")
    n_embd: int = _setting(256, "channels")
    block_size: int = _setting(256, "tokens in a window: n_positions of a new model, at most those of a trained one")
    batch_size: int = _setting(12, "windows at a time")
    grad_accumulation: int = _setting(1, "batches whose gradients are averaged for one step")
    steps: int = _setting(4000, "optimizer steps")
    lr: float = _setting(1e-3, "highest learning rate, reached after the warm-up")
    min_lr: float = _setting(1e-4, "learning rate at the end of the cosine decay")
    warmup_steps: int = _setting(100, "steps of linear warm-up")
    beta1: float = _setting(0.9, "AdamW: decay rate of the first moment")
    beta2: float = _setting(0.99, "AdamW: decay rate of the second moment")
    weight_decay: float = _setting(0.1, "AdamW: share of a weight, times lr, taken off in each step")
    max_norm: float = _setting(1.0, "global norm to which the gradient is clipped")
    dropout: float = _setting(0.3, "probability of dropping an activation, in all three places")
    eval_every: int = _setting(250, "steps between evaluations, each followed by a checkpoint")
    seed: int = _setting(1337, "for the weights, the windows and the dropout")
    device: str = _setting("numpy", "'numpy', or 'cupy' for a CUDA device; --resume may continue on another one")

    def __post_init__(self):
        for setting in dataclasses.fields(self):
            name, value, kind = setting.name, getattr(self, setting.name), type(setting.default)
            right = type(value) in ((int, float) if kind is float else (kind,))
            if not right or (kind is tuple and not all(isinstance(text, str) for text in value)):
                raise TypeError(f"training: {name} must be like {setting.default!r}, got {reprlib.repr(value)}")
        if self.objective not in ("causal", "mlm"):
            raise ValueError(f"training: objective must be 'causal' or 'mlm', got {self.objective!r}")
        for name in ("block_size", "batch_size", "grad_accumulation", "steps", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("head_layers", "lora_rank", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"training: {name} must be at least 0, got {getattr(self, name)}")
        if self.device not in ("numpy", "cupy"):
            raise ValueError(f"training: device must be 'numpy' or 'cupy', got {self.device!r}")
        if not self.max_norm > 0:
            raise ValueError(f"training: max_norm must be above 0, got {self.max_norm}")
        if self.seed < 0:
            raise ValueError(f"training: seed must be at least 0, got {self.seed}")
        if not 0 < self.lora_alpha < math.inf:
            raise ValueError(f"training: lora_alpha must be above 0 and finite, got {self.lora_alpha}")
        if self.head_layers and not self.init_from:
            raise ValueError("training: head_layers replaces the output layer of a trained model; give init_from")
        if self.lora_rank and (self.freeze or self.head_layers):
            raise ValueError("training: lora_rank trains the adapters and nothing else; give no freeze or head_layers")

    @property
    def tokens_per_step(self):
        """The number of tokens that an optimizer step reads."""
        return self.batch_size * self.grad_accumulation * self.block_size



RUNS = {
    # The model that ships with the package.
    "shakespeare": TrainingSettings(),
    # nanoGPT's settings for a CPU, README.md and config/train_shakespeare_char.py; it reports a loss of 1.88.
    "nanogpt-cpu": TrainingSettings(
        tokenizer="char", n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12, steps=2000, dropout=0.0
    ),
}
