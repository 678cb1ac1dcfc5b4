"""Names of implementations that are not built of torch.nn.Module; the language is that of ``maps``."""


def _inside(block, names):
    """The names within a block, with the block's in front of theirs and of ours."""
    return {
        f"{block}.{theirs}": [f"h.{{i}}.{name}" for name in ours] if isinstance(ours, list) else f"h.{{i}}.{ours}"
        for theirs, ours in names.items()
    }


# picoGPT in NumPy and JAX: its parameters, and its functions as ``record_functions`` sees them.
_PICO = "gpt2.0.transformer_block.{i}"
PICOGPT = {
    "ln_f.g": "ln_f.weight", "ln_f.b": "ln_f.bias", "wte": "wte.weight", "wpe": "wpe.weight",
    **_inside("blocks.{i}", {
        f"{layer}.{theirs}": f"{layer}.{ours}"
        for layers, pairs in (
            (("ln_1", "ln_2"), (("g", "weight"), ("b", "bias"))),
            (("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"), (("w", "weight"), ("b", "bias"))),
        )
        for layer in layers for theirs, ours in pairs
    }),
    "gpt2.0.transformer_block.0.x": "embd",
    **_inside(_PICO, {
        "layer_norm.0": "ln_1", "mha.0.linear.0": ["attn.q", "attn.k", "attn.v"],
        "mha.0.attention.{j}.q": "attn.q", "mha.0.attention.{j}.k": "attn.k", "mha.0.attention.{j}.v": "attn.v",
        "mha.0.attention.{j}.softmax.0.x": "attn.scores", "mha.0.attention.{j}.softmax.0": "attn.probs",
        "mha.0.linear.1.x": "attn.heads", "mha.0.attention.{j}": "attn.heads", "mha.0{.linear.1|}": "attn.out",
        "layer_norm.1.x": "resid_mid", "layer_norm.1": "ln_2", "ffn.0.linear.0": "mlp.fc", "ffn.0.gelu.0": "mlp.gelu",
        "ffn.0{.linear.1|}": "mlp.out",
    }),
    _PICO: "h.{i}.resid_post",
    "gpt2.0.layer_norm.0": "ln_f", "gpt2.0": "logits", "gpt2.0.inputs": "ids",
    f"{_PICO}.mha.0.attention.{{j}}.mask": [],
    "gpt2.1.{inputs|transformer_block.{i}.mha.0.attention.{j}.mask}": [],  # of a second call, in which JAX traces
}  # fmt: skip
# OpenAI's model.py: TensorFlow's variables, and its functions as ``record_functions`` sees them.
_OPENAI = "model.0.block.{i}"
OPENAI = {
    "model/wte:0": "wte.weight", "model/wpe:0": "wpe.weight",
    "model/ln_f/g:0": "ln_f.weight", "model/ln_f/b:0": "ln_f.bias",
    **{
        f"model/h{{i}}/{layer}/{theirs}:0": f"h.{{i}}.{layer.replace('/', '.')}.{ours}"
        for layer in ("ln_1", "attn/c_attn", "attn/c_proj", "ln_2", "mlp/c_fc", "mlp/c_proj")
        for theirs, ours in (("{w|g}", "weight"), ("b", "bias"))
    },
    "model.0.block.0.x": "embd",
    **_inside(_OPENAI, {
        "norm.0": "ln_1", "attn.0.conv1d.0": ["attn.q", "attn.k", "attn.v"],
        "attn.0.softmax.0.x": "attn.scores", "attn.0.softmax.0": "attn.probs", "attn.0.merge_states.0": "attn.heads",
        "attn.0.conv1d.1": "attn.out", "norm.1.x": "resid_mid", "norm.1": "ln_2",
        "mlp.0.conv1d.0": "mlp.fc", "mlp.0.gelu.0": "mlp.gelu", "mlp.0.conv1d.1": "mlp.out", "0": "resid_post",
    }),
    "model.0.norm.0": "ln_f", "model.0.logits": "logits",
    "model.0.{X|shape_list.0.x}": "ids", f"{_OPENAI}.attn.0.shape_list.0.x": [],
    "model.0.{present|positions_for.0|positions_for.0.expand_tile.0{.value|.size|}}": [], f"{_OPENAI}.1": [],
    f"{_OPENAI}.attn.0.{{1|attention_mask.0|split_states.0|split_states.1|split_states.2|merge_states.0.x}}": [],
    f"{_OPENAI}.attn.0.{{split_states.0|split_states.1|split_states.2}}.x": [],
}  # fmt: skip
# Flax: parameters, and what ``capture_intermediates`` keeps of the modules, each called once.
_IN = "{params.|intermediates.|}{transformer.|model.|decoder.|backbone.|}"
_LAYER = (
    f"{_IN}{{h.|h_|blocks.|blocks_|block_|Block_|layers.|layers_|layer_|TransformerBlock_|DecoderBlock_|"
    "GPTBlock_|}{i}"
)
_ATTN = "{attn|attention|self_attn|self_attention|mha|CausalSelfAttention_0|SelfAttention_0|MultiHeadAttention_0|" \
    "MultiHeadDotProductAttention_0|MultiHeadSelfAttention_0|Attention_0}"  # fmt: skip
