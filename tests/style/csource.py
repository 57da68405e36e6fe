"""Just enough reading of C for the style rules; the code is clang-formatted."""

import re

_TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
# What may stand where a name of a function would.
_KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "else", "do", "defined", "_Static_assert",
             "static_assert", "__attribute__"}
_SIGNATURE = re.compile(r"([A-Za-z_]\w*)\s*\($")


def _blank(match):
    text = match.group(0)
    if text.startswith(("//", "/*")):
        return re.sub(r"[^\n]", " ", text)
    return text[0] + " " * (len(text) - 2) + text[-1]


def strip(source):
    """SOURCE with comments and the insides of strings blanked, lines kept."""
    return _TOKENS.sub(_blank, source)


def _without_preprocessor(bare):
    lines, going = [], False
    for line in bare.split("\n"):
        directive = going or line.lstrip().startswith("#")
        going = directive and line.endswith("\\")
        lines.append("" if directive else line)
    return "\n".join(lines)


def _name_before(head):
    """Name of the function whose signature HEAD is, or None."""
    depth = 0
    head = re.sub(r"__attribute__\s*\(\(.*\)\)", "", head, flags=re.DOTALL).rstrip()
    if not head.endswith(")"):
        return None
    for index in range(len(head) - 1, -1, -1):
        depth += (head[index] == ")") - (head[index] == "(")
        if depth == 0:
            match = _SIGNATURE.search(head[:index + 1])
            return match.group(1) if match and match.group(1) not in _KEYWORDS else None
    return None


def _top_level(bare):
    """(text, start, opener position or None, end) of each declaration at top level."""
    start = index = 0
    while index < len(bare):
        char = bare[index]
        if char == ";":
            yield bare[start:index], start, None, index
            start = index + 1
        elif char == "{":
            if re.search(r'extern\s*"\s*"?\s*$|extern\s*"[^"]*"\s*$', bare[start:index]):
                start = index + 1
            else:
                opener, depth = index, 0
                while index < len(bare):
                    depth += (bare[index] == "{") - (bare[index] == "}")
                    if depth == 0:
                        break
                    index += 1
                yield bare[start:opener], start, opener, index
                if _name_before(bare[start:opener]):
                    start = index + 1
        elif char == "}":
            start = index + 1
        index += 1


def functions(source):
    """(name, first line, last line) of each function defined in SOURCE."""
    bare = _without_preprocessor(strip(source))
    for head, start, opener, end in _top_level(bare):
        name = _name_before(head) if opener is not None else None
        if name and "=" not in head.split(name)[0]:
            lead = len(head) - len(head.lstrip())
            yield name, bare.count("\n", 0, start + lead) + 1, bare.count("\n", 0, end) + 1


def prototypes(source):
    """(name, line) of each function declared, not defined, in SOURCE."""
    bare = _without_preprocessor(strip(source))
    for head, start, opener, _ in _top_level(bare):
        if opener is not None or "typedef" in head or "{" in head:
            continue
        name = _name_before(head)
        lead = len(head) - len(head.lstrip())
        if name and len(head[:head.find(name)].split()) >= 1 and "=" not in head:
            yield name, bare.count("\n", 0, start + lead) + 1


def comment_before(source, line):
    """Whether a comment stands right above LINE, perhaps with more prototypes in between
    (one comment may speak for a group without blank lines)."""
    lines = source.split("\n")
    index = line - 2
    while index >= 0:
        text = lines[index].rstrip()
        if text.endswith("*/") or text.lstrip().startswith("//"):
            return True
        if not text.strip() or text.lstrip().startswith("#") or text.endswith("{"):
            return False
        index -= 1
    return False
