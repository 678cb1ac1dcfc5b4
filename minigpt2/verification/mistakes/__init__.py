"""The mistakes that are made in a GPT-2, each as the operation that replaces the right one.

A mistake is tried where an operation of theirs fails: its result is recomputed with the mistake, from *their* inputs,
and if that is what they have, the mistake has a name. Each is a generator ``mistake(o)`` of hypotheses for an
``Observed`` operation. A new one goes into the file of its subject, and its name into the table below for the operation
where it shows (``BACKWARD`` and ``ANYWHERE`` stand in their files):

    def negative_scores(o):
        changes = {"attn.scores": lambda t: -operations.scores(t)}
        yield Hypothesis("attention: the scores have the wrong sign", changes)

Shape letters as in ``operations``.
"""

import re

import numpy as np

from minigpt2.verification import operations
from minigpt2.verification.mistakes import attention, embedding, feed_forward, layer_norm, output
from minigpt2.verification.mistakes.anywhere import ANYWHERE
from minigpt2.verification.mistakes.backward import BACKWARD
from minigpt2.verification.mistakes.hypothesis import Observed

__all__ = "ANYWHERE", "BACKWARD", "FORWARD", "TOGETHER", "accepted"

FORWARD = {
    "embd": (embedding.positions, embedding.tokens),
    **dict.fromkeys(("ln_1", "ln_2", "ln_f"), (
        layer_norm.layer_norms, layer_norm.layer_norm_eps, layer_norm.post_norm, layer_norm.other_norms)),
    **dict.fromkeys(("attn.q", "attn.k", "attn.v"), (attention.heads_split, attention.changed_projections)),
    "attn.scores": (attention.scale, attention.changed_scores, attention.roles, attention.masked_scores),
    "attn.probs": (attention.masks, attention.softmaxes),
    "attn.heads": (attention.heads_merged,),
    "attn.out": (attention.transposed_projection, feed_forward.activation_after),
    "mlp.fc": (feed_forward.reshaped_weight, feed_forward.activation_after),
    "mlp.gelu": (feed_forward.gelus,),
    **dict.fromkeys(("resid_mid", "resid_post"), (feed_forward.residual_sums,)),
    "mlp.out": (feed_forward.reshaped_weight, feed_forward.activation_after),
    "logits": (output.output_layer,),
    "loss": (output.wrong_targets, output.wrong_mean, output.loss_forms),
}  # fmt: skip

# What is tried two at a time where nothing between was recorded, such as inside a fused attention.
TOGETHER = {
    "attn.scores": (attention.scale,), "attn.probs": (attention.masks,), "attn.heads": (attention.heads_merged,),
    "attn.out": (attention.transposed_projection,),
}  # fmt: skip


def accepted(keys, ours, theirs, eps):
    """The changes, see ``operations.Tensors``, that keys such as "gelu=erf" stand for.

    raises: ValueError when nothing is called so.
    """
    known, changes = {}, {}
    if keys:
        tensors = operations.Tensors(ours, {}, eps)
        for what, table in FORWARD.items():
            observed = Observed(what, operations.Block(tensors, 0), "", np.zeros(0), None, 0.0)
            for mistake in table:
                try:
                    known |= {h.key: h.changes for h in mistake(observed) if h.key}
                except (KeyError, IndexError, ValueError, ZeroDivisionError):
                    continue
        if "lm_head.weight" in theirs:
            known["head=untied"] = output.untied(theirs["lm_head.weight"].astype(np.float64))
    for key in keys:
        if re.fullmatch(r"eps=[\d.e-]+", key):
            changes |= layer_norm.eps_hypothesis(float(key.removeprefix("eps="))).changes
        elif key in known:
            changes |= known[key]
        else:
            raise ValueError(f"accept: nothing is called {key!r}; known are {', '.join(sorted(known))} and eps=NUMBER")
    return changes
