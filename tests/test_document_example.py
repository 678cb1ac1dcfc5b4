"""The document's example, section 4.1: "Hello, my dog is cute" through a GPT-2 of 124 million parameters.

Its weights are new (seed 0), because the trained ones would have to be downloaded; transformers computes
with the same ones.
"""

import math

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer, flatten, unflatten
from minigpt2.reference import DOCUMENT_IDS, DOCUMENT_LOGITS, recorded, transformers_gpt2


@pytest.fixture(scope="module")
def model():
    return GPT2(GPT2Config.preset("gpt2"), seed=0)


@pytest.fixture(scope="module")
def ours(model):
    """(loss, logits) of predicting each token from those before it."""
    ids = np.array([DOCUMENT_IDS])
    targets = np.append(ids[:, 1:], [[-100]], axis=1)
    return model.loss(ids, targets), model.forward(ids, keep=False)[0]


def test_text_becomes_the_known_ids(gpt2_vocab):
    tokenizer = Tokenizer.from_pretrained(gpt2_vocab)
    assert tokenizer.encode("Hello, my dog is cute") == DOCUMENT_IDS
    assert tokenizer.decode(DOCUMENT_IDS) == "Hello, my dog is cute"


def test_loss_and_logits_are_those_recorded(model, ours):
    loss, logits = ours
    reference = recorded("document_example")
    assert model.num_parameters == 124_439_808
    assert logits.shape == (1, 6, 50257) and logits.dtype == np.float32
    # Largest differences measured: logits 3e-6 of 1.5, loss 1e-6.
    np.testing.assert_allclose(logits[..., DOCUMENT_LOGITS], reference["logits"], rtol=0, atol=2e-5)
    assert loss == pytest.approx(float(reference["loss"]), abs=2e-5)
    np.testing.assert_array_equal(logits.argmax(axis=-1), reference["argmax"])
    assert loss == pytest.approx(math.log(50257), abs=0.5)  # a new model knows nothing


def test_loss_and_logits_are_those_of_transformers(model, ours):
    torch = pytest.importorskip("torch", reason="needs torch; the recorded values stand in")
    pytest.importorskip("transformers", reason="needs transformers; the recorded values stand in")
    loss, logits = ours
    params = unflatten({name: torch.from_numpy(p) for name, p in flatten(model.params).items()})  # not a copy
    ids = torch.tensor([DOCUMENT_IDS])
    with torch.no_grad():
        expected = transformers_gpt2(ids, params, model.config.to_dict())
        expected_loss = torch.nn.functional.cross_entropy(expected[0, :-1], ids[0, 1:]).item()
    # Largest differences measured: logits 5e-6 of 2.5, loss 1e-6.
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=2e-5)
    assert loss == pytest.approx(expected_loss, abs=2e-5)
    np.testing.assert_array_equal(logits.argmax(axis=-1), expected.numpy().argmax(axis=-1))
