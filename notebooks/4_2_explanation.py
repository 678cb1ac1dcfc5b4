# %% [markdown] tags=["en"]
# # 4.2 解释说明 · Explanation
#
# In three sentences the document looks back. We take the opportunity to look back properly: every sentence of the
# document that states a fact is quoted here, and has a verdict, what decides it, and the notebook in which you can see
# it. Some verdicts follow from numbers; those are computed in this notebook and compared with the tables.
#
# You need Python and have read some of the other notebooks; their words are not explained again.
#
# **Exercise:** none of its own; [the eleven exercises](../exercises/README.md) cover the components.

# %%
import json
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.feed_forward import gelu_forward
from minigpt2.components.layer_norm import layer_norm_forward
from minigpt2.components.loss import cross_entropy_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.measures import repeated_n_grams

style.use()
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
names = minigpt2.flatten(model.params)

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document says of itself:
# 「第3章介绍了GPT-2模型的训练数据集、模型结构、微调策略、训练方法等。第4章给出了用Python实现基于Transformers库的GPT-2模型的代码示例。第5章介绍了GPT-2模型在几种领域生成效果的评估，验证了模型的有效性。」
# Chapter 3 is about GPT-2's data, its structure, its fine-tuning and its training; chapter 4 has a code example with
# Transformers; chapter 5 evaluates the generated texts in several domains and so confirms that the model works.
#
# The structure is in fact the subject of its chapter 2, section 2.5. And there is no chapter 5: the text ends with the
# sentence that announces it. A text without evaluation is a text without evidence, so we wrote the chapter
# ([notebook 5](5_evaluation.ipynb)).
#
# ## 2. The map
#
# | question | notebook |
# |---|---|
# | What does a language model do, in five minutes? | [1](1_introduction.ipynb) |
# | Which few rules does every backward pass consist of, and how is one checked? | [2.0](2_0_toolbox.ipynb) |
# | Why layers, and why something non-linear between them? | [2.1](2_1_deep_learning.ipynb) |
# | What is a neural network, and when has it learned instead of memorized? | [2.2](2_2_models.ipynb) |
# | How do scores become text? What did people do before Transformers? | [2.3](2_3_text_generation.ipynb) |
# | What was GPT-2 trained on? | [2.4](2_4_datasets.ipynb) |
# | How do the nine components make one model? | [2.5](2_5_framework.ipynb) |
# | How does a token become a vector, and a vector a token? | [2.5.1](2_5_1_embedding.ipynb) |
# | How does the model know the order of the tokens? | [2.5.2](2_5_2_position.ipynb) |
# | How does a token learn about the others? | [2.5.3](2_5_3_attention.ipynb) |
# | What does each token do by itself? | [2.5.4](2_5_4_feed_forward.ipynb) |
# | What holds a deep stack together? | [2.5.5](2_5_5_residual_and_layer_norm.ipynb) |
# | Why are activations dropped at random? | [2.5.6](2_5_6_dropout.ipynb) |
# | What if the target is not quite certain? | [2.5.7](2_5_7_label_smoothing.ipynb) |
# | How wrong is a prediction? | [2.5.8](2_5_8_loss_function.ipynb) |
# | How do gradients become better parameters? | [2.5.9](2_5_9_optimizer.ipynb) |
# | Does it help to train like BERT first? | [3.1](3_1_pretraining.ipynb) |
# | Does it help to mix corpora? | [3.2](3_2_more_data.ipynb) |
# | How does a model learn a new domain, and what does it forget? | [3.3](3_3_fine_tuning.ipynb) |
# | What can it do without any training for it? | [3.4](3_4_zero_shot.ipynb) |
# | What does the document's code compute? | [4.1](4_1_code_example.ipynb) |
# | What is right in the document, and what is not? | 4.2, here |
# | How good are the texts? | [5](5_evaluation.ipynb) |
# | How do I find a mistake in a GPT-2 of my own? | [6](6_find_the_bug.ipynb) |

# %% [markdown] tags=["en"]
# ## 3. The document, sentence by sentence
#
# A row is a sentence of the document, or the part of one that can be judged alone. There are four verdicts:
#
# - ✓ **right**;
# - ✗ **wrong** of GPT-2 as released, or of the thing that the sentence explains;
# - ½ **in part**: true in one sense or in one case, and the row says in which;
# - ? **open**: nothing that is known decides it, or it says too little to be tested; the row says why.
#
# What GPT-2 was made of and how, no computation of ours can tell. There the sources decide: the GPT-2 paper (Radford
# et al. 2019, "Language Models are Unsupervised Multitask Learners", here "the paper"), the earlier one (Radford et al.
# 2018, "Improving Language Understanding by Generative Pre-Training", here "GPT-1"), BERT's (Devlin et al. 2019), and
# OpenAI's own repositories: `openai/gpt-2`, with the *model card* and a list of domains, and
# `openai/gpt-2-output-dataset`. Definitions are judged by whether they are the usual ones.
#
# Where a row says *computed*, the cell below its tables has the number and derives the verdict from it (for 1 c, which
# stays open, the number alone).

