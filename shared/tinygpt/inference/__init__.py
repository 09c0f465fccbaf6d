"""From a prompt to code: sampling, decoding, post-processing, retrieval."""
