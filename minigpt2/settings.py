"""The settings of a training run, and the two runs that have a name."""

import dataclasses
import math
import reprlib
from dataclasses import dataclass, field

LARGEST = 2**31 - 1  # for any whole number but the seed: a larger one is a mistake


def _setting(default, metavar, meaning, choices=None):
    return field(default=default, metadata={"help": meaning, "metavar": metavar, "choices": choices})


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the outcome of a run; the command line's flags are made from these fields.

    raises: TypeError when a value has the wrong type; ValueError when a number or name is out of its range.
    """

    data: tuple[str, ...] = _setting(
        ("shakespeare",), "FILE", "corpora: text, .jsonl or .tokens files, 'alice' (built in), or 'shakespeare' (a "
        "download); FILE:0.7 sets a weight in the mixture, FILE:0 is only evaluated"
    )  # fmt: skip
    objective: str = _setting(
        "causal", None, "'causal', predict the next token, or 'mlm', guess masked ones as BERT does", ("causal", "mlm")
    )
    init_from: str = _setting(
        "", "MODEL", "a trained model to start from, a run or a name; sizes and tokenizer are its own"
    )
    head_layers: int = _setting(
        0, "N", "with init_from: this many new layers in place of the output layer; 0: keep it"
    )
    freeze: tuple[str, ...] = _setting((), "PART", "parts that are not trained: wte, wpe, h.0, h.1.attn, ln_f, ...")
    lora_rank: int = _setting(0, "N", "train only adapters of this rank beside attention's weights; 0: no adapters")
    lora_alpha: float = _setting(16.0, "ALPHA", "scale of the adapters, alpha / rank")
    patience: int = _setting(0, "N", "stop after this many evaluations without a lower loss; 0: never")
    tokenizer: str = _setting(
        "bpe", "NAME",
        "'bpe', trained on the training split; 'char', one token per character; or a folder, or a model's name",
    )  # fmt: skip
    vocab_size: int = _setting(1024, "N", "tokens in the bpe vocabulary")
    n_layer: int = _setting(4, "N", "blocks")
    n_head: int = _setting(4, "N", "attention heads, a divisor of n_embd")
    n_embd: int = _setting(256, "N", "channels")
    block_size: int = _setting(
        256, "N", "tokens in a window: n_positions of a new model, at most those of a trained one"
    )
    batch_size: int = _setting(12, "N", "windows at a time")
    grad_accumulation: int = _setting(1, "N", "batches whose gradients are averaged for one step")
    steps: int = _setting(4000, "N", "optimizer steps")
    lr: float = _setting(1e-3, "RATE", "highest learning rate, reached after the warm-up")
    min_lr: float = _setting(1e-4, "RATE", "learning rate at the end of the cosine decay")
    warmup_steps: int = _setting(100, "N", "steps of linear warm-up")
    decay_steps: int = _setting(0, "N", "steps until the cosine reaches min_lr, where it stays; 0: as many as steps")
    beta1: float = _setting(0.9, "BETA", "AdamW: decay rate of the first moment")
    beta2: float = _setting(0.99, "BETA", "AdamW: decay rate of the second moment")
    weight_decay: float = _setting(0.1, "SHARE", "AdamW: share of a weight, times lr, taken off in each step")
    max_norm: float = _setting(1.0, "NORM", "global norm to which the gradient is clipped")
    dropout: float = _setting(0.3, "P", "probability of dropping an activation, in all three places")
    eval_every: int = _setting(250, "N", "steps between evaluations, each followed by a checkpoint")
    seed: int = _setting(1337, "SEED", "for the weights, the windows and the dropout")
    device: str = _setting(
        "numpy", None, "'numpy', or 'cupy' for a CUDA device; --resume may continue on another one", ("numpy", "cupy")
    )

    def __post_init__(self):
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            if hasattr(value, "tolist"):  # NumPy's number becomes Python's, which JSON can hold
                object.__setattr__(self, setting.name, value.tolist())
            _check_type(setting.name, getattr(self, setting.name), setting.default)
            choices, value = setting.metadata["choices"], getattr(self, setting.name)
            if choices and value not in choices:
                raise ValueError(
                    f"training: {setting.name} must be {' or '.join(map(repr, choices))}, got {reprlib.repr(value)}"
                )
        for holds, wanted, names in RANGES:
            for name in names:
                if not holds(getattr(self, name)):
                    raise ValueError(f"training: {name} must be {wanted}, got {reprlib.repr(getattr(self, name))}")
        if self.min_lr > self.lr:
            raise ValueError(f"training: min_lr must be at most lr, which is {self.lr}, got {self.min_lr}")
        if self.head_layers and not self.init_from:
            raise ValueError("training: head_layers replaces the output layer of a trained model; give init_from")
        if self.lora_rank and (self.freeze or self.head_layers):
            raise ValueError("training: lora_rank trains the adapters and nothing else; give no freeze or head_layers")

    @property
    def tokens_per_step(self):
        """The number of tokens that an optimizer step reads."""
        return self.batch_size * self.grad_accumulation * self.block_size

    @property
    def decay_end(self):
        """The step from which the learning rate is ``min_lr``."""
        return self.decay_steps or self.steps


SIZES = "vocab_size", "n_layer", "n_head", "n_embd", "block_size", "batch_size"
SIZES += "grad_accumulation", "steps", "eval_every"
COUNTS = "head_layers", "lora_rank", "patience", "warmup_steps", "decay_steps"  # 0 is a value too
RANGES = (  # what must hold, in words, and for which settings
    (len, "given", ("data", "tokenizer")),
    (lambda n: n >= 1, "at least 1", SIZES),
    (lambda n: n >= 0, "at least 0", (*COUNTS, "seed")),
    (lambda n: n <= LARGEST, f"at most {LARGEST:,}", (*SIZES, *COUNTS)),
    (lambda x: 0 <= x < math.inf, "at least 0 and finite", ("lr", "min_lr", "weight_decay")),
    (lambda x: 0 < x < math.inf, "above 0 and finite", ("lora_alpha", "max_norm")),
    (lambda x: 0 <= x < 1, "in [0, 1)", ("beta1", "beta2", "dropout")),
)


def _check_type(name, value, default):
    """Raise TypeError unless a value is of the kind of its default: a whole number, a number, a text or texts."""
    kind = type(default)
    right = type(value) in ((int, float) if kind is float else (kind,))
    if not right or (kind is tuple and not all(isinstance(text, str) for text in value)):
        raise TypeError(f"training: {name} must be like {default!r}, got {reprlib.repr(value)}")


RUNS = {
    # For the first hour: a text that is at hand, a minute or two on two cores.
    "alice": TrainingSettings(data=("alice",), n_embd=128, block_size=64, steps=1000, dropout=0.1),
    # The model that ships with the package.
    "shakespeare": TrainingSettings(),
    # nanoGPT's settings for a CPU, README.md and config/train_shakespeare_char.py; it reports a loss of 1.88.
    "nanogpt-cpu": TrainingSettings(
        tokenizer="char", n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12, steps=2000, dropout=0.0
    ),
}
