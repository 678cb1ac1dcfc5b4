"""Published results for the released weights of 124 million parameters, and a model's distance from them."""

import itertools

import numpy as np

from minigpt2.components.optimizer import AdamW
from minigpt2.reference import relative_error
from minigpt2.storage import hub
from minigpt2.verification.check import Skipped

# Greedy continuations, by their publisher.
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


def continuation_error(model, tokenizer, prompt, expected):
    """How many characters of ``expected`` are missing, from the first wrong one on; and the text instead."""
    ids = tokenizer.encode(prompt)
    new = model.generate(ids, max_new_tokens=len(tokenizer.encode(expected)))[len(ids) :]
    text = tokenizer.decode(new)
    same = itertools.takewhile(lambda two: two[0] == two[1], zip(expected, text, strict=False))
    return len(expected) - len(list(same)), f"got {text!r}"


def greeting_error(model, tokenizer, expected):
    """The error of the loss of a greeting; TransformerLens puts <|endoftext|> first, to predict the first token too."""
    ids = tokenizer.encode("<|endoftext|>Hello world!", allow_special=True)
    return relative_error({"loss": model.loss([ids[:-1]], [ids[1:]])}, {"loss": expected})


def training_loss_error(model, tokenizer, expected):
    """The error of the losses of AdamW steps on one batch, 4 x 64 tokens of tiny Shakespeare.

    llm.c also decays biases and gains, by a millionth in each step; we never do.
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
