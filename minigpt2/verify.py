"""The library against its references: differences, recorded values, PyTorch itself, published answers.

Each check measures one figure that must not exceed its tolerance. Where there is no other word, the figure is
the largest difference, relative to the largest element of the reference array that it is in.
"""

import functools
import importlib.metadata
import importlib.util
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minigpt2 import hub
from minigpt2.checkpoint import read_config
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.dropout import dropout_backward, dropout_forward
from minigpt2.components.embedding import (
    embedding_backward,
    embedding_forward,
    unembedding_backward,
    unembedding_forward,
)
from minigpt2.components.feed_forward import (
    feed_forward_backward,
    feed_forward_forward,
    gelu_backward,
    gelu_forward,
)
from minigpt2.components.head import head_backward, head_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.components.lora import lora_backward, lora_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.optimizer import SGD, AdamW
from minigpt2.components.position import position_backward, position_forward
from minigpt2.components.residual import residual_backward, residual_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.config import GPT2Config
from minigpt2.gradcheck import gradient_check
from minigpt2.model import GPT2, block_backward, block_forward, gpt2_backward, gpt2_forward
from minigpt2.parameters import flatten
from minigpt2.reference import (
    CASES,
    DOCUMENT_IDS,
    DOCUMENT_LOGITS,
    LABEL_SMOOTHING,
    LEARNING_RATES,
    MAX_NORM,
    TINY,
    TRAINING,
    calculate,
    recorded,
    relative_error,
    transformers_trace,
)
from minigpt2.tokenizer import Tokenizer
from minigpt2.trace import trace

# Tolerances, each with the worst case measured.
GRADIENT = 1e-6  # central differences in float64: 2e-9 (gpt2_untied)
FLOAT64 = 1e-10  # against PyTorch in float64: 2e-14; after five AdamW steps 1e-12
FLOAT32 = 2e-5  # 124 million new weights, logits and loss: 2e-6
FLOAT32_GRADIENT = 1e-4  # the same, gradients of all parameters: 2e-6


class Skipped(Exception):
    """A check that cannot be made here, and why."""


@dataclass(frozen=True)
class Check:
    """One comparison.

    measure: () -> (figure, where it was found); raises Skipped
    source:  what is compared with
    """

    name: str
    source: str
    tolerance: float
    measure: Callable

    def run(self):
        """Measure, and judge: a Result, also when the measurement itself breaks."""
        try:
            figure, where = self.measure()
        except Skipped as reason:
            return Result(self.name, self.source, self.tolerance, "skipped", None, str(reason))
        except Exception as error:  # code that is being verified may break in any way
            problem = f"{type(error).__name__}: {error}"
            return Result(self.name, self.source, self.tolerance, "FAILED", None, problem)
        verdict = "ok" if figure <= self.tolerance else "FAILED"  # NaN is not
        return Result(self.name, self.source, self.tolerance, verdict, figure, where)


@dataclass(frozen=True)
class Result:
    """What a check found; one line when printed.

    verdict: "ok", "FAILED" or "skipped"
    figure:  what was measured, None when nothing could be
    note:    where the figure was found, or why there is none
    """

    name: str
    source: str
    tolerance: float
    verdict: str
    figure: float | None
    note: str

    def __str__(self):
        figure = "" if self.figure is None else f"{self.figure:.2g} (at most {self.tolerance:g})"
        detail = {"ok": self.source, "FAILED": f"{self.source}: {self.note}", "skipped": self.note}[self.verdict]
        return f"{self.verdict:7}  {self.name:38}  {figure:24}  {detail}"

    def to_dict(self):
        """The same for JSON, which knows neither infinity nor NaN."""
        figure = self.figure if self.figure is not None and math.isfinite(self.figure) else None
        return vars(self) | {"figure": figure}


def verify(model=None, debug_state=None):
    """Make every check that can be made here; a progress bar shows on a terminal.

    model: a folder or the name of released weights, which are downloaded if need be; by default "gpt2" if it
        is in the cache already
    debug_state: path of llm.c's gpt2_124M_debug_state.bin or one of its like, made with the weights of model
    returns an iterator over Results, as they come.
    raises: ValueError or OSError when model or debug_state cannot be read.
    """
    folder = _released() if model is None else hub.locate(model)
    config = None if folder is None else GPT2Config.from_dict(read_config(folder))
    checks = [*gradient_checks(), *recorded_checks(), *live_checks(folder), *published_checks(folder, config)]
    if debug_state is not None:
        if folder is None:
            raise ValueError("a debug state needs the weights that it was made with: give a model")
        checks += debug_state_checks(folder, config, debug_state)
    return _run(checks)


