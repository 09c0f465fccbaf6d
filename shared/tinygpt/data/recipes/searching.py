"""Searching: where something is, whether anything is, which comes first."""

from tinygpt.data.recipes.family import Family, calls, gives

FAMILIES = (
    Family(
        name="searching.index_of_value",
        do=(
            "[get] the index of <k> in <nums>",
            "[get] the position of <k> in <nums>",
            "find where <k> is in <nums>",
            "look for <k> in <nums> and return its index",
            "search <nums> for <k> and give its index",
            "locate <k> in <nums>",
        ),
        say=(
            "index of <k> in <nums>",
            "where is <k> in <nums>",
            "[whatis] the index of <k> in <nums>",
            "at which index is <k> in <nums>",
        ),
        fn="index_of_value",
        code="$nums.index($k)",
        check=gives(("$nums = list(range(300, -1, -1))", "300 - $k"), ("$nums = [-1, $k]", "1")),
    ),
    Family(
        name="searching.index_of_item",
        do=(
            "[get] the index of <n> in <xs>",
            "[get] the position of <n> in <xs>",
            "find where <n> is in <xs>",
            "look for <n> in <xs> and return its index",
            "search <xs> for <n> and give its index",
            "locate <n> in <xs>",
        ),
        say=(
            "index of <n> in <xs>",
            "where is <n> in <xs>",
            "[whatis] the index of <n> in <xs>",
            "at which index is <n> in <xs>",
        ),
        fn="index_of_item",
        code="$xs.index($n)",
        check=gives(("$xs, $n = [4, 5, 6], 5", "1"), ("$xs, $n = ['a', 'b', 'c'], 'c'", "2")),
    ),
    Family(
        name="searching.position_in_text",
        do=(
            "[get] the position of the word <w> in <s>",
            "[get] the index where the word <w> starts in <s>",
            "find where the word <w> is in <s>",
            "look for the text <w> in <s> and return its position",
            "search the (string|text) $s for <w> and give its position",
            "locate the word <w> in the (string|text) $s",
        ),
        say=(
            "position of the word <w> in <s>",
            "where in <s> is the word <w>",
            "index of the text <w> in <s>",
            "at which position is the word <w> in <s>",
        ),
        fn="position_in_text",
        code='$s.find("$w")',
        check=gives(('$s = "a $w"', "2"), ('$s = "?"', "-1"), ('$s = "$w"', "0")),
    ),
    Family(
        name="searching.index_of_max",
        do=(
            "[get] the index of the [largest] [item] (in|of) <nums>",
            "[get] the position of the [largest] (number|value) in <nums>",
            "find where the [largest] [item] of <nums> is",
            "[get] at which index <nums> is (largest|highest|biggest)",
            "locate the [largest] (number|value) in <nums>",
        ),
        say=(
            "index of the [largest] [item] in <nums>",
            "where is the [largest] (number|value) in <nums>",
            "position of the max in <nums>",
        ),
        fn="index_of_max",
        code="$nums.index(max($nums))",
        check=gives(("$nums = [4, 9, 6]", "1"), ("$nums = [1, 2, 3, 7]", "3")),
    ),
    Family(
        name="searching.index_of_min",
        do=(
            "[get] the index of the [smallest] [item] (in|of) <nums>",
            "[get] the position of the [smallest] (number|value) in <nums>",
            "find where the [smallest] [item] of <nums> is",
            "[get] at which index <nums> is (smallest|lowest)",
            "locate the [smallest] (number|value) in <nums>",
        ),
        say=(
            "index of the [smallest] [item] in <nums>",
            "where is the [smallest] (number|value) in <nums>",
            "position of the min in <nums>",
        ),
        fn="index_of_min",
        code="$nums.index(min($nums))",
        check=gives(("$nums = [4, 1, 6]", "1"), ("$nums = [8, 2, 3, -7]", "3")),
    ),
    Family(
        name="searching.all_indexes",
        do=(
            "[get] all (the|) indexes of <k> in <nums>",
            "[get] every index where <nums> has <k>",
            "[get] all positions of <k> in <nums>",
            "list the indexes of <k> in <nums>",
            "find everywhere <k> is in <nums>",
            "collect the indexes at which <k> is in <nums>",
        ),
        say=(
            "all indexes of <k> in <nums>",
            "every position of <k> in <nums>",
            "indexes in <nums> where the value is <k>",
        ),
        fn="all_indexes",
        code="[i for i, x in enumerate($nums) if x == $k]",
        check=gives(("$nums = [$k, 0, $k]", "[0, 2]"), ("$nums = [0, -1]", "[]")),
    ),
    Family(
        name="searching.first_above",
        do=(
            "[get] the first (number|value|item) (in|of) <nums> [more] <k>",
            "[get] the first (number|value|item) [more] <k> in <nums>",
            "find the first one in <nums> that is [more] <k>",
            "search <nums> for the first (number|value) [more] <k>",
            "look for the first [item] of <nums> [more] <k>",
        ),
        say=(
            "first (number|value) [more] <k> in <nums>",
            "[whatis] the first (number|value) in <nums> [more] <k>",
            "first [item] of <nums> that is [more] <k>",
        ),
        fn="first_above",
        code="next(x for x in $nums if x > $k)",
        check=gives(("$nums = [0, $k, $k + 1, 300]", "$k + 1"), ("$nums = [$k - 1, 900, 200]", "900")),
    ),
    Family(
        name="searching.any_above",
        do=(
            "[check] [if] any (number|value|item) (in|of) <nums> is [more] <k>",
            "[check] [if] <nums> has (a number|a value|an item) [more] <k>",
            "[check] [if] there is a (number|value) [more] <k> in <nums>",
            "[check] [if] at least one [item] of <nums> is [more] <k>",
            "[check] [if] something in <nums> is [more] <k>",
        ),
        say=(
            "is any (number|value|item) in <nums> [more] <k>",
            "is there a (number|value) [more] <k> in <nums>",
            "does <nums> have (a number|a value) [more] <k>",
            "any [item] of <nums> [more] <k>, true or false",
        ),
        fn="any_above",
        code="any(x > $k for x in $nums)",
        check=gives(("$nums = [0, $k]", "False"), ("$nums = [0, $k + 1]", "True")),
    ),
    Family(
        name="searching.all_above",
        do=(
            "[check] [if] all (numbers|values|items) (in|of) <nums> are [more] <k>",
            "[check] [if] every (number|value|item) (in|of) <nums> is [more] <k>",
            "[check] [if] <nums> has only (numbers|values) [more] <k>",
            "[check] [if] everything in <nums> is [more] <k>",
            "[check] [if] no [item] of <nums> is <k> or less",
        ),
        say=(
            "are all (numbers|values|items) in <nums> [more] <k>",
            "is every (number|value|item) of <nums> [more] <k>",
            "true if all of <nums> are [more] <k>",
        ),
        fn="all_above",
        code="all(x > $k for x in $nums)",
        check=gives(("$nums = [$k + 1, $k + 5]", "True"), ("$nums = [900, $k]", "False")),
    ),
    Family(
        name="searching.longest",
        do=(
            "[get] the longest [word] (in|of) <words>",
            "[get] the [word] with the most letters (in|from) <words>",
            "look for the longest [word] in <words>",
            "search <words> for the longest [word]",
            "pick the longest [word] from <words>",
        ),
        say=(
            "longest [word] (in|of) <words>",
            "[whatis] the longest [word] in <words>",
            "which [word] in <words> is (the|) longest",
            "the [word] of <words> with the most letters",
        ),
        fn="longest",
        code="max($words, key=len)",
        check=gives(("$words = ['a', 'ccc', 'bb']", "'ccc'"), ("$words = ['zz', 'b']", "'zz'")),
    ),
    Family(
        name="searching.shortest",
        do=(
            "[get] the shortest [word] (in|of) <words>",
            "[get] the [word] with the fewest letters (in|from) <words>",
            "look for the shortest [word] in <words>",
            "search <words> for the shortest [word]",
            "pick the shortest [word] from <words>",
        ),
        say=(
            "shortest [word] (in|of) <words>",
            "[whatis] the shortest [word] in <words>",
            "which [word] in <words> is (the|) shortest",
            "the [word] of <words> with the fewest letters",
        ),
        fn="shortest",
        code="min($words, key=len)",
        check=gives(("$words = ['aa', 'ccc', 'b']", "'b'"), ("$words = ['zz', 'bbb']", "'zz'")),
    ),
    Family(
        name="searching.closest",
        do=(
            "[get] the (number|value) in <nums> (closest|nearest) to <k>",
            "[get] the [item] of <nums> that is (closest|nearest) to <k>",
            "find what in <nums> is (closest|nearest) to <k>",
            "search <nums> for the (number|value) (closest|nearest) to <k>",
            "look for the [item] nearest to <k> in <nums>",
        ),
        say=(
            "(closest|nearest) (number|value) to <k> in <nums>",
            "which [item] of <nums> is (closest|nearest) to <k>",
            "(number|value) in <nums> nearest to <k>",
        ),
        fn="closest",
        code="min($nums, key=lambda x: abs(x - $k))",
        check=gives(("$nums = list(range(300, -300, -1))", "$k"), ("$nums = [$k + 5, $k - 2, 900]", "$k - 2")),
    ),
    Family(
        name="searching.linear_search",
        do=(
            "search <xs> for <n> and return its index or -1",
            "do a linear search for <n> in <xs>",
            "find the index of <n> in <xs>, or -1 if it is not there",
            "return the index of <n> in <xs> or -1",
            "look for <n> in <xs> one by one and return the index or -1",
        ),
        say=(
            "linear search function",
            "function for a linear search",
            "linear search as a function that gives -1 when nothing is found",
        ),
        fn="linear_search",
        code=(
            "def $fn($xs, $n):\n"
            "    for i, item in enumerate($xs):\n"
            "        if item == $n:\n"
            "            return i\n"
            "    return -1"
        ),
        check=calls("$fn([4, 5, 6], 5) == 1", "$fn([4], 9) == -1", "$fn([], 1) == -1", "$fn([7, 7], 7) == 0"),
    ),
    Family(
        name="searching.record",
        do=(
            "[get] the dict in <records> whose <key> is <n>",
            "[get] the first (dict|row|record) of <records> with <key> equal to <n>",
            "find the (dict|row|record) in <records> where <key> is <n>",
            "search <records> for the (dict|one|row) whose <key> is <n>",
            "look up the (dict|row) with <key> <n> in <records>",
        ),
        say=(
            "(dict|row) of <records> with <key> equal to <n>",
            "which dict in <records> has <n> as <key>",
            "the (dict|row|record) in <records> whose <key> equals <n>",
        ),
        fn="find_record",
        code='next(row for row in $records if row["$key"] == $n)',
        check=gives(
            ('$n = 5\n$records = [{"$key": 1}, {"$key": 5, "z z": 2}]', '{"$key": 5, "z z": 2}'),
            ('$n = 1\n$records = [{"$key": 1, "z z": 3}]', '{"$key": 1, "z z": 3}'),
        ),
    ),
)
