"""``minigpt2 convert``: turn a model that another program has saved into one of ours, or one of ours into llm.c's."""

from minigpt2 import GPT2, Tokenizer, flatten
from minigpt2.cli.common import add_command, check_folder
from minigpt2.storage.conversion import convert
from minigpt2.storage.files import check_replaceable
from minigpt2.storage.llm_c import write_llm_c


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "convert", run, "convert a model that nanoGPT, minGPT, llm.c, Hugging Face or TensorFlow has saved",
        "minigpt2 convert out/ckpt.pt --out models/mine",
        "minigpt2 convert checkpoint/run1 --out models/mine",
        "minigpt2 convert log124M/model_19552.bin --tokenizer gpt2 --out models/mine",
        "minigpt2 convert gpt2 --to llm.c --out gpt2_124M.bin",
    )  # fmt: skip
    add = parser.add_argument
    add("source", metavar="FOLDER|FILE",
        help="a checkpoint: .pt, .pth, .ckpt or .bin of PyTorch (read by torch, which executes nothing in it), .bin of "
        "llm.c, .safetensors, or a folder with one of these or with TensorFlow's files (needs tensorflow)")  # fmt: skip
    add("--out", required=True, metavar="FOLDER|FILE",
        help="the new folder of config.json, model.safetensors, tokenizer; the file for --to llm.c")  # fmt: skip
    add("--n-head", type=int, metavar="N", help="attention heads, where neither checkpoint nor config.json tells")
    add("--to", choices=["minigpt2", "llm.c"], default="minigpt2",
        help="llm.c: the other way round, --out is the .bin that llm.c reads, and the source a model as for --model")
    add("--tokenizer", metavar="MODEL",
        help="its tokenizer, a folder or a name such as gpt2 (default: that in the checkpoint's folder)")  # fmt: skip


def run(options):
    """Convert, and print what was done."""
    if options.to == "llm.c":
        check_replaceable(options.out)
        model = GPT2.from_pretrained(options.source)
        write_llm_c(options.out, model.config, flatten(model.params))
        print(f"written   {options.out}")
        return
    check_folder(options.out, "model")
    tokenizer = Tokenizer.from_pretrained(options.tokenizer) if options.tokenizer else None
    for heading, sentence in convert(options.source, options.out, options.n_head, tokenizer):
        print(f"{heading:10}{sentence}")
