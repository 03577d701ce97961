"""What a release consists of, and the workflow and the Terraform module that name its files."""

import hashlib
import json
import re
import shutil
import subprocess
import tomllib
import zipfile

import hcl2
import pytest
import yaml

from stack import aws, package, template
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


MODULE = {path.name: path for path in (ROOT / "terraform").glob("*.tf")}


def blocks(name: str, kind: str) -> dict[str, dict]:
    """The blocks of a kind in a file of the Terraform module, by label; the parser keeps the quotes."""
    parsed = hcl2.loads(MODULE[name].read_text())
    return {label.strip('"'): body for block in parsed.get(kind, []) for label, body in block.items()}


def test_the_terraform_module_uploads_the_zips_of_a_release_and_passes_all_its_variables():
    text = MODULE["main.tf"].read_text()
    [listed] = re.findall(r"functions = toset\((\[.*\])\)", text)
    assert json.loads(listed) == list(FUNCTIONS)
    assert package.zip_name("${name}", "${var.architecture}") in text
    declared = blocks("variables.tf", "variable")
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared.keys()
    assert all(variable.get("type") and variable.get("description") for variable in declared.values())
    assert blocks("main.tf", "resource").keys() == {"aws_s3_object", "aws_cloudformation_stack"}


def test_the_terraform_module_never_deletes_a_zip_that_a_rollback_needs():
    """An object whose key changes is replaced, and Terraform deletes the former one."""
    for name, zipped in blocks("main.tf", "resource")["aws_s3_object"].items():
        assert not re.search(r"sha|md5|version", zipped["key"]), name
    text = MODULE["main.tf"].read_text()
    assert "Version = zip.version_id" in text and "versionId=${aws_s3_object.template.version_id}" in text


def test_the_terraform_module_returns_outputs_that_the_template_has():
    outputs = template.load(template.text())["Outputs"]
    returned = blocks("outputs.tf", "output")
    assert returned
    for name, output in returned.items():
        for named in re.findall(r'outputs\["(\w+)"\]', output["value"]):
            assert named in outputs, name


# What a block of Terraform declares, as expressions name it.
DECLARED = {"variable": "var", "locals": "local", "data": "data", "resource": ""}
REFERENCE = re.compile(r"\b(var|local|data|aws_\w+)\.(\w+)(?:\.(\w+))?")


def declared(parsed: dict) -> set[str]:
    """The names of all that is declared: var.x, local.x, data.type.x, type.x."""
    names = set()
    for kind, prefix in DECLARED.items():
        for block in parsed.get(kind, []):
            for label, body in block.items():
                inner = body if kind in ("data", "resource") else {}
                parts = [prefix, label.strip('"')] if prefix else [label.strip('"')]
                names |= {".".join([*parts, name.strip('"')]) for name in inner} or {".".join(parts)}
    return names


def test_the_terraform_module_refers_only_to_what_it_declares():
    known = set().union(*(declared(hcl2.loads(path.read_text())) for path in MODULE.values()))
    for path in MODULE.values():
        code = re.sub(r"(?m)^\s*#.*$|\"[^\"$]*\"", "", path.read_text())
        for kind, name, third in REFERENCE.findall(code):
            wanted = f"{kind}.{name}.{third}" if kind == "data" else f"{kind}.{name}"
            assert wanted in known, f"{path.name}: {wanted}"


def test_the_example_of_the_terraform_module_gives_variables_and_parameters_that_exist():
    [example] = re.findall(r"(?ms)^```hcl\n(.*?)^```", (ROOT / "terraform" / "README.md").read_text())
    parsed = hcl2.loads(example)
    [module] = [body for block in parsed["module"] for body in block.values()]
    given = {name for name in module if not name.startswith("__")} - {"source"}
    variables = blocks("variables.tf", "variable")
    required = {name for name, body in variables.items() if "default" not in body}
    assert required <= given <= variables.keys()
    values = {name.strip('"'): str(value).strip('"') for name, value in module["parameters"].items()}
    assert values and template.problems(template.text(), values) == []
    assert set(re.findall(r"module\.logferry\.(\w+)", example)) <= blocks("outputs.tf", "output").keys()


def test_the_terraform_module_accepts_the_names_and_architectures_that_make_deploy_accepts():
    variables = blocks("variables.tf", "variable")
    conditions = {name: body["validation"][0]["condition"] for name, body in variables.items() if "validation" in body}
    parameter = template.parameters(template.text())["Architecture"]
    [listed] = re.findall(r"contains\((\[.*?\])", conditions["architecture"])
    assert json.loads(listed) == parameter["AllowedValues"]
    assert variables["architecture"]["default"].strip('"') == parameter["Default"]
    [pattern] = re.findall(r'regex\("(.*?)"', conditions["stack_name"])
    for name in ("logferry", "My-Company", "a", "1a", "a_b", "a" * 50, "a" * 51, "-a"):
        refused = any("must be a letter" in problem for problem in aws.name_problems(name, "1", "eu-west-1", "bucket"))
        assert bool(re.fullmatch(pattern, name)) != refused, name


def format_problems(text: str) -> list[str]:
    """What `terraform fmt` would change, as far as this can be seen without it: indentation by two spaces for each
    open bracket, equals signs of neighbouring lines in one column, spaces at the ends of lines."""
    found, depth, columns = [], 0, []
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).split("#")[0]
        closing = len(re.match(r"\s*([\])}]*)", code)[1])
        if line.strip() and len(line) - len(line.lstrip(" ")) != 2 * (depth - min(closing, 1)):
            found.append(f"{number}: indentation")
        if line != line.rstrip() or "\t" in line:
            found.append(f"{number}: space at the end, or a tab")
        opened = sum(code.count(one) for one in "[({") - sum(code.count(one) for one in "])}")
        equals = re.match(r"\s*\w+\s*(?==\s)", code)
        # A line that opens a block of several lines is aligned by itself or with those before it.
        columns = [*columns, equals.end()] if equals and opened <= 0 else []
        if len(set(columns[-2:])) > 1:
            found.append(f"{number}: the equals sign")
        depth += opened and (1 if opened > 0 else -1)
    return found


def test_the_terraform_module_is_indented_and_aligned():
    for path in MODULE.values():
        assert format_problems(path.read_text()) == [], path.name


@pytest.mark.parametrize(
    "text", ["a {\n   b = 1\n}\n", "a {\n  b = 1\n  long = 2\n}\n", "a {\n  b = 1 \n}\n", "a {\n\tb = 1\n}\n"]
)
def test_a_wrong_format_is_found(text):
    assert format_problems(text)


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed")
def test_the_terraform_module_has_the_format_of_terraform():
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", ROOT / "terraform"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_samconfig_names_options_for_the_commands_of_the_documentation():
    options = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    assert options["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"
    assert options["deploy"]["parameters"]["resolve_s3"] is True


def test_the_link_that_creates_a_stack_names_parameters_of_the_template():
    page = (ROOT / "docs" / "operations.md").read_text()
    [query] = re.findall(r"#/stacks/create/review\?(\S+)", page)
    named = re.findall(r"param_(\w+)=", query)
    assert named and set(named) <= template.load(template.text())["Parameters"].keys()
    assert "templateURL=https://" in query and "stackName=" in query
