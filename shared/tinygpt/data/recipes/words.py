"""The words beginners use: synonyms that any phrasing may name as `[get]`, and the frames a request comes in.

Every phrasing of every family draws on these tables, so a word added here is a word the model has seen.
"""

from __future__ import annotations


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """`name: one | two` lines; a word given twice is twice as likely."""
    rows = (line.split(":", 1) for line in text.strip().splitlines())
    return {name.strip(): tuple(word.strip() for word in words.split("|")) for name, words in rows}


SYNONYMS: dict[str, tuple[str, ...]] = _table(
    """
    get: get | get | find | return | give me | show me | fetch | grab | give back | pull out | read out | take
    compute: compute | calculate | work out | find | get | figure out | determine | return | give me | tell me
    make: make | create | build | construct | produce | generate | make me | form | set up
    check: check | check | test | see | find out | tell me | determine | verify | say | figure out
    if: if | if | whether
    remove: remove | remove | delete | drop | take out | get rid of | throw away | erase | eliminate | strip out
    in: in | in | of | from | inside | within
    inside: in | in | inside | within
    of: of | of | in | from
    largest: largest | biggest | maximum | max | highest | greatest | top
    smallest: smallest | lowest | minimum | min | least | littlest
    numbers: numbers | numbers | values | elements | items | entries | ones
    items: items | elements | values | entries | things | members
    item: item | element | value | entry | thing | member
    words: words | words | strings | items | entries
    word: word | word | string | item | entry
    letters: letters | characters | chars | letters
    letter: letter | character | char
    every: every | each | all the | all
    each: each | every | every single | each and every
    count: count | count up | tally | count
    many: how many | how many | the number of | what number of | the count of
    change: change | turn | convert | transform | make
    into: into | to | into | in to
    print: print | print | show | display | print out | output | write out
    keep: keep | keep only | select | pick | pick out | choose | take | get | leave only | keep just
    only: only | just |
    add: add | put | insert | place | stick
    append: append | add | put | push | stick
    join: join | combine | glue | merge | put together | stick together | connect | concatenate
    split: split | break | divide | cut | separate | chop | split up | break up
    sort: sort | sort | order | arrange | put in order | rank
    average: average | mean | avg | average value | arithmetic mean
    sum: sum | total | sum | sum total
    reverse: reverse | flip | turn around | invert the order of | reverse the order of
    divisible: divisible by | a multiple of | evenly divisible by
    than: than | than
    more: more than | greater than | bigger than | larger than | above | over | higher than
    less: less than | smaller than | below | under | lower than
    equal: equal to | the same as | equals | identical to
    contains: contains | has | includes | holds
    contain: contain | have | include | hold
    duplicates: duplicates | repeats | repeated values | doubles | duplicate values | copies
    unique: unique | distinct | different
    then: and then | then | and | , then | , and then | and after that | and afterwards
    and: and | and then | then
    them: them | these | the result | what is left | those
    use: use | using | with | by means of
    whatis: what is | what's | whats | what would be | tell me
    whatare: what are | which are | tell me | show
    empty: empty | blank | has nothing in it
    first: first | first | starting | opening | leading
    last: last | last | final | ending | closing
    start: start | beginning | front
    new: new | new | fresh | separate |
    called: called | called | named | with the name | that is called
    store: store | save | put | keep | assign
    raise: raise | throw | give | trigger
    loop: loop over | go through | iterate over | walk through | run through | loop through
    list: list | list | array
    dict: dict | dictionary | dict
    text: text | string
    uppercase: uppercase | upper case | capital letters | capitals | all caps | big letters | upper
    lowercase: lowercase | lower case | small letters | lower | little letters
    spaces: spaces | blanks | whitespace | the spaces | all spaces
    a: a | the | a
    alphabetical: alphabetical | alphabetic | a to z | abc | dictionary
    ascending: ascending | increasing | smallest to largest | low to high | smallest first | lowest to highest
    descending: descending | decreasing | largest to smallest | high to low | biggest first | highest to lowest
    """
)

