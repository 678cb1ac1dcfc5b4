"""What the tensors of other implementations are called, and what they stand for.

A map is a dict from their name to ours; ``names.translate`` applies it, and ``--map names.json`` reads one. Gradients
follow by themselves, after ``grad.``. Where several of their names stand for one of ours, the first one in the map
that is there, and fits, is taken. The language:

    {i}         the number of a block; if only our name has it, theirs is one array for all blocks, (L, ...)
    {j}         the number of a head; the arrays of all heads are put together
    {a|b|c}     one of these
    a list      ours share the last axis of theirs, in equal parts: ["h.{i}.attn.q", "h.{i}.attn.k", ...]
    name:q      of attn.c_attn.weight or .bias: the columns of the queries (:k keys, :v values); the three are joined
    name^T      the last two axes are exchanged
    []          stands for nothing that we have
"""

import re
import reprlib

from minigpt2.storage.files import read_json
from minigpt2.verification.other_maps import FLAX, LAYER_NORMS_OF_LLM_C, OPENAI, PICOGPT

MAX_MAP = 100_000  # bytes in a map of names; LLM_C has 2,000
MAX_BRACES = 12  # in a name: many ambiguous ones would take exponential time to match


def read_map(path):
    """Read a map of names from a JSON file.

    raises: FileNotFoundError; ValueError, naming the file, when it is not such a map.
    """
    names = read_json(path, MAX_MAP)
    try:
        patterns_of(names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return names


def patterns_of(names):
    """Pairs (pattern of their names, list of ours) of a map; ValueError when it is not a map."""
    patterns = []
    if not isinstance(names, dict):
        raise ValueError(f"names: expected a dict from their name to ours, got {reprlib.repr(names)}")
    for pattern, ours in names.items():
        ours = [ours] if isinstance(ours, str) else ours
        shown = reprlib.repr(ours)
        if not isinstance(ours, list) or not all(isinstance(name, str) for name in ours):
            raise ValueError(
                f"names: {reprlib.repr(pattern)} must stand for our name or a list of our names, got {shown}"
            )
        numbered = all("{i}" in name for name in ours)
        if pattern.count("{i}") > 1 or pattern.count("{j}") > 1 or ("{i}" in pattern and not numbered):
            raise ValueError(f"names: {reprlib.repr(pattern)} must have one {{i}}, and so must {shown}")
        if pattern.count("{") != pattern.count("}") or pattern.count("{") > MAX_BRACES:
            raise ValueError(f"names: {reprlib.repr(pattern)} has a brace without its other half, or too many")
        patterns.append((re.compile(expression(pattern)), ours))
    return patterns


def expression(pattern):
    """The regular expression of a pattern of names."""
    special = {"{i}": r"(?P<i>\d{1,9})", "{j}": r"(?P<j>\d{1,9})", "{": "(?:", "}": ")"}
    depth, parts = 0, []
    for piece in re.split(r"(\{i\}|\{j\}|[{}|])", pattern):
        depth += (piece == "{") - (piece == "}")
        parts.append("|" if piece == "|" and depth else special.get(piece, re.escape(piece)))
    return "".join(parts)


# --------------------------------------------------------------------------------------------- the maps

BLOCK = "{h|blocks|trf_blocks|layers|layer|block|transformer_blocks|decoder_layers|resblocks|hs}"
LAYER = f"{BLOCK}.{{i}}"
LN_1 = "{ln_1|ln1|norm1|norm_1|layer_norm_1|layer_norm1|layernorm1|layernorm_1|attn_norm|attention_norm|ln_attn|" \
    "input_layernorm|attn_ln|norm_attn|sa_norm}"  # fmt: skip
LN_2 = "{ln_2|ln2|norm2|norm_2|layer_norm_2|layer_norm2|layernorm2|layernorm_2|mlp_norm|ffn_norm|ff_norm|ln_mlp|" \
    "post_attention_layernorm|mlp_ln|norm_mlp|norm_ff|norm_ffn|ln_ff|ln_ffn}"  # fmt: skip
LN_F = "{ln_f|final_norm|norm_f|ln_final|final_layer_norm|final_ln|final_layernorm|lnf|norm|ln|ln_out|layer_norm}"
ATTENTION = "{attn|att|attention|self_attn|self_attention|mha|sa|attn_layer|multi_head_attention|causal_attn|msa}"
FEED_FORWARD = "{mlp|ff|ffn|feed_forward|feedforward|ffwd|ffw|feed_fwd|mlp_layer|ff_layer}"
IN_ATTENTION = f"{LAYER}.{{{ATTENTION}.|}}"  # or in the block itself, where a name says enough
IN_HEAD = f"{LAYER}.{ATTENTION}.{{heads|head|attn_heads|attention_heads}}.{{j}}."
IN_FEED_FORWARD = f"{FEED_FORWARD}.{{layers.|net.|fc.|mlp.|ffn.|seq.|model.|}}"
QKV = "{c_attn|qkv|qkv_proj|in_proj|to_qkv|Wqkv|wqkv|query_key_value|attn_qkv|proj_qkv|qkv_linear|W_qkv}"
Q = "{q_proj|W_query|query|wq|W_q|Wq|to_q|q|q_lin|query_proj|q_linear|queries|proj_q|fc_q|W_Q|linear_q}"
K = "{k_proj|W_key|key|wk|W_k|Wk|to_k|k|k_lin|key_proj|k_linear|keys|proj_k|fc_k|W_K|linear_k}"
V = "{v_proj|W_value|value|wv|W_v|Wv|to_v|v|v_lin|value_proj|v_linear|values|proj_v|fc_v|W_V|linear_v}"
OUT = "{c_proj|out_proj|o_proj|proj|wo|W_o|Wo|to_out|to_out.0|dense|out|output_proj|out_lin|fc_out|W_out|W_O|" \
    "proj_out|output|projection|linear_out}"  # fmt: skip
ATTENTION_OUT = f"{LAYER}.{{{ATTENTION}.{OUT}|o_proj|wo|W_o|Wo|to_out|attn_proj|attn_out|attn_c_proj}}"
FC_NAMES = "c_fc|fc1|fc_in|fc|linear1|linear_1|lin1|up_proj|w1|W1|dense_h_to_4h|up|expand|fc_1|intermediate"
FC = f"{LAYER}.{{{IN_FEED_FORWARD}{{{FC_NAMES}|0|in_proj|proj_in}}|{FC_NAMES}}}"
ACTIVATION_NAMES = "act|gelu|activation|act_fn|nonlin|act_func|non_linearity|nonlinearity"
ACTIVATION = f"{LAYER}.{{{IN_FEED_FORWARD}{{{ACTIVATION_NAMES}|1|relu|silu}}|{ACTIVATION_NAMES}}}"
FC_OUT_NAMES = "fc2|linear2|linear_2|lin2|down_proj|w2|W2|dense_4h_to_h|down|contract|fc_2|mlp_proj|mlp_c_proj"
FC_OUT = f"{LAYER}.{{{IN_FEED_FORWARD}{{{FC_OUT_NAMES}|c_proj|fc_out|proj|out_proj|proj_out|output|2}}|{FC_OUT_NAMES}}}"
EMBEDDINGS = "{emb.|embed.|embedding.|embeddings.|embedder.|}"
WTE = f"{EMBEDDINGS}{{wte|tok_emb|token_embedding|token_embedding_table|tok_embedding|tok_embeddings|token_emb|" \
    "token_embed|tok_embed|token_embeddings|embed_tokens|word_embeddings|token|tok|embedding|embed|emb}"  # fmt: skip
WPE = f"{EMBEDDINGS}{{wpe|pos_emb|position_embedding|position_embedding_table|pos_embedding|pos_embed|position_embed|" \
    "positional_embedding|pos_embeddings|position_embeddings|embed_positions|position_emb|position|positional|pos}"
EMBEDDING_DROPOUT = f"{EMBEDDINGS}{{drop|drop_emb|embd_dropout|emb_dropout|embedding_dropout|dropout|emb_drop|" \
    "embd_drop|embed_dropout|embed_drop|embd_pdrop}"  # fmt: skip
LM_HEAD = "{lm_head|out_head|unembed|head|output_layer|out|output_head|final_linear|classifier|proj_out|" \
    "output_projection|vocab_proj|logits_layer|lm}"  # fmt: skip
DROPOUT = "{resid_dropout|resid_drop|dropout|drop|residual_dropout|res_dropout|out_dropout|proj_drop|drop_out}"
GAIN, SHIFT = "{weight|scale|gamma|g|w|gain|a_2}", "{bias|shift|beta|b|b_2}"
WEIGHT, BIAS = "{weight|w|kernel}", "{bias|b}"


def _attention(here):
    """What is within attention, for all heads or, with {j}, for one of them; ``softmax.query`` and so on are the
    factors of the products beside a softmax, see ``names``."""
    sdpa = f"{here}scaled_dot_product_attention"
    q, k, v = (f"h.{{i}}.attn.{name}" for name in "qkv")
    return {
        f"{sdpa}.query": q, f"{here}softmax.query": q, f"{here}hook_q": q, f"{here}{Q}": q,
        f"{sdpa}.key": k, f"{here}softmax.key": f"{k}^T", f"{here}hook_k": k, f"{here}{K}": k,
        f"{sdpa}.value": v, f"{here}softmax.value": v, f"{here}hook_v": v, f"{here}{V}": v,
        f"{here}{QKV}": [q, k, v],
        f"{here}softmax.input": "h.{i}.attn.scores", f"{here}hook_attn_scores": "h.{i}.attn.scores",
        f"{here}softmax.probs": "h.{i}.attn.probs",
        f"{here}{{attn_dropout|attn_drop|hook_pattern|dropout_attn}}": "h.{i}.attn.probs",
        f"{here}softmax": "h.{i}.attn.probs",
        **{
            f"{here}{their}.{kind}": f"h.{{i}}.attn.c_attn.{our}:{part}"
            for part, their in zip("qkv", (Q, K, V), strict=True)
            for our, kind in (("weight", WEIGHT), ("bias", BIAS))
        },
    }  # fmt: skip


# Everything that is built of torch.nn.Module: transformers, nanoGPT, minGPT, build-nanogpt, llm.c's train_gpt2.py,
# LLMs-from-scratch, TransformerLens, and what people call the same things in a GPT-2 of their own. The names are those
# of ``record``; what enters the next step comes before what leaves the one before it.
TORCH = {
    f"{WTE}.{WEIGHT}": "wte.weight", "{embed.|}W_E": "wte.weight", "{tok_emb|token_embedding|wte}": "wte.weight",
    f"{WPE}.{WEIGHT}": "wpe.weight", "{pos_embed.|}W_pos": "wpe.weight",
    "{pos_emb|pos_embedding|position_embedding|positional_embedding|pos_embed|wpe}": "wpe.weight",
    EMBEDDING_DROPOUT: "embd", f"{BLOCK}.0.input": "embd", f"{BLOCK}.0.hook_resid_pre": "embd",
    f"{BLOCK}.input": "embd",
    f"{LAYER}.{LN_1}.{GAIN}": "h.{i}.ln_1.weight", f"{LAYER}.{LN_1}.{SHIFT}": "h.{i}.ln_1.bias",
    f"{LAYER}.{LN_1}": "h.{i}.ln_1", f"{LAYER}.{ATTENTION}.input": "h.{i}.ln_1", f"{LAYER}.layer_norm": "h.{i}.ln_1",
    f"{IN_ATTENTION}{QKV}.{WEIGHT}": "h.{i}.attn.c_attn.weight",
    f"{IN_ATTENTION}{QKV}.{BIAS}": "h.{i}.attn.c_attn.bias",
    f"{IN_ATTENTION}in_proj_weight": "h.{i}.attn.c_attn.weight",
    f"{IN_ATTENTION}in_proj_bias": "h.{i}.attn.c_attn.bias",
    f"{IN_ATTENTION}{{W_Q|W_q|wq}}": "h.{i}.attn.c_attn.weight:q", f"{IN_ATTENTION}b_Q": "h.{i}.attn.c_attn.bias:q",
    f"{IN_ATTENTION}{{W_K|W_k|wk}}": "h.{i}.attn.c_attn.weight:k", f"{IN_ATTENTION}b_K": "h.{i}.attn.c_attn.bias:k",
    f"{IN_ATTENTION}{{W_V|W_v|wv}}": "h.{i}.attn.c_attn.weight:v", f"{IN_ATTENTION}b_V": "h.{i}.attn.c_attn.bias:v",
    **_attention(IN_ATTENTION), **_attention(IN_HEAD),
    f"{LAYER}.{ATTENTION}.dropout": "h.{i}.attn.probs",
    f"{ATTENTION_OUT}.input": "h.{i}.attn.heads", f"{IN_ATTENTION}hook_z": "h.{i}.attn.heads",
    f"{IN_ATTENTION}scaled_dot_product_attention": "h.{i}.attn.heads",
    f"{IN_ATTENTION}softmax.heads": "h.{i}.attn.heads",
    f"{LAYER}.{ATTENTION}.{{heads|head}}.{{j}}": "h.{i}.attn.heads",
    f"{ATTENTION_OUT}.{WEIGHT}": "h.{i}.attn.c_proj.weight",
    f"{ATTENTION_OUT}.{BIAS}": "h.{i}.attn.c_proj.bias",
    f"{IN_ATTENTION}W_O": "h.{i}.attn.c_proj.weight", f"{IN_ATTENTION}b_O": "h.{i}.attn.c_proj.bias",
    f"{LAYER}.{ATTENTION}": "h.{i}.attn.out", f"{LAYER}.hook_attn_out": "h.{i}.attn.out",
    f"{LAYER}.{ATTENTION}.{DROPOUT}": "h.{i}.attn.out", ATTENTION_OUT: "h.{i}.attn.out",
    f"{LAYER}.dropout1": "h.{i}.attn.out",
    f"{LAYER}.hook_resid_mid": "h.{i}.resid_mid", f"{LAYER}.{LN_2}.input": "h.{i}.resid_mid",
    f"{LAYER}.layer_norm@2.input": "h.{i}.resid_mid",
    f"{LAYER}.{LN_2}.{GAIN}": "h.{i}.ln_2.weight", f"{LAYER}.{LN_2}.{SHIFT}": "h.{i}.ln_2.bias",
    f"{LAYER}.{LN_2}": "h.{i}.ln_2", f"{LAYER}.{FEED_FORWARD}.input": "h.{i}.ln_2",
    f"{LAYER}.layer_norm@2": "h.{i}.ln_2",
    f"{FC}.{WEIGHT}": "h.{i}.mlp.c_fc.weight", f"{FC}.{BIAS}": "h.{i}.mlp.c_fc.bias",
    f"{LAYER}.{IN_FEED_FORWARD}W_in": "h.{i}.mlp.c_fc.weight", f"{LAYER}.{IN_FEED_FORWARD}b_in": "h.{i}.mlp.c_fc.bias",
    FC: "h.{i}.mlp.fc", f"{LAYER}.{IN_FEED_FORWARD}hook_pre": "h.{i}.mlp.fc",
    f"{ACTIVATION}.input": "h.{i}.mlp.fc",
    ACTIVATION: "h.{i}.mlp.gelu", f"{LAYER}.{IN_FEED_FORWARD}hook_post": "h.{i}.mlp.gelu",
    f"{FC_OUT}.input": "h.{i}.mlp.gelu",
    f"{FC_OUT}.{WEIGHT}": "h.{i}.mlp.c_proj.weight",
    f"{FC_OUT}.{BIAS}": "h.{i}.mlp.c_proj.bias",
    f"{LAYER}.{IN_FEED_FORWARD}W_out": "h.{i}.mlp.c_proj.weight",
    f"{LAYER}.{IN_FEED_FORWARD}b_out": "h.{i}.mlp.c_proj.bias",
    f"{LAYER}.{FEED_FORWARD}": "h.{i}.mlp.out", f"{LAYER}.hook_mlp_out": "h.{i}.mlp.out",
    f"{LAYER}.{IN_FEED_FORWARD}{DROPOUT}": "h.{i}.mlp.out", FC_OUT: "h.{i}.mlp.out",
    f"{LAYER}.dropout2": "h.{i}.mlp.out",
    LAYER: "h.{i}.resid_post", f"{LAYER}.hook_resid_post": "h.{i}.resid_post",
    f"{LN_F}.{GAIN}": "ln_f.weight", f"{LN_F}.{SHIFT}": "ln_f.bias", LN_F: "ln_f", f"{LM_HEAD}.input": "ln_f",
    f"{LM_HEAD}.{WEIGHT}": "lm_head.weight", "{unembed.|}W_U": "lm_head.weight",
    "linear.input": "ln_f", LM_HEAD: "logits", "linear": "logits", "output": "logits", "output.0": "logits",
    "output.1": "logits", "cross_entropy.input": "logits",
    "attentions": "h.{i}.attn.probs", "attentions.{i}": "h.{i}.attn.probs",
    "last_hidden_state": "ln_f", "{cross_entropy|nll_loss}": "loss",
    WTE: [], WPE: [], BLOCK: [], "{hook_embed|hook_pos_embed}": [],
    f"{LAYER}.{{{FEED_FORWARD}.{{layers|net|seq|mlp}}|drop|dropout|drop_shortcut}}": [],
    f"{LAYER}.{{hook_resid_pre|hook_attn_in|hook_mlp_in}}": [],
    f"{{{LAYER}.{{ln1|ln2}}|ln_final}}.{{hook_scale|hook_normalized}}": [],
    "h.{i}.attn.cache_kv": [], "allpos": [],  # of tinygrad's examples/gpt2.py
}  # fmt: skip
# The arrays of llm.c's train_gpt2.c.
LLM_C = {
    "wte": "wte.weight", "wpe": "wpe.weight", "ln1w": "h.{i}.ln_1.weight", "ln1b": "h.{i}.ln_1.bias",
    "qkvw": "h.{i}.attn.c_attn.weight", "qkvb": "h.{i}.attn.c_attn.bias",
    "attprojw": "h.{i}.attn.c_proj.weight", "attprojb": "h.{i}.attn.c_proj.bias",
    "ln2w": "h.{i}.ln_2.weight", "ln2b": "h.{i}.ln_2.bias",
    "fcw": "h.{i}.mlp.c_fc.weight", "fcb": "h.{i}.mlp.c_fc.bias",
    "fcprojw": "h.{i}.mlp.c_proj.weight", "fcprojb": "h.{i}.mlp.c_proj.bias",
    "lnfw": "ln_f.weight", "lnfb": "ln_f.bias",
    "encoded": "embd", "ln1": "h.{i}.ln_1", "qkv": ["h.{i}.attn.q", "h.{i}.attn.k", "h.{i}.attn.v"],
    "preatt": "h.{i}.attn.scores", "att": "h.{i}.attn.probs", "atty": "h.{i}.attn.heads",
    "attproj": "h.{i}.attn.out", "residual2": "h.{i}.resid_mid", "ln2": "h.{i}.ln_2", "fch": "h.{i}.mlp.fc",
    "fch_gelu": "h.{i}.mlp.gelu", "fcproj": "h.{i}.mlp.out", "residual3": "h.{i}.resid_post",
    "lnf": "ln_f", "losses": "loss", "mean_loss": "loss",
}  # fmt: skip
MAPS = {
    "torch": TORCH, "transformers": TORCH, "nanogpt": TORCH, "llm.c": LLM_C | LAYER_NORMS_OF_LLM_C,
    "picogpt": PICOGPT, "openai": OPENAI, "flax": FLAX,
}  # fmt: skip
