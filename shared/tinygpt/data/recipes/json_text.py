"""JSON: text to values and back. The expressions take `json` as imported."""

from tinygpt.data.recipes.family import Family, gives, leaves

_IMPORT = "import json"

FAMILIES = (
    Family(
        name="json.parse",
        do=(
            "parse <raw>",
            "parse the json in <raw>",
            "[change] the json (string|text) $raw [into] (python data|a python object|a dict|a dictionary)",
            "decode the json (string|text) $raw",
            "load the json (string|text) $raw",
            "read the json in <raw>",
            "[get] (a dict|a dictionary|python data) from the json (string|text) $raw",
        ),
        say=("<raw> parsed as json", "python data from the json (string|text) $raw", "json $raw as a dict"),
        fn="parse_json",
        imports=_IMPORT,
        code="json.loads($raw)",
        check=gives(("$raw = '{\"a\": [1, 2]}'", '{"a": [1, 2]}'), ("$raw = '5'", "5")),
    ),
    Family(
        name="json.dump",
        do=(
            "[change] <d> [into] (json|a json string|json text)",
            "[make] (json|a json string|json text) (from|of) <d>",
            "encode <d> as json",
            "dump <d> (as|to) (json|a json string)",
            "serialize <d> (to|as) json",
            "turn the (dict|dictionary) $d into json",
            "write <d> as a json string",
        ),
        say=("<d> as (json|a json string|json text)", "json (of|for|from) <d>", "json string for the dict $d"),
        fn="to_json",
        imports=_IMPORT,
        code="json.dumps($d)",
        check=gives(('$d = {"a": [1, 2]}', "'{\"a\": [1, 2]}'"), ("$d = {}", "'{}'")),
    ),
    Family(
        name="json.dump_pretty",
        do=(
            "[change] <d> [into] (pretty|indented|nice) json with indent <c>",
            "dump <d> as json with (an indent of|indent) <c>",
            "[make] json from <d> with <c> spaces of indent",
            "encode <d> as json, indented by <c>",
            "pretty print <d> as json with <c> spaces",
            "write <d> as a json string with indentation <c>",
        ),
        say=("<d> as json with indent <c>", "json of <d> indented by <c>", "pretty json of <d>, indent <c>"),
        fn="to_pretty_json",
        imports=_IMPORT,
        code="json.dumps($d, indent=$c)",
        check=gives(
            ('$d = {"a": 1}', "'{\\n' + ' ' * $c + '\"a\": 1\\n}'"), ("$d = [7]", "'[\\n' + ' ' * $c + '7\\n]'")
        ),
    ),
    Family(
        name="json.get_key",
        do=(
            "[get] <key> from the json (string|text) $raw",
            "parse <raw> and [get] <key>",
            "parse the json (string|text) $raw and [get] its <key>",
            "read the key <key> from the json in <raw>",
            "[get] the value of <key> in the json (string|text) $raw",
            "look up <key> in the json (string|text) $raw",
        ),
        say=(
            "<key> in the json (string|text) $raw",
            "value of <key> in the json $raw",
            "[whatis] <key> in the json (string|text) $raw",
        ),
        fn="json_value",
        imports=_IMPORT,
        code='json.loads($raw)["$key"]',
        check=gives(('$raw = \'{"$key": 7, "z z": 1}\'', "7"), ('$raw = \'{"$key": "hi"}\'', '"hi"')),
    ),
    Family(
        name="json.load_file",
        do=(
            "load <jsonfile> into $d",
            "read <jsonfile> into $d",
            "read the json file $jsonfile into $d",
            "open <jsonfile> and parse it into $d",
            "parse <jsonfile> and [store] it in $d",
            "load the json from <jsonfile> as $d",
            "[store] the data of <jsonfile> in $d",
        ),
        say=("json from <jsonfile> in $d", "$d with the data of <jsonfile>"),
        code='import json\n\nwith open("$jsonfile") as file:\n    $d = json.load(file)',
        check=leaves(
            ('open("$jsonfile", "w").write(\'{"a": [1, 2]}\')', '$d == {"a": [1, 2]}'),
            ('open("$jsonfile", "w").write(\'[5]\')', "$d == [5]"),
        ),
    ),
    Family(
        name="json.save_file",
        do=(
            "save <d> to <jsonfile>",
            "save <d> as json in <jsonfile>",
            "write <d> to <jsonfile>",
            "write <d> as json to <jsonfile>",
            "dump <d> into <jsonfile>",
            "store <d> as json in <jsonfile>",
            "put <d> into the json file $jsonfile",
        ),
        say=("<d> saved in <jsonfile>", "<d> as json in <jsonfile>"),
        code='import json\n\nwith open("$jsonfile", "w") as file:\n    json.dump($d, file)',
        check="import json\n"
        + leaves(
            ('$d = {"a": [1, 2]}', 'json.load(open("$jsonfile")) == {"a": [1, 2]}'),
            ("$d = [5]", 'json.load(open("$jsonfile")) == [5]'),
        ),
    ),
    Family(
        name="json.count",
        do=(
            "[count] the [items] in the json (list|array) $raw",
            "parse <raw> and [count] its [items]",
            "[get] the number of [items] in the json (string|text) $raw",
            "[count] how many [items] the json (string|text) $raw has",
            "load the json $raw and [get] its length",
            "[compute] how many [items] are in the json (string|text) $raw",
        ),
        say=(
            "how many [items] are in the json (string|text) $raw",
            "length of the json (list|array) $raw",
            "number of [items] in the json $raw",
        ),
        fn="json_length",
        imports=_IMPORT,
        code="len(json.loads($raw))",
        check=gives(("$raw = '[1, 2, 3]'", "3"), ("$raw = '[]'", "0")),
    ),
)
