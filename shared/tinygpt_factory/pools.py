"""The vocabulary: what may stand where a template says `$xs`, and how a prompt speaks of it.

A third of all names is made up on the spot, and many are altered for training, so that a model must copy them from
the prompt.
"""

from __future__ import annotations

from tinygpt_factory.invented import (
    altered_name,
    altered_phrase,
    invented_class,
    invented_file,
    invented_name,
    invented_number,
    invented_phrase,
)
from tinygpt_factory.slots import Pool


def _split(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(" ".join(part.split()) for part in text.split(separator)))


def _with_affixes(nouns: tuple[str, ...], affixes: tuple[str, ...]) -> tuple[str, ...]:
    """The nouns, and each noun once more with an affix."""
    affixed = (affixes[i % len(affixes)].format(noun) for i, noun in enumerate(nouns))
    return tuple(dict.fromkeys((*nouns, *affixed)))


_NUMERIC = _split(
    """nums numbers values scores prices grades ages heights weights marks temps temperatures totals amounts points
    sales costs counts sizes lengths widths distances speeds times salaries bills fees ratings votes levels ranks
    steps miles hours minutes seconds years days digits integers floats readings results odds primes squares deposits
    wages profits losses taxes rents tips debts balances budgets incomes laps goals runs orders visits clicks likes
    views measurements samples averages percents payments savings discounts quantities coins bets guesses rolls"""
)
_GENERIC = _split(
    """lst arr data items xs vals my_list mylist myList elements things collection my_array numbers_list l ls
    list1 list2 list_a list_b stuff records entries a b seq box bag queue stack basket collected history my_data
    input_list big_list lst2 arr1 arr2 series batch inputs outputs first_list second_list raw_data old_list new_list"""
)
_WORDY = _split(
    """words names fruits cities animals colors countries books movies songs students friends users teams players
    titles cars foods drinks flowers birds fishes languages tags labels emails tokens strings texts sentences lines
    comments messages notes hobbies sports games toys shops streets rivers planets teachers guests pets actors
    authors brands letters phrases keywords nicknames surnames usernames passwords filenames dogs cats trees snacks
    vegetables desserts groceries ingredients chores tasks subjects courses artists bands heroes villains jobs"""
)
_LIST_AFFIXES = ("my_{}", "{}_list", "all_{}", "{}2", "old_{}", "new_{}", "{}_a", "the_{}", "user_{}")