def _run(checks):
    with tqdm(checks, unit="check", leave=False, disable=None) as bar:
        for check in bar:
            bar.set_description_str(check.name)
            yield check.run()


# --------------------------------------------------------------------------------- ours, by the names of CASES


def _softmax(scores):
    probs = softmax_forward(scores)
    return probs, probs  # which are all that its backward needs


def _dropout(x, p, seed):
    return dropout_forward(x, p, np.random.default_rng(seed))


def _block(x, params, n_head, eps=1e-5, rng=None, **dropout):
    config = GPT2Config(n_embd=x.shape[-1], n_head=n_head, layer_norm_epsilon=eps, **dropout)
    return block_forward(x, params, config, rng=rng)


def _gpt2(ids, params, config, seed=None):
    rng = None if seed is None else np.random.default_rng(seed)
    return gpt2_forward(ids, params, GPT2Config(**config), rng=rng)


def _gpt2_grads(dlogits, cache, **out):
    return gpt2_backward(dlogits, cache, **out)[1]


def _masked_lm(ids, targets, params, n_head, eps):
    (V, C), P = params["wte"]["weight"].shape, len(params["wpe"]["weight"])
    config = GPT2Config(
        vocab_size=V, n_positions=P, n_embd=C, n_layer=len(params["h"]), n_head=n_head, layer_norm_epsilon=eps
    )
    logits, cache = gpt2_forward(ids, params, config, causal=False)
    loss, loss_cache = cross_entropy_forward(logits, targets)
    return loss, {"gpt2": cache, "loss": loss_cache}


def _masked_lm_grads(dloss, cache, **out):
    return gpt2_backward(cross_entropy_backward(dloss, cache["loss"]), cache["gpt2"], **out)[1]


PAIRS = {
    "linear": (linear_forward, linear_backward),
    "embedding": (embedding_forward, embedding_backward),
    "unembedding": (unembedding_forward, unembedding_backward),
    "position": (position_forward, position_backward),
    "layer_norm": (layer_norm_forward, layer_norm_backward),
    "residual": (residual_forward, residual_backward),
    "gelu": (gelu_forward, gelu_backward),
    "softmax": (_softmax, softmax_backward),
    "dropout": (_dropout, dropout_backward),
    "feed_forward": (feed_forward_forward, feed_forward_backward),
    "attention": (attention_forward, attention_backward),
    "head": (head_forward, head_backward),
    "lora": (lora_forward, lora_backward),
    "masked_lm": (_masked_lm, _masked_lm_grads),
    "block": (_block, block_backward),
    "cross_entropy": (cross_entropy_forward, cross_entropy_backward),
    "gpt2": (_gpt2, _gpt2_grads),
}


def pair(name):
    """Our (forward, backward) of a case; its name may end in a variant, e.g. attention_bidirectional."""
    return next(PAIRS[stem] for stem in sorted(PAIRS, key=len, reverse=True) if name.startswith(stem))


def run_case(name, inputs, dy, **out):
    """Our y, cache and gradients of a case: the latter a dict like the float inputs."""
    forward, backward = pair(name)
    y, cache = forward(**inputs, **CASES[name].options)
    gradients = backward(dy, cache, **out)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    floats = [key for key in inputs if key not in ("ids", "targets")]
    return y, cache, dict(zip(floats, gradients, strict=True))


def model_of(config, params, dtype="float64"):
    """A GPT2 with these parameters. config: dict with Hugging Face's names; params: nested dict of arrays."""
    model = GPT2(GPT2Config(**config), dtype=dtype)
    for name, parameter in flatten(model.params).items():
        parameter[...] = flatten(params)[name]
    return model


def error_of(name, reference):
    """How far we are from ``reference``, which ``calculate`` or ``recorded`` gave; and where."""
    if name == "trace":
        inputs = reference["inputs"]
        model = model_of(TINY, inputs["params"])
        return trace_error(model, inputs["ids"], inputs["targets"], LABEL_SMOOTHING, reference)
    return (training_error if name in TRAINING else case_error)(name, reference)


def case_error(name, reference):
    """How far y and the gradients of a case are."""
    y, _, gradients = run_case(name, reference["inputs"], reference["dy"])
    expected = {"y": reference["y"], "gradients": reference["gradients"]}
    return relative_error({"y": y, "gradients": gradients}, expected)


