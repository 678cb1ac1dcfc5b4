"""Solutions in named steps, any of which can be another one."""

from types import SimpleNamespace


def in_steps(*names, **steps):
    """A function of arguments with these names, whose steps, {name: function of all so far}, end with the result."""

    def function(*arguments):
        s = SimpleNamespace(**dict(zip(names, arguments, strict=True)))
        for name, step in steps.items():
            setattr(s, name, step(s))
        return getattr(s, name)

    return function
