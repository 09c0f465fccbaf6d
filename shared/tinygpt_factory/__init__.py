"""The data factory: task families, and what grows the bundled dataset from them.

It uses `tinygpt`. Nothing in `tinygpt` or the services imports it: `tinygpt data build` starts it as
`python -m tinygpt_factory`.
"""
