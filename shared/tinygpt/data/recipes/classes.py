"""Classes: attributes, methods, and the first special methods."""

from tinygpt.data.recipes.family import Family, calls, gives

FAMILIES = (
    Family(
        name="classes.one_attribute",
        do=(
            "[make] a class [called] $cls with (the|an) attribute $attr",
            "[make] a class $cls with (the|an) attribute $attr",
            "define a class $cls that has (a|an) $attr",
            "write a class $cls that stores (a|an|its) $attr",
            "[make] a $cls class with (a|an) $attr",
            "define class $cls, init takes $attr",
            "write a $cls class that keeps (a|an|its) $attr",
        ),
        say=(
            "class $cls with attribute $attr",
            "class [called] $cls with (a|an) $attr",
            "$cls class with a $attr field",
            "class for a $cls that has (a|an) $attr",
        ),
        code="class $cls:\n    def __init__(self, $attr):\n        self.$attr = $attr",
        check=calls("$cls(5).$attr == 5", '$cls("x").$attr == "x"'),
    ),
    Family(
        name="classes.two_attributes",
        do=(
            "[make] a class [called] $cls with (the|) attributes $attr and $attr2",
            "[make] a class $cls with $attr and $attr2",
            "define a class $cls that has (a|an) $attr and (a|an) $attr2",
            "write a class $cls that stores $attr and $attr2",
            "[make] a $cls class with $attr and $attr2",
            "define class $cls, init takes $attr and $attr2",
            "write a $cls class that keeps $attr and $attr2",
        ),
        say=(
            "class $cls with attributes $attr and $attr2",
            "class [called] $cls with $attr and $attr2",
            "$cls class with the fields $attr and $attr2",
        ),
        code=(
            "class $cls:\n"
            "    def __init__(self, $attr, $attr2):\n"
            "        self.$attr = $attr\n"
            "        self.$attr2 = $attr2"
        ),
        check=calls("($cls(5, 6).$attr, $cls(5, 6).$attr2) == (5, 6)", '$cls("x", "y").$attr2 == "y"'),
    ),
    Family(
        name="classes.empty",
        do=(
            "[make] an empty class [called] $cls",
            "[make] an empty class $cls",
            "define a class $cls with nothing in it",
            "write a class $cls that does nothing (yet|)",
            "[make] a class $cls without (any|) methods",
            "define a blank class $cls",
            "[make] a class $cls with just pass",
        ),
        say=("empty class $cls", "class $cls with no content", "$cls class, empty"),
        code="class $cls:\n    pass",
        check=calls('isinstance($cls, type) and $cls.__name__ == "$cls"', "isinstance($cls(), $cls)"),
    ),
    Family(
        name="classes.subclass",
        do=(
            "[make] a class $cls that inherits from $cls2",
            "[make] a subclass $cls of $cls2",
            "define $cls as a subclass of $cls2",
            "derive a class $cls from $cls2",
            "write a class $cls with the parent (class|) $cls2",
            "[make] $cls a child class of $cls2",
            "extend the class $cls2 with an empty class $cls",
            "let a new class $cls inherit from $cls2",
        ),
        say=("class $cls that inherits from $cls2", "subclass $cls of $cls2", "$cls as a child of the class $cls2"),
        code="class $cls($cls2):\n    pass",
        check=(
            "class $cls2:\n"
            "    pass\n"
            "exec(code, globals())\n"
            "assert issubclass($cls, $cls2) and $cls is not $cls2\n"
            "assert $cls.__name__ == '$cls'"
        ),
    ),
    Family(
        name="classes.create_object",
        do=(
            "[make] a $cls object with $attr <k>",
            "[make] an instance of $cls with $attr <k>",
            "instantiate $cls with $attr <k>",
            "[make] a new $cls whose $attr is <k>",
            "construct a $cls with the $attr set to <k>",
            "[get] a new object of class $cls with $attr <k>",
        ),
        say=("new $cls with $attr <k>", "a $cls object whose $attr is <k>", "instance of $cls with $attr <k>"),
        code="$cls($attr=$k)",
        check=(
            "class $cls:\n"
            "    def __init__(self, $attr):\n"
            "        self.$attr = $attr\n"
            "assert eval(code).$attr == $k\n"
            "assert type(eval(code)) is $cls"
        ),
    ),
    Family(
        name="classes.str_method",
        do=(
            "[make] a class $cls with (a|an) $attr that prints as its $attr",
            "[make] a class $cls with (a|an) $attr and a __str__ (method|) that returns it",
            "write a class $cls whose str is its $attr",
            "define a class $cls with $attr and str returning $attr",
            "write a class $cls that shows its $attr when printed",
            "[make] a $cls class where str gives the $attr",
        ),
        say=("class $cls with __str__ returning its $attr", "$cls class that prints its $attr"),
        code=(
            "class $cls:\n"
            "    def __init__(self, $attr):\n"
            "        self.$attr = $attr\n"
            "\n"
            "    def __str__(self):\n"
            "        return str(self.$attr)"
        ),
        check=calls('str($cls("abc")) == "abc"', "str($cls(5)) == '5'", "$cls(7).$attr == 7"),
    ),
    Family(
        name="classes.counter",
        do=(
            "[make] a class $cls that counts up with a method increment",
            "[make] a counter class $cls (with an increment method|)",
            "write a class $cls with a count and a method increment that adds one",
            "define a class $cls with count zero and increment",
            "[make] a class $cls whose increment method adds 1 to count",
            "write a $cls class that has a count starting at 0 and increment",
        ),
        say=("counter class $cls with increment", "class $cls with a count and an increment method"),
        code=(
            "class $cls:\n"
            "    def __init__(self):\n"
            "        self.count = 0\n"
            "\n"
            "    def increment(self):\n"
            "        self.count += 1"
        ),
        check=(
            "exec(code, globals())\nc = $cls()\nassert c.count == 0\nc.increment()\nc.increment()\nassert c.count == 2"
        ),
    ),
    Family(
        name="classes.method",
        do=(
            "[make] a class $cls with a method $fn that returns <w>",
            "write a class $cls with a method $fn returning <w>",
            "define a class $cls whose method $fn returns the text <w>",
            "[make] a $cls class with a $fn method that gives back <w>",
            "[make] a class $cls that returns <w> from its method $fn",
            "write a class $cls where $fn returns <w>",
        ),
        say=("class $cls with method $fn returning <w>", "$cls class whose $fn method returns <w>"),
        code='class $cls:\n    def $fn(self):\n        return "$w"',
        check=calls('$cls().$fn() == "$w"', 'list($cls().$fn()) == list("$w")'),
    ),
    Family(
        name="classes.dataclass",
        do=(
            "[make] a dataclass $cls with $attr and $attr2 (as strings|of type str)",
            "[make] a dataclass [called] $cls with the string fields $attr and $attr2",
            "define a dataclass $cls with the str fields $attr and $attr2",
            "write a dataclass $cls that has $attr and $attr2, both strings",
            "write $cls as a dataclass with strings $attr and $attr2",
            "define a data class $cls with text fields $attr and $attr2",
        ),
        say=("dataclass $cls with string fields $attr and $attr2", "dataclass $cls, fields $attr and $attr2, both str"),
        code="from dataclasses import dataclass\n\n\n@dataclass\nclass $cls:\n    $attr: str\n    $attr2: str",
        check=calls(
            '($cls("x", "y").$attr, $cls("x", "y").$attr2) == ("x", "y")',
            '$cls("x", "y") == $cls("x", "y") != $cls("y", "x")',
        ),
    ),
    Family(
        name="classes.set_attribute",
        do=(
            "set the $attr of the object $n to <k>",
            "set the attribute $attr of $n to <k>",
            "change the $attr attribute of $n to <k>",
            "give $n the $attr <k>",
            "store <k> in the attribute $attr of $n",
            "make the $attr of the object $n <k>",
            "update the attribute $attr on $n to <k>",
        ),
        say=("attribute $attr of the object $n should be <k>",),
        code="$n.$attr = $k",
        check=(
            "class Thing:\n"
            "    pass\n"
            "$n = Thing()\n"
            "exec(code, globals())\n"
            "assert vars($n) == {'$attr': $k}\n"
            "assert $n.$attr + 1 == $k + 1"
        ),
    ),
    Family(
        name="classes.is_instance",
        do=(
            "[check] [if] $n is a $cls object",
            "[check] [if] $n is an instance of $cls",
            "[check] [if] $n belongs to the class $cls",
            "[check] [if] the object $n is of class $cls",
            "[check] [if] $n was made from the class $cls",
        ),
        say=(
            "is $n an instance of $cls",
            "is the object $n a $cls",
            "true if $n is an instance of $cls",
            "is $n of the class $cls",
        ),
        code="isinstance($n, $cls)",
        check="class $cls:\n    pass\n" + gives(("$n = $cls()", "True"), ("$n = 5", "False")),
    ),
)
