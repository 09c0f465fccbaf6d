"""Every family of the bundled dataset, one file a topic. `family.py` has the format."""

from functools import cache

from tinygpt_factory.families import (
    classes,
    comprehensions,
    conditions,
    csv_text,
    dates,
    dicts,
    errors,
    everyday,
    files,
    formatting,
    functions,
    json_text,
    lists,
    loops,
    numbers,
    paths,
    plain,
    printing,
    recursion,
    regex,
    searching,
    sets,
    sorting,
    strings,
    tuples,
)
from tinygpt_factory.families.compositions import compositions
from tinygpt_factory.family import Family

__all__ = ["Family", "all_families"]

_TOPICS = (
    numbers, strings, lists, dicts, sets, tuples, loops, conditions, comprehensions, functions, classes, recursion,
    sorting, searching, files, paths, json_text, csv_text, dates, regex, errors, printing, formatting, plain, everyday,
)  # fmt: skip


@cache
def all_families() -> tuple[Family, ...]:
    """Every family, those of the topic files first. Raises `ValueError` where two share a name."""
    families = tuple(family for topic in _TOPICS for family in topic.FAMILIES) + compositions()
    names = [family.name for family in families]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two families are called {', '.join(twice)}.")
    return families
