"""Reads a YAML file into a pydantic model, and says file, line and remedy when that fails.

A model may refuse values in relation to one another by raising LocatedError (or any ValueError with a `where` tuple)
from a validator; the path is relative to that model, and the message gets the line of what it points at.
"""

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
Where = tuple[str | int, ...]

# Of several problems on one line, a misspelt key explains a missing one.
_TELLING = {"extra_forbidden": 0, "missing": 2}


class FileProblem(Exception):  # noqa: N818 - users meet it as a message, not as an error class
    """A file that cannot be used: `path` as it was given, `line` counted from 1, and what would be right."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path = path
        self.line = line
        self.message = message


class LocatedError(ValueError):
    """A value that is wrong in relation to another; `where` is its path inside the model that complains."""

    def __init__(self, where: Where, message: str) -> None:
        super().__init__(message)
        self.where = where


def load_model(text: str, name: str, model: type[M]) -> M:
    """Return `model` read from the YAML document `text`; `name` is the file's name in messages.

    Raises FileProblem with the first line that is wrong: syntax, a key given twice, a key that is unknown or
    missing, or a value that the model refuses.
    """
    root, data = _read(text, name)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _first_problem(name, root, model, error) from None


def _read(text: str, name: str) -> tuple[yaml.Node, Any]:
    """Return the document as nodes, which know their lines, and as values."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise FileProblem(name, 1, "the file is empty")
        _refuse_duplicates(root, name)
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise FileProblem(name, _marked_line(error), f"not valid YAML: {_marked_message(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FileProblem(name, line, f"character {_shown_character(error.character)} is not allowed in YAML") from None
    except RecursionError:
        raise FileProblem(name, 1, "nested too deeply") from None
    except ValueError as error:
        raise FileProblem(name, 1, f"a value cannot be read: {error}") from None


def _shown_character(character: Any) -> str:
    return repr(chr(character)) if isinstance(character, int) else repr(character)


def _marked_line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _marked_message(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)


def _refuse_duplicates(root: yaml.Node, name: str) -> None:
    for node in _mappings(root):
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            token, line = (key.tag, key.value), key.start_mark.line + 1
            if token in seen:
                raise FileProblem(name, line, f"key {key.value!r} is given twice, first on line {seen[token]}")
            seen[token] = line


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield every mapping once, in document order; aliases may make the document a graph."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            stack.extend(part for pair in reversed(node.value) for part in reversed(pair))
        else:
            stack.extend(reversed(node.value))


def _first_problem(name: str, root: yaml.Node, model: type[BaseModel], error: ValidationError) -> FileProblem:
    details = _without_echoes(error.errors(include_url=False))
    found = [(*_problem(root, model, detail), _TELLING.get(detail["type"], 1)) for detail in details]
    line, message, _ = min(found, key=lambda problem: (problem[0], problem[2]))
    more = len(found) - 1
    if more:
        message += f" (and {more} more problem{'s' if more > 1 else ''})"
    return FileProblem(name, line, message)


def _without_echoes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out "too short" where that is so because an item was refused, which is reported by itself."""
    wheres = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(where[:-1][: len(detail["loc"])] == detail["loc"] for where in wheres)
    ]


def _problem(root: yaml.Node, model: type[BaseModel], detail: ErrorDetails) -> tuple[int, str]:
    where = detail["loc"] + _inner_where(detail)
    line, path = _locate(root, where)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return line, _unknown_key(where, path, _fields_at(model, where[:-1]))
    if kind == "missing":
        return line, f"missing key {str(where[-1])!r} in {_shown(path)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return line, f"{_shown(path)} must be a mapping{_of_keys(_fields_at(model, where))}"
    if kind == "too_short":
        return line, f"{_shown(path)}: needs at least {detail['ctx']['min_length']} entry"
    if kind == "value_error":
        return line, f"{_shown(path)}: {detail['msg'].removeprefix('Value error, ')}"
    message = detail["msg"].removeprefix("Input ").removeprefix("Value ")
    return line, f"{_shown(path)}: {message[0].lower()}{message[1:]}, not {_brief(detail['input'])}"


def _inner_where(detail: ErrorDetails) -> Where:
    where: Where = getattr(detail.get("ctx", {}).get("error"), "where", ())
    return where


def _unknown_key(where: Where, path: Where, allowed: list[str]) -> str:
    key = str(where[-1])
    parent = path[:-1] if path and path[-1] == where[-1] else path
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown key {key!r} in {_shown(parent)}{hint}{' ' if hint else '; '}allowed: {', '.join(allowed)}"


def _of_keys(allowed: list[str]) -> str:
    return f" with the keys {', '.join(allowed)}" if allowed else ""


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shown(path: Where) -> str:
    if not path:
        return "the document"
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _locate(root: yaml.Node, where: Where) -> tuple[int, Where]:
    """Return the line of what `where` points at, or of the nearest thing around it that exists, and its path."""
    node, line = root, root.start_mark.line + 1
    path: Where = ()
    for part in where:
        found = _child(node, part)
        if found is None:
            continue  # pydantic also puts names of union members into its paths
        key, node = found
        path = (*path, part)
        line = (key or node).start_mark.line + 1
    if path == where and isinstance(node, yaml.ScalarNode):
        return node.start_mark.line + 1, path
    return line, path


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    if isinstance(node, yaml.MappingNode):
        pairs = reversed(node.value)  # a key of its own stands behind those that `<<` merged in
        return next(((key, value) for key, value in pairs if key.value == str(part)), None)
    return None


def _fields_at(model: type[BaseModel], where: Where) -> list[str]:
    """Return the keys that are allowed at `where`; empty when that is no model."""
    found = _models_in(model)
    for part in where:
        found = [inner for outer in found for inner in _step(outer, part)] or found
    return sorted({key for one in found for key in _keys(one)}) if found else []


def _keys(annotation: Any) -> list[str]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    return [field.alias or name for name, field in annotation.model_fields.items()]


def _step(annotation: Any, part: str | int) -> list[Any]:
    """Return the types that a value of `annotation` may hold under `part`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {field.alias or name: field for name, field in annotation.model_fields.items()}
        return _models_in(fields[str(part)].annotation) if part in fields else []
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return _models_in(arguments[-1]) if arguments else []


def _models_in(annotation: Any) -> list[Any]:
    """Return the members of a union, without Annotated around them."""
    if get_origin(annotation) is Annotated:
        return _models_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in _models_in(member)]
    return [annotation]
