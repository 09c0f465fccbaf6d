"""The network, a decoder-only transformer, the blocks that it is compared with, and its checkpoint."""
