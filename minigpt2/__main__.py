"""``python -m minigpt2``, and the command ``minigpt2``: they differ in nothing but what starts them."""

import signal
import sys


def main():
    """Run the command line; Ctrl-C ends it without a traceback, also while it starts and while it ends."""
    try:
        from minigpt2 import cli  # here, as its imports take a moment

        code = cli.main()
    except KeyboardInterrupt:
        code = 130
    # The work is done: from now on Ctrl-C ends the process as the system does.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(main())
