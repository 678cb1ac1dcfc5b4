"""The numbers that distinguish one GPT-2 from another, under Hugging Face's names."""

import dataclasses
import math
import os
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from minigpt2.storage import checkpoint

PRESETS = {  # the four released sizes, under their names on the hub
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}

# Where Hugging Face's configuration can describe another model: what GPT-2 as released has, as we write it, and other
# names of the same function. All of these activations are GELU's tanh form.
FIXED_BY_GPT2 = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}

OTHER_NAMES = {  # of the same numbers, which transformers reads too
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

MAX_SIZE = 2**31 - 1  # for any size; a larger number is a fault in the file


@dataclass(frozen=True)
class GPT2Config:
    """The sizes and probabilities of a GPT-2; by default those of the smallest released one.

    raises: TypeError or ValueError when a number is of the wrong kind or out of range.
    """

    vocab_size: int = 50257  # V, tokens in the vocabulary
    n_positions: int = 1024  # P, the most tokens the model can look at
    n_embd: int = 768  # C, channels: numbers per token
    n_layer: int = 12  # number of blocks
    n_head: int = 12  # H, attention heads, a divisor of n_embd
    n_inner: int | None = None  # F, width of the feed-forward network; None: 4 C
    embd_pdrop: float = 0.1  # while training, the probability of dropping a number of the embeddings,
    attn_pdrop: float = 0.1  # an attention probability,
    resid_pdrop: float = 0.1  # a number in a sub-layer's output
    layer_norm_epsilon: float = 1e-5  # eps of every layer norm
    initializer_range: float = 0.02  # standard deviation of new weights
    tie_word_embeddings: bool = True  # whether the output layer is the token embedding
    head_layers: int = 1  # layers of the output layer; GPT-2 as released has one, above 1 it is a deep head
    bos_token_id: int | None = None  # <|endoftext|>, if there is one: it begins ...
    eos_token_id: int | tuple[int, ...] | None = None  # ... and ends a document; some models have several that do

    def __post_init__(self):
        for check, names in CHECKS.items():
            for name in names:
                object.__setattr__(self, name, check(name, python_value(getattr(self, name))))
        if self.n_embd % self.n_head:
            raise ValueError(
                f"GPT2Config: n_embd={self.n_embd} must be a multiple of n_head={self.n_head}, "
                "because every head gets an equal share of the channels"
            )

    @classmethod
    def preset(cls, name: str, **changes) -> "GPT2Config":
        """The configuration of a released size: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl"."""
        if name not in PRESETS:
            raise ValueError(f"GPT2Config.preset: expected one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**PRESETS[name] | {"bos_token_id": 50256, "eos_token_id": 50256} | changes)

    @classmethod
    def from_dict(cls, values: dict) -> "GPT2Config":
        """Read the contents of a Hugging Face config.json; keys that do not change the model are ignored.

        raises: ValueError when a value is of the wrong kind or out of range, or asks for something GPT-2 does not have.
        """
        if not isinstance(values, dict):
            raise ValueError(f"config: expected a dict, got {reprlib.repr(values)}; from_pretrained reads a folder")
        for name, wanted in FIXED_BY_GPT2.items():
            if name in values and values[name] not in wanted:
                raise ValueError(
                    f"config: {name}={reprlib.repr(values[name])}, but GPT-2 as released has {wanted[0]!r}"
                )
        if values.get("model_type", "gpt2") not in ("gpt2", "minigpt2"):
            raise ValueError(f"config: model_type is {reprlib.repr(values['model_type'])}, expected 'gpt2'")
        values = _usual_names(values)
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in names})
        except TypeError as error:  # a fault of the file, not of the code
            raise ValueError(str(error)) from None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> "GPT2Config":
        """Read a folder's config.json; raises as ``from_dict``, naming the file, and FileNotFoundError."""
        values = checkpoint.read_config(folder)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{Path(folder) / checkpoint.CONFIG}: {error}") from None

    def with_ends(self, ids: Iterable[int]) -> "GPT2Config":
        """The same configuration, whose texts end at these tokens of the vocabulary too."""
        own = self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)
        ends = tuple(dict.fromkeys(i for i in (*own, *ids) if i is not None and i < self.vocab_size))
        return dataclasses.replace(self, eos_token_id=ends if len(ends) > 1 else next(iter(ends), self.eos_token_id))

    def to_dict(self) -> dict:
        """The contents of a config.json that Hugging Face's transformers understands.

        A model with head_layers above 1 is not one of theirs, and is not labelled as one.
        """
        values = {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": FIXED_BY_GPT2["activation_function"][0],
            **dataclasses.asdict(self),
        }
        if self.head_layers > 1:
            return values | {"architectures": ["GPT2"], "model_type": "minigpt2"}
        del values["head_layers"]
        return values

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Dict from the dotted name of each parameter to its shape, in the order of computation."""
        return dict(self.iter_shapes())

    def iter_shapes(self):
        """Yield the pairs of ``parameter_shapes`` one by one: a hostile config.json can ask for any number of them."""
        V, P, C, F = self.vocab_size, self.n_positions, self.n_embd, self.n_inner or 4 * self.n_embd
        yield "wte.weight", (V, C)
        yield "wpe.weight", (P, C)
        for layer in range(self.n_layer):
            for name, *shape in (
                ("ln_1", C), ("attn.c_attn", C, 3 * C), ("attn.c_proj", C, C),
                ("ln_2", C), ("mlp.c_fc", C, F), ("mlp.c_proj", F, C),
            ):  # fmt: skip
                yield f"h.{layer}.{name}.weight", tuple(shape)
                yield f"h.{layer}.{name}.bias", (shape[-1],)
        yield "ln_f.weight", (C,)
        yield "ln_f.bias", (C,)
        if self.head_layers > 1:
            for layer in range(self.head_layers):
                outputs = V if layer == self.head_layers - 1 else C
                yield f"head.{layer}.weight", (C, outputs)
                yield f"head.{layer}.bias", (outputs,)
        elif not self.tie_word_embeddings:
            yield "lm_head.weight", (V, C)


def python_value(value):
    """A number or a list of numbers of NumPy's as Python's own, which JSON can hold; anything else as it is."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _usual_names(values):
    """The contents of a config.json with each number under the name that GPT2Config gives it."""
    usual = {name: value for name, value in values.items() if name not in OTHER_NAMES}
    for other, name in OTHER_NAMES.items():
        if other in values and usual.setdefault(name, values[other]) != values[other]:
            raise ValueError(
                f"config: {other}={reprlib.repr(values[other])} and {name}={reprlib.repr(usual[name])} are two names "
                "of one number: remove the wrong one"
            )
    if "n_ctx" in usual:  # the name in OpenAI's hparams.json; early files have both
        usual.setdefault("n_positions", usual["n_ctx"])
    return usual


