"""The zero-shot tasks of the GPT-2 paper (Radford et al. 2019, section 3): no example, no gradient step.

Each task is a function (model, tokenizer, data, ...) -> Result in a file of its own; ``minigpt2 eval --task`` calls it.
"""

TASKS = {
    "wikitext2": "language modelling: articles of Wikipedia, wiki.test.tokens",
    "wikitext103": "language modelling: articles of Wikipedia, wiki.test.tokens",
    "ptb": "language modelling: news of 1989, the Penn Treebank, ptb.test.txt",
    "1bw": "language modelling: sentences of news, the One Billion Word Benchmark",
    "text8": "language modelling: Wikipedia in the letters a to z",
    "enwik8": "language modelling: Wikipedia with its markup",
    "lambada": "the last word of a passage, lambada_test.jsonl",
    "cbt_cn": "the Children's Book Test, a common noun of ten, cbtest_CN_test_2500ex.txt",
    "cbt_ne": "the Children's Book Test, a named entity of ten, cbtest_NE_test_2500ex.txt",
    "summarization": "summaries of news, CNN and Daily Mail",
    "translation": "WMT-14, English and French",
    "natural_questions": "short answers to questions that people asked Google",
    "coqa": "questions and answers in a conversation about a text",
}
