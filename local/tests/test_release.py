"""What a release consists of, and the workflow and the Terraform module that name its files."""

import hashlib
import json
import re
import zipfile

import pytest
import yaml

from stack import package, template
from stack.settings import FUNCTIONS, ROOT, Problem

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
MACHINES = {"x86_64": b"\x3e\x00", "arm64": b"\xb7\x00"}


def programs(folder, architecture: str):
    for name in FUNCTIONS:
        (folder / name).mkdir(parents=True)
        program = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + MACHINES[architecture] + name.encode()
        (folder / name / "bootstrap").write_bytes(program)
    return folder


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_a_package_has_a_zip_for_each_function_and_a_template_that_names_them(tmp_path, architecture):
    written = package.package(programs(tmp_path / "built", architecture), architecture, tmp_path / "dist")
    source = (tmp_path / "dist" / f"logferry-{architecture}.yaml").read_text()
    document = template.load(source)
    assert document["Parameters"]["Architecture"]["Default"] == architecture
    assert "LicenseUrl" not in source, "names a file that is not in the package"
    for name in FUNCTIONS:
        uri = document["Resources"][f"{name.capitalize()}Function"]["Properties"]["CodeUri"]
        with zipfile.ZipFile(tmp_path / "dist" / uri) as packed:
            assert packed.namelist() == ["bootstrap"]
    *files, sums = written
    lines = dict(reversed(line.split()) for line in sums.read_text().splitlines())
    assert lines == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_program_of_another_architecture_is_not_packed(tmp_path):
    with pytest.raises(Problem, match="compiled for arm64"):
        package.package(programs(tmp_path / "built", "arm64"), "x86_64", tmp_path / "dist")


def test_the_workflow_builds_both_architectures_and_publishes_what_all_jobs_built():
    jobs = WORKFLOW["jobs"]
    assert jobs["functions"]["strategy"]["matrix"]["architecture"] == ["x86_64", "arm64"]
    assert set(jobs["publish"]["needs"]) == {"functions", "cli", "npm"}
    uploaded = [
        step["with"]["name"] for job in jobs.values() for step in job["steps"] if "upload-artifact" in str(step)
    ]
    assert len(uploaded) == 3
    for name, job in jobs.items():
        assert job["timeout-minutes"], name
        for step in job["steps"]:
            for target in re.findall(r"^make (\S+)$", step.get("run", ""), re.MULTILINE):
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_only_the_job_that_publishes_may_write():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writers = {name for name, job in WORKFLOW["jobs"].items() if "write" in json.dumps(job.get("permissions", {}))}
    assert writers == {"publish"}


def test_the_terraform_module_uploads_the_zips_of_a_release_and_returns_outputs_that_exist():
    text = (ROOT / "terraform" / "main.tf").read_text()
    [listed] = re.findall(r"functions = toset\((\[.*\])\)", text)
    assert json.loads(listed) == list(FUNCTIONS)
    assert package.zip_name("${name}", "${var.architecture}") in text
    outputs = template.load(template.text())["Outputs"]
    named = re.findall(r'outputs\["(\w+)"\]', (ROOT / "terraform" / "outputs.tf").read_text())
    assert named and set(named) <= outputs.keys()
    declared = set(re.findall(r'variable "(\w+)"', (ROOT / "terraform" / "variables.tf").read_text()))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared


def test_samconfig_names_options_for_the_commands_of_the_documentation():
    import tomllib

    options = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    assert options["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"
    assert options["deploy"]["parameters"]["resolve_s3"] is True