# %% [markdown] tags=["en"]
# ### Chapter 1: the promise
#
# | | the document | verdict | what decides it, and where |
# |---|---|---|---|
# | 1 a | 「自然语言生成模型逐渐变得越来越智能、越具备多样性」 models of language have become more intelligent and more varied | ½ in part | Better by measure: the largest GPT-2 had better figures than any model before it on seven of eight data sets (paper, abstract and table 3; [3.4](3_4_zero_shot.ipynb)). "Intelligent" has no measure, and of variety no source counts how it changed. |
# | 1 b | 「例如GPT、BERT等都属于基于transformer的模型」 GPT and BERT are based on the Transformer | ✓ right | GPT-1, section 3.1; Devlin et al., section 3. The parts of a block: *computed*; [2.5](2_5_framework.ipynb). |
# | 1 c | 「对于生成多模态、多领域的文本数据，基于transformer的模型仍旧存在一些限制」 for multi-modal text data of many domains, Transformers have limits | ? open | No limit is named. A GPT-2 reads integers, and does not ask what they stand for: four bytes of a grey picture are read like four tokens (*computed*). Chen et al. 2020, "Generative Pretraining from Pixels", trained one on pixels. |
# | 1 d | 「本文尝试提出一种新的…语言模型——GPT-2」 this text proposes a new model, GPT-2 | ✗ wrong | Radford et al. proposed it, in February 2019. The document's own code downloads the finished parameters (section 4.1 there). |
# | 1 e | 「Generative Pretrained Transformer V2」 what the name stands for | ½ in part | GPT-1's title has "Generative Pre-Training", and Devlin et al., section 1, call it "Generative Pre-trained Transformer". "V2" is in neither. |
# | 1 f | 「可以生成具有高质量、连贯性、多样性的文本」 it writes text of high quality, coherent, varied | ½ in part | The built-in model: varied like a human near temperature 1, coherent no ([5](5_evaluation.ipynb), section 6). The released one: "coherent paragraphs" (paper, abstract), and "often incoherent or inaccurate in subtle ways" (README of `openai/gpt-2`). |
# | 1 g | 「学习到不同语言的共同特征」 it learns what different languages have in common | ✗ wrong | There was one language to learn from: pages in others were filtered out, and 10 MB of French were left in 40 GB (paper, sections 2.1 and 3.7). See section 4 below. |
# | 1 h | 「选用了几十种语言的数据集进行了多轮实验」 tried on data in dozens of languages | ✗ wrong | English; the one test with another language is French (paper, section 3.7); [2.4](2_4_datasets.ipynb), section 1. |
# | 1 i | 「在不少情况下都能够生成质量较好的、连贯性较强的文本」 in quite a few cases the text is good and coherent | ½ in part | As 1 f. The document shows no text and no number, and "quite a few" has no threshold. |
# | 1 j | 「可以应用到不同的领域、场景中」 it can be applied in different domains | ½ in part | It can, and how well depends on the pair of model and domain: [5](5_evaluation.ipynb), section 6, and [3.3](3_3_fine_tuning.ipynb), section 6. |
# | 1 k | 「在适当调节参数的条件下，也能取得很好的效果」 with suitable settings the result is very good | ½ in part | Settings matter: temperature against repetition, *computed*. "Very good" is not shown; no setting makes a text true. |
# | 1 l | 「设计灵活、模块化、可微」 the design is flexible, modular, differentiable | ✓ right | *Computed*, and explained in section 4 below. |
# | 1 m | 「可以方便地应用到其他任务中」 it is easily used for other tasks | ½ in part | Easily, yes: the task is written as text ([3.4](3_4_zero_shot.ipynb), section 2). With what success depends on the task (section 6 there). |
# | 1 n | 「可以直接用于生产环境」 its parameters can go straight into production | ✗ wrong | The model card names researchers and practitioners as its users, supports no use that needs the text to be true, and asks for a study of biases first. |

# %%
verdicts = {}


def computed(row, verdict, **numbers):
    """Note the verdict on a row, True, False or "½", and print the numbers that it follows from."""
    verdicts[row] = {True: "✓", False: "✗"}.get(verdict, verdict)
    shown = "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in numbers.items())
    print(f"{row:8} {verdicts[row]}  {shown}")


parts = {name.split(".")[2] for name in names if name.startswith("h.0.")}
computed("1 b", parts == {"ln_1", "attn", "ln_2", "mlp"}, a_block=" ".join(sorted(parts)))

logits, _ = model.forward([[12, 200, 31, 255]])  # four grey values, a byte each
computed("1 c", "?", logits_for_four_bytes=logits.shape)

prompts = [tokenizer.encode(f"{who}:\nO") for who in ("ROMEO", "DUKE VINCENTIO", "QUEEN MARGARET", "KING RICHARD III")]
repeated = [
    repeated_n_grams([
        tokenizer.decode(model.generate(prompt, 100, temperature=temperature, seed=1)[len(prompt) :])
        for prompt in prompts
    ])
    for temperature in (0, 1)
]
computed("1 k", "½" if repeated[1] < repeated[0] else False,
         repeated_4_grams_at_temperature_0=f"{repeated[0]:.1f}", at_temperature_1=f"{repeated[1]:.1f}")  # fmt: skip

config = minigpt2.GPT2Config(vocab_size=11, n_positions=6, n_embd=8, n_layer=2, n_head=2)
tiny, rng = minigpt2.GPT2(config, seed=0, dtype="float64"), np.random.default_rng(0)
ids = rng.integers(0, 11, (2, 6))
_, grads = tiny.loss_and_grads(ids[:, :-1], ids[:, 1:])
parameters, gradients = minigpt2.flatten(tiny.params), minigpt2.flatten(grads)
direction = {name: rng.normal(size=parameter.shape) for name, parameter in parameters.items()}
promised = sum((gradients[name] * direction[name]).sum() for name in parameters)
losses = []
for step in (1e-5, -2e-5):
    for name, parameter in parameters.items():
        parameter += step * direction[name]
    losses.append(tiny.loss(ids[:, :-1], ids[:, 1:]))
slope = (losses[0] - losses[1]) / 2e-5
shapes = {tuple((n.split(".", 2)[2], p.shape) for n, p in names.items() if n.startswith(f"h.{i}.")) for i in range(4)}
computed("1 l", abs(slope / promised - 1) < 1e-6 and len(shapes) == 1,
         slope_over_derivative=f"{slope / promised:.5f}", kinds_of_block=len(shapes))  # fmt: skip