def training_error(name, reference):
    """How far five optimizer steps are: losses, norms, the first gradients, the parameters in the end."""
    inputs, losses, norms, first = reference["inputs"], [], [], None
    model = model_of(TINY, inputs["params"])
    optimizer = {"training_adamw": AdamW, "training_sgd": SGD}[name](model.params, **TRAINING[name])
    for ids, targets, lr in zip(inputs["ids"], inputs["targets"], LEARNING_RATES, strict=True):
        loss, grads = model.loss_and_grads(ids, targets, label_smoothing=LABEL_SMOOTHING)
        first = first or grads
        optimizer.lr = lr
        losses.append(loss)
        norms.append(optimizer.step(grads, max_norm=MAX_NORM))
    actual = {"losses": np.array(losses), "norms": np.array(norms), "gradients": first, "params": model.params}
    return relative_error(actual, {key: reference[key] for key in actual})


def trace_error(model, ids, targets, label_smoothing, reference):
    """How far a trace is: every activation, and every gradient of an activation or parameter."""
    actual = trace(model, ids, targets, True, label_smoothing)
    expected = flatten(reference["activations"])
    for gradients in reference["gradients"].values():
        expected |= {f"grad.{name}": gradient for name, gradient in flatten(gradients).items()}
    del actual["ids"], actual["targets"]
    return relative_error(actual, expected)


# ------------------------------------------------------------------------------------------------- the checks


def gradient_checks():
    """Every backward pass is the derivative of its forward pass."""
    for name in CASES:
        if not name.endswith("_long"):  # hundreds of tokens, the subject of the recorded values
            measure = functools.partial(_differences, name)
            yield Check(f"gradients: {name}", "central differences", GRADIENT, measure)


def _differences(name):
    report = gradient_check(*pair(name), recorded(name)["inputs"] | CASES[name].options)
    worst = max(report.checks, key=lambda check: (math.isnan(check.error), check.error))
    return worst.error, worst.name


def recorded_checks():
    """Everything is what PyTorch found when ``reference/record.py`` ran; PyTorch itself is not needed."""
    source = "recorded from PyTorch, transformers"
    for name in [*CASES, *TRAINING, "trace"]:
        measure = functools.partial(_recorded_error, name)
        yield Check(f"recorded: {name}", source, FLOAT64, measure)
    yield Check("recorded: 124 million new weights", source, FLOAT32, _document_example)


def _recorded_error(name):
    return error_of(name, recorded(name))


def _document_example():
    reference, ids = recorded("document_example"), np.array([DOCUMENT_IDS])
    logits, _ = GPT2(GPT2Config.preset("gpt2"), seed=0).forward(ids, keep=False)
    loss, _ = cross_entropy_forward(logits[:, :-1], ids[:, 1:])
    actual = {"logits": logits[..., DOCUMENT_LOGITS], "loss": loss}
    return relative_error(actual, {name: reference[name] for name in actual})


def live_checks(folder):
    """The same once more with other inputs, and the given model, against what is installed here."""
    yield Check("live: components, training, trace", "PyTorch, transformers", FLOAT64, _live_reference)
    yield Check("live: the model's trace", "transformers", FLOAT64, lambda: _live_model(_given(folder)))
    yield Check("live: tokenizer", "ids that differ from tiktoken's", 0, _live_tokenizer)


def _live_reference():
    _need("torch", "transformers")
    errors = []
    for name in [*CASES, *TRAINING, "trace"]:
        error, where = error_of(name, calculate(name, seed=1))
        errors.append((math.isnan(error), error, f"{name} {where}"))
    return max(errors)[1:]


SAMPLE = (
    "Don't stop: they'll say it's 1,234.5 o'clock, and we're done.\n\n\n\tIF  X<=3:  return [x**2]   \n"
    "Größe, naïveté, Ελλάδα, привет, 语言模型, 日本語, 한국어, العربية, हिन्दी, 👩‍👩‍👧‍👦 and ½ ² ⅷ.  "
)