# {do} is the request ("count the vowels in s"), {does} the same in the third person ("counts the vowels in s").
# A frame is as likely as the number before it.
_ASKING = """
60 {do}
5 how do i {do}
3 how to {do}
3 how can i {do}
2 how would i {do}
1 how do you {do}
1 how should i {do}
3 please {do}
1 pls {do}
2 can you {do}
1 could you {do}
1 could you please {do}
1 can you help me {do}
2 i want to {do}
2 i need to {do}
1 i would like to {do}
1 i'd like to {do}
1 i have to {do}
1 i am trying to {do}
1 im trying to {do}
1 want to {do}
1 need to {do}
1 trying to {do}
2 code to {do}
2 python code to {do}
1 python code that {does}
1 code that {does}
1 write code to {do}
1 write code that {does}
1 write python code to {do}
1 write some code that {does}
1 give me code that {does}
1 give me code to {do}
1 need code that {does}
1 help me {do}
1 what's the code to {do}
1 what is the way to {do}
1 whats the best way to {do}
1 is there a way to {do}
1 what's a good way to {do}
1 show me how to {do}
1 tell me how to {do}
1 explain how to {do}
1 one line to {do}
1 a one liner to {do}
1 write an expression to {do}
1 python: {do}
1 in python, {do}
1 in python {do}
1 using python, {do}
1 hey, {do}
1 hi, {do}
1 quick way to {do}
1 the code to {do}
1 command to {do}
2 {do} please
1 {do} pls
2 {do} in python
1 {do} with python
1 {do} using python
1 {do} for me
"""

_SAYING = """
30 {say}
1 {say} please
1 {say} in python
1 {say} python
1 python {say}
1 python: {say}
1 in python, {say}
"""

_DEFINING = """
5 function that {does}
6 write a function that {does}
2 write a function which {does}
4 write a function to {do}
3 function to {do}
3 make a function that {does}
2 make a function to {do}
2 create a function that {does}
1 create a function to {do}
1 define a function that {does}
1 define a function which {does}
1 a function that {does}
1 a function to {do}
1 function which {does}
1 i need a function that {does}
1 i need a function to {do}
1 i want a function that {does}
1 give me a function that {does}
1 build a function that {does}
1 build me a function that {does}
1 write me a function that {does}
1 write me a function to {do}
1 can you write a function that {does}
1 could you write a function to {do}
1 please write a function that {does}
1 python function that {does}
1 python function to {do}
1 write a python function that {does}
1 write a python function to {do}
1 how do i write a function that {does}
1 how do i make a function that {does}
1 how to write a function to {do}
1 how can i define a function that {does}
1 def that {does}
1 def a function that {does}
1 help me write a function that {does}
1 simple function to {do}
1 need a function that {does}
1 method that {does}
"""

_DEFINING_NAMED = """
4 function called $fn that {does}
3 write a function called $fn that {does}
2 write a function called $fn to {do}
2 write a function named $fn that {does}
2 function named $fn that {does}
2 function $fn that {does}
2 write a function $fn that {does}
1 write a function $fn to {do}
1 function $fn to {do}
2 define a function $fn that {does}
1 define $fn to {do}
1 define $fn, it {does}
1 make a function called $fn that {does}
1 make a function $fn that {does}
1 make a function named $fn to {do}
1 create a function called $fn that {does}
1 create a function named $fn which {does}
1 create $fn, a function that {does}
1 i need a function called $fn that {does}
1 def $fn that {does}
1 def $fn to {do}
1 a function that {does}, call it $fn
1 write a function that {does}, called $fn
1 function that {does}, name it $fn
1 write $fn, a function that {does}
1 python function $fn that {does}
"""


def _frames(text: str) -> tuple[str, ...]:
    weighted = (line.split(" ", 1) for line in text.strip().splitlines())
    return tuple(frame for weight, frame in weighted for _ in range(int(weight)))


ASKING: tuple[str, ...] = _frames(_ASKING)
SAYING: tuple[str, ...] = _frames(_SAYING)
DEFINING: tuple[str, ...] = _frames(_DEFINING)
DEFINING_NAMED: tuple[str, ...] = _frames(_DEFINING_NAMED)

_QUESTION_WORDS = """
how what what's whats which is are can could does do will would where who whose why has have should
"""
QUESTION_WORDS: frozenset[str] = frozenset(_QUESTION_WORDS.split())


def third_person(request: str) -> str:
    """Put the first word, a verb, in the third person: "count the words" -> "counts the words"."""
    verb, space, rest = request.partition(" ")
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        verb += "es"
    elif verb.endswith("y") and verb[-2:-1] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + space + rest