_STRINGS = _split(
    """s text name sentence word my_string message title line txt str1 str2 msg phrase city t st a b
    comment paragraph note label username password email address question answer quote song book color country
    greeting input_text user_input first_name last_name nickname surname slogan caption headline tweet poem verse
    letter_text content body description summary review report song_title filename url token tag status command
    animal fruit street planet food team hobby job company product brand language author lyrics chapter story
    my_text mystr myString raw_text full_name sample original old_text my_name my_word reply log entry secret"""
)
_DICTS = _split(
    """d my_dict ages prices scores stock inventory grades person user config settings data mapping dict1 dict2 phones
    phonebook contacts capitals menu cart basket salaries points votes wordcount counts options profile student book
    car recipe address_book marks totals populations colors codes table lookup registry roster balances accounts
    temperatures heights birthdays rooms params record info product employee cities planets scoreboard budget
    costs dct mydict myDict translations synonyms countries teams players ratings shopping expenses hours calories"""
)
_SETS = _split(
    """a b set1 set2 s1 s2 my_set seen visited tags colors numbers letters group1 group2 team_a team_b left right
    ids evens odds primes vowels friends members guests users admins languages skills toys fruits vegetables planets
    cities first_set second_set old_ids new_ids morning evening boys girls class_a class_b winners losers readers
    writers players singers dancers hobbies courses codes roles flags rooms keys_a keys_b words_a words_b mySet nums"""
)
_TUPLES = _split(
    """t tup my_tuple point pair coords position color rgb size dimensions location person record row entry triple
    values data items scores date_parts version address student vector pos corner center origin limits bounds
    range_pair marks prices numbers names t1 t2 tuple1 tuple2 myTuple tpl first_tuple second_tuple stats measures
    settings_pair fruits days months weekdays colors cities coordinates target start_point end_point edge segment"""
)
_NUMBERS = _split(
    """n x y z a b m num age price score total amount count num1 num2 my_number width height length
    speed distance temperature weight salary year hours minutes days points level quantity cost tax tip radius side
    base area volume budget balance rate limit size steps goals votes marks money coins lives health power energy
    result answer first second guess target counter depth mass debt income bill fee rent discount year_born floor_no
    myNumber var1 val grade profit loss pages rooms floors apples eggs tickets seats miles laps wage savings"""
)
_WORDS = _split(
    """apple banana cat dog house tree river sun moon star book chair table lamp door window garden music coffee tea
    bread cheese milk sugar salt pepper lemon orange mango grape peach cherry tiger lion zebra horse sheep mouse
    rabbit eagle robin shark whale blue green yellow purple black white happy sad quick lazy paris london rome tokyo
    berlin madrid alice bob carol dave emma frank grace henry hello world python java rust winter summer spring
    monday friday sunday north south east west king queen castle bridge ocean island forest desert cloud storm rain
    snow wind fire stone metal glass paper pencil eraser bottle basket ticket wallet pocket button jacket"""
)
_KEYS = _split(
    """name age price city color size email phone title score year country id weight height author rating level
    status type brand street zip salary team points grade job language hobby model quantity stock discount user
    total date address first last owner category tag code week month room seat host port mode theme path url kind"""
)
_FUNCTIONS = _split(
    """foo bar my_func solve calc compute process run helper do_it work handle my_function func fn1 func2 task
    step_one transform convert_it get_result make_it find_it check_it test_it answer_for apply_it calculate
    build_it do_stuff use_it magic go start_job the_answer first_try attempt version_two myFunc doWork getResult
    cook bake brew mix spin twist shape forge craft carve paint draw_up tidy clean_up pick_out look_up figure
    solve_it work_out crunch grind squeeze polish inspect examine review judge decide choose evaluate measure"""
)
_CLASSES = _split(
    """Dog Cat Car Book Person Student Point Animal House Player Account Robot Bird Fish Horse Truck Boat Plane Phone
    Laptop Movie Song Album Artist Teacher Doctor Nurse Pilot Farmer Chef Waiter Guest Hotel Room Table Chair Lamp
    Garden Tree Flower River City Country Planet Star Galaxy Rocket Wizard Knight Dragon Monster Weapon Shield Potion
    Game Team League Match Ticket Order Product Customer Invoice Employee Manager Company Bank Wallet Recipe Pizza"""
)
_ATTRIBUTES = _split(
    """name age price color size title author year speed height weight score level email owner brand model pages
    health power width length city country grade salary balance team rank kind material flavor mood voice sound
    address phone rating genre capacity volume mileage seats floors wheels legs wings engine duration season"""
)
_STEMS = _split(
    """data notes log story words names scores report output input todo diary results list book poem song letter
    config readme users items prices history backup draft summary index quotes recipe shopping homework essay"""
)
_FILE_VARIABLES = _split(
    """path file_path filename file_name p my_path src source target location input_path output_path log_path
    config_path data_path fp where path1 old_path new_path myPath file_location image_path book_path report_path
    download upload backup_path draft_path archive saved_path result_path csv_path text_path home_path"""
)
_DATES = _split(
    """d day today birthday start end due deadline due_date start_date end_date my_date d1 d2 date1 date2 holiday
    wedding party exam trip departure arrival release launch hired joined created updated expires payday
    meeting visit checkup opening closing renewal moved born graduation concert match_day delivery shipped ordered
    paid_on signed last_login first_visit next_exam myDate event_day semester_start vacation_start"""
)
_RAW = _split(
    """raw text payload body response json_text json_string s data_string content reply message raw_json blob
    input_text result_text line document page answer packet raw_data settings_text config_text user_json packed
    encoded serialized json_data jsonStr body_text api_reply api_response server_reply stored saved dump feed"""
)
_TABLES = _split(
    """text csv_text raw data table sheet content csv_data lines_text export report raw_csv csv_string spreadsheet
    rows_text my_csv table_text file_text import_text orders_csv users_csv sales_csv grades_csv people_csv dump
    csvText body grid_text log_text price_list payload raw_table stock_csv members_csv exported download_text"""
)
_RECORDS = _split(
    """users people students employees records rows products books orders customers items players cars movies
    entries members pets songs cities countries teams data contacts guests invoices tickets houses animals recipes
    teachers courses events flights hotels photos accounts phones games posts comments user_list all_users"""
)
_NESTED = _split(
    """matrix grid nested rows table board lists groups batches chunks lol my_matrix data levels pages sections cells
    nested_list all_lists parts blocks weeks shelves boxes trays teams_list layers mat m2 tiles puzzle maze pixels"""
)
_PHRASES = _split(
    """
    hello world | good morning | hi there | well done | game over | try again | welcome back | thank you | see you
    soon | not found | happy birthday | all done | press enter | i love python | good night | come in | nice to
    meet you | you win | you lose | access denied | have a nice day | loading | ready | goodbye | what a day |
    stay calm | time is up | please wait | new record | level up | open the door | hello python | one more time |
    keep going | good job | start now | the end | no way | very cold | too hot | just right | lets go | file saved
    | wrong answer | correct answer | invalid input | bad value | must be positive | empty list | out of range |
    no data
    """,
    "|",
)
_SEPARATORS: dict[str, tuple[str, ...]] = {
    ",": ("a comma", "commas", "comma"),
    ";": ("a semicolon", "semicolons", "semicolon"),
    "-": ("a dash", "dashes", "hyphens", "a hyphen"),
    "_": ("an underscore", "underscores"),
    ":": ("a colon", "colons"),
    "/": ("a slash", "slashes"),
    "|": ("a pipe", "pipes"),
    "+": ("a plus sign", "a plus"),
    "#": ("a hash", "hashes"),
    "*": ("a star", "stars"),
    ".": ("a dot", "dots", "a period"),
    "=": ("an equals sign",),
    "&": ("an ampersand",),
    " ": ("a space", "spaces"),
}
_COUNTING = {
    "2": ("two",), "3": ("three",), "4": ("four",), "5": ("five",),
    "6": ("six",), "7": ("seven",), "8": ("eight",), "9": ("nine",),
}  # fmt: skip