# Each check returns the value as Python's own number; it raises TypeError or ValueError.


def _size(name, value):
    """An integer of at least 1, and not beyond the size of any real file."""
    value = _integer(name, value)
    if value < 1:
        raise ValueError(f"GPT2Config: {name} must be at least 1, got {reprlib.repr(value)}")
    if value > MAX_SIZE:
        raise ValueError(f"GPT2Config: {name} must be at most {MAX_SIZE:,}, got {reprlib.repr(value)}")
    return value


def _size_or_none(name, value):
    return None if value is None else _size(name, value)


def _integer(name, value, wanted="an integer"):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"GPT2Config: {name} must be {wanted}, got {reprlib.repr(value)}")
    return value


def _token_or_none(name, value):
    return None if value is None else _integer(name, value, "an integer or None")


def _tokens_or_none(name, value):
    if isinstance(value, list | tuple) and all(isinstance(token, int | np.integer) for token in value):
        return tuple(_integer(name, python_value(token)) for token in value)
    return _token_or_none(name, value)


def _real(name, value):
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"GPT2Config: {name} must be a number, got {reprlib.repr(value)}")
    try:
        return float(value)
    except OverflowError:  # a fraction or an integer beyond float64
        return math.inf if value > 0 else -math.inf


def _probability(name, value):
    number = _real(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"GPT2Config: {name} must be in [0, 1), got {reprlib.repr(value)}")
    return number


def _positive(name, value):
    number = _real(name, value)
    if not 0 < number < math.inf:
        wanted = "finite" if number > 0 else "above 0"
        raise ValueError(f"GPT2Config: {name} must be {wanted}, got {reprlib.repr(value)}")
    return number


def _flag(name, value):
    if not isinstance(value, bool):
        raise TypeError(f"GPT2Config: {name} must be true or false, got {reprlib.repr(value)}")
    return value


CHECKS = {  # and the fields each applies to
    _size: ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "head_layers"),
    _size_or_none: ("n_inner",),
    _probability: ("embd_pdrop", "attn_pdrop", "resid_pdrop"),
    _positive: ("layer_norm_epsilon", "initializer_range"),
    _flag: ("tie_word_embeddings",),
    _token_or_none: ("bos_token_id",),
    _tokens_or_none: ("eos_token_id",),
}