# %% [markdown] tags=["en"]
# ### Sections 2.1 to 2.3: the terms
#
# | | the document | verdict | what decides it, and where |
# |---|---|---|---|
# | 2.1 a | 「深度学习是一门赋予机器学习以强大能力的科学研究领域」 deep learning is a field of research within machine learning | ✓ right | A definition, the usual one. |
# | 2.1 b | 「通过构建多个非线性的处理层」 by building several non-linear layers | ✓ right | Without the bend two layers are one: *computed*; [2.1](2_1_deep_learning.ipynb), section 3. |
# | 2.1 c | 「数据挖掘方法」 methods of data mining belong to it | ✗ wrong | GPT-2 has layers, a loss and an optimizer, and no such part ([2.1](2_1_deep_learning.ipynb), section 1). |
# | 2.1 d | 「优化算法」 and so do optimization algorithms | ✓ right | [2.5.9](2_5_9_optimizer.ipynb). |
# | 2.1 e | 「数据被不断转换，层层递进，最终达到更高级的抽象形式」 layer by layer, data become more abstract | ½ in part | Layer by layer the guess gets better: *computed* for a line, the loss if the output layer read the stream at that depth. "Abstract" has no measure. |
# | 2.1 f | 「可以自动地学习数据的表示形式…而不需要人工指定规则或模式」 features are learned, no rules are written by hand | ½ in part | True of the parameters. The shape, the mask and the pattern at which the tokenizer cuts are written by hand ([2.1](2_1_deep_learning.ipynb), section 1; [2.4](2_4_datasets.ipynb)). |
# | 2.1 g | 「还可以利用人类学习经验和启发法则来改善模型的性能」 human experience and heuristics improve it | ½ in part | Rules of thumb do: scaled starting values ([2.5.5](2_5_5_residual_and_layer_norm.ipynb)), warm-up ([2.5.9](2_5_9_optimizer.ipynb)). How people learn plays no part in GPT-2. |
# | 2.2 a | 「深度学习模型是一个函数，它接收输入数据…输出预测值」 a model is a function | ✓ right | Same tokens, same logits: *computed*; [2.2](2_2_models.ipynb), section 1. |
# | 2.2 b | 「每个神经元…根据一定的权重加权求和，再经过激活函数处理」 it consists of neurons | ½ in part | The feed-forward network does. The weights of attention are no parameters: another text, other weights, *computed*; [2.2](2_2_models.ipynb), section 1. |
# | 2.2 c | 「形成复杂的决策边界」 they form a decision boundary | ½ in part | A classifier's do. GPT-2 puts out a probability for each token ([2.2](2_2_models.ipynb), section 1). |
# | 2.2 d | 「训练过程就是通过迭代更新模型参数，以最小化损失函数的方法」 training lowers a loss by changing parameters step by step | ✓ right | Ten steps: *computed*; [2.2](2_2_models.ipynb), section 3. |
# | 2.2 e | 「使模型能够拟合训练数据集上的真实分布」 until the model fits the true distribution | ½ in part | There is only a sample of it ([2.2](2_2_models.ipynb), sections 1 and 6). |
# | 2.2 f | 「对训练数据及测试数据都具有较好的拟合能力时…泛化能力较强」 good on training and test data means that it generalizes | ½ in part | If nothing was chosen by the test data, and no copies are in the training data ([2.2](2_2_models.ipynb), section 1; [2.4](2_4_datasets.ipynb), section 6). |
# | 2.3 a | 「文本生成是指根据给定的输入条件，生成一段文本」 text generation is to make a text from a given condition | ✓ right | A definition, the usual one. |
# | 2.3 b | 「包括两部分，即一个语言模型和一个生成模型」 there are two models, one of language and one that generates | ✗ wrong | There is one. Decoding has no parameters and learns nothing ([2.3](2_3_text_generation.ipynb), section 1). |
# | 2.3 c | 「语言模型负责计算输入序列的概率分布」 a language model computes the probability of a sequence | ✓ right | [2.3](2_3_text_generation.ipynb), section 3; [2.5.8](2_5_8_loss_function.ipynb), section 3. |
# | 2.3 d | 「估计出当前看到的词是否是之前出现过的词的概率」 it estimates whether the present word has occurred before | ✗ wrong | It gives every token a probability of coming next; the likeliest here is a new one: *computed*. |
# | 2.3 e | 「生成符合概率分布的句子」 sentences are generated according to that distribution | ½ in part | At temperature 1. Greedy choice, top-k and other temperatures draw from another one ([2.3](2_3_text_generation.ipynb), section 6). |
# | 2.3 f | 「传统的文本生成模型往往使用…RNN…LSTM…GRU」 the tradition is recurrent networks | ½ in part | For the years before 2017. For half a century it was n-grams ([2.3](2_3_text_generation.ipynb), section 1). |
# | 2.3 g | 「首先根据语言模型生成第一个词，然后根据生成结果来预测第二个词…直至生成结束符」 word by word, up to an end token or a limit | ✓ right | [2.3](2_3_text_generation.ipynb), section 4. |
# | 2.3 h | 「传统的…往往采用条件生成方式…而GPT-2模型采用的是transformers的结构」 conditioning on the text so far is the tradition, unlike GPT-2 | ✗ wrong | GPT-2 does just that (paper, equation 1). Another word before, another guess: *computed*. |
# | 2.3 i | 「其本质上是一个transformer块的堆叠」 it is a stack of blocks | ✓ right | *Computed*; [2.5](2_5_framework.ipynb). |
# | 2.3 j | 「每一个transformer块由多头自注意力机制…前馈神经网络…和layer normalization组成」 a block has attention, a feed-forward network and layer norms | ✓ right | 1 b above. The residual connections are missing from the list. |
# | 2.3 k | 「位置编码」 and a positional encoding | ✗ wrong | Positions are added once, below the first block: *computed*; [2.5.2](2_5_2_position.ipynb). |

# %%
x, first, second = rng.normal(size=(5, 8)), rng.normal(size=(8, 16)), rng.normal(size=(16, 4))
merged = np.abs(x @ first @ second - x @ (first @ second)).max()
bent = np.abs(gelu_forward(x @ first)[0] @ second - x @ (first @ second)).max()
computed("2.1 b", merged < 1e-10 < 0.1 < bent, difference_of_two_linear_layers_from_one=f"{merged:.0f}",
         with_a_GELU_between=f"{bent:.0f}")  # fmt: skip

text = np.array([tokenizer.encode("O Romeo, Romeo! wherefore art thou Romeo? Deny thy father and refuse thy name.")])
activations = minigpt2.trace(model, text[:, :-1])
depths = []
for at in ("embd", *(f"h.{i}.resid_post" for i in range(4))):
    stream, _ = layer_norm_forward(activations[at], names["ln_f.weight"], names["ln_f.bias"])
    depths.append(float(cross_entropy_forward(stream @ names["wte.weight"].T, text[:, 1:])[0]))
computed("2.1 e", "½" if depths == sorted(depths, reverse=True) else "?",
         loss_below_and_after_each_block=" ".join(f"{loss:.1f}" for loss in depths))  # fmt: skip

line = np.array([tokenizer.encode("But soft, what light through yonder window breaks?")])
other = line.copy()
other[0, 2] = line[0, 0]  # another token in one place
(logits, cache), (again, _), (changed, changed_cache) = (model.forward(one) for one in (line, line, other))
computed("2.2 a", np.array_equal(logits, again), same_logits=np.array_equal(logits, again))
weights = [one["h"][0]["attn"]["probs"][0, 0, 4, 2] for one in (cache, changed_cache)]
computed("2.2 b", "½" if abs(weights[0] - weights[1]) > 1e-3 else True,
         one_weight_of_attention_in_two_texts=" ".join(f"{weight:.2f}" for weight in weights))  # fmt: skip