_QUOTED = ("{}", "{}", "'{}'", '"{}"')


def _named(*nouns: str) -> tuple[str, ...]:
    """Ways to name a variable: bare about a third of the time, else with one of the nouns."""
    forms = ("the {n} {{}}", "the {n} {{}}", "{n} {{}}", "my {n} {{}}", "a {n} called {{}}", "the {n} called {{}}",
             "a {n} named {{}}", "the {{}} {n}", "my {{}} {n}", "the given {n} {{}}")  # fmt: skip
    named = tuple(form.format(n=noun) for noun in nouns for form in forms)
    return ("{}",) * (len(named) // 2) + named


def _variable(
    values: tuple[str, ...],
    nouns: tuple[str, ...],
    unnamed: tuple[tuple[str, ...], ...],
    several: str,
    default: str,
) -> Pool:
    """A pool of variable names, with the nouns a prompt puts beside them."""
    return Pool(
        tuple(dict.fromkeys(values)),
        mentions=_named(*nouns),
        variable=True,
        unnamed=unnamed,
        several=several,
        default=default,
        invent=invented_name,
        alter=altered_name,
    )


def _some(noun: str, *others: str) -> tuple[str, ...]:
    """Ways to speak of a thing that has no name, the plainest most often."""
    a = "an" if noun[0] in "aeiou" else "a"
    plain = (f"{a} {noun}",) * 4 + (noun, noun, f"the {noun}", f"the {noun}", f"my {noun}")
    return (*plain, f"{a} given {noun}", f"any {noun}", f"the given {noun}", *others)


def _second(noun: str) -> tuple[str, ...]:
    return (f"another {noun}", f"another {noun}", f"a second {noun}", f"the other {noun}", "another one", "another")


_GREETING = Pool(
    (
        "hello", "hi", "welcome", "goodbye", "bye", "good morning", "good night", "thanks", "thank you", "hello there",
        "yes", "no", "ok", "done", "error", "success", "ready", "hello python", "hi there", "good evening", "well done",
        "hey", "cheers", "see you", "please", "start", "stop", "finished", "hello world", "i love python", "game over",
        "try again", "happy birthday", "good job", "nice", "wow", "sorry", "loading", "enter", "oops", "hooray",
        "hello everyone", "good afternoon", "have a nice day", "hola", "ciao", "bonjour", "hallo", "howdy", "greetings",
    ),
    mentions=("{}", "{}", "{}", "{}", "'{}'", '"{}"'),
    open=False,
)  # fmt: skip
_NOUN = Pool(
    (
        "banana", "apple", "hello", "python", "cat", "dog", "house", "world", "tree", "computer", "school", "summer",
        "winter", "orange", "garden", "mississippi", "radar", "level", "programming", "keyboard", "elephant", "tiger",
        "monday", "sunday", "table", "window", "rainbow", "chocolate", "umbrella", "mountain", "river", "music",
    ),
    mentions=("{}", "{}", "the word {}", "the word {}", "'{}'", '"{}"', "the string {}"),
    open=False,
)  # fmt: skip

POOLS: dict[str, Pool] = {
    "greeting": _GREETING,
    "noun": _NOUN,
    "xs": _variable(
        _GENERIC + _with_affixes(_NUMERIC + _WORDY, _LIST_AFFIXES),
        ("list", "list", "list", "array"),
        (_some("list", "an array", "array", "the list it is given"), _second("list")),
        "lists",
        "lst",
    ),
    "nums": _variable(
        _GENERIC + _with_affixes(_NUMERIC, _LIST_AFFIXES),
        ("list", "list", "list", "array", "list of numbers", "number list"),
        (
            _some(
                "list", "a list of numbers", "a list of numbers", "list of numbers", "some numbers", "a list of ints"
            ),
            _second("list"),
        ),
        "lists",
        "lst",
    ),
    "words": _variable(
        _GENERIC + _with_affixes(_WORDY, _LIST_AFFIXES),
        ("list", "list", "list", "list of strings", "list of words", "word list"),
        (_some("list of words", "a list of strings", "a list of strings", "list of strings", "a list"),),
        "lists of words",
        "lst",
    ),
    "nested": _variable(
        _NESTED,
        ("list", "nested list", "list of lists"),
        (_some("list of lists", "a nested list", "nested list", "a matrix"),),
        "lists of lists",
        "lst",
    ),
    "records": _variable(
        _RECORDS,
        ("list", "list of dicts", "list of dictionaries"),
        (_some("list of dicts", "a list of dictionaries", "list of dictionaries"),),
        "lists of dicts",
        "lst",
    ),
    "s": _variable(
        _with_affixes(_STRINGS, ("{}", "my_{}", "the_{}", "{}1", "new_{}", "old_{}")),
        ("string", "string", "string", "text", "variable"),
        (
            _some("string", "a text", "some text", "text", "a sentence", "a sentence", "sentence", "a word", "a word"),
            _second("string"),
        ),
        "strings",
        "text",
    ),
    "d": _variable(
        _with_affixes(_DICTS, ("{}", "my_{}", "{}_dict", "all_{}", "{}2", "old_{}", "{}_map")),
        ("dict", "dict", "dictionary", "dictionary"),
        (_some("dictionary", "a dict", "a dict", "dict", "the dict", "my dict"), _second("dictionary")),
        "dictionaries",
        "d",
    ),
    "set": _variable(_SETS, ("set",), (_some("set"), _second("set")), "sets", "s"),
    "tup": _variable(_TUPLES, ("tuple",), (_some("tuple"), _second("tuple")), "tuples", "t"),
    "n": _variable(
        _with_affixes(_NUMBERS, ("{}", "my_{}", "{}", "old_{}", "{}", "new_{}", "{}_2")),
        ("number", "number", "variable", "value"),
        (_some("number", "an integer", "some number"), _second("number"), ("a third number", "a third one")),
        "numbers",
        "n",
    ),
    "date": _variable(_DATES, ("date",), (_some("date"), _second("date")), "dates", "day"),
    "path": _variable(
        _FILE_VARIABLES,
        ("file", "path", "file path"),
        (_some("file", "a path", "a text file", "a file path"),),
        "files",
        "path",
    ),
    "raw": _variable(
        _RAW,
        ("json string", "json text", "string", "json"),
        (_some("json string", "json text", "some json", "json"),),
        "json strings",
        "text",
    ),
    "csv": _variable(
        _TABLES,
        ("csv text", "csv string", "csv"),
        (_some("csv text", "a csv string", "some csv text", "csv"),),
        "csv texts",
        "text",
    ),
    "k": Pool(tuple(str(number) for number in range(1, 101))),
    "big": Pool(
        tuple(str(number) for number in (*range(101, 200, 3), *range(250, 1000, 25), *range(1000, 9999, 321))),
        invent=invented_number,
    ),
    "c": Pool(tuple(_COUNTING), mentions=("{}", "{}", "{}"), spoken=_COUNTING, open=False),
    "i": Pool(tuple(str(number) for number in range(1, 10)), open=False),
    "ch": Pool(
        tuple("abcdefghijklmnopqrstuvwxyz"),
        mentions=(
            "'{}'",
            '"{}"',
            "'{}'",
            '"{}"',
            "the letter {}",
            "the letter '{}'",
            "the character '{}'",
            "{}",
            "{}",
            '"{}"',
        ),
        open=False,
    ),
    "w": Pool(_WORDS, mentions=_QUOTED, invent=invented_name, alter=altered_name),
    "sep": Pool(tuple(_SEPARATORS), mentions=("'{}'", '"{}"', "{}"), spoken=_SEPARATORS, open=False),
    "key": Pool(_KEYS, mentions=_QUOTED, invent=invented_name, alter=altered_name),
    "fn": Pool(
        _with_affixes(_FUNCTIONS, ("{}", "my_{}", "{}_2", "try_{}", "new_{}")), invent=invented_name, alter=altered_name
    ),
    "cls": Pool(_CLASSES, invent=invented_class, alter=altered_name),
    "attr": Pool(_ATTRIBUTES, invent=invented_name, alter=altered_name),
    "msg": Pool(
        _PHRASES, mentions=("'{}'", '"{}"', "'{}'", '"{}"', "{}"), invent=invented_phrase, alter=altered_phrase
    ),
    "txt": Pool(
        tuple(f"{stem}.txt" for stem in _STEMS),
        mentions=("{}", "{}", "{}", "'{}'", '"{}"', "the file {}", "a file called {}"),
        invent=invented_file(".txt"),
    ),
    "jsonfile": Pool(
        tuple(f"{stem}.json" for stem in _STEMS),
        mentions=("{}", "{}", "'{}'", '"{}"', "the file {}", "a file called {}"),
        invent=invented_file(".json"),
    ),
    "csvfile": Pool(
        tuple(f"{stem}.csv" for stem in _STEMS),
        mentions=("{}", "{}", "'{}'", '"{}"', "the file {}", "a file called {}"),
        invent=invented_file(".csv"),
    ),
    "year": Pool(tuple(str(year) for year in range(1990, 2040))),
    "month": Pool(tuple(str(month) for month in range(1, 13)), open=False),
    "dom": Pool(tuple(str(day) for day in range(1, 29)), open=False),
}
