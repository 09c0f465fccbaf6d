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
    get: get | get | find | return | give me | show me | fetch | grab | give back | pull out | take | retrieve | extract
    compute: compute | calculate | work out | find | get | figure out | determine | return | give me | tell me | calc
    make: make | create | build | construct | produce | generate | make me | form | set up
    check: check | check | test | see | find out | tell me | determine | verify | say | figure out | confirm | look
    if: if | if | whether
    remove: remove | remove | delete | drop | take out | get rid of | throw away | erase | eliminate | cut out | discard
    in: in | in | of | from | inside | within
    inside: in | in | inside | within
    of: of | of | in | from
    largest: largest | biggest | maximum | max | highest | greatest | top | biggest | max
    smallest: smallest | lowest | minimum | min | least | littlest
    numbers: numbers | numbers | values | elements | items | entries | ones | integers | numbers
    items: items | elements | values | entries | things | members
    number: number | number | value | element
    item: item | element | value | entry | thing | member
    words: words | words | strings | items | entries
    word: word | word | string | item | entry
    letters: letters | characters | chars | letters
    letter: letter | character | char
    every: every | each | all the | all
    each: each | every | every single | each and every
    count: count | count up | tally | count
    many: how many | how many | the number of | what number of | the count of
    change: change | turn | convert | transform | make | convert | change
    into: into | to | into | in to
    print: print | print | print | show | display | print out | output | write out | echo
    keep: keep | keep only | select | pick | pick out | choose | take | get | leave only | keep just | extract | grab
    only: only | just |
    add: add | put | insert | place | stick
    append: append | add | put | push | stick | attach | append
    join: join | combine | glue | merge | put together | stick together | connect | concatenate | concat | link | join
    split: split | break | divide | cut | separate | chop | split up | break up | split | cut up
    sort: sort | sort | order | arrange | put in order | rank
    average: average | mean | avg | average value | arithmetic mean
    sum: sum | total | sum | sum total | sum | total sum | grand total
    reverse: reverse | flip | turn around | invert the order of | reverse the order of
    divisible: divisible by | a multiple of | evenly divisible by
    than: than | than
    more: more than | greater than | bigger than | larger than | above | over | higher than | exceeding | greater than
    less: less than | smaller than | below | under | lower than
    equal: equal to | the same as | equals | identical to
    contains: contains | has | includes | holds
    contain: contain | have | include | hold
    duplicates: duplicates | repeats | repeated values | doubles | duplicate values | copies
    unique: unique | distinct | different
    then: and then | then | and | , then | , and then | and after that | and afterwards | , after that | and next
    and: and | and then | then
    them: them | these | the result | what is left | those
    use: use | using | with | by means of
    whatis: what is | what is | what's | whats | what would be | tell me | i need | i want | give me
    whatare: what are | what are | which are | tell me | show | give me | list
    empty: empty | blank | has nothing in it
    first: first | first | starting | opening | leading
    last: last | last | final | ending | closing
    start: start | beginning | front
    new: new | new | fresh | separate |
    called: called | called | named | with the name | that is called | called | which is called | by the name of
    store: store | save | put | keep | assign | save | place
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
260 {do}
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
2 need python code to {do}
1 need code to {do}
1 plz help: {do}
1 plz help me {do}
1 help, i need to {do}
2 whats the python to {do}
1 whats the code to {do}
1 what is the python code to {do}
1 whats the easiest way to {do}
1 what is the easiest way to {do}
1 what do i write to {do}
1 what do i type to {do}
1 what code would {do}
1 which code {does}
1 can someone show me how to {do}
1 can you show me how to {do}
1 can someone help me {do}
1 can u {do}
1 can i {do} in python
1 can python {do}
1 is it possible to {do}
1 any way to {do}
1 my teacher wants us to {do}
1 my teacher wants me to {do}
1 my homework is to {do}
1 for my homework i need to {do}
1 for homework, {do}
1 for school i have to {do}
1 the exercise says to {do}
1 the task is to {do}
1 task: {do}
1 exercise: {do}
1 homework: {do}
1 i don't know how to {do}
1 i dont know how to {do}
1 i cant figure out how to {do}
1 i'm stuck, how do i {do}
1 im new to python, how do i {do}
1 i am a beginner and want to {do}
1 i am supposed to {do}
1 im supposed to {do}
1 i wanna {do}
1 i'm trying to {do}
1 i want code that {does}
1 i want python to {do}
1 i want my program to {do}
1 in my program i need to {do}
1 in my code i want to {do}
1 my program should {do}
1 my program has to {do}
1 the program should {do}
1 my code should {do}
1 make python {do}
1 make a program that {does}
1 write a program to {do}
1 write a line that {does}
1 a line of python that {does}
1 something that {does}
1 snippet to {do}
1 python snippet that {does}
1 looking for a way to {do}
1 looking for code that {does}
1 easiest way to {do}
1 simple way to {do}
1 short way to {do}
1 how do u {do}
1 how does one {do}
1 how do we {do}
1 how would you {do}
1 how could i {do}
2 how do i {do} in python
2 how to {do} in python
1 how can i {do} in python
1 python how to {do}
1 python code {do}
1 now {do}
1 just {do}
1 {do}, how
1 {do} thanks
1 {do}, thank you
1 {do} plz
1 {do} in code
1 {do} in one line
1 {do} for my homework
1 {do} python
"""

_SAYING = """
110 {say}
1 {say} please
1 {say} in python
1 {say} python
1 python {say}
1 python: {say}
1 in python, {say}
1 {say} pls
1 {say} thanks
1 {say} code
1 {say} for my homework
1 {say}, how
1 {say} with python
1 {say} in python code
1 python code: {say}
1 python help: {say}
1 help: {say}
1 plz help: {say}
1 quick question: {say}
1 in python: {say}
1 using python, {say}
1 homework: {say}
1 task: {say}
1 hi, {say}
1 code: {say}
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
1 need a python function that {does}
1 need a function to {do}
1 i need a python function to {do}
1 looking for a function that {does}
1 plz write a function that {does}
1 plz help me write a function that {does}
1 can someone write a function that {does}
1 can you make a function that {does}
1 can you make me a function to {do}
1 can i have a function that {does}
1 how do i define a function that {does}
1 how do i write a function to {do}
1 how can i make a function which {does}
1 how would i write a function that {does}
1 how do you make a function to {do}
1 how to make a function that {does}
1 how to write a python function that {does}
1 my teacher wants a function that {does}
1 my teacher wants us to write a function that {does}
1 my homework is a function that {does}
1 for my homework i need a function that {does}
1 homework: write a function that {does}
1 exercise: function to {do}
1 task: write a function that {does}
1 im trying to write a function that {does}
1 trying to make a function that {does}
1 i want to write a function that {does}
1 i have to write a function that {does}
1 i am supposed to write a function to {do}
1 i need to make a function that {does}
1 my function should {do}
1 the function should {do}
1 function should {do}
1 a function which {does}
1 a python function that {does}
1 a short function that {does}
1 small function which {does}
1 function: {do}
1 python function: {do}
1 function in python that {does}
1 in python, write a function that {does}
1 write function that {does}
1 write function to {do}
1 create function that {does}
1 make function to {do}
1 make me a function that {does}
1 give me a function to {do}
1 show me a function that {does}
1 show me how to write a function that {does}
1 code a function that {does}
1 code for a function that {does}
1 program a function that {does}
1 implement a function that {does}
1 def function to {do}
1 def to {do}
1 {do} in a function
1 {do}, as a function
1 {do} using a function
1 write a function to {do} please
1 function that {does}, please
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
1 function called $fn to {do}
1 function $fn which {does}
1 function $fn: {do}
1 $fn function that {does}
1 $fn function to {do}
1 $fn should {do}
1 def $fn to {do}
1 def $fn, {does}
1 def $fn which {does}
1 the function $fn should {do}
1 the function is called $fn and {does}
1 write $fn to {do}
1 write $fn which {does}
1 write the function $fn, it should {do}
1 write function $fn that {does}
1 make $fn, it {does}
1 make a function called $fn to {do}
1 i need $fn, a function that {does}
1 i need a function $fn to {do}
1 i want a function named $fn that {does}
1 need a function called $fn that {does}
1 please write a function called $fn that {does}
1 can you write a function named $fn that {does}
1 can you make a function $fn which {does}
1 how do i write a function called $fn that {does}
1 how do i make a function $fn to {do}
1 how to write a function $fn that {does}
1 how do i define $fn so that it {does}
1 homework: function $fn that {does}
1 my teacher wants a function called $fn that {does}
1 implement $fn, it {does}
1 implement a function $fn that {does}
1 {do} in a function called $fn
1 {do} with a function named $fn
1 {do}, call the function $fn
1 function to {do}, name it $fn
1 a function to {do} with the name $fn
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
    if verb == "have":
        verb = "has"
    elif verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        verb += "es"
    elif verb.endswith("y") and verb[-2:-1] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + space + rest