def _live_tokenizer():
    """A vocabulary trained on the spot, so that none need be downloaded, through tiktoken's own merging."""
    _need("tiktoken")
    import tiktoken

    prose = Path(__file__).read_text(encoding="utf-8")
    ours = Tokenizer.train(prose + SAMPLE, 380)
    ranks = {ours.decode_bytes([i]): i for i in ours.vocab.values() if i != ours.eos_id}
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    theirs = tiktoken.Encoding("ours", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    text = SAMPLE + prose + "".join(map(chr, range(0x250)))
    return _differing(ours.encode(text), theirs.encode_ordinary(text)), "token ids"


def _live_model(folder):
    _need("torch", "transformers")
    model = GPT2.from_pretrained(folder, dtype="float64")
    rng, T = np.random.default_rng(0), min(16, model.config.n_positions)
    ids, targets = rng.integers(0, model.config.vocab_size, (2, 1, T))
    reference = transformers_trace(ids, targets, model.params, model.config.to_dict())
    return trace_error(model, ids, targets, 0.0, reference)


# Greedy continuations, by whoever published them.
CONTINUATIONS = {
    "picoGPT, README.md": (
        "Alan Turing theorized that computers would one day become",
        " the most powerful machines on the planet.\n\nThe computer is a machine that can perform complex "
        "calculations, and it can perform these calculations in a way that is very similar to the human brain.",
    ),
    "fastGPT, test_more_inputs.f90, 1": ("San Francisco is", " a city of more than 1 million people"),
    "fastGPT, test_more_inputs.f90, 2": (
        "Cars are", " not allowed to be used in the parking lot of a restaurant.",
    ),
}  # fmt: skip
TRANSFORMER_LENS_LOSS = 5.331855773925781
LLM_C_LOSSES = (
    5.270007133483887, 4.059706687927246, 3.3751230239868164, 2.8007826805114746, 2.315382242202759,
    1.8490285873413086, 1.3946564197540283, 0.9991465210914612, 0.6240804195404053, 0.37651097774505615,
)  # fmt: skip


def published_checks(folder, config):
    """What others published about the released weights of 124 million parameters."""

    def check(name, source, tolerance, measure, *arguments):
        return Check(name, source, tolerance, lambda: measure(*_released_gpt2(folder, config), *arguments))

    for n, (source, texts) in enumerate(CONTINUATIONS.items(), 1):
        yield check(f"published: greedy text {n}", f"characters missing, {source}", 0, continuation_error, *texts)
    # Those weights were not at hand for measuring. With 124 million new ones the first loss differs from
    # PyTorch's by 1e-6 of its size, and ten of them by 6e-6; the sources allow 4e-5 and 1e-2, absolutely.
    source = "TransformerLens, test_hooked_transformer.py"
    yield check("published: loss of a greeting", source, 1e-5, greeting_error, TRANSFORMER_LENS_LOSS)
    yield check("published: ten AdamW steps", "llm.c, test_gpt2.c", 1e-3, training_loss_error, LLM_C_LOSSES)


def continuation_error(model, tokenizer, prompt, expected):
    """How many characters of ``expected`` are not there, from the first wrong one on; and what is."""
    ids = tokenizer.encode(prompt)
    new = model.generate(ids, max_new_tokens=len(tokenizer.encode(expected)))[len(ids) :]
    text = tokenizer.decode(new)
    same = itertools.takewhile(lambda two: two[0] == two[1], zip(expected, text, strict=False))
    return len(expected) - len(list(same)), f"got {text!r}"


def greeting_error(model, tokenizer, expected):
    """TransformerLens puts <|endoftext|> before each text, so that the first token is predicted as well."""
    ids = tokenizer.encode("<|endoftext|>Hello world!", allow_special=True)
    return relative_error({"loss": model.loss([ids[:-1]], [ids[1:]])}, {"loss": expected})


def training_loss_error(model, tokenizer, expected):
    """How far the losses of AdamW steps on one batch are: 4 x 64 tokens of tiny Shakespeare.

    llm.c also decays biases and gains, which we never do: a millionth of them in each step.
    """
    text = "<|endoftext|>" + shakespeare().replace("\n\n", "\n\n<|endoftext|>")
    ids = np.array(tokenizer.encode(text, allow_special=True)[:257])
    optimizer = AdamW(model.params, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for _ in expected:
        loss, grads = model.loss_and_grads(ids[:-1].reshape(4, 64), ids[1:].reshape(4, 64))
        optimizer.step(grads)
        losses.append(loss)
    return relative_error(dict(enumerate(losses, 1)), dict(enumerate(expected, 1)))


def shakespeare():
    """The first 1,000 characters of tiny Shakespeare, with which llm.c's validation file begins."""
    path = hub.corpus_path("shakespeare")
    if not path.exists():
        raise Skipped("tiny Shakespeare is not in the cache: `minigpt2 eval --data shakespeare` downloads it")
    return path.read_text(encoding="utf-8")[:1000]


def debug_state_checks(folder, config, path):
    """llm.c's own recorded state: logits and loss, and the gradient of every parameter.

    raises: FileNotFoundError, or ValueError when the file is none of llm.c's or of another model's.
    """
    state = read_debug_state(path, config)

    @functools.cache
    def ours():
        return trace(GPT2.from_pretrained(folder), state["ids"], state["targets"], backward=True)

    def outputs():
        return relative_error({name: ours()[name] for name in ("logits", "loss")}, state["outputs"])

    def gradients():
        expected = state["gradients"]
        return relative_error({name: ours()[f"grad.{name}"] for name in expected}, expected)

    source = f"llm.c, {Path(path).name}"
    return [
        Check("debug state: logits, loss", source, FLOAT32, outputs),
        Check("debug state: gradients", source, FLOAT32_GRADIENT, gradients),
    ]


def read_debug_state(path, config):
    """The content of a file that llm.c's train_gpt2.py wrote with ``write_state``.

    It holds a header of 256 int32 (magic number, version, B, T), then ids and targets, (B, T) int32 each;
    logits (B, T, V), the loss and the parameters' gradients as float32. The latter come one kind after the
    other, each for all blocks, with weights (out, in) and the rows of wte padded to a multiple of 128.

    config: of the model, since the header does not tell its size
    returns {"ids", "targets", "outputs": {"logits", "loss"}, "gradients": dotted name -> array}.
    raises: FileNotFoundError; ValueError, naming the file, when it is none of these, cut short, or does not
        fit the model.
    """
    path = Path(path)
    size = path.stat().st_size
    header = np.fromfile(path, "<i4", 256)
    if len(header) < 256 or header[0] != 20240327:
        raise ValueError(f"{path} is no debug state of llm.c: it should begin with the number 20240327")
    if header[1] != 2:
        raise ValueError(f"{path} is a debug state of version {header[1]}, expected 2 (with padded vocabulary)")
    B, T = (int(number) for number in header[2:4])
    if B < 1 or not 1 <= T <= config.n_positions:
        raise ValueError(f"{path} says B={B}, T={T}; the model takes 1 ... {config.n_positions} tokens")

    shapes = config.parameter_shapes()
    shapes["wte.weight"] = (-(-config.vocab_size // 128) * 128, config.n_embd)
    kinds = [name.removeprefix("h.0.") for name in shapes if name.startswith("h.0.")]
    names = ["wte.weight", "wpe.weight"]
    names += [f"h.{i}.{kind}" for kind in kinds for i in range(config.n_layer)]
    names += ["ln_f.weight", "ln_f.bias"]
    logits = B * T * config.vocab_size
    expected = 1024 + 8 * B * T + 4 * (logits + 1 + sum(math.prod(shapes[name]) for name in names))
    if size != expected:
        raise ValueError(
            f"{path} has {size:,} bytes, but a state of B={B}, T={T} for this model has {expected:,}: "
            "it is cut short, or was made with other weights"
        )

    ids, targets = np.fromfile(path, "<i4", 2 * B * T, offset=1024).reshape(2, B, T)
    numbers = np.memmap(path, "<f4", mode="r", offset=1024 + 8 * B * T)
    outputs = {"logits": numbers[:logits].reshape(B, T, -1), "loss": numbers[logits]}
    gradients, start = {}, logits + 1
    for name in names:
        shape, stop = shapes[name], start + math.prod(shapes[name])
        stored_transposed = name.startswith("h.") and len(shape) == 2
        values = numbers[start:stop].reshape(shape[::-1] if stored_transposed else shape)
        gradients[name] = values.T if stored_transposed else values
        start = stop
    gradients["wte.weight"] = gradients["wte.weight"][: config.vocab_size]
    return {"ids": ids, "targets": targets, "outputs": outputs, "gradients": gradients}


# ------------------------------------------------------------------------------------------------- what is here


def _need(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)} (pip install 'minigpt2[reference]')")


def _released():
    """The folder of gpt2's files if they are all in the cache; nothing is downloaded."""
    folder = hub.cache_folder() / "models" / "gpt2"
    return folder if all((folder / file).is_file() for file in hub.FILES["model"]) else None


def _given(folder):
    if folder is None:
        raise Skipped("gpt2 is not in the cache and no other model was given; --model gpt2 downloads it")
    return folder


def _released_gpt2(folder, config):
    """Model and tokenizer in folder, if they have the size of those released with 124 million parameters."""
    _given(folder)
    if config.parameter_shapes() != GPT2Config.preset("gpt2").parameter_shapes():
        raise Skipped("the answers are those of gpt2, with 124 million parameters; this is another model")
    try:
        tokenizer = Tokenizer.from_pretrained(folder)
    except (ValueError, FileNotFoundError) as error:
        raise Skipped(f"no tokenizer: {error}") from None
    return GPT2.from_pretrained(folder), tokenizer


def _differing(actual, expected):
    """At how many places two sequences differ."""
    length = max(len(actual), len(expected))
    return length - sum(a == b for a, b in zip(actual, expected, strict=False))
