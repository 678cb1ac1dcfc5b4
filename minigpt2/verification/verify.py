"""The library against its references: differences, recorded values, PyTorch itself, published answers.

Each check measures one figure that must not exceed its tolerance. Unless stated otherwise, it is the
largest difference, relative to the largest element of the reference array that it is in.
"""

import functools
import importlib.metadata
import importlib.util
import math
from pathlib import Path

import numpy as np

from minigpt2.components.loss import cross_entropy_forward
from minigpt2.components.optimizer import SGD, AdamW
from minigpt2.config import GPT2Config
from minigpt2.gradcheck import gradient_check
from minigpt2.model import GPT2
from minigpt2.parameters import flatten
from minigpt2.progress import progress_bar
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
from minigpt2.storage import hub
from minigpt2.storage.checkpoint import read_config
from minigpt2.tokenizer import Tokenizer
from minigpt2.verification.check import Check, Skipped
from minigpt2.verification.llm_c_state import read_debug_state
from minigpt2.verification.pairs import pair, run_case
from minigpt2.verification.published import MODELS, published_checks
from minigpt2.verification.steps import model_with
from minigpt2.verification.trace import trace

# Tolerances, each with the worst case measured.
GRADIENT = 1e-6  # central differences in float64: 2e-9 (gpt2_untied)
FLOAT64 = 1e-10  # against PyTorch in float64: 2e-14; after five AdamW steps 1e-12
FLOAT32 = 2e-5  # 124 million new weights, logits and loss: 2e-6
FLOAT32_GRADIENT = 1e-4  # the same, gradients of all parameters: 2e-6


def verify(model=None, debug_state=None, benchmarks=None):
    """Make every check that can be made here; a progress bar shows.

    model: a folder or the name of released weights, which are downloaded if necessary; by default "gpt2" if it
        is in the cache already
    debug_state: path of llm.c's gpt2_124M_debug_state.bin or a similar file, made with the weights of model
    benchmarks: folder with wiki.test.raw and lambada_test.jsonl, for the published perplexities
    returns an iterator over Results, as they come.
    raises: ValueError or OSError when model, debug_state or benchmarks cannot be read.
    """
    if benchmarks is not None and not Path(benchmarks).is_dir():
        raise FileNotFoundError(f"{benchmarks}: no such folder; it should hold wiki.test.raw and lambada_test.jsonl")
    folder = _released("gpt2") if model is None else hub.locate(model)
    folders = {name: _released(name) if model is None else folder for name in MODELS}
    config = None if folder is None else GPT2Config.from_dict(read_config(folder))
    checks = [*gradient_checks(), *recorded_checks(), *live_checks(folder), *published_checks(folders, benchmarks)]
    if debug_state is not None:
        if folder is None:
            raise ValueError("a debug state needs the weights it was made with: give a model")
        checks += debug_state_checks(folder, config, debug_state)
    return _run(checks)


def _run(checks):
    with progress_bar(checks, unit="check") as bar:
        for check in bar:
            bar.set_description_str(check.name)
            yield check.run()


# --------------------------------------------------------------------------------- ours, by the names of CASES


def model_of(config, params, dtype="float64"):
    """A GPT2 with these parameters. config: dict with Hugging Face's names; params: nested dict of arrays."""
    return model_with(GPT2Config(**config), flatten(params), dtype)


def error_of(name, reference):
    """Our error against ``reference``, from ``calculate`` or ``recorded``; and where it is."""
    if name == "trace":
        inputs = reference["inputs"]
        model = model_of(TINY, inputs["params"])
        return trace_error(model, inputs["ids"], inputs["targets"], LABEL_SMOOTHING, reference)
    return (training_error if name in TRAINING else case_error)(name, reference)


def case_error(name, reference):
    """The error of y and of the gradients of a case."""
    y, _, gradients = run_case(name, reference["inputs"], reference["dy"])
    expected = {"y": reference["y"], "gradients": reference["gradients"]}
    return relative_error({"y": y, "gradients": gradients}, expected)


def training_error(name, reference):
    """The error of five optimizer steps: losses, norms, the first gradients, the final parameters."""
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
    """The error of a trace: every activation, and every gradient of an activation or parameter."""
    actual = trace(model, ids, targets, True, label_smoothing, weights=False)
    expected = flatten(reference["activations"])
    for gradients in reference["gradients"].values():
        expected |= {f"grad.{name}": gradient for name, gradient in flatten(gradients).items()}
    del actual["ids"], actual["targets"]
    return relative_error(actual, expected)


# ------------------------------------------------------------------------------------------------- the checks


def gradient_checks():
    """Every backward pass is the derivative of its forward pass."""
    for name in CASES:
        if not name.endswith("_long"):  # hundreds of tokens: the recorded values cover them
            measure = functools.partial(_differences, name)
            yield Check(f"gradients: {name}", "central differences", GRADIENT, measure)


def _differences(name):
    report = gradient_check(*pair(name), recorded(name)["inputs"] | CASES[name].options)
    worst = max(report.checks, key=lambda check: (math.isnan(check.error), check.error))
    return worst.error, worst.name


def recorded_checks():
    """Every result equals PyTorch's when ``reference/record.py`` ran; PyTorch itself is not needed."""
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
    """The same again with other inputs, and the given model, against the packages installed here."""
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
    """A vocabulary trained on the spot, so that none has to be downloaded, with tiktoken's own merging."""
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


def debug_state_checks(folder, config, path):
    """llm.c's own recorded state: logits and loss, and the gradient of every parameter.

    raises: FileNotFoundError, or ValueError when the file is not llm.c's or belongs to another model.
    """
    state = read_debug_state(path, config)

    @functools.cache
    def ours():
        return trace(GPT2.from_pretrained(folder), state["ids"], state["targets"], backward=True, weights=False)

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


# ------------------------------------------------------------------------- packages and weights available here


def _need(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)} (pip install -e '.[reference]')")


def _released(name):
    """The folder of a released model's files if they are all in one cache; nothing is downloaded."""
    folder = hub.cached(name)
    return folder if folder == hub.cached(name, files="tokenizer") else None


def _given(folder):
    if folder is None:
        raise Skipped("gpt2 is not in the cache and no other model was given; --model gpt2 downloads it")
    return folder


def _differing(actual, expected):
    """The number of places where two sequences differ."""
    length = max(len(actual), len(expected))
    return length - sum(a == b for a, b in zip(actual, expected, strict=False))
