"""CloudFormation refuses, before it changes anything, what the functions would refuse at their start."""

import re

import pytest
from expanded import Stack, transformed
from test_template import TEMPLATE, TEST_MODULE, variables_of_template

from stack.settings import FUNCTIONS, ROOT

PARAMETERS = TEMPLATE["Parameters"]
PARSED = re.compile(r'\.(?:parsed|parsed_or|typed)(?:::<[^>]*>)?\(\s*"([A-Z][A-Z0-9_]*)"')
FALSE_OR_TRUE = ["true", "false"]


def parsed_parameters() -> set[str]:
    """The parameters that a function parses into a number or another type."""
    found = set()
    for function in FUNCTIONS:
        text = "".join(
            TEST_MODULE.sub("", path.read_text()) for path in (ROOT / "functions" / function / "src").rglob("*.rs")
        )
        values = variables_of_template(function)
        found |= {values[name]["Ref"] for name in PARSED.findall(text) if "Ref" in values.get(name, {})}
    return {name for name in found if name in PARAMETERS}


def test_numbers_that_functions_parse_are_whole_and_not_negative():
    checked = parsed_parameters() - {"ChimeApp"}
    assert len(checked) > 18
    for name in checked:
        if PARAMETERS[name].get("AllowedValues") == FALSE_OR_TRUE:
            continue
        for bad in ("", "1.5", "-1", "1e3", " 1", "ten", "9" * 20):
            assert name in Stack(**{name: bad}).refused_by(), (name, bad)
        assert name not in Stack(**{name: str(PARAMETERS[name]["Default"])}).refused_by()


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({"JoinVerifier": "chime"}, ["ChimeNeedsAnApp"]),
        ({"JoinVerifier": "chime", "ChimeApp": "meetings"}, []),
        ({"ChimeApp": "Not An App"}, ["ChimeApp"]),
        ({"LogGroupApps": "/aws/lambda/shop"}, ["LogGroupApps"]),
        ({"LogGroupApps": "/a=No App"}, ["LogGroupApps"]),
        ({"LogGroupApps": "/a=b,"}, ["LogGroupApps"]),
        ({"LogGroupApps": "/a*/b=c"}, ["LogGroupApps"]),
        ({"LogGroupApps": "/aws/lambda/shop-*=shop, /ecs/web=web,*=all"}, []),
        ({"HealthPorts": "80;443"}, ["HealthPorts"]),
        ({"HealthPorts": "65536"}, ["HealthPorts"]),
        ({"HealthPorts": "0"}, ["HealthPorts"]),
        ({"HealthPorts": "any"}, []),
        ({"HealthPorts": "80, 8443,65535"}, []),
        ({"HealthScheduleMinutes": "0"}, ["HealthScheduleMinutes"]),
        ({"HealthScheduleMinutes": "1441"}, ["HealthScheduleMinutes"]),
        ({"HealthScheduleMinutes": "1440"}, []),
        ({"SweepScheduleMinutes": "241"}, ["SweepScheduleMinutes"]),
        ({"SweepScheduleMinutes": "240"}, []),
        ({"AlarmEmail": "not-an-address"}, ["AlarmEmail"]),
        ({"MetricsNamespace": "AWS/Lambda"}, ["MetricsNamespace"]),
        ({"LogBucketName": "Company-Logs"}, ["LogBucketName"]),
        ({"DomainName": "logs.example.com"}, ["DomainNeedsACertificate"]),
        ({"HostedZoneId": "Z1"}, ["OnlyADomainHasARecord"]),
        ({"DefaultEndpoint": "disabled"}, ["OnlyADomainHasARecord"]),
        ({"VpcSubnetIds": "subnet-0a"}, ["SubnetsNeedASecurityGroup"]),
        ({"VpcSecurityGroupIds": "sg-0a"}, ["SecurityGroupsNeedASubnet"]),
        ({"KmsKeyArn": "alias/logs"}, ["KmsKeyArn"]),
        ({"PermissionsBoundaryArn": "boundary"}, ["PermissionsBoundaryArn"]),
    ],
)
def test_what_functions_or_services_would_refuse_is_refused_first(parameters, refused):
    assert Stack(**parameters).refused_by() == refused


def test_the_defaults_are_accepted():
    assert Stack().refused_by() == []


def test_every_parameter_has_a_description_and_a_place_in_one_group():
    groups = transformed()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]
    assert sorted(listed) == sorted(PARAMETERS)
    for name, parameter in PARAMETERS.items():
        assert parameter["Description"].strip().endswith("."), name
        assert len(parameter["Description"]) <= 4000


def test_the_version_is_that_of_the_workspace():
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert TEMPLATE["Mappings"]["Logferry"]["Release"]["Version"] == version
    application = TEMPLATE["Metadata"]["AWS::ServerlessRepo::Application"]
    assert application["SemanticVersion"] == version
    assert (ROOT / application["LicenseUrl"]).exists() and (ROOT / application["ReadmeUrl"]).exists()
