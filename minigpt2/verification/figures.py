"""Figures that others publish of the released weights, and what they are figures of.

Numbers and short inputs only, each with the project, file and commit that states it; how they are measured again
is in ``published.py``. Sentences on perceptrons are from Wikipedia (CC BY-SA); those on language models are the
abstract of arXiv:2005.14165, which arXiv publishes under CC0 1.0.
"""

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

# EleutherAI/lm-evaluation-harness, tests/test_models.py from eec1801 on; rel=1e-3 as in v0.3.0
HARNESS = "lm-evaluation-harness v0.3.0, tests/test_models.py"
LOG_LIKELIHOODS = (  # context, continuation, log p of the continuation; the test has the first of them twice
    (
        "A mult",
        "ilayer perceptron (MLP) is a class of feedforward artificial neural network (ANN)",
        -61.60536193847656,
    ),
    (
        "The term MLP is used ambiguously, sometimes loosely to any feedforward ANN, sometimes strictly to "
        "refer to networks composed of multiple layers of perceptrons",
        " (with threshold activation); see § Terminology",
        -56.57843780517578,
    ),
    (
        "Multilayer perceptrons are sometimes coll",
        'oquially referred to as "vanilla" neural networks, especially when they have a single hidden '
        "layer.[1]",
        -62.131004333496094,
    ),
    (
        "An MLP consists of at least three layers of nodes: an input layer, a hidden layer and an output "
        "layer. Except for the input nodes, each node is a neuron that uses a nonlinear",
        " activation function.",
        -9.799489974975586,
    ),
    (
        "MLP utilizes a supervised",
        " learning technique called backpropagation for training.[2][3] Its multiple layers and non-linear "
        "activation distinguish MLP from a linear perceptron. It can distinguish data that is not linearly "
        "separable.[4]",
        -153.96334838867188,
    ),
    (
        "Recent work has demonstrated substantial gains on many NLP tasks and benchmarks by pre-training on "
        "a large corpus of text followed by fine-tuning on a specific task. While typically task-agnostic",
        " in architecture, this method still requires task-specific fine-tuning datasets of thousands or "
        "tens of thousands of examples. By contrast, humans can generally perform a new language task from "
        "only a few examples or from simple instructions - something which current NLP systems still largely "
        "struggle to do. Here we show that scaling up language models greatly improves task-agnostic, "
        "few-shot performance, sometimes even reaching competitiveness with prior state-of-the-art "
        "fine-tuning approaches. ",
        -341.222900390625,
    ),
    (
        "Specifically, we train GPT-3, an autoregressive language model with 175",
        " billion parameters, 10x more than any previous non-sparse language model, and test its performance "
        "in the few-shot setting. For all tasks, GPT-3 is applied without any gradient updates or "
        "fine-tuning, with tasks and few-shot demonstrations specified purely via text interaction with the "
        "model. GPT-3 achieves strong performance on many NLP datasets, including translation, "
        "question-answering, and cloze tasks, as well as several tasks that require on-the-fly reasoning or "
        "domain adaptation, such as unscrambling words, using a novel word in a sentence, or performing "
        "3-digit arithmetic. At the same time, we also identify some datasets where GPT-3's few-shot "
        "learning still struggles, as well as some datasets where GPT-3 faces methodological issues related "
        "to training on large web corpora. Finally, we find that GPT-3 can generate samples of news articles "
        "which human evaluators have difficulty distinguishing from articles written by humans. We discuss "
        "broader societal impacts of this finding and of GPT-3 in general.",
        -731.1475830078125,
    ),
    (
        "Hello",
        " World",
        -8.682319641113281,
    ),
)  # fmt: skip
STOPPED = "The quick brown fox jumps over the lazy", ", lazy fox and they both fall to the ground", (".", "\n")
TOKEN_TEXT = "We study empirical scaling laws for language model performance on the cross-entropy loss."
TOKEN_LOG_PROBS = {  # tokens that the model looks at -> log p of each token of the text, of which the test has the sum
    1024: (
        -4.9599953, -8.069298, -8.308624, -10.178513, -8.906924, -1.9318912, -7.745445, -7.146077, -5.2072,
        -3.5882986, -1.9957212, -8.044922, -0.20841774, -5.1096807, -0.099879116, -8.888423, -4.6180487,
    ),
    5: (
        -4.96001, -8.069275, -8.308612, -10.178482, -8.90691, -4.037338, -8.09261, -11.662385, -10.206891,
        -4.425003, -2.2563353, -7.909143, -1.9304147, -7.3610134, -2.3120654, -7.3229, -2.1643813,
    ),
}  # fmt: skip

