"""Files: reading, writing, counting lines."""

from tinygpt.data.recipes.family import Family, leaves

_FILE = 'open("$txt", "w").write("one\\ntwo\\nthree\\n")'

FAMILIES = (
    Family(
        name="files.read_text",
        do=(
            "read <txt> into $s",
            "read all of <txt> into the (variable|string) $s",
            "open <txt> and read it into $s",
            "load the text of <txt> into $s",
            "[store] the (content|contents|text) of <txt> in $s",
            "get the (content|contents|text) of <txt> as $s",
            "read the whole file $txt into $s",
            "open <txt> and [store] what is in it in $s",
        ),
        say=("text of <txt> in $s", "contents of <txt> as the variable $s"),
        code='with open("$txt") as file:\n    $s = file.read()',
        check=leaves((_FILE, '$s == "one\\ntwo\\nthree\\n"'), ('open("$txt", "w").write("x")', '$s == "x"')),
    ),
    Family(
        name="files.read_lines",
        do=(
            "read the lines of <txt> into $xs",
            "read <txt> line by line into (the list|a list|) $xs",
            "read all lines of <txt> into the list $xs",
            "load the lines of <txt> [into] a list $xs",
            "[store] every line of <txt> in the list $xs",
            "open <txt> and put its lines in $xs",
            "get the lines of <txt> as the list $xs",
        ),
        say=("lines of <txt> in a list $xs", "list $xs with the lines of <txt>"),
        code='with open("$txt") as file:\n    $xs = file.read().splitlines()',
        check=leaves((_FILE, '$xs == ["one", "two", "three"]'), ('open("$txt", "w").write("x")', '$xs == ["x"]')),
    ),
    Family(
        name="files.write_text",
        do=(
            "write <s> to <txt>",
            "write <s> into <txt>",
            "save <s> to <txt>",
            "save <s> in <txt>",
            "put <s> into <txt>",
            "open <txt> for writing and write <s>",
            "write the (contents|content) of <s> to <txt>",
        ),
        say=("<s> saved in <txt>", "<s> written to <txt>"),
        code='with open("$txt", "w") as file:\n    file.write($s)',
        check=leaves(('$s = "hi you"', 'open("$txt").read() == "hi you"'), ('$s = "x"', 'open("$txt").read() == "x"')),
    ),
    Family(
        name="files.append_text",
        do=(
            "append <s> to <txt>",
            "add <s> at the end of <txt>",
            "add <s> to the end of the file $txt",
            "write <s> at the end of <txt>",
            "open <txt> for appending and write <s>",
            "append <s> to the file $txt without losing what is there",
            "stick <s> onto the end of <txt>",
        ),
        say=("<s> appended to <txt>",),
        code='with open("$txt", "a") as file:\n    file.write($s)',
        check=leaves(
            ('open("$txt", "w").write("a-")\n$s = "hi"', 'open("$txt").read() == "a-hi"'),
            ('$s = "!"', 'open("$txt").read() == "a-hi!"'),
        ),
    ),
    Family(
        name="files.write_lines",
        do=(
            "write <words> to <txt>, one per line",
            "write (each|every) [word] of <words> on its own line (in|of|to) <txt>",
            "save <words> in <txt>, one [word] a line",
            "write the [words] of <words> as lines to <txt>",
            "put each [word] of <words> on a line of <txt>",
            "save <words> to <txt> line by line",
        ),
        say=("<words> as lines in <txt>", "<words> written to <txt> one per line"),
        code='with open("$txt", "w") as file:\n    file.write("\\n".join($words))',
        check=leaves(
            ('$words = ["a", "b"]', 'open("$txt").read().split() == ["a", "b"] and len(open("$txt").readlines()) == 2'),
            ('$words = ["x"]', 'open("$txt").read().strip() == "x"'),
        ),
    ),
    Family(
        name="files.print_lines",
        do=(
            "[print] (each|every) line of <txt>",
            "[print] the lines (of|in) <txt> (one by one|)",
            "read <txt> and print (each|every) line",
            "loop over the lines of <txt> and print them",
            "open <txt> and print it line by line",
            "[print] <txt> line by line",
        ),
        say=("loop that prints the lines of <txt>", "lines of <txt> printed"),
        code='with open("$txt") as file:\n    for line in file:\n        print(line.rstrip())',
        check="import contextlib, io\n"
        + _FILE
        + (
            "\n"
            "out = io.StringIO()\n"
            "with contextlib.redirect_stdout(out):\n"
            "    exec(code, globals())\n"
            'assert out.getvalue() == "one\\ntwo\\nthree\\n"'
        ),
    ),
    Family(
        name="files.count_lines",
        do=(
            "[count] the lines (in|of) <txt> as $n",
            "[count] the lines (in|of) <txt> into $n",
            "[store] the number of lines (in|of) <txt> in $n",
            "[count] how many lines <txt> has and [store] it in $n",
            "set $n to the number of lines in <txt>",
            "open <txt> and count its lines in $n",
        ),
        say=("number of lines of <txt> in $n", "$n as the line count of <txt>"),
        code='with open("$txt") as file:\n    $n = len(file.readlines())',
        check=leaves((_FILE, "$n == 3"), ('open("$txt", "w").write("x")', "$n == 1")),
    ),
    Family(
        name="files.read_function",
        do=(
            "read <path> and return its text",
            "return the (content|contents|text) of <path>",
            "open <path> and return what is in it",
            "read all of <path> and return it",
            "give back the text in <path>",
            "load the text of <path>",
        ),
        say=("file reading function", "function for reading a text file"),
        fn="read_file",
        code="def $fn($path):\n    with open($path) as file:\n        return file.read()",
        check=(
            "exec(code, globals())\n"
            'open("a.txt", "w").write("one\\ntwo")\n'
            'assert $fn("a.txt") == "one\\ntwo"\n'
            'open("b.txt", "w").write("x")\n'
            'assert $fn("b.txt") == "x"'
        ),
    ),
    Family(
        name="files.count_lines_function",
        do=(
            "[count] the lines (of|in) <path>",
            "return the number of lines in <path>",
            "open <path> and [count] its lines",
            "return how many lines <path> has",
            "tell how many lines are in <path>",
            "[compute] the line count of <path>",
        ),
        say=("line counting function", "function for the number of lines in a file"),
        fn="count_lines",
        code="def $fn($path):\n    with open($path) as file:\n        return len(file.readlines())",
        check=(
            "exec(code, globals())\n"
            'open("a.txt", "w").write("one\\ntwo")\n'
            'assert $fn("a.txt") == 2\n'
            'open("b.txt", "w").write("x")\n'
            'assert $fn("b.txt") == 1'
        ),
    ),
)
