"""The bars: how many times as long as ours another's turn should at least take, in the median.

They depend on the kernels that OpenBLAS runs, whatever was asked for.
"""

BARS = {  # (workload, against): with AVX2, with AVX-512
    ("decode", "transformers"): (1.7, 2.1),
    ("decode-8", "transformers"): (1.4, 1.6),
    ("prefill-512", "transformers"): (1.35, 1.8),
    ("prefill-1024", "transformers"): (1.35, 1.7),
    ("train-4x64", "transformers"): (1.35, 2.0),
    ("train-1x512", "transformers"): (1.35, 1.9),
    ("train-small", "transformers"): (1.5, 1.6),
    ("train-small", "nanoGPT"): (1.1, 1.1),
    ("prefill-512-busy", "transformers"): (1.3, 1.3),
    ("train-4x64-busy", "transformers"): (1.3, 1.3),
    ("perplexity", "transformers"): (1.0, 1.0),
    ("last-words", "transformers"): (1.0, 1.0),
    ("encode-fresh", "encoder.py"): (4.0, 4.0),
    ("encode-again", "tiktoken"): (0.25, 0.25),
    ("any", "ordinary text"): (1 / 3, 1 / 3),
}
TWO_AT_ONCE = 2.5  # the time of two of ours at once over that of one alone, at most; 2 is the aim


def bar(workload, against, level):
    """The bar for kernels of this level ("avx2", "avx512"); None where there is none."""
    columns = BARS.get((workload, against)) or BARS.get(("any", against))
    return dict(zip(("avx2", "avx512"), columns, strict=True)).get(level) if columns else None