new = minigpt2.GPT2(model.config, seed=0)
optimizer, losses = minigpt2.AdamW(new.params, lr=1e-3), []
for _ in range(10):
    loss, grads = new.loss_and_grads(line[:, :-1], line[:, 1:])
    optimizer.step(grads)
    losses.append(float(loss))
falls = losses[-1] < losses[0]
computed("2.2 d", falls, loss_at_first=f"{losses[0]:.0f}", after_ten_steps=f"{losses[-1]:.0f}")

start = line[0, :4]
probs = softmax_forward(logits[0, 3].astype(np.float64))
computed("2.3 d", bool(probs.argmax() in start), tokens=len(probs), smallest_probability_above_0=probs.min() > 0,
         likeliest_occurred_before=probs.argmax() in start)  # fmt: skip
guesses = np.abs(logits[0] - changed[0]).max(axis=-1)
computed("2.3 h", not guesses[2:].min() > 1e-3, guesses_changed_by_the_third_token=int((guesses > 1e-3).sum()),
         of=len(guesses))  # fmt: skip
computed("2.3 i", "h.3.ln_1.weight" in names, blocks=len({n.split(".")[1] for n in names if n.startswith("h.")}))
inside = sum(name.startswith("h.") and "wpe" in name for name in names)
below = sum("wpe" in name for name in names) - inside
computed("2.3 k", inside > 0, position_tables_in_blocks=inside, below_them=below)

# %% [markdown] tags=["en"]
# ### Section 2.4: the data
#
# The model card links to `domains.txt`, the 1,000 domains that occur most often in WebText, with counts. They settle
# several rows. Mind what they count: they add up to 21.8 million, and WebText has about 8 million documents, so the
# list must have been made before some steps of the cleaning. A domain in it was among the links; how many of its pages
# stayed is not said.
#
# | | the document | verdict | what decides it, and where |
# |---|---|---|---|
# | 2.4 a | 「数据集由几百万条文本组成」 millions of texts | ✓ right | Slightly over 8 million documents (paper, section 2.1). |
# | 2.4 b | 「总长度超过十亿字」 more than a billion characters or words | ✓ right | 40 GB (paper, section 2.1): several times as much ([2.4](2_4_datasets.ipynb), section 1). |
# | 2.4 c | 「包括许多领域的数据」 data from many domains | ✓ right | `domains.txt` has a thousand: shops, newspapers, blogs, code, sport, science. |
# | 2.4 d | 「微博」 microblogs | ? open | `weibo` is in the list with 5,182 links, `twitter` is not. Whether any page stayed after the filter for English is not published. |
# | 2.4 e | 「新闻」 news | ✓ right | `nytimes` 333,160, `washingtonpost` 315,368, `bbc` 311,917, `theguardian` 246,303 links. |
# | 2.4 f | 「论文」 papers | ✓ right | `nih` 139,965, `nature` 27,349, `arxiv` 12,771, `pnas` 6,658, `plos` 6,326 links. |
# | 2.4 g | 「聊天记录」 chats | ? open | No source mentions any. The links were on Reddit, and its own pages are not in the data (model card). |
# | 2.4 h | 「维基百科」 Wikipedia | ✗ wrong | All its pages were removed (paper, section 2.1), and it is not in the list. A mirror is: `wikiwand`, 9,389 links. |
# | 2.4 i | 「在训练过程中收集了大量的数据」 more data were collected during training | ✗ wrong | The links end with December 2017 and the set was then fixed (paper, section 2.1; model card); the model is of February 2019. |
# | 2.4 j | 「第一步是训练语言模型，即要估计出每个单词的可能性」 first a language model is trained, which estimates the probability of each word | ✓ right | Of each token, strictly ([2.4](2_4_datasets.ipynb); [2.5.8](2_5_8_loss_function.ipynb)). |
# | 2.4 k | 「采用的语言模型是…BERT模型」 that model is BERT | ✗ wrong | GPT-2 began with random numbers (paper, section 2.3); [3.1](3_1_pretraining.ipynb), section 1. |
# | 2.4 l | 「其中有34亿个参数」 with 3.4 billion parameters | ✗ wrong | The larger BERT has a tenth of that: *computed*; [2.4](2_4_datasets.ipynb), section 1. |
# | 2.4 m | 「在已有的语料库基础上生成更多数据。这一步称为 fine-tuning」 to make more data from a corpus is called fine-tuning | ✗ wrong | Fine-tuning makes no data; it is training on other data ([3.3](3_3_fine_tuning.ipynb)). |
# | 2.4 n | 「通过调整模型的参数，以便生成特定领域的文本」 it changes parameters so that text of a domain can be generated | ½ in part | As a definition, yes. The released GPT-2 had no such step (paper, abstract and section 3). |
# | 2.4 o | 「在fine-tuned的模型基础上，继续生成新的数据，称为 zero-shot 生成…旨在生成不经意或无监督地与已有领域的文本相关联的文本」 to make more data with the fine-tuned model is called zero-shot, and is meant for text that is related to the known domains without supervision | ✗ wrong | Zero-shot is a task without training for it, by a model that was not fine-tuned ([3.4](3_4_zero_shot.ipynb), sections 1 and 2). |
# | 2.4 p | 「这是一种更接近现实世界的文本生成」 which is closer to the real world | ? open | It does not say what one would observe if it were true. |

# %%
V, C, F, P, L = 30_522, 1024, 4096, 512, 24  # BERT-large: Devlin et al. 2019, section 3, and its vocabulary
layer = 4 * (C * C + C) + (C * F + F) + (F * C + C) + 2 * 2 * C
bert = (V + P + 2) * C + 2 * C + L * layer + (C * C + C)
computed("2.4 l", bert > 3e9, parameters_of_BERT_large=f"{bert / 1e6:.0f} million")

