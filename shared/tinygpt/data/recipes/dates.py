"""Dates. The expressions take `date`, `datetime` and `timedelta` as imported from datetime."""

from tinygpt.data.recipes.family import Family, gives
from tinygpt.data.recipes.slots import choice

_IMPORT = "from datetime import date"
_DELTA = "from datetime import date, timedelta"
_D1 = "$date = date(2024, 2, 28)"
_D2 = "$date = date(2023, 12, 31)"
PART = choice({"year": ("year",), "month": ("month",), "day": ("day of the month", "day")})

FAMILIES = (
    Family(
        name="dates.add_days",
        do=(
            "add <k> days to <date>",
            "[get] the date <k> days after <date>",
            "move <date> <k> days forward",
            "[compute] the date <k> days (after|later than) <date>",
            "postpone <date> by <k> days",
            "increase <date> by <k> days",
        ),
        say=(
            "<k> days after <date>",
            "<date> plus <k> days",
            "which date is <k> days after <date>",
            "the date <k> days from <date>",
        ),
        fn="add_days",
        imports=_DELTA,
        code="$date + timedelta(days=$k)",
        check=gives(
            (_D1, "date.fromordinal($date.toordinal() + $k)"), (_D2, "date.fromordinal($date.toordinal() + $k)")
        ),
    ),
    Family(
        name="dates.subtract_days",
        do=(
            "subtract <k> days from <date>",
            "[get] the date <k> days before <date>",
            "move <date> <k> days back",
            "[compute] the date <k> days (before|earlier than) <date>",
            "take <k> days off <date>",
            "go <k> days back from <date>",
        ),
        say=(
            "<k> days before <date>",
            "<date> minus <k> days",
            "which date is <k> days before <date>",
            "the date <k> days earlier than <date>",
        ),
        fn="subtract_days",
        imports=_DELTA,
        code="$date - timedelta(days=$k)",
        check=gives(
            (_D1, "date.fromordinal($date.toordinal() - $k)"), (_D2, "date.fromordinal($date.toordinal() - $k)")
        ),
    ),
    Family(
        name="dates.days_between",
        do=(
            "[count] the days between <date> and <date2>",
            "[compute] the number of days from <date> to <date2>",
            "[compute] how many days lie between <date> and <date2>",
            "[compute] the difference in days between <date> and <date2>",
            "[count] the days from <date> until <date2>",
        ),
        say=(
            "days between <date> and <date2>",
            "how many days (are|) between <date> and <date2>",
            "how many days from <date> to <date2>",
            "number of days from <date> until <date2>",
        ),
        fn="days_between",
        imports=_IMPORT,
        code="($date2 - $date).days",
        check=gives(
            ("$date, $date2 = date(2024, 1, 1), date(2024, 1, 31)", "30"),
            ("$date, $date2 = date(2023, 1, 1), date(2024, 1, 1)", "365"),
        ),
    ),
    Family(
        name="dates.part",
        do=(
            "[get] the <part> of <date>",
            "[get] the <part> (from|in|out of) the date $date",
            "read the <part> from <date>",
            "find out the <part> of <date>",
            "[get] just the <part> of <date>",
            "look up the <part> in the date $date",
        ),
        say=(
            "<part> of <date>",
            "[whatis] the <part> of <date>",
            "which <part> is <date> in",
            "the <part> in the date $date",
        ),
        pools={"part": PART},
        imports=_IMPORT,
        code="$date.$part",
        check=gives(
            (_D1, '{"year": 2024, "month": 2, "day": 28}["$part"]'),
            (_D2, '{"year": 2023, "month": 12, "day": 31}["$part"]'),
        ),
    ),
    Family(
        name="dates.to_text",
        do=(
            "[change] <date> [into] (text|a string) like 2024-05-17",
            "format <date> as (yyyy-mm-dd|year-month-day)",
            "[change] the date $date [into] (an iso string|iso format|text)",
            "write <date> in iso format",
            "[get] <date> as a string like 2023-01-31",
            "format the date $date as year-month-day",
        ),
        say=("<date> as (yyyy-mm-dd|an iso string|iso text)", "iso format of <date>", "<date> as text, year first"),
        fn="iso_text",
        imports=_IMPORT,
        code="$date.isoformat()",
        check=gives((_D1, '"2024-02-28"'), (_D2, '"2023-12-31"')),
    ),
    Family(
        name="dates.from_text",
        do=(
            "[change] the (string|text) $s [into] a date",
            "parse <s> as a date",
            "parse the date in <s>",
            "[make] a date (from|out of) the (string|text) $s",
            "read <s> as a date like 2024-05-17",
            "[get] a date from the iso (string|text) $s",
            "turn the text $s like yyyy-mm-dd into a date",
        ),
        say=("<s> as a date", "date from the (string|text) $s", "date in the iso (string|text) $s"),
        fn="parse_date",
        imports=_IMPORT,
        code="date.fromisoformat($s)",
        check=gives(('$s = "2024-02-28"', "date(2024, 2, 28)"), ('$s = "1999-12-01"', "date(1999, 12, 1)")),
    ),
    Family(
        name="dates.weekday_name",
        do=(
            "[get] the (weekday|day of the week|name of the weekday) of <date>",
            "find out which (weekday|day of the week) <date> is",
            "[get] the name of the day for <date>",
            "[get] the weekday name of <date>",
            "say which day of the week <date> falls on",
            "write <date> as a weekday name",
        ),
        say=(
            "(weekday|day of the week|weekday name) of <date>",
            "what (weekday|day of the week) is <date>",
            "which (weekday|day of the week) is <date>",
            "on which day of the week is <date>",
        ),
        fn="weekday_name",
        imports=_IMPORT,
        code='$date.strftime("%A")',
        check=gives((_D1, '"Wednesday"'), (_D2, '"Sunday"')),
    ),
    Family(
        name="dates.is_weekend",
        do=(
            "[check] [if] <date> is (on|at|in) (the|a) weekend",
            "[check] [if] <date> is a (saturday or sunday|weekend day)",
            "[check] [if] <date> falls on (the|a) weekend",
            "[check] [if] the date $date is a day off at the weekend",
            "test <date> for being at the weekend",
        ),
        say=(
            "is <date> (on|at|in) (the|a) weekend",
            "is <date> a (saturday or sunday|weekend day)",
            "does <date> fall on (the|a) weekend",
            "true if <date> is a (saturday or sunday|weekend day)",
        ),
        fn="is_weekend",
        imports=_IMPORT,
        code="$date.weekday() >= 5",
        check=gives(
            (_D1, "False"), (_D2, "True"), ("$date = date(2024, 6, 1)", "True"), ("$date = date(2024, 5, 31)", "False")
        ),
    ),
    Family(
        name="dates.make",
        do=(
            "[make] a date with year <year>, month <month> and day <dom>",
            "[make] (a|the) date for (the|) year <year>, month <month>, day <dom>",
            "construct a date: year <year> month <month> day <dom>",
            "[get] a date object for $year-$month-$dom",
            "[make] a date object for day <dom> of month <month> in <year>",
            "build the date $year-$month-$dom",
        ),
        say=(
            "date for year <year>, month <month>, day <dom>",
            "date object for $year-$month-$dom",
            "the date $year $month $dom as an object",
        ),
        imports=_IMPORT,
        code="date($year, $month, $dom)",
        check=gives(
            ("", 'date.fromisoformat("$year-" + "$month".zfill(2) + "-" + "$dom".zfill(2))'),
            ("", "date(int('$year'), int('$month'), int('$dom'))"),
        ),
    ),
    Family(
        name="dates.is_before",
        do=(
            "[check] [if] <date> is (before|earlier than) <date2>",
            "[check] [if] <date> comes before <date2>",
            "[check] [if] the date $date is (before|earlier than) $date2",
            "compare <date> and <date2>: is the first (one|) earlier",
            "[check] [if] <date2> is after <date>",
        ),
        say=(
            "is <date> (before|earlier than) <date2>",
            "does <date> come before <date2>",
            "true if <date> is before <date2>",
            "is <date2> after <date>",
        ),
        fn="is_before",
        imports=_IMPORT,
        code="$date < $date2",
        check=gives(
            ("$date, $date2 = date(2024, 1, 1), date(2024, 1, 31)", "True"),
            ("$date, $date2 = date(2024, 1, 1), date(2023, 6, 1)", "False"),
        ),
    ),
    Family(
        name="dates.today",
        do=(
            "[get] today's date",
            "[get] the date of today",
            "[get] the current date",
            "find out what day it is today",
            "give me today's date",
            "look up the current date",
        ),
        say=("today's date", "current date", "[whatis] today's date", "date of today", "what is the date today"),
        imports=_IMPORT,
        code="date.today()",
        check=gives(("", "date.today()"), ("", "date.fromordinal(date.today().toordinal())")),
        weight=0.4,
    ),
    Family(
        name="dates.minutes_to_text",
        do=(
            "[change] <n> minutes [into] hours and minutes",
            "[split] <n> minutes into hours and minutes",
            "[compute] the hours and minutes in <n> minutes",
            "write <n> minutes as a pair of hours and minutes",
            "[get] hours and minutes from <n> minutes",
            "turn minutes $n into hours and minutes",
        ),
        say=(
            "<n> minutes as hours and minutes",
            "hours and minutes of <n> minutes",
            "how many hours and minutes are <n> minutes",
        ),
        fn="hours_and_minutes",
        code="divmod($n, 60)",
        check=gives(("$n = 135", "(2, 15)"), ("$n = 59", "(0, 59)")),
    ),
)
