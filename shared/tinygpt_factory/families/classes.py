"""Classes: attributes, methods, and the first special methods."""

from tinygpt_factory.family import Family, calls, gives

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
            "[make] a class [called] $cls and give it a property $attr",
            "code a class $cls, it should have (a|an|the) $attr",
            "define a $cls with an __init__ that sets self.$attr",
            "[make] a class [called] $cls where each object has its own $attr",
            "[make] a class $cls whose constructor takes (a|an|the) $attr",
            "write a class $cls where i can save the $attr",
            "[make] a class [called] $cls with one field, $attr",
            "set up a class for (a|an) $cls holding its $attr",
            "start a class $cls with self.$attr",
        ),
        say=(
            "class $cls with attribute $attr",
            "class [called] $cls with (a|an) $attr",
            "$cls class with a $attr field",
            "class for a $cls that has (a|an) $attr",
            "i need a class $cls, every $cls has (a|an) $attr",
            "every $cls should have (a|an) $attr, class for that",
            "class $cls with an init method for $attr",
            "$cls class that saves $attr in self",
            "class $cls, constructor with parameter $attr",
            "class definition of $cls with $attr",
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
            "[make] a class [called] $cls and give it the properties $attr and $attr2",
            "code a class $cls, it should have $attr and $attr2",
            "define a $cls with an __init__ that sets self.$attr and self.$attr2",
            "[make] a class [called] $cls where each object has its own $attr and $attr2",
            "[make] a class $cls whose constructor takes $attr and $attr2",
            "write a class $cls where i can save the $attr and the $attr2",
            "[make] a class [called] $cls with two fields, $attr and $attr2",
            "set up a class for (a|an) $cls holding its $attr and $attr2",
            "start a class $cls with self.$attr and self.$attr2",
        ),
        say=(
            "class $cls with attributes $attr and $attr2",
            "class [called] $cls with $attr and $attr2",
            "$cls class with the fields $attr and $attr2",
            "i need a class $cls, every $cls has (a|an) $attr and (a|an) $attr2",
            "every $cls should have (a|an) $attr and $attr2, class for that",
            "class $cls with an init method for $attr and $attr2",
            "$cls class that saves $attr and $attr2 in self",
            "class $cls, constructor with parameters $attr and $attr2",
            "class $cls with two attributes: $attr and $attr2",
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
            "[make] a class [called] $cls that is empty",
            "[make] a class [called] $cls but leave it empty",
            "[make] a placeholder class [called] $cls",
            "declare an empty class $cls",
            "write the shortest possible class $cls",
            "define a class $cls without anything inside",
            "[make] a class $cls with only pass in the body",
            "start a class $cls that i will fill in later",
            "set up a class $cls with an empty body",
        ),
        say=(
            "empty class $cls",
            "class $cls with no content",
            "$cls class, empty",
            "class $cls that has nothing in it yet",
            "class $cls with pass",
            "an empty class, its name is $cls",
            "class [called] $cls, no attributes and no methods",
            "just an empty $cls class",
        ),
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
            "[make] a class [called] $cls that is a child of $cls2",
            "[make] a class [called] $cls based on $cls2",
            "[make] a $cls class extending $cls2",
            "let $cls inherit from $cls2",
            "make $cls inherit everything from $cls2",
            "use inheritance to [make] $cls from $cls2",
            "write a class $cls that gets everything from $cls2",
            "define a class $cls whose base class is $cls2",
            "subclass $cls2 as $cls",
        ),
        say=(
            "class $cls that inherits from $cls2",
            "subclass $cls of $cls2",
            "$cls as a child of the class $cls2",
            "inheritance: $cls is a kind of $cls2, empty class",
            "$cls inherits from $cls2",
            "class $cls with $cls2 as parent",
            "every $cls is a $cls2, empty subclass",
            "child class $cls of the parent class $cls2",
            "class $cls extends $cls2",
        ),
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
            "build an object from the class $cls with $attr <k>",
            "[make] an object of the class $cls where $attr is <k>",
            "call $cls with $attr = $k",
            "[make] a $cls with $attr=$k",
            "[make] one $cls, its $attr should be <k>",
            "[make] an object from class $cls and pass <k> as $attr",
            "use the class $cls to create an object with the $attr <k>",
            "[make] a $cls instance where the $attr equals <k>",
        ),
        say=(
            "new $cls with $attr <k>",
            "a $cls object whose $attr is <k>",
            "instance of $cls with $attr <k>",
            "$cls object with $attr=$k",
            "object of type $cls, $attr is <k>",
            "new instance of the class $cls with $attr = $k",
            "a $cls that has the $attr <k>",
            "a new $cls with <k> as its $attr",
            "i have a class $cls, how do i make an object with $attr <k>",
        ),
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
            "[make] a class [called] $cls where print shows the $attr",
            "define __str__ in a class $cls so that it returns its $attr",
            "[make] a class [called] $cls with (a|an) $attr, printing an object shows the $attr",
            "write a class $cls with init for $attr and __str__ giving the $attr",
            "[make] a class $cls that turns into its $attr as a string",
            "code a class $cls with $attr and a str method that returns $attr",
            "[make] a class $cls so that print of an object gives its $attr",
            "add __str__ to a class $cls with $attr, returning $attr",
            "write a class $cls with (a|an) $attr which is shown by print",
        ),
        say=(
            "class $cls with __str__ returning its $attr",
            "$cls class that prints its $attr",
            "when i print (a|an) $cls it should show its $attr, class for that",
            "class $cls with $attr and __str__",
            "class $cls whose string form is its $attr",
            "$cls class with a __str__ method for the $attr",
            "printing a $cls object shows its $attr, class",
            "class $cls with (a|an) $attr, print should give the $attr",
        ),
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
            "[make] a class [called] $cls with count = 0 and a method increment",
            "[make] a class $cls that keeps a count, with an increment method",
            "write a class $cls with self.count and increment",
            "build a counter as a class $cls with the method increment",
            "[make] a class [called] $cls to count things, with increment to add one",
            "define a counter class [called] $cls where increment raises count by one",
            "code a class $cls, count starts at zero and increment adds 1",
            "[make] a $cls class where calling increment makes count go up by one",
            "write a class $cls for counting, each increment adds one to count",
        ),
        say=(
            "counter class $cls with increment",
            "class $cls with a count and an increment method",
            "class $cls for counting with an increment method",
            "$cls is a class with a count, increment adds one",
            "counter as a class $cls, method increment",
            "class $cls where count starts at 0 and increment adds 1",
            "class that counts, [called] $cls, with increment",
        ),
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
            "[make] a class [called] $cls that has a method $fn which returns <w>",
            "[make] a class $cls and a method $fn in it that returns <w>",
            "add a method $fn that returns <w> to a class $cls",
            "code a class $cls, its $fn method should return <w>",
            "[make] a class $cls so that calling $fn gives <w>",
            "define class $cls with def $fn returning <w>",
            "write a $cls class, when i call $fn it returns <w>",
            "[make] a class $cls with one method $fn that gives <w>",
            "write a class for (a|an) $cls where the method $fn says <w> by returning it",
        ),
        say=(
            "class $cls with method $fn returning <w>",
            "$cls class whose $fn method returns <w>",
            "$cls class with a method [called] $fn that returns <w>",
            "class $cls, method $fn, return <w>",
            "class $cls where calling $fn returns <w>",
            "i want a class $cls with a $fn method that returns <w>",
            "in a class $cls, a method $fn that returns the string <w>",
            "class $cls: $fn should return <w>",
        ),
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
            "use @dataclass to make $cls with the strings $attr and $attr2",
            "[make] a class $cls with the dataclass decorator, $attr and $attr2 are strings",
            "[make] $cls a dataclass, fields $attr: str and $attr2: str",
            "create a dataclass for (a|an) $cls with $attr and $attr2 as str",
            "use dataclasses for a class $cls with text fields $attr and $attr2",
            "code a dataclass $cls holding two strings, $attr and $attr2",
            "[make] a dataclass [called] $cls that stores $attr and $attr2",
            "declare a dataclass $cls with $attr and $attr2, type str",
            "write a @dataclass $cls having $attr and $attr2",
        ),
        say=(
            "dataclass $cls with string fields $attr and $attr2",
            "dataclass $cls, fields $attr and $attr2, both str",
            "@dataclass $cls with $attr and $attr2",
            "$cls dataclass with $attr: str and $attr2: str",
            "data class [called] $cls with $attr and $attr2 both text",
            "dataclass [called] $cls for $attr and $attr2",
            "i want a dataclass $cls with the two string fields $attr and $attr2",
        ),
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
            "assign <k> to the attribute $attr of $n",
            "assign <k> to $n.$attr",
            "set $n.$attr to <k>",
            "change the $attr of the object $n to <k>",
            "change $n so that its attribute $attr is <k>",
            "put <k> in the attribute $attr of the object $n",
            "make $n.$attr equal to <k>",
            "update the object $n, $attr should be <k>",
            "replace the attribute $attr of $n by <k>",
        ),
        say=(
            "attribute $attr of the object $n should be <k>",
            "$n.$attr should be <k>",
            "attribute $attr of $n becomes <k>",
            "the object $n should have the $attr <k>",
            "i have an object $n and want its $attr to be <k>",
            "$n gets <k> as its attribute $attr",
            "new value <k> for the attribute $attr of the object $n",
        ),
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
            "[check] [if] the type of $n is the class $cls",
            "[check] [if] the object $n was created from $cls",
            "use isinstance to check $n against $cls",
            "[check] [if] $n is an object of the class $cls",
            "[check] with isinstance [if] $n is a $cls",
            "[check] the class of $n, is it $cls",
            "[check] [if] $n counts as a $cls instance",
            "find out [if] $n is some $cls object",
        ),
        say=(
            "is $n an instance of $cls",
            "is the object $n a $cls",
            "true if $n is an instance of $cls",
            "is $n of the class $cls",
            "is $n an object of class $cls",
            "isinstance check of $n for $cls",
            "was $n made from the class $cls",
            "does $n belong to the class $cls",
            "is $n a $cls or not, it is an object",
            "does the object $n have the class $cls",
            "true when $n is a $cls object",
        ),
        code="isinstance($n, $cls)",
        check="class $cls:\n    pass\n" + gives(("$n = $cls()", "True"), ("$n = 5", "False")),
    ),
    Family(
        name="classes.area",
        do=(
            "[make] a class $cls with $attr and $attr2 and a method area that multiplies them",
            "write a class $cls with $attr, $attr2 and an area method",
            "define a class $cls with $attr and $attr2, area returns $attr times $attr2",
            "[make] a $cls class that can compute its area from $attr and $attr2",
            "write a class [called] $cls with the sides $attr and $attr2 and a method for the area",
            "[make] a class $cls that stores $attr and $attr2 and knows its area",
            "code a class $cls, init takes $attr and $attr2, area gives their product",
            "[make] a class $cls where area multiplies $attr by $attr2",
            "set up a class $cls with $attr and $attr2 and the method area",
            "write a rectangle class [called] $cls with $attr, $attr2 and area",
            "[make] a class $cls with an area method that returns $attr * $attr2",
        ),
        say=(
            "class $cls with $attr and $attr2 and an area method",
            "class $cls with area, the product of $attr and $attr2",
            "class $cls with an area method using $attr and $attr2",
            "$cls class that has $attr, $attr2 and area",
            "rectangle class $cls with the sides $attr and $attr2 and area",
            "class [called] $cls, $attr times $attr2 is its area",
            "class $cls that computes its area from $attr and $attr2",
            "i need a class $cls with $attr and $attr2 which can tell its area",
            "$cls with $attr and $attr2 as a class, with an area method",
        ),
        code=(
            "class $cls:\n"
            "    def __init__(self, $attr, $attr2):\n"
            "        self.$attr = $attr\n"
            "        self.$attr2 = $attr2\n"
            "\n"
            "    def area(self):\n"
            "        return self.$attr * self.$attr2"
        ),
        check=calls("$cls(3, 4).area() == 12", "($cls(3, 4).$attr, $cls(3, 4).$attr2) == (3, 4)"),
    ),
    Family(
        name="classes.stack",
        do=(
            "[make] a stack class [called] $cls with push and pop",
            "write a class $cls with push and pop",
            "define a stack class $cls",
            "build a stack as a class [called] $cls",
            "[make] a class $cls that works like a stack",
            "implement a stack in a class [called] $cls",
            "code a stack $cls with the methods push and pop",
            "[make] a class $cls where push adds an item and pop takes the last one off",
            "use a list to [make] a stack class $cls",
            "write a class for a stack, its name is $cls",
            "[make] a last in first out class $cls with push and pop",
        ),
        say=(
            "stack class $cls",
            "stack class [called] $cls with push and pop methods",
            "class $cls with the methods push and pop",
            "class $cls that is a stack",
            "$cls class for a stack, push and pop",
            "a stack [called] $cls as a class",
            "i need a stack class, call it $cls",
            "class $cls with push and pop on a list",
            "stack data structure as a class $cls",
        ),
        code=(
            "class $cls:\n"
            "    def __init__(self):\n"
            "        self.items = []\n"
            "\n"
            "    def push(self, item):\n"
            "        self.items.append(item)\n"
            "\n"
            "    def pop(self):\n"
            "        return self.items.pop()"
        ),
        check="exec(code, globals())\ns = $cls()\ns.push(5)\ns.push(6)\nassert (s.pop(), s.pop()) == (6, 5)",
    ),
    Family(
        name="classes.attribute_and_method",
        do=(
            "[make] a class $cls with (a|an|the attribute) $attr and a method $fn that returns <w>",
            "write a class $cls with (a|an) $attr and a $fn method returning <w>",
            "define a class $cls with $attr, its method $fn returns <w>",
            "[make] a $cls class with (a|an) $attr whose method $fn gives <w>",
            "[make] a class [called] $cls that has (a|an) $attr and $fn returning <w>",
            "code a class $cls, init takes $attr and $fn returns <w>",
            "write a class for (a|an) $cls with (a|an) $attr which can $fn and then returns <w>",
            "[make] a class $cls that stores its $attr and has a method $fn that gives back <w>",
            "set up a class $cls with $attr in the constructor and a method $fn returning <w>",
            "[make] a class $cls with (a|an) $attr that returns <w> when you call $fn",
        ),
        say=(
            "class $cls with (a|an) $attr and a method $fn that returns <w>",
            "class $cls with $attr, method $fn returns <w>",
            "$cls class with (a|an) $attr and a $fn method returning <w>",
            "class $cls that has (a|an) $attr, and $fn gives <w>",
            "i need a class $cls with (a|an) $attr, its method $fn should return <w>",
            "class [called] $cls with attribute $attr and method $fn returning <w>",
            "every $cls has (a|an) $attr and a method $fn that returns <w>, class",
            "class $cls: $attr is an attribute, $fn returns <w>",
            "$cls with (a|an) $attr and the method $fn returning <w>, as a class",
            "class $cls, constructor with $attr, method $fn with return <w>",
        ),
        code=(
            "class $cls:\n"
            "    def __init__(self, $attr):\n"
            "        self.$attr = $attr\n"
            "\n"
            "    def $fn(self):\n"
            '        return "$w"'
        ),
        check=calls('$cls(5).$fn() == "$w"', "$cls(5).$attr == 5"),
    ),
)