# %% [markdown] tags=["en"]
# ### Section 2.5: the components
#
# | | the document | verdict | what decides it, and where |
# |---|---|---|---|
# | 2.5 a | 「GPT-2的框架由以下几个组件构成」 GPT-2 is made of these nine components | ½ in part | The list lacks the tokenizer, the last layer norm and the output layer, and has label smoothing ([2.5](2_5_framework.ipynb), section 1). |
# | 2.5.1 a | 「将输入的整数序列转化为固定维度的向量」 integers become vectors of a fixed dimension | ✓ right | [2.5.1](2_5_1_embedding.ipynb), section 3. |
# | 2.5.1 b | 「嵌入向量的数量一般比字典的大小小」 there are fewer vectors than words in the dictionary | ✗ wrong | As many. It is their *dimension* that is smaller: *computed*; [2.5.1](2_5_1_embedding.ipynb), section 1. |
# | 2.5.2 a | 「根据位置信息对嵌入向量进行编码」 positions are encoded into the vectors | ✓ right | A line with and without them: *computed*; [2.5.2](2_5_2_position.ipynb). That they are learned is not said. |
# | 2.5.3 a | 「是一种基于注意力机制的网络层」 multi-head attention is a layer based on attention | ✓ right | [2.5.3](2_5_3_attention.ipynb), section 3. |
# | 2.5.3 b | 「允许模型同时注意到不同位置的信息」 it lets the model attend to several positions at once | ✓ right | To those up to its own: *computed*. That later ones are hidden is not said ([2.5.3](2_5_3_attention.ipynb), section 6). |
# | 2.5.4 a | 「是一种多层的神经网络」 the feed-forward network has several layers | ✓ right | Two: *computed*; [2.5.4](2_5_4_feed_forward.ipynb). |
# | 2.5.5 a | 「用来帮助模型拟合更深层的模型」 residual connections and norms make depth possible | ✓ right | [2.5.5](2_5_5_residual_and_layer_norm.ipynb), section 6: what deep stacks learn with and without residual connections, and how much depends on where the norms stand. |
# | 2.5.6 a | 「是一种正则化方法，防止过拟合」 dropout prevents overfitting | ½ in part | A regularization, yes; in the experiment it delays overfitting ([2.5.6](2_5_6_dropout.ipynb), section 6). |
# | 2.5.6 b | 「Dropout Regularization」 it is a component of GPT-2 | ? open | Likely: GPT-1 had 0.1 (section 4.1 there), and so has Hugging Face's port of GPT-2. OpenAI's `default_hparams` has no such setting, and its training code was not published ([2.5.6](2_5_6_dropout.ipynb)). |
# | 2.5.7 a | 「是一种正则化方法，降低模型对目标值的过度依赖」 label smoothing makes a model depend less on its targets | ✓ right | [2.5.7](2_5_7_label_smoothing.ipynb), sections 3 and 6. |
# | 2.5.7 b | 「Label Smoothing」 it is a component of GPT-2 | ✗ wrong | No source has it: GPT-1, section 4.1, lists its regularization, without it, and the paper, sections 2 and 3, names none. And ten tokens that it hardly met get 12 to 230 times less than the usual amount would leave them ([2.5.7](2_5_7_label_smoothing.ipynb), sections 1 and 6). |
# | 2.5.8 a | 「用于衡量模型的预测值和真实值的差距」 the loss measures how far prediction and truth are apart | ✓ right | A line and its tokens in random order: *computed*; [2.5.8](2_5_8_loss_function.ipynb). |
# | 2.5.9 a | 「用于更新模型的参数」 the optimizer updates the parameters | ✓ right | The ten steps of 2.2 d; [2.5.9](2_5_9_optimizer.ipynb). |

# %%
V, C = names["wte.weight"].shape
computed("2.5.1 b", len(tokenizer) > V, tokens=len(tokenizer), vectors=V, dimension=C)

with_positions, weight = model.loss(text[:, :-1], text[:, 1:]), names["wpe.weight"]
kept = weight.copy()
weight[...] = 0
without = model.loss(text[:, :-1], text[:, 1:])
weight[...] = kept
computed("2.5.2 a", without > with_positions, loss_with_positions=f"{with_positions:.1f}", without=f"{without:.1f}")

maps = cache["h"][0]["attn"]["probs"]
computed("2.5.3 b", maps.shape[1] > 1 and np.triu(maps[0, 0], 1).max() == 0, heads=maps.shape[1],
         places_with_weight_in_the_last_row=int((maps[0, 0, -1] > 0).sum()),
         weight_of_later_places=f"{np.triu(maps[0, 0], 1).max():.0f}")  # fmt: skip
wide = names["h.0.mlp.c_fc.weight"].shape[1]
computed("2.5.4 a", wide > C, channels=f"{C} to {wide:,} to {C}")

shuffled = rng.permutation(text[0])[None]
order = model.loss(shuffled[:, :-1], shuffled[:, 1:])
computed("2.5.8 a", order > with_positions, loss_in_order=f"{with_positions:.1f}", shuffled=f"{order:.1f}")
computed("2.5.9 a", falls, as_in="2.2 d")

