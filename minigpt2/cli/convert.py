"""``minigpt2 convert``: turn a model that another program has saved into one of ours."""

from minigpt2 import Tokenizer
from minigpt2.cli.common import add_command, check_folder
from minigpt2.storage.conversion import convert


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "convert", run, "convert a model that nanoGPT, minGPT, llm.c, Hugging Face or TensorFlow has saved",
        "minigpt2 convert out/ckpt.pt --out models/mine",
        "minigpt2 convert checkpoint/run1 --out models/mine",
        "minigpt2 convert log124M/model_19552.bin --tokenizer gpt2 --out models/mine",
    )  # fmt: skip
    add = parser.add_argument
    add("source", metavar="FOLDER|FILE",
        help="a checkpoint: .pt, .pth, .ckpt or .bin of PyTorch (read by torch, which executes nothing in it), .bin of "
        "llm.c, .safetensors, or a folder with one of these or with TensorFlow's files (needs tensorflow)")  # fmt: skip
    add("--out", required=True, metavar="FOLDER", help="the new folder of config.json, model.safetensors, tokenizer")
    add("--n-head", type=int, metavar="N", help="attention heads, where neither checkpoint nor config.json tells")
    add("--tokenizer", metavar="MODEL",
        help="its tokenizer, a folder or a name such as gpt2 (default: that in the checkpoint's folder)")  # fmt: skip


def run(options):
    """Convert, and print what was done."""
    check_folder(options.out, "model")
    tokenizer = Tokenizer.from_pretrained(options.tokenizer) if options.tokenizer else None
    for heading, sentence in convert(options.source, options.out, options.n_head, tokenizer):
        print(f"{heading:10}{sentence}")
