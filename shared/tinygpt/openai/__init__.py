"""OpenAI's API in front of `/generate`: its requests become ours (`requests.py`), our answers become its own
(`formats.py`, `streams.py`). The gateway uses the first part, the model server all of it. No torch."""
