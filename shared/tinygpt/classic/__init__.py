"""The tutorial's GPT: the network, its training and its generation in three short files. Read `gpt.py` first."""
