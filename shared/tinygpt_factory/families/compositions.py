"""Families built from pieces: every piece alone, every pair that fits, and filter, change and finish together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tinygpt_factory.families.pieces import (
    FINISHES,
    NUMBER_CHANGES,
    NUMBER_FILTERS,
    NUMBERS,
    SLICES,
    WORD_CHANGES,
    WORD_FILTERS,
    WORDS,
    Change,
    Domain,
    Filter,
    Finish,
)
from tinygpt_factory.family import Family

PAIR_WEIGHT = 0.2
TRIPLE_WEIGHT = 0.06

# Many small lists rather than a large one: in a large one, the largest even number is near any other largest.
_NUMBER_DATA = """import random
for seed in range(27):
    draw = random.Random(seed)
    {xs} = draw.choices(range(-99, 100), k=20) + [-6, -5, 4, 7]
    draw.shuffle({xs})
"""
_NUMBER_DATA_AROUND_K = """import random
for seed in range(27):
    draw = random.Random(seed)
    multiples = [$k * draw.randint(-9, 9) for _ in range(12)]
    {xs} = draw.choices(range(-9 * $k, 9 * $k), k=16) + draw.choices(range(-$k, $k + 1), k=8) + multiples
    {xs} += [$k - 1, $k, $k + 1, 5, -6]
    {xs} = [x for x in {xs} if seed % 3 == 0 or (x >= $k if seed % 3 == 1 else -$k < x <= $k)]
    draw.shuffle({xs})
"""
_WORD_DATA = """import random
for seed in range(27):
    draw = random.Random(seed)
    {xs} = []
    for _ in range(24):
        word = "".join(draw.choices("abcdefghijklmnopqrstuvwxyzAB ", k=draw.randint(1, 11)))
        {xs}.append(draw.choice(["", "{ch}"]) + word + draw.choice(["", "{ch}"]))
