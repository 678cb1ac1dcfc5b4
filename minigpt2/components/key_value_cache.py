"""The key/value cache: keys and values of earlier tokens, kept so that a new token costs one row of attention.

Shapes: B batch, H heads, T new tokens, S all tokens so far, D head size.
"""

from minigpt2.backend import array_module


class KeyValueCache:
    """The keys and values of the tokens that one block has already seen.

    Memory for all of them is allocated at the start; ``append`` fills it in place.
    """

    def __init__(self, B, n_head, max_tokens, D, dtype, xp):
        """An empty cache for B sequences of at most ``max_tokens`` tokens, H = n_head heads of size D."""
        self.keys = xp.empty((B, n_head, max_tokens, D), dtype)
        self.values = xp.empty_like(self.keys)
        self.length = 0

    def append(self, k, v):
        """Add k and v (B, H, T, D) of T new tokens; returns all keys and all values so far (B, H, S, D)."""
        stop = self.length + k.shape[2]
        if stop > self.keys.shape[2]:
            raise ValueError(f"key/value cache: {stop} tokens, but it was made for {self.keys.shape[2]}")
        self.keys[:, :, self.length : stop] = k
        self.values[:, :, self.length : stop] = v
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def select(self, rows):
        """Continue with the sequences ``rows`` (indices) in this order; one may become several."""
        keys, values = self.keys[rows, :, : self.length], self.values[rows, :, : self.length]
        if len(rows) != len(self.keys):
            xp, shape = array_module(keys), (len(rows), *self.keys.shape[1:])
            self.keys, self.values = xp.empty(shape, keys.dtype), xp.empty(shape, keys.dtype)
        self.keys[:, :, : self.length] = keys
        self.values[:, :, : self.length] = values


class KeyValueCaches:
    """The caches of all blocks of a model: ``caches[3]`` is the ``KeyValueCache`` of block 3."""

    def __init__(self, blocks):
        """blocks: a list with the KeyValueCache of each block."""
        self.blocks = blocks

    def __getitem__(self, layer):
        return self.blocks[layer]

    @property
    def length(self):
        """The number of tokens held, S."""
        return self.blocks[0].length

    def select(self, rows):
        """``KeyValueCache.select`` in every block."""
        rows = array_module(self.blocks[0].keys).asarray(rows)
        for block in self.blocks:
            block.select(rows)
