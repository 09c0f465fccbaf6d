"""Comprehensions beyond one list: over dicts, ranges and pairs. Those over one list are built from `pieces.py`."""

from tinygpt.data.recipes.family import Family, gives

FAMILIES = (
    Family(
        name="comprehensions.squares_up_to",
        do=(
            "[make] a list of the squares from 1 to <k>",
            "[make] a list with the squares of 1 to <k>",
            "[compute] the squares of the numbers from 1 to <k>",
            "square every number from 1 to <k> in a list",
            "list the squares of all numbers up to <k>",
            "use a comprehension for the squares up to <k>",
        ),
        say=("squares of the numbers 1 to <k>", "list of squares from 1 to <k>", "all squares for 1 to <k>"),
        code="[i ** 2 for i in range(1, $k + 1)]",
        check=gives(("", "[(i + 1) * (i + 1) for i in range($k)]")),
        where="$k > 2",
    ),
    Family(
        name="comprehensions.word_lengths",
        do=(
            "[make] a dict of word lengths for <words>",
            "[make] a dict from each word in <words> to its length",
            "map (each|every) word of <words> to its length",
            "[make] a dict with the [words] of <words> and their lengths",
            "[store] the length of (each|every) word of <words> in a dict",
            "[get] a dict of word and length for <words>",
        ),
        say=("dict of the word lengths in <words>", "dict from word to length for <words>"),
        fn="word_lengths",
        code="{w: len(w) for w in $words}",
        check=gives(("$words = ['a', 'bb']", "{'a': 1, 'bb': 2}"), ("$words = ['xyz']", "{'xyz': 3}")),
    ),
    Family(
        name="comprehensions.all_pairs",
        do=(
            "[get] all pairs (of|with) one [item] from <xs> and one from <xs2>",
            "[make] every combination of <xs> and <xs2>",
            "pair every [item] of <xs> with every [item] of <xs2>",
            "[get] all combinations of [items] from <xs> and <xs2>",
            "list every pair you can make from <xs> and <xs2>",
            "[compute] the cartesian product of <xs> and <xs2>",
        ),
        say=(
            "all combinations of <xs> and <xs2>",
            "every pair from <xs> and <xs2>",
            "cartesian product of <xs> and <xs2>",
        ),
        fn="all_pairs",
        code="[(x, y) for x in $xs for y in $xs2]",
        check=gives(
            ("$xs, $xs2 = [1, 2], ['a', 'b']", "[(1, 'a'), (1, 'b'), (2, 'a'), (2, 'b')]"),
            ("$xs, $xs2 = [5], [4]", "[(5, 4)]"),
        ),
    ),
    Family(
        name="comprehensions.values_changed",
        do=(
            "multiply (every|each) value (of|in) <d> by <k>",
            "[make] a dict like <d> with the values times <k>",
            "multiply all values of <d> by <k> in a new dict",
            "[get] <d> with every value multiplied by <k>",
            "scale the values of <d> by <k>",
            "[make] all values in <d> <k> times as big",
        ),
        say=("<d> with the values times <k>", "<d> but every value multiplied by <k>"),
        fn="scale_values",
        code="{k: v * $k for k, v in $d.items()}",
        check=gives(('$d = {"a": 1, "b": -2}', '{"a": $k, "b": -2 * $k}'), ('$d = {"x": 10}', '{"x": 10 * $k}')),
    ),
    Family(
        name="comprehensions.key_of_records",
        do=(
            "[get] the <key> of (each|every) (dict|row) in <records>",
            "[get] a list of (all|) the <key> values in <records>",
            "collect the <key> of every (dict|row|one) in <records>",
            "pull <key> out of (each|every) dict in <records>",
            "[make] a list of <key> from <records>",
            "list the <key> of all <records>",
        ),
        say=(
            "<key> of every dict in <records>",
            "list of the <key> values of <records>",
            "all <key> values in <records>",
        ),
        fn="values_of",
        code='[row["$key"] for row in $records]',
        check=gives(
            ('$records = [{"$key": 2, "z z": 1}, {"$key": 1}]', "[2, 1]"), ('$records = [{"$key": "a"}]', '["a"]')
        ),
    ),
    Family(
        name="comprehensions.filter_records",
        do=(
            "[get] the dicts in <records> (where|whose) <key> is [more] <k>",
            "[keep] the (dicts|rows) of <records> with <key> [more] <k>",
            "filter <records> to <key> [more] <k>",
            "[get] (all|every) (dict|row) of <records> with <key> [more] <k>",
            "[get] everything in <records> with a <key> [more] <k>",
            "select from <records> where <key> is [more] <k>",
        ),
        say=("<records> with <key> [more] <k>", "dicts of <records> whose <key> is [more] <k>"),
        fn="filter_rows",
        code='[row for row in $records if row["$key"] > $k]',
        check=gives(
            ('$records = [{"$key": $k - 1}, {"$key": $k}, {"$key": $k + 1}]', '[{"$key": $k + 1}]'),
            ('$records = [{"$key": 900, "z z": 1}]', '[{"$key": 900, "z z": 1}]'),
        ),
    ),
)