"""
Piece = Filter | Change | Finish

_BY_NAME = {finish.name: finish for finish in FINISHES}
# "the last 3 of nums sorted" would mean two things, so an order that comes first is spoken of before its list.
_ORDERS = (
    replace(_BY_NAME["sort"], noun=("sorted {}",)),
    replace(_BY_NAME["sort_down"], noun=("reverse sorted {}", "descending {}")),
)
_CUTS = (_BY_NAME["first"], _BY_NAME["last"])
_EXTREMES = frozenset(("largest", "smallest"))
_ONE_SIDED = frozenset(("above", "below", "positive", "negative", "longer", "shorter"))


def _any(*options: str) -> str:
    return f"({'|'.join(options)})"


def _do(piece: Change | Finish, what: str) -> str:
    """The request to do it to `what`: "square the even numbers in nums"."""
    return _any(*(phrase.replace("{}", what) for phrase in piece.do))


def _noun(piece: Change | Finish, what: str) -> str:
    """What comes of it: "the squares of the even numbers in nums"."""
    articled = ((phrase if phrase.startswith("{}") else f"(the|the|) {phrase}") for phrase in piece.noun)
    return _any(*(phrase.replace("{}", what) for phrase in articled))


class _Wording:
    """How a domain and perhaps a filter are spoken of, in the places the templates need."""

    def __init__(self, domain: Domain, kept: Filter | None = None) -> None:
        self.xs = f"<{domain.slot}>"
        self.list = f"list ${domain.slot}"
        self.one = domain.one
        self.each = _any(
            f"every {domain.one}", f"each {domain.one}", "everything", f"all the {domain.many}", f"all {domain.many}"
        )
        self.all = _any(self.xs, self.xs, f"the {domain.many} (in|of) {self.xs}")
        self.every = _any(
            f"every {domain.one} [in] {self.xs}",
            f"each {domain.one} [in] {self.xs}",
            f"(all|the|all the) {domain.many} [in] {self.xs}",
            f"all [items] of {self.xs}",
        )
        self.of = _any(*(of.replace("{many}", domain.many) for of in kept.of)) if kept else ""
        self.that = _any(*kept.that) if kept and kept.that else ""
        self.which = f"(the|all|all the|) {domain.many} (in|of) {self.xs} (that|which) {self.that}" if self.that else ""
        the_of = (
            f"(the|the|all|all the|) {self.of} [in] {self.xs}"
            if not (kept and kept.cut)
            else f"the {self.of} [in] {self.xs}"
        )
        self.kept = _any(the_of, the_of, self.which) if self.that else the_of


_THEM = "(them|them|those|the results)"


def _filter_phrasings(w: _Wording) -> tuple[tuple[str, ...], tuple[str, ...]]:
    do = (
        f"[keep] {w.kept}",
        f"[make] a [new] list (of|with|from) {w.kept}",
        f"filter {w.xs} to (keep|get|only) the {w.of}",
        f"[remove] everything from {w.xs} (but|except) the {w.of}",
        f"go through {w.xs} and [keep] the {w.of}",
        f"find {w.which}",
        f"[get] {w.which}",
        f"(filter|reduce) {w.xs} to [items] that {w.that}",
        f"[get] (only|just) the {w.of} [in] {w.xs}",
        f"use a (list|) comprehension to [get] {w.kept}",
        f"[loop] {w.xs} and [keep] (only|just) the {w.of}",
        f"collect {w.kept} in a [new] list",
        f"throw away everything in {w.xs} except the {w.of}",
        f"search {w.xs} for {w.of}",
        f"make a list that has only the {w.of} [in] {w.xs}",
    )
    say = (
        w.kept,
        f"[whatare] {w.kept}",
        f"only the {w.of} from {w.xs}",
        f"which [items] of {w.xs} {w.that}",
        f"{w.xs} but only [items] that {w.that}",
        f"all {w.of} (that are|) in {w.xs}",
        f"(a|) list (of|with) {w.kept}",
        f"from {w.xs} (only|just) the {w.of}",
        f"i (only|just) want the {w.of} from {w.xs}",
        f"{w.xs} (filtered to|with) only the {w.of}",
        f"all [items] in {w.xs} that {w.that}",
        f"(list|) comprehension for {w.kept}",
    )
    return do, say


def _change_phrasings(w: _Wording, change: Change) -> tuple[tuple[str, ...], tuple[str, ...]]:
    do = (
        _do(change, w.every),
        f"[make] a [new] list (of|with) {_noun(change, w.every)}",
        f"[get] {_noun(change, w.every)}",
        f"go through {w.xs} and {_do(change, w.each)}",
        f"[make] a list from {w.xs} where you {_do(change, w.each)}",
        f"use a (list|) comprehension to {_do(change, w.every)}",
        f"[loop] {w.xs} and {_do(change, w.each)}",
        f"take every {w.one} [in] {w.xs} and {_do(change, 'it')}",
        f"(take|use) {w.xs} and {_do(change, w.each)}",
        f"[make] a [new] list from {w.xs} with {_noun(change, w.each)}",
        f"collect {_noun(change, w.every)} in a list",
    )
    say = (
        _noun(change, w.every),
        f"[whatare] {_noun(change, w.every)}",
        f"list of {_noun(change, w.every)}",
        f"for every {w.one} in {w.xs} {_do(change, 'it')}",
        f"in {w.xs}, {_do(change, w.each)}",
        f"(list|) comprehension for {_noun(change, w.every)}",
        f"(a|new|) list with {_noun(change, w.every)}",
        f"given (a|the|my) {w.list}, {_do(change, w.each)}",
        f"i have a {w.list} and want to {_do(change, w.each)}",
        f"from {w.xs}, {_noun(change, w.each)}",
    )
    return do, say


def _kept_phrasings(w: _Wording, piece: Change | Finish) -> tuple[tuple[str, ...], tuple[str, ...]]:
    do = (
        _do(piece, w.kept),
        f"(take|get|find) {w.kept} [then] {_do(piece, _THEM)}",
        f"keep (only|just|) the {w.of} [in] {w.xs} [then] {_do(piece, _THEM)}",
        f"go through {w.xs} and {_do(piece, 'the ' + w.of)}",
        f"[compute] {_noun(piece, w.kept)}",
        f"(pick|select|choose) {w.kept} and {_do(piece, _THEM)}",
        f"look at {w.kept} and {_do(piece, _THEM)}",
        f"{_do(piece, '(only|just) the ' + w.of)} [in] {w.xs}",
        f"get (only|just) the {w.of} [in] {w.xs} [then] {_do(piece, _THEM)}",
        f"(filter|reduce) {w.xs} to the {w.of} [then] {_do(piece, _THEM)}",
        f"[remove] everything but the {w.of} from {w.xs} [then] {_do(piece, _THEM)}",
        f"[loop] {w.xs} and {_do(piece, 'only the ' + w.of)}",
        f"use only the {w.of} [in] {w.xs} and {_do(piece, _THEM)}",
        f"find {w.kept}, then (give me|return|show me) {_noun(piece, _THEM)}",
    )
    say: tuple[str, ...] = (
        _noun(piece, w.kept),
        f"[whatis] {_noun(piece, w.kept)}",
        f"from {w.xs} take the {w.of} [then] {_do(piece, _THEM)}",
        f"in {w.xs}, {_do(piece, 'the ' + w.of)}",
        f"first (take|get|keep|find) {w.kept}, (then|and then|after that) {_do(piece, _THEM)}",
        f"of {w.xs} (take|keep) (only|just|) the {w.of} and {_do(piece, _THEM)}",
        f"from {w.xs}, {_noun(piece, 'the ' + w.of)}",
        f"given {w.xs}, {_do(piece, 'the ' + w.of)}",
        f"i have {w.xs} and want {_noun(piece, 'the ' + w.of)}",
        f"(only|just) the {w.of} [in] {w.xs}, {_do(piece, _THEM)}",
    )
    if w.that:
        say += (f"for (all|the) [items] of {w.xs} that {w.that}, {_do(piece, _THEM)}",)
    if isinstance(piece, Finish) and w.that:
        say += tuple(ask.format(of=w.of, that=w.that, xs=w.xs) for ask in piece.asks)
    return do, say


def _between(piece: Change | Finish, what: str) -> str:
    """What comes of it, as the object of the next piece: "the sum of nums plus 3" would mean two things."""
    nouns = [phrase for phrase in piece.noun if not phrase.startswith("{}")]
    named = [f"(the|the|) {phrase.replace('{}', what)}" for phrase in nouns]
    return _any(*(named or [f"what you get (when|if) you {_do(piece, what)}"]))


def _chain_phrasings(first: Change | Finish, second: Finish, what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    do = (
        f"{_do(first, what)} [then] {_do(second, _THEM)}",
        f"[compute] {_noun(second, _between(first, what))}",
        _do(second, _between(first, what)),
        f"take {what}, {_do(first, 'them')} [then] {_do(second, 'the results')}",
        f"{_do(first, what)}, then {_do(second, _THEM)}",
        f"get {_between(first, what)} [then] {_do(second, _THEM)}",
        f"{_do(second, 'the result')} after you {_do(first, what)}",
        f"{_do(first, what)} and (finally|afterwards|at the end) {_do(second, 'the results')}",
        f"{_do(first, what)} and (give me|return|show me) {_noun(second, 'the results')}",
        f"(find|get|give me|return) {_noun(second, 'the results')} (when|after|if) you {_do(first, what)}",
        f"{_do(second, 'what you get')} (when|after|if) you {_do(first, what)}",
        f"take {what} and {_do(first, 'them')} before you {_do(second, _THEM)}",
        f"{_do(first, what)}, after that {_do(second, _THEM)}",
    )
    say = (
        _noun(second, _between(first, what)),
        f"[whatis] {_noun(second, _between(first, what))}",
        f"first {_do(first, what)}, (then|and then|after that) {_do(second, _THEM)}",
        f"with {what}: {_do(first, 'them')} and {_do(second, 'the results')}",
        f"{_noun(second, 'the results')} (when|after|if) you {_do(first, what)}",
        f"after you {_do(first, what)}, {_do(second, _THEM)}",
        f"i want to {_do(first, what)} (and then|and) {_do(second, _THEM)}",
        f"given {what}, {_do(first, 'them')} [then] {_do(second, 'the results')}",
        f"two steps: {_do(first, what)}, then {_do(second, 'the results')}",
        f"before you {_do(second, 'the results')}, {_do(first, what)}",
    )
    return do, say


def _family(
    domain: Domain,
    pieces: tuple[Piece, ...],
    wording: str,
    phrasings: tuple[tuple[str, ...], tuple[str, ...]],
    code: str,
    *steps: str,
) -> Family:
    """A family whose check takes the steps one at a time, over many small lists, and compares."""
    xs = f"${domain.slot}"
    parts = tuple(piece.name for piece in pieces)
    if domain is NUMBERS:
        data = _NUMBER_DATA_AROUND_K if "$k" in code.replace("$k2", "") else _NUMBER_DATA
    else:
        data = _WORD_DATA.replace("{ch}", "$ch" if "$ch" in code else "")
    lines = [f"kept = {xs}", *(f"kept = {step}" for step in steps[:-1])]
    if parts[-1] in _EXTREMES:
        lines += ["if not kept:", "    continue"]
    lines += [f"kept = {steps[-1]}", "assert eval(code) == kept"]
    do, say = phrasings
    return Family(
        name=_name(domain, pieces),
        do=do,
        say=say,
        code=code,
        check=data.replace("{xs}", xs) + "\n".join(f"    {line}" for line in lines),
        parts=parts,
        wording=wording,
        weight={1: 1.0, 2: PAIR_WEIGHT, 3: TRIPLE_WEIGHT}[len(pieces)],
    )


def _name(domain: Domain, pieces: tuple[Piece, ...]) -> str:
    name = "_".join(piece.name for piece in pieces)
    if len(pieces) == 1:
        return f"comprehensions.keep_{name}" if isinstance(pieces[0], Filter) else f"comprehensions.{name}"
    for_any_list = all(piece in SLICES or isinstance(piece, Finish) for piece in pieces)
    return f"compositions.{name}_words" if for_any_list and domain is WORDS else f"compositions.{name}"


def _body(domain: Domain, kept: Filter | None = None, change: Change | None = None) -> str:
    """The inside of a comprehension."""
    source = f"${domain.slot}" + (kept.cut if kept else "")
    test = f" if {kept.test}" if kept and kept.test else ""
    return f"{change.code if change else domain.element} for {domain.element} in {source}{test}"


def _keep(domain: Domain, kept: Filter) -> str:
    return f"kept{kept.cut}" if kept.cut else f"[{domain.element} for {domain.element} in kept if {kept.test}]"


def _map(domain: Domain, change: Change) -> str:
    return f"[{change.code} for {domain.element} in kept]"


def _apply(finish: Finish, to: str = "kept") -> str:
    return finish.plain.replace("{}", to)


def _of_domain(domain: Domain, filters: tuple[Filter, ...], changes: tuple[Change, ...]) -> Iterator[Family]:
    """Each piece alone, then the pairs in the order of `pieces.py`, then the triples."""
    plain = _Wording(domain)
    for kept in filters:
        phrasings = _filter_phrasings(_Wording(domain, kept))
        yield _family(domain, (kept,), "filter", phrasings, f"[{_body(domain, kept)}]", _keep(domain, kept))
    for change in changes:
        code = f"[{_body(domain, change=change)}]"
        yield _family(domain, (change,), "change", _change_phrasings(plain, change), code, _map(domain, change))
    for kept in filters + SLICES:
        yield from _with_filter(domain, kept, changes)
    for change in changes:
        for finish in _finishes("c", change.gives_numbers):
            phrasings = _chain_phrasings(change, finish, plain.every)
            code = finish.code.replace("{}", _body(domain, change=change))
            yield _family(domain, (change, finish), "chain", phrasings, code, _map(domain, change), _apply(finish))
    for order in _ORDERS:
        for cut in _CUTS:
            code = _apply(cut, _apply(order, f"${domain.slot}"))
            phrasings = _chain_phrasings(order, cut, plain.all)
            yield _family(domain, (order, cut), "chain", phrasings, code, _apply(order), _apply(cut))


def _with_filter(domain: Domain, kept: Filter, changes: tuple[Change, ...]) -> Iterator[Family]:
    """What may follow one filter or slice: a change, a finish, or both."""
    w = _Wording(domain, kept)
    keep = _keep(domain, kept)
    for change in changes:
        code = f"[{_body(domain, kept, change)}]"
        yield _family(domain, (kept, change), "kept", _kept_phrasings(w, change), code, keep, _map(domain, change))
    for finish in _finishes("s" if kept.cut else "f", domain is NUMBERS, kept):
        if kept.cut:
            code = _apply(finish, f"${domain.slot}{kept.cut}")
        else:
            code = finish.code.replace("{}", _body(domain, kept))
        yield _family(domain, (kept, finish), "kept", _kept_phrasings(w, finish), code, keep, _apply(finish))
    for change in changes if not kept.cut else ():
        for finish in _finishes("c", change.gives_numbers, kept):
            if finish.numbers_only:
                phrasings = _chain_phrasings(change, finish, w.kept)
                code = finish.code.replace("{}", _body(domain, kept, change))
                steps = (keep, _map(domain, change), _apply(finish))
                yield _family(domain, (kept, change, finish), "triple", phrasings, code, *steps)


def _finishes(after: str, numbers: bool, kept: Filter | None = None) -> Iterator[Finish]:
    """The finishes that may come after that kind of piece, and that make sense of what was kept.

    The largest of what is above 5 is just the largest: such a pair asks for nothing that a check could tell.
    """
    for finish in FINISHES:
        pointless = kept is not None and kept.name in _ONE_SIDED and finish.name in _EXTREMES
        if after in finish.after and (numbers or not finish.numbers_only) and not pointless:
            yield finish


def compositions() -> tuple[Family, ...]:
    """The families of single pieces (`comprehensions.*`) and of their compositions (`compositions.*`)."""
    return (*_of_domain(NUMBERS, NUMBER_FILTERS, NUMBER_CHANGES), *_of_domain(WORDS, WORD_FILTERS, WORD_CHANGES))