# %% [markdown] tags=["en"]
# ### Chapter 3: the training
#
# | | the document | verdict | what decides it, and where |
# |---|---|---|---|
# | 3.1 a | 「预训练过程是对BERT模型进行微调（fine-tune）得到的」 GPT-2 is a BERT that was trained further | ✗ wrong | From scratch (paper, section 2.3). BERT's tables would not fit: *computed*; [3.1](3_1_pretraining.ipynb), section 1. |
# | 3.1 b | 「将BERT最后的两个隐层全连接层替换为四个全连接层」 BERT's last two layers were replaced by four | ✗ wrong | Outside its blocks GPT-2 has two tables and a norm, and no other layer: *computed*. |
# | 3.1 c | 「增强GPT-2模型的…能力」 which makes it more able | ✗ wrong | Tried on a small scale, with two seeds: with as many tokens and the same schedules, the way over BERT ends at a higher loss: *computed* from the record; [3.1](3_1_pretraining.ipynb), section 6. |
# | 3.1 d | 「增强GPT-2模型的多样性」 and more varied | ✗ wrong | In the same experiment the samples are as varied with that way as without: *computed* from the record; section 4 below. |
# | 3.1 e | 「让它能够学习到文本的共同特性」 and lets it learn what texts have in common | ? open | No such property is named, and so none can be looked for. |
# | 3.2 a | 「训练数据既包括Bert的训练数据」 its data contain BERT's | ✗ wrong | BERT read books and Wikipedia (Devlin et al., section 3.1); GPT-2 web pages without Wikipedia (paper, section 2.1). |
# | 3.2 b | 「训练数据集来自…WebText数据集」 they come from WebText | ✓ right | Paper, section 2.1. |
# | 3.2 c | 「开源的WebText」 which is open | ✗ wrong | The training set was never released. 250,000 documents of its *test* set were (`openai/gpt-2-output-dataset`). |
# | 3.2 d | 「来自网页的文本」 and consists of web pages | ✓ right | Paper, section 2.1. |
# | 3.2 e | 「包含英文、西班牙文、德文、法文、俄文和中文等语言」 in six languages and more | ✗ wrong | English. Pages in other languages were removed on purpose; 10 MB of French were left (paper, section 3.7); [3.2](3_2_more_data.ipynb), section 1. |
# | 3.2 f | 「覆盖了非常广泛的范围」 from a very broad range of fields | ✓ right | `domains.txt`, as in 2.4 c. |
# | 3.3 a | 「包括两个阶段…先使用BERT模型微调预训练参数…再进行GPT-2模型微调」 two stages of fine-tuning, BERT's and GPT-2's | ✗ wrong | The released GPT-2 was not fine-tuned at all (paper, abstract and section 3); no BERT: 3.1 a. |
# | 3.3 b | 「微调的目的是使模型适应目标领域」 fine-tuning adapts a model to a domain | ✓ right | [3.3](3_3_fine_tuning.ipynb), section 6. |
# | 3.3 c | 「相比于初始的模型有更高的准确率」 afterwards it is more accurate than before | ½ in part | In the domain, with every seed: *computed* from the record. On the domains that it knew before it is worse: also there. |
# | 3.3 d | 「在目标领域表现优秀」 and excellent in its domain | ½ in part | Against what? In one domain of three a new model, which reads nothing else, does better than the general one that is fine-tuned as a whole: *computed* from the record. Other ways to fine-tune are ahead there, too: [3.3](3_3_fine_tuning.ipynb), section 6. |
# | 3.4 a | 「一种是自己训练，另一种是采用预训练好的模型」 one trains a model or takes a trained one | ✓ right | [3.4](3_4_zero_shot.ipynb), section 1. |
# | 3.4 b | 「GPT-2模型采用了BERT模型进行训练」 GPT-2 was trained with BERT | ✗ wrong | As 3.1 a. |
# | 3.4 c | 「BERT模型需要进行微调才能得到较好的效果」 BERT needs fine-tuning to be good | ½ in part | Mostly it is used so. But its frozen vectors, read by a small new network, came within 0.3 points of it on one task (Devlin et al., section 5.3); see section 4 below. |
# | 3.4 d | 「GPT-2模型已经预先训练完成」 GPT-2 is trained already | ✓ right | The parameters of all four sizes are published (`openai/gpt-2`). |
# | 3.4 e | 「通过零次学习…的方法来实现语言模型的快速训练」 zero-shot learning trains a language model quickly | ✗ wrong | It is defined by the absence of training; that no parameter changes is checked in [3.4](3_4_zero_shot.ipynb), section 2. |
# | 3.4 f | 「仅仅需要输入想要生成的内容即可」 one need only enter what one wants | ½ in part | Nothing has to be trained. But the form of the request decides: [3.4](3_4_zero_shot.ipynb), section 2, where the same question fails as a quiz. |
# | 3.4 g | 「通过模型的自学习和自适应能力」 and the model teaches itself and adapts | ✗ wrong | As 3.4 e: what changes is the text before the answer, and nothing in the model. |
#
# The two experiments that decide 3.1 c, 3.1 d, 3.3 c and 3.3 d take too long for a notebook; their figures are read
# from the files beside this book. The step at which a model is taken, and the learning rate where several were tried,
# were chosen on one text; the losses here are those on another.

# %%
folder = Path("../experiments")
masked_record = json.loads((folder / "masked_then_causal.json").read_text(encoding="utf-8"))
masked = masked_record["nats per character"]
record = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
bits, forgotten = record["bits per character"], record["forgotten, bits per character"]["fine-tuned"]

gpt2 = minigpt2.GPT2Config.preset("gpt2").parameter_shapes()
outside = [name for name in gpt2 if not name.startswith("h.")]
computed("3.1 a", gpt2["wte.weight"][0] == 30_522, tokens_of_GPT_2=gpt2["wte.weight"][0], of_BERT=30_522)
computed("3.1 b", any("head" in name for name in outside), outside_the_blocks=" ".join(outside))
causal, converted = (np.mean(masked[way]) for way in ("restart", "converted"))
computed("3.1 c", converted < causal, nats_per_character_causal=f"{causal:.2f}", by_way_of_BERT=f"{converted:.2f}")
varied = masked_record["distinct pairs of words"]
gain, spread = np.mean(varied["converted"]) - np.mean(varied["restart"]), np.std(varied["converted"], ddof=1)
computed("3.1 d", gain > spread, gain_in_distinct_2=f"{gain:.2f}", spread_over_seeds=f"{spread:.2f}")

pairs = ((bits["fine-tuned"][domain], before) for domain, before in bits["zero-shot"].items())
better = sum(a < b for pair in pairs for a, b in zip(*pair, strict=True))
worse = sum(loss > 0 for losses in forgotten.values() for loss in losses)
runs = sum(map(len, bits["zero-shot"].values()))
computed("3.3 c", "½" if better == runs and worse > 0 else "?", runs=runs, better_in_the_domain=better,
         worse_on_the_others=worse)  # fmt: skip
means = {way: {key: np.mean(values) for key, values in bits[way].items()} for way in ("scratch", "fine-tuned")}
ahead = [key for key in means["scratch"] if means["fine-tuned"][key] < means["scratch"][key]]
computed("3.3 d", "½" if 0 < len(ahead) < 3 else len(ahead) == 3, fine_tuned_ahead_of_new_in=" ".join(ahead))

