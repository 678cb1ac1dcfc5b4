"""Models as llm.c writes them, for the tests."""

import numpy as np

from minigpt2 import flatten

KINDS = (  # in the order of the file
    "ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "attn.c_proj.bias",
    "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
)  # fmt: skip


def write_llm_c(path, model, **changes):
    """As llm.c's train_gpt2.py writes a model; the 27 rows of padding hold NaN, which nobody may read."""
    config, params = model.config, flatten(model.params)
    header = {"magic": 20240326, "version": 3, "P": config.n_positions, "V": config.vocab_size, "L": config.n_layer,
              "H": config.n_head, "C": config.n_embd, "padded": config.vocab_size + 27} | changes  # fmt: skip
    rows = np.full((27, config.n_embd), np.nan, np.float32)
    parts = [params["wte.weight"], rows, params["wpe.weight"]]
    parts += [params[f"h.{layer}.{kind}"].T for kind in KINDS for layer in range(config.n_layer)]
    parts += [params["ln_f.weight"], params["ln_f.bias"]]
    numbers = np.concatenate([part.ravel() for part in parts]).astype("<f4")
    if header["version"] == 5:
        numbers = (numbers.view("<u4") >> 16).astype("<u2")
    path.write_bytes(np.array([*header.values()] + [0] * 248, "<i4").tobytes() + numbers.tobytes())
    return path
