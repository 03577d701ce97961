"""The tools of a deployment are a part of all tools, at the same versions."""

import importlib.metadata
import re

from stack.settings import ROOT


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / "local" / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))


def test_the_tools_of_a_deployment_have_the_versions_that_the_tests_run_with():
    everything = pinned("requirements.txt")
    for name, version in pinned("requirements-deploy.txt").items():
        assert everything.get(name, version) == version
        assert importlib.metadata.version(name) == version


def test_the_tools_of_a_deployment_list_all_that_they_require():
    listed = {name.lower() for name in pinned("requirements-deploy.txt")}
    for name in listed:
        for requirement in importlib.metadata.requires(name) or []:
            if "extra ==" not in requirement:
                assert re.match(r"[\w.-]+", requirement)[0].lower() in listed, f"{name} requires {requirement}"
