"""Paths: names, suffixes, folders. The expressions take `Path` from pathlib as imported."""

from tinygpt.data.recipes.family import Family, gives
from tinygpt.data.recipes.slots import Pool

_IMPORT = "from pathlib import Path"

FAMILIES = (
    Family(
        name="paths.exists",
        do=(
            "[check] [if] the file $path exists",
            "[check] [if] <path> exists",
            "[check] [if] there is a file at <path>",
            "[check] [if] the path $path is there",
            "[check] [if] a file <path> exists on disk",
        ),
        say=(
            "does the file $path exist",
            "does <path> exist",
            "is there a file at <path>",
            "true if the file $path exists",
        ),
        fn="file_exists",
        imports=_IMPORT,
        code="Path($path).exists()",
        check=gives(('open("a.txt", "w").close()\n$path = "a.txt"', "True"), ('$path = "nothing.txt"', "False")),
    ),
    Family(
        name="paths.suffix",
        do=(
            "[get] the (extension|file extension|suffix) of <path>",
            "[get] the ending of the file $path with the dot",
            "find out the (extension|suffix) of <path>",
            "[get] the file type (ending|extension) of <path>",
            "read the (extension|suffix) from <path>",
            "look up what extension <path> has",
        ),
        say=(
            "(extension|suffix|file extension) of <path>",
            "[whatis] the (extension|suffix) of <path>",
            "which extension does <path> have",
        ),
        fn="extension",
        imports=_IMPORT,
        code="Path($path).suffix",
        check=gives(('$path = "a/b.txt"', '".txt"'), ('$path = "c.tar"', '".tar"')),
    ),
    Family(
        name="paths.name",
        do=(
            "[get] the (file name|filename) (of|from) <path> without the (folder|directory)",
            "[get] just the (file name|filename) of <path>",
            "[get] the last part of the path $path",
            "cut the folders off <path> and keep the (file name|filename)",
            "[get] the name of the file at <path>",
            "strip the directories from the path $path",
        ),
        say=("(file name|filename) of the path $path", "<path> without its folders", "last part of the path $path"),
        fn="base_name",
        imports=_IMPORT,
        code="Path($path).name",
        check=gives(('$path = "a/b.txt"', '"b.txt"'), ('$path = "x/y/z"', '"z"')),
    ),
    Family(
        name="paths.stem",
        do=(
            "[get] the (file name|filename) of <path> without (the|its) extension",
            "[get] the name of the file $path without (the|its) (ending|extension)",
            "[get] the stem of <path>",
            "cut folder and extension off <path>",
            "[get] <path> with neither folder nor extension",
            "strip the extension from the file name of <path>",
        ),
        say=(
            "stem of <path>",
            "(file name|filename) of <path> without extension",
            "name of the file $path, no extension",
        ),
        fn="stem",
        imports=_IMPORT,
        code="Path($path).stem",
        check=gives(('$path = "a/b.txt"', '"b"'), ('$path = "x/y/z"', '"z"')),
    ),
    Family(
        name="paths.parent",
        do=(
            "[get] the (folder|directory|parent folder) of <path>",
            "[get] the (folder|directory) that <path> is in",
            "find the parent of the path $path",
            "[get] the folder which holds the file $path",
            "go one level up from the path $path",
            "[get] the directory part of <path>",
        ),
        say=("(folder|directory|parent) of <path>", "in which folder is <path>", "parent folder of the path $path"),
        fn="folder_of",
        imports=_IMPORT,
        code="Path($path).parent",
        check=gives(('$path = "a/b.txt"', 'Path("a")'), ('$path = "x/y/z"', 'Path("x/y")')),
    ),
    Family(
        name="paths.join",
        do=(
            "join <path> and <w> to a path",
            "join the path $path with <w>",
            "[make] a path from <path> and <w>",
            "add <w> to the path $path",
            "[append] <w> to the path $path",
            "[get] the path of <w> inside the folder $path",
            "go into <w> inside the folder $path",
        ),
        say=("path of <w> in the folder $path", "<path> joined with <w> as a path"),
        fn="path_inside",
        imports=_IMPORT,
        code='Path($path) / "$w"',
        check=gives(('$path = "a"', 'Path("a/$w")'), ('$path = "x/y"', 'Path("x/y/$w")')),
    ),
    Family(
        name="paths.list_suffix",
        do=(
            "list (all|) (the|) .<ext> files in the folder $path",
            "[get] (all|) (the|) .<ext> files (in|inside) <path>",
            "find (every|each|all) .<ext> file(s|) in the folder $path",
            "[get] a sorted list of the <ext> files in the folder $path",
            "collect the <ext> files of the folder $path, sorted",
            "search the folder $path for <ext> files",
        ),
        say=(
            "all .<ext> files in the folder $path",
            "which <ext> files are in the folder $path",
            "<ext> files in the folder $path",
        ),
        pools={"ext": Pool(("txt", "csv", "json", "py", "md", "png", "log", "html"), open=False)},
        fn="files_of_type",
        imports=_IMPORT,
        code='sorted(Path($path).glob("*.$ext"))',
        check=(
            'for name in ("txt", "csv", "json", "py", "md", "png", "log", "html"):\n'
            '    open("b." + name, "w").close()\n'
            '    open("a." + name, "w").close()\n'
            '$path = "."\n'
            'assert eval(code) == [Path("a.$ext"), Path("b.$ext")]'
        ),
    ),
)
