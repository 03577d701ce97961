"""Reads template.yaml: its parameters, what is wrong with values for them, and the text with the code's locations."""

import functools
import pathlib
import re

import yaml

from .settings import ROOT

CODE_URI = re.compile(r"CodeUri: target/lambda/([a-z]+)/")
# Functions with a short form, apart from Ref and Condition.
FUNCTIONS = {"And", "Equals", "FindInMap", "GetAtt", "If", "Join", "Not", "Or", "Select", "Split", "Sub"}
# What the regular expressions of Rust's `regex` do not have: look-around and back-references.
NOT_IN_RUST = re.compile(r"\(\?<?[=!]|\\[1-9]")


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms kept as {"Fn": value}."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix: value}


Loader.add_multi_constructor("!", _short_form)


def text(path: pathlib.Path = ROOT / "template.yaml") -> str:
    return path.read_text()


@functools.cache
def load(source: str) -> dict:
    return yaml.load(source, Loader)


def parameters(source: str) -> dict[str, dict]:
    return load(source)["Parameters"]


def long_forms(value):
    """Replaces CloudFormation's short forms, as `load` returns them, by those of JSON."""
    if isinstance(value, list):
        return [long_forms(part) for part in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(name, argument)] = value.items()
        if name in FUNCTIONS:
            argument = argument.split(".", 1) if name == "GetAtt" and isinstance(argument, str) else argument
            return {f"Fn::{name}": long_forms(argument)}
    return {key: long_forms(part) for key, part in value.items()}


def with_code(source: str, uris: dict[str, str]) -> str:
    """Replaces the folder of each function by the location of its zip."""
    return CODE_URI.sub(lambda match: f"CodeUri: {uris[match[1]]}", source)


def problems(source: str, values: dict[str, str]) -> list[str]:
    """What is wrong with values for parameters: all that CloudFormation would refuse, and wrong patterns."""
    known, found = parameters(source), []
    for name, value in values.items():
        if name not in known:
            found.append(f"the template has no parameter {name}")
            continue
        parameter = known[name]
        allowed = [str(one) for one in parameter.get("AllowedValues", [])]
        members = [part.strip() for part in value.split(",")] if parameter["Type"] == "CommaDelimitedList" else [value]
        pattern = parameter.get("AllowedPattern", ".*")
        rule = parameter.get("ConstraintDescription") or f"must match {pattern}"
        if allowed and value not in allowed:
            found.append(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        elif not all(re.fullmatch(pattern, member, re.DOTALL) for member in members):
            found.append(f"{name} {rule}, not {value!r}")
        elif parameter["Type"] == "Number" and not allowed:
            found += _number_problems(name, parameter, value)
    found += _pattern_problems(values.get("RedactPatterns", "-"))
    return found


def _number_problems(name: str, parameter: dict, value: str) -> list[str]:
    least, most = parameter.get("MinValue", "-inf"), parameter.get("MaxValue", "inf")
    try:
        if float(least) <= float(value) <= float(most):
            return []
    except ValueError:
        pass
    return [f"{name} must be a number from {least} to {most}, not {value!r}"]


def _pattern_problems(patterns: str) -> list[str]:
    """CloudFormation cannot check a regular expression; a wrong one stops three functions at their start."""
    found = []
    for pattern in patterns.split():
        if NOT_IN_RUST.search(pattern):
            found.append(f"RedactPatterns: {pattern!r} has a look-around or a back-reference, which is not supported")
            continue
        try:
            re.compile(pattern)
        except re.error as error:
            found.append(f"RedactPatterns: {pattern!r}: {error}")
    return found