# %% [markdown] tags=["en"]
# ### Chapter 4: the example
#
# | | the document | verdict | what decides it, and where |
# |---|---|---|---|
# | 4.1 a | 「使用的是Huggingface库中的Transformers框架」 it uses Hugging Face's Transformers | ✓ right | The import in its second line. |
# | 4.1 b | 「代码中展示了一个使用GPT-2模型的简单例子」 a simple example, which runs | ✗ wrong | With transformers 5.24 and PyTorch 2.13, on a new GPT-2, the line `loss, logits = outputs[:2]` ends in "IndexError: slice() cannot be applied to a 0-dim tensor.": the `[0]` before has taken the loss out ([4.1](4_1_code_example.ipynb), section 1). |
# | 4.1 c | 「使用GPT-2模型来生成“Hello, my dog is cute”一段话」 it generates the sentence | ✗ wrong | The sentence is the input. No token is drawn; what comes out is a row of scores per token: *computed*. |
# | 4.1 d | 「打印了第一个时间步的预测结果」 it prints the prediction of the first time step | ✗ wrong | `logits[0]` has all time steps of the first text: *computed*. |
# | 4.1 e | 「模型输出的值是一个logits向量」 the output is one vector of logits | ✗ wrong | One for each token: *computed*, as 4.1 d. |
# | 4.1 f | 「它的每一项对应于字典中每一个词」 with an entry for each word of the dictionary | ✓ right | For each token of the vocabulary: *computed*. |
# | 4.1 g | 「的概率」 which is its probability | ✗ wrong | Logits may be negative and do not add up to 1: *computed*; [4.1](4_1_code_example.ipynb), section 4. |
# | 4.2 a | 「第3章介绍了GPT-2模型的训练数据集、模型结构、微调策略、训练方法等」 chapter 3 has data, structure, fine-tuning, training | ½ in part | The structure is in its section 2.5, and most about the data in 2.4. |
# | 4.2 b | 「第4章给出了用Python实现基于Transformers库的GPT-2模型的代码示例」 chapter 4 implements GPT-2 with Transformers | ½ in part | There is code. It loads a GPT-2 and implements nothing. |
# | 4.2 c | 「第5章介绍了…生成效果的评估，验证了模型的有效性」 chapter 5 evaluates, and confirms that the model works | ✗ wrong | The document ends before it; [5](5_evaluation.ipynb) is ours. |

# %%
ids = np.array([tokenizer.encode("Hello, my dog is cute")])
logits, _ = model.forward(ids)
computed("4.1 c", logits.shape[1] > ids.shape[1], tokens_in=ids.shape[1], rows_out=logits.shape[1])
computed("4.1 d", logits[0].ndim == 1, shape_of_logits_0=logits[0].shape)
computed("4.1 e", logits.shape[1] == 1, vectors=logits.shape[1])
computed("4.1 f", logits.shape[2] == len(tokenizer), entries=logits.shape[2], vocabulary=len(tokenizer))
row = logits[0, 0]
computed("4.1 g", bool(row.min() >= 0) and abs(row.sum() - 1) < 1e-3, smallest=f"{row.min():.0f}",
         largest=f"{row.max():.0f}", sum=f"{row.sum():,.0f}")  # fmt: skip

# %% [markdown] tags=["en"]
# ## 4. Six that need more room
#
# **Whose proposal, and whose name (1 d, 1 e).** That is no matter of computing. The paper of February 2019 has six
# authors (Radford, Wu, Child, Luan, Amodei, Sutskever), and the document is by none of them.
#
# **Common features of languages (1 g).** Two statements are mixed. That the model *attends to context* is right: it is
# what attention does. That it learns *what languages have in common* presupposes several languages. The paper came
# upon a little of it by accident: from the 10 MB of French that the filter had missed, the largest model learned
# enough to reach 11.5 BLEU from French to English, and 5 into French (section 3.7, which calls the first of these
# surprising). Whether anything in it is shared *between* the two, nobody measured there. What an English vocabulary
# does to other languages is in [3.2](3_2_more_data.ipynb).
#
# **Modular, differentiable, flexible (1 l).** *Differentiable* says that a small step of the parameters changes the
# loss by the gradient times the step. The cell of chapter 1 steps in a random direction through all the parameters of a
# tiny GPT-2, and the slope is what the backward pass promised. Each component's notebook does that in its section 5.
# (GELU has no corner, and so there is no exception, as there would be for ReLU at 0.) *Modular*: all blocks are of one
# kind, and this package has one pair of functions per component, which `model.py` puts together.
# *Flexible*: the four released sizes are the same code with other numbers, and the small one that you have been
# reading with is a fifth.
#
# **Data collected while training (2.4 i).** Collecting came first. The links end with December 2017, and what they led
# to was filtered once. While a GPT-2 is trained, windows of that text are drawn; none is added.
#
# **BERT needs fine-tuning (3.4 c).** In Devlin et al., section 5.3, BERT's parameters are frozen, and a new network
# with two recurrent layers reads the vectors of its last four layers. It finds names in news with an F1 of 96.1,
# against 96.4 for a fine-tuned BERT of the same size (table 7, development set). So its parameters need not change.
# Something must be trained, however: BERT fills gaps, and puts out no names.
#
# **Diversity by four new layers (3.1 d).** On a small scale it can be counted, and [3.1](3_1_pretraining.ipynb),
# section 6, does: *distinct-2*, the share of different pairs of words, in samples of its models at temperature 1.
# Beside it is the loss, since a model that is less sure of the next token draws more widely, without any merit in it.
# *Restart* is the fair opponent of *converted*: two stages of causal training in place of a masked and a causal one.
# *Same-head* is *converted* with the old output layer in place of the four new ones, *half* is the second stage alone,
# and *people* are what Shakespeare wrote.

# %%
print(f"{'':12}{'distinct-2':>16}{'nats per character':>21}")
for way, shares in varied.items():
    spread = f" ± {np.std(shares, ddof=1):.3f}" if len(shares) > 1 else " " * 8
    loss = f"{np.mean(masked[way]):.2f}" if way in masked else ""
    print(f"{way:12}{np.mean(shares):8.3f}{spread}{loss:>21}")

# %% [markdown] tags=["en"]
# *Converted* and *restart* differ by much less than the seeds of one way do: four new layers after a stage as BERT have
# done nothing to variety that can be seen here. All models vary their pairs a little more than people do, which is no
# merit: [5](5_evaluation.ipynb) shows what a high temperature does to a text. For GPT-2 itself one can say nothing, as
# it was not made in that way; the verdict is on the recipe.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# The tables are prose, and prose is not computed. So we let the code read them, and compare: does each row that was
# *computed* have the verdict that the table gives it, and is no computed row missing?

