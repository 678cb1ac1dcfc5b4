"""What several test files assert."""

from minigpt2.reference import relative_error


def assert_close(actual, expected, tolerance):
    """Every array within ``tolerance`` of the size of the reference, its largest element."""
    error, name = relative_error(actual, expected)
    assert error <= tolerance, f"{name}: off by {error:.1e} of its size"
