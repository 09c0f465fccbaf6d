"""CSV: rows, columns, totals. The expressions take `csv` as imported."""

from tinygpt.data.recipes.family import Family, gives, leaves

_IMPORT = "import csv"
_DATA = '$csv = "$key,z z\\n3,y\\n4,x"'

FAMILIES = (
    Family(
        name="csv.rows",
        do=(
            "[change] <csv> [into] a list of rows",
            "parse <csv> into (rows|a list of rows|a list of lists)",
            "read the rows of <csv>",
            "[get] (all|) (the|) rows of <csv> as lists",
            "[split] <csv> into rows and cells",
            "read <csv> with csv reader into a list",
        ),
        say=("rows of <csv>", "<csv> as a list of (rows|lists)", "list of the rows in <csv>"),
        fn="csv_rows",
        imports=_IMPORT,
        code="list(csv.reader($csv.splitlines()))",
        check=gives(('$csv = "a,b\\n1,2"', '[["a", "b"], ["1", "2"]]'), ("$csv = 'x,\"y,z\"'", '[["x", "y,z"]]')),
    ),
    Family(
        name="csv.dicts",
        do=(
            "[change] <csv> [into] a list of (dicts|dictionaries)",
            "parse <csv> into (dicts|dictionaries)",
            "read the rows of <csv> as (dicts|dictionaries)",
            "[get] (every|each) row of <csv> as a (dict|dictionary)",
            "[make] a list of (dicts|dictionaries) from <csv>",
            "read <csv> with (a header|its header) into (dicts|dictionaries)",
        ),
        say=(
            "rows of <csv> as (dicts|dictionaries)",
            "<csv> as a list of (dicts|dictionaries)",
            "list of (dicts|dictionaries) from <csv>",
        ),
        fn="csv_dicts",
        imports=_IMPORT,
        code="list(csv.DictReader($csv.splitlines()))",
        check=gives(
            ('$csv = "a,b\\n1,2"', '[{"a": "1", "b": "2"}]'), ("$csv = 'x\\n5\\n6'", '[{"x": "5"}, {"x": "6"}]')
        ),
    ),
    Family(
        name="csv.column",
        do=(
            "[get] the column <key> (of|from) <csv>",
            "[get] (all|) (the|) values (in|of) the column <key> (of|in) <csv>",
            "[get] the <key> column (of|from|in) <csv>",
            "read the column <key> from <csv> into a list",
            "[get] a list of the <key> values in the csv (text|string) $csv",
            "collect the <key> of every row in the csv (text|string) $csv",
        ),
        say=("column <key> of <csv>", "<key> column in <csv>", "the <key> values of the csv (text|string) $csv"),
        fn="csv_column",
        imports=_IMPORT,
        code='[row["$key"] for row in csv.DictReader($csv.splitlines())]',
        check=gives((_DATA, '["3", "4"]'), ('$csv = "q q,$key\\n1,5"', '["5"]')),
    ),
    Family(
        name="csv.sum_column",
        do=(
            "sum the column <key> (of|in) <csv>",
            "add up the <key> column (of|in) <csv>",
            "[compute] the [sum] of the column <key> in <csv>",
            "total the <key> values (of|in) <csv>",
            "add all (the|) values in the <key> column of <csv>",
            "[compute] the [sum] of <key> in <csv>",
        ),
        say=(
            "[sum] of the column <key> in <csv>",
            "[whatis] the [sum] of the <key> column in <csv>",
            "total <key> of <csv>",
        ),
        fn="sum_column",
        imports=_IMPORT,
        code='sum(float(row["$key"]) for row in csv.DictReader($csv.splitlines()))',
        check=gives((_DATA, "7"), ('$csv = "q q,$key\\n1,5.5"', "5.5")),
    ),
    Family(
        name="csv.header",
        do=(
            "[get] the (header|column names|headers) of <csv>",
            "read the column names from <csv>",
            "[get] the names of the columns in <csv>",
            "[get] the first row of <csv> as a list",
            "list the column names of <csv>",
            "find out which columns <csv> has",
        ),
        say=("(header|column names) of <csv>", "which columns does <csv> have", "[whatare] the column names in <csv>"),
        fn="header",
        code='$csv.splitlines()[0].split(",")',
        check=gives(('$csv = "a,b\\n1,2"', '["a", "b"]'), ("$csv = 'x\\n5\\n6'", '["x"]')),
    ),
    Family(
        name="csv.count_rows",
        do=(
            "[count] the rows (of|in) <csv> (without|not counting) the header",
            "[count] the data rows (of|in) <csv>",
            "[get] the number of rows in <csv> (without|not counting) the header",
            "[count] how many rows <csv> has after the header",
            "[compute] how many data rows are in <csv>",
            "[count] the lines of <csv> except the header",
        ),
        say=(
            "how many rows (are in|does) <csv> (have|) without the header",
            "number of data rows in <csv>",
            "how many data rows are in <csv>",
        ),
        fn="count_rows",
        code="len($csv.splitlines()) - 1",
        check=gives(('$csv = "a,b\\n1,2"', "1"), ("$csv = 'x\\n5\\n6'", "2")),
    ),
    Family(
        name="csv.write_line",
        do=(
            "[make] a csv line (from|of|out of) <xs>",
            "[change] <xs> [into] a (csv line|line of csv|csv row)",
            "write the [items] of <xs> as a csv line",
            "[join] the [items] of <xs> with commas into a csv line",
            "turn each [item] of <xs> into text and join them with commas",
            "format <xs> as a csv line",
        ),
        say=("<xs> as a csv (line|row)", "csv (line|row) from <xs>", "csv row for <xs>"),
        fn="csv_line",
        code='",".join(str(x) for x in $xs)',
        check=gives(("$xs = [1, 'a']", '"1,a"'), ("$xs = [5]", '"5"')),
    ),
    Family(
        name="csv.read_file",
        do=(
            "read <csvfile> into $xs",
            "read the csv file $csvfile into a list $xs",
            "read the rows of <csvfile> into $xs",
            "load <csvfile> into the list $xs",
            "open <csvfile> and put its rows in $xs",
            "[store] the rows of <csvfile> in $xs",
            "parse <csvfile> into $xs",
        ),
        say=("rows of <csvfile> in the list $xs",),
        code='import csv\n\nwith open("$csvfile", newline="") as file:\n    $xs = list(csv.reader(file))',
        check=leaves(
            ('open("$csvfile", "w").write("a,b\\n1,2")', '$xs == [["a", "b"], ["1", "2"]]'),
            ('open("$csvfile", "w").write("x")', '$xs == [["x"]]'),
        ),
    ),
)