# elixir-nx/bumblebee, test/bumblebee/text/gpt2_test.exs, df16dcc to 21832f3^; atol=1e-4 and, as always there, rtol=1e-4
BUMBLEBEE = "Bumblebee df16dcc, test/bumblebee/text/gpt2_test.exs"
BUMBLEBEE_SLICES = {  # tensor -> ids, its [1:4, 1:4]
    "ln_f": ((0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2), (
        (-0.0436, 0.0046, -0.1025), (-0.4822, 0.2564, 0.1926), (-0.2747, 0.0428, -0.1841),
    )),
    "logits": ((15496, 11, 616, 3290, 318, 13779), (
        (-114.5832, -116.5725, -116.083), (-89.8644, -93.1977, -94.4351), (-88.338, -92.8703, -94.4454),
    )),
}  # fmt: skip

# raven-ml/raven, kaun/test/gpt2/test_gpt2_compare_with_python.ml until daffb12. Kaun's own forward pass had the erf
# form of GELU then, but the figures are those of transformers: reference_gpt2_output.py there has printed them.
KAUN = "Kaun daffb12, kaun/test/gpt2/test_gpt2_compare_with_python.ml"
KAUN_HIDDEN = "Hello world", (  # the final layer norm's output at the first token, its first ten channels
    -9.088777005672455e-06, -0.14020976424217224, -0.20845119655132294, -0.028111519291996956,
    -0.09017819911241531, -0.19850760698318481, 4.072483062744141, -0.24899107217788696, -0.17168566584587097,
    -0.01689625345170498,
)  # fmt: skip

# guillaume-be/rust-bert, tests/gpt2.rs and tests/distilgpt2.rs at 6db859e, of models in the tanh form
RUST_BERT = "rust-bert 6db859e"
BEST_TOKENS = {  # model -> text, the likeliest token after it, its logit, the file
    "gpt2": ("One two three four", " five", -69.4948, "tests/gpt2.rs"),
    "distilgpt2": (
        "One two three four five six seven eight nine ten eleven", " twelve", -48.7065, "tests/distilgpt2.rs",
    ),
}  # fmt: skip
PENALISED = (  # prompt, penalty, tokens at most, the text: greedy, so that the temperature of 1.1 changes nothing
    "The cat", 1.1, 40,
    "The cat was found in a field near the town of Keflavik, about 30 miles (48 kilometers) south-east of "
    "Moscow.\n\n\n",
)  # fmt: skip
BEAMS = (  # prompt, beams, tokens at most, temperature, the best texts
    "The dog", 5, 20, 1.2, (
        "The dog was found in the backyard of a home in the 6200 block of South Main Street.",
        "The dog was found in the backyard of a home in the 6500 block of South Main Street.",
        "The dog was found in the backyard of a home in the 6200 block of South Main Street,",
    ),
)  # fmt: skip

# harrrshall/numpygrad, tests/benchmark.md at c7dbbcb: weights of gpt2, but with the erf form of GELU, which gpt.py
# there names its own and nanoGPT's; PyTorch, also by nanoGPT's model.py, gives the same to the digits printed: 26.57,
# 21.67 and 38.00 %.
NUMPYGRAD = "numpygrad c7dbbcb, tests/benchmark.md"
WIKITEXT = {"perplexity": 26.57083693176975}
LAMBADA = {"perplexity": 21.669757838390414, "accuracy": 0.38}