# %%
ROW = re.compile(r"^# \| (\d[\d.]* [a-z]) \|.*\| ([✓✗½?]) [^|]*\| (.*)\|$", flags=re.MULTILINE)
tables = Path("../4_2_explanation.py").read_text(encoding="utf-8")
rows = {row: (verdict, reason) for row, verdict, reason in ROW.findall(tables)}


def differences(rows):
    """The rows whose verdict is not the one computed, or that promise a computation that is missing."""
    wrong = {row for row, verdict in verdicts.items() if rows[row][0] != verdict}
    return wrong | {row for row, (_, reason) in rows.items() if "*computed*" in reason.lower() and row not in verdicts}


print(f"{len(rows)} rows, {len(verdicts)} of them computed; differences: {len(differences(rows))}")
print("one verdict changed on purpose:", *differences(rows | {"2.4 l": ("✓", "")}))

# %% [markdown] tags=["en"]
# ## 6. The picture

# %%
groups = {"1 introduction": "1 ", "2.1-2.3 terms": ("2.1", "2.2", "2.3"), "2.4 data": "2.4", "2.5 components": "2.5",
          "3 training": "3", "4 code": "4"}  # fmt: skip
faces = {"✓": ("right", style.BLUE, ""), "½": ("in part", style.GREEN, "..."), "?": ("open", "0.75", ""),
         "✗": ("wrong", style.ORANGE, "///")}  # fmt: skip
counts = {mark: np.array([sum(v == mark for row, (v, _) in rows.items() if row.startswith(begin))
                          for begin in groups.values()]) for mark in faces}  # fmt: skip
print(f"{'':16}", *(f"{faces[mark][0]:>8}" for mark in faces))
for i, group in enumerate(groups):
    print(f"{group:16}", *(f"{counts[mark][i]:8}" for mark in faces))
print(f"{'all':16}", *(f"{counts[mark].sum():8}" for mark in faces))

figure, axes = plt.subplots(figsize=(7.2, 2.9))
left = np.zeros(len(groups))
for mark, (label, colour, hatch) in faces.items():
    bars = axes.barh([*groups], counts[mark], left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
    axes.bar_label(bars, [str(n) if n else "" for n in counts[mark]], label_type="center",
                   bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
    left += counts[mark]
axes.invert_yaxis()
axes.grid(axis="y", visible=False)
axes.set(xlabel="rows", title="The document's claims, by chapter")
figure.legend(loc="outside right center")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Six bars, one per part of the document, each divided into right, in part, open and wrong. Right is the longest piece
# for terms and for components, wrong for training and code; for the data they are equally long.

# %% [markdown] tags=["en"]
# Where the document explains *terms and components*, about one sentence in five is wrong, and you can still use it as a
# table of contents. Where it tells *how GPT-2 was trained and what the code prints*, it is about every second one. A
# text may look like that if its writer knew the subject and did not look up the case. Language models write such texts,
# too. The remedy is the same for both: a number, or a source.
#
# The counts depend on how one cuts a text into claims. The cutting is ours, and another one would give other counts.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which verdicts above were not computed, and why not? *Hint: which question does a row answer, what something is or
#    what somebody did?*
#
#    <details><summary>Answer</summary>
#
#    Those on events (who proposed GPT-2, what it was trained on, what was released): a computation of ours shows how a
#    model behaves, and not how OpenAI made it, so a source has to decide. Then definitions, which are judged by usage;
#    then rows whose experiment stands in another notebook, which the row names; and rows with ?, where nothing decides.
#
#    </details>
#
# 2. For 3.1 a the cell compares two numbers of tokens. Why does that settle that GPT-2's table is not BERT's, and
#    why does it not settle how GPT-2 was trained? Which source does? *Hint: could one train further with a new table?*
#
#    <details><summary>Answer</summary>
#
#    A table with 50,257 rows cannot be one with 30,522 rows that was trained further. But somebody could have kept
#    BERT's blocks and begun with a new table; their shapes do not forbid it. That it was not so, the paper says:
#    section 2.3 describes how the starting values were drawn, and BERT occurs in the paper only as somebody else's.
#
#    </details>
#
# 3. Take one claim of this book, not of the document, and write a call of `computed` for it. *Hint: a good one can
#    fail.*
#
#    <details><summary>Answer</summary>
#
#    For instance "the output layer is the token table, read the other way" (2.5.1):
#    `computed("2.5.1 z", np.allclose(logits, minigpt2.trace(model, ids)["ln_f"] @ names["wte.weight"].T, atol=1e-3))`.
#    It fails as soon as the model has an output layer of its own. `logits.shape[2] == len(tokenizer)` would be a bad
#    one: it holds in both cases.
#
#    </details>
#
# 4. Which verdicts would change if `model` were the released "gpt2"? *Hint: which of the numbers are the built-in
#    model's own?*
#
#    <details><summary>Answer</summary>
#
#    Most cannot: their rows ask for shapes and names (1 b, 1 c, 1 l, 2.3 i, 2.3 k, 2.5.1 b, 2.5.4 a, 4.1 c to f), for
#    what the architecture forces (2.2 a, 2.2 b, 2.3 h, 2.5.3 b), or do not use the trained parameters at all. The
#    *numbers* would be others: 12 blocks, 768 channels, 50,257 tokens, other losses. Six depend on how it was trained:
#    1 k (how often it repeats itself), 2.1 e (whether each block alone lowers the loss), 2.3 d (whether the likeliest
#    word is a new one), 2.5.2 a and 2.5.8 a (whether it needs positions and order) and 4.1 g (whether a logit is below
#    0). They have to be run. And `range(4)`, `"h.3.ln_1.weight"` have to become the number of blocks.
#
#    </details>
#
# 5. Someone cuts the document into 30 claims and finds 13 right. We have three times as many rows. Why do the shares
#    differ, and which of the two is true? *Hint: who decides what one claim is?*
#
#    <details><summary>Answer</summary>
#
#    A list of claims has no natural unit: "microblogs, news, papers, chats and Wikipedia" is one wrong sentence, or
#    five rows of which two are right, two open and one wrong. A share of right claims therefore says as much about the
#    cutting as about the text, and neither number is *the* true one. What survives another cutting is the comparison of
#    parts that were cut in the same way, and even that only roughly.
#
#    </details>
#
# What is left is the chapter that the document announces. **Next:** [5, evaluation](5_evaluation.ipynb)