_MLP = "{mlp|ffn|ff|feed_forward|MLP_0|Mlp_0|FeedForward_0|MlpBlock_0|FFN_0}"
_QKV, _FC = "{c_attn|qkv|qkv_proj|Dense_0}", "{c_fc|fc1|fc_in|fc|Dense_0|dense_0|dense1|wi}"
_OUT, _FC_OUT = "{c_proj|out_proj|proj|out|o_proj|Dense_1}", "{c_proj|fc2|fc_out|proj|Dense_1|dense_1|dense2|wo}"
_LN_1, _LN_2 = "{ln_1|ln1|norm1|norm_1|LayerNorm_0}", "{ln_2|ln2|norm2|norm_2|LayerNorm_1}"
_LN_F = "{ln_f|lnf|norm|final_norm|ln_final|LayerNorm_0}"
_CALL = ".__call__{.0|}"
FLAX = {
    f"{_IN}{{wte|Embed_0|tok_embed|token_embed|token_embedding|tok_emb|embed|embedding}}.embedding": "wte.weight",
    f"{_IN}{{wpe|Embed_1|pos_embed|position_embed|position_embedding|pos_emb|pos_embedding}}.embedding": "wpe.weight",
    f"{_IN}{{wpe|pos_embed|pos_embedding|pos_emb|position_embedding}}": "wpe.weight",
    f"{_IN}{_LN_F}.scale": "ln_f.weight", f"{_IN}{_LN_F}.bias": "ln_f.bias",
    f"{_IN}{{lm_head|head|logits|Dense_0}}.kernel": "lm_head.weight",
    **_inside(_LAYER, {
        f"{_LN_1}.scale": "ln_1.weight", f"{_LN_1}.bias": "ln_1.bias",
        f"{_ATTN}.{_QKV}.kernel": "attn.c_attn.weight", f"{_ATTN}.{_QKV}.bias": "attn.c_attn.bias",
        **{
            f"{_ATTN}.{{{name}|{name}_proj|{part}|{part}_proj|w{part}}}.{theirs}": f"attn.c_attn.{ours}:{part}"
            for part, name in (("q", "query"), ("k", "key"), ("v", "value"))
            for theirs, ours in (("kernel", "weight"), ("bias", "bias"))
        },
        f"{_ATTN}.{_OUT}.kernel": "attn.c_proj.weight", f"{_ATTN}.{_OUT}.bias": "attn.c_proj.bias",
        f"{_LN_2}.scale": "ln_2.weight", f"{_LN_2}.bias": "ln_2.bias",
        f"{_MLP}.{_FC}.kernel": "mlp.c_fc.weight", f"{_MLP}.{_FC}.bias": "mlp.c_fc.bias",
        f"{_MLP}.{_FC_OUT}.kernel": "mlp.c_proj.weight", f"{_MLP}.{_FC_OUT}.bias": "mlp.c_proj.bias",
        f"{_LN_1}{_CALL}": "ln_1", f"{_ATTN}.{_QKV}{_CALL}": ["attn.q", "attn.k", "attn.v"],
        **{
            f"{_ATTN}.{{{name}|{name}_proj|{part}|{part}_proj|w{part}}}{_CALL}": f"attn.{part}"
            for part, name in (("q", "query"), ("k", "key"), ("v", "value"))
        },
        f"{_ATTN}.Dropout_0{_CALL}": "attn.probs", f"{_ATTN}{_CALL}": "attn.out", f"{_ATTN}.{_OUT}{_CALL}": "attn.out",
        f"{_LN_2}{_CALL}": "ln_2", f"{_MLP}.{_FC}{_CALL}": "mlp.fc", f"{_MLP}{{.{_FC_OUT}|}}{_CALL}": "mlp.out",
    }),
    f"{_LAYER}{_CALL}": "h.{i}.resid_post",
    f"{_IN}{{drop|dropout|Dropout_0}}{_CALL}": "embd", f"{_IN}{_LN_F}{_CALL}": "ln_f",
    f"{_IN}{{lm_head|head|logits|Dense_0}}{_CALL}": "logits", "{params.|intermediates.|}__call__{.0|}": "logits",
    f"{_IN}{{wte|wpe|Embed_0|Embed_1}}{_CALL}": [], f"{_LAYER}.{_ATTN}.Dropout_1{_CALL}": [],
    f"{_LAYER}.{_MLP}.Dropout_0{_CALL}": [],
}  # fmt: skip
# llm.c's statistics of its layer norms, and the softmax of its logits: nothing that we have.
LAYER_NORMS_OF_LLM_C = {"{ln1|ln2|lnf}_{mean|rstd}": [], "probs": []}
