"""Plants one mutation in a copy of the repository: plant.py MUTATION.txt COPY

A mutation says in its first lines what it breaks, then which models must find it and in which file it
lies; then follow the old text, which must be there exactly once, and the new. White space between
tokens and a trailing comma do not count, so that reformatting the source does not lose a mutation.
Prints the file and the models.
"""

import pathlib
import re
import sys


def read(path):
    head, _, texts = path.read_text().partition("\n--- old\n")
    old, found, new = texts.partition("\n--- new\n")
    files = re.findall(r"^file: (\S+)$", head, re.MULTILINE)
    models = re.findall(r"^model: (\S+)$", head, re.MULTILINE)
    if not found or len(files) != 1 or not models:
        sys.exit(f"{path.name} needs one `file:`, a `model:`, `--- old` and `--- new`")
    return files[0], models, old, new


def pattern(text):
    tokens = re.findall(r"\w+|[^\w\s]", text)
    parts = [re.escape(tokens[0])]
    for before, token in zip(tokens, tokens[1:]):
        words = before[-1].isalnum() and token[0].isalnum()
        comma = ",?\\s*" if token in ")]}" and before != "," else ""
        parts.append(("\\s+" if words else "\\s*" + comma) + re.escape(token))
    return re.compile("".join(parts))


def main():
    mutation, copy = map(pathlib.Path, sys.argv[1:])
    name, models, old, new = read(mutation)
    file = copy / name
    source = file.read_text()
    places = list(pattern(old).finditer(source))
    if len(places) != 1:
        sys.exit(f"{mutation.name}: its old text is {len(places)} times in {name}, not once")
    start, end = places[0].span()
    file.write_text(source[:start] + new.strip() + source[end:])
    print(name, *models)


main()
