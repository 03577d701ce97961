"""Stacks of one account share nothing, whatever their names and regions; SAM's local tools resolve every value."""

import re

import pytest
from expanded import ACCOUNT, Stack, as_list, transformed

# Physical names, by type. A resource without its name here gets a generated one, which is unique.
NAMES = {
    "AWS::ApiGatewayV2::Api": [],  # its name need not be unique
    "AWS::ApiGatewayV2::DomainName": [],  # a parameter, which has no default
    "AWS::CloudWatch::Alarm": ["AlarmName"],
    "AWS::CloudWatch::Dashboard": ["DashboardName"],
    "AWS::DynamoDB::Table": ["TableName"],
    "AWS::Events::Rule": ["Name"],
    "AWS::IAM::ManagedPolicy": ["ManagedPolicyName"],
    "AWS::IAM::Role": ["RoleName"],
    "AWS::Lambda::Function": ["FunctionName"],
    "AWS::Logs::LogGroup": ["LogGroupName"],
    "AWS::S3::Bucket": ["BucketName"],
    "AWS::SecretsManager::Secret": ["Name"],
    "AWS::SNS::Topic": ["TopicName"],
    "AWS::SQS::Queue": ["QueueName"],
}
# Types whose names are unique over all regions.
GLOBAL = ["AWS::CloudWatch::Dashboard", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::S3::Bucket"]
# Types that belong to another resource, or have no name.
UNNAMED = {
    "AWS::ApiGatewayV2::ApiMapping", "AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission", "AWS::Route53::RecordSet", "AWS::S3::BucketPolicy", "AWS::SNS::Subscription",
}  # fmt: skip
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
EVERY_OPTION = {
    "KmsKeyArn": KEY, "VpcSubnetIds": "subnet-0a,subnet-0b", "VpcSecurityGroupIds": "sg-0a", "Tracing": "Active",
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary", "RolePath": "/teams/logs/",
    "AlarmEmail": "a@example.com", "HealthEmail": "a@example.com",
    "DomainName": "logs.example.com", "CertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/c",
    "HostedZoneId": "Z1", "LogGroupApps": "/aws/lambda/shop-*=shop", "RecordMetrics": "true", "ErrorAlarmApp": "shop",
}  # fmt: skip


def names(stack: Stack, kinds) -> set[tuple[str, str]]:
    found = set()
    for kind in kinds:
        for properties in stack.of_type(kind).values():
            found |= {(kind, properties[name]) for name in NAMES[kind] if name in properties}
    return found


def shared_places(stack: Stack) -> set[str]:
    """What a stack writes to by name: its metrics' namespace, its apps' log groups, its dashboard's queries."""
    places = set()
    for properties in stack.of_type("AWS::Lambda::Function").values():
        variables = properties["Environment"]["Variables"]
        places |= {variables[name] for name in ("METRICS_NAMESPACE", "LOG_GROUP_PREFIX") if name in variables}
    for properties in stack.of_type("AWS::CloudWatch::Alarm").values():
        if not properties.get("Namespace", "AWS/").startswith("AWS/"):
            places.add(properties["Namespace"])
    return places


@pytest.mark.parametrize("options", [{}, EVERY_OPTION])
def test_two_stacks_of_a_region_share_no_name_no_namespace_and_no_log_group(options):
    one, two = Stack("one", **options), Stack("two", **options)
    assert names(one, NAMES) & names(two, NAMES) == set()
    assert shared_places(one) & shared_places(two) == set()
    assert shared_places(one) == {"Logferry/one", "/one"}


def test_stacks_of_one_name_in_two_regions_share_no_name_that_is_unique_over_regions():
    one, two = Stack("one", "us-east-1"), Stack("one", "eu-west-1")
    assert names(one, GLOBAL) & names(two, GLOBAL) == set()


def test_every_resource_of_the_template_is_in_a_stack_with_every_option_and_of_a_type_that_these_tests_know():
    stack = Stack("one", **EVERY_OPTION)
    assert stack.resources.keys() == stack.template["Resources"].keys()
    assert {resource["Type"] for resource in stack.resources.values()} - NAMES.keys() - UNNAMED == set()


def test_no_two_functions_of_one_stack_share_a_name():
    functions = [properties["FunctionName"] for properties in Stack().of_type("AWS::Lambda::Function").values()]
    assert len(functions) == len(set(functions)) == 7


# An attribute of a resource within a text of Fn::Sub.
ATTRIBUTE = re.compile(r"\$\{\w+\.")


def functions_of(value) -> set[str]:
    if isinstance(value, dict):
        own = {key for key in value if key == "Ref" or key.startswith("Fn::")}
        if "Fn::Sub" in value and ATTRIBUTE.search(str(value["Fn::Sub"])):
            own.add("Fn::GetAtt")
        return own.union(*map(functions_of, value.values()))
    return set().union(*map(functions_of, value)) if isinstance(value, list) else set()


def test_every_environment_value_resolves_under_sam_local():
    # SAM's local resolver knows these for every resource; of GetAtt it knows the ARN of some.
    known = {"Ref", "Fn::Sub", "Fn::If"}
    checked = 0
    for name, resource in transformed()["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            for variable, value in resource["Properties"]["Environment"]["Variables"].items():
                assert functions_of(value) <= known, f"{variable} of {name}"
                checked += 1
    assert checked > 90


def test_the_routes_name_their_functions_so_that_sam_local_start_api_finds_them():
    stack = Stack()
    names = {function["FunctionName"] for function in stack.of_type("AWS::Lambda::Function").values()}
    for name, integration in stack.of_type("AWS::ApiGatewayV2::Integration").items():
        assert stack.template["Resources"][name]["Properties"]["IntegrationUri"].keys() == {"Fn::Sub"}
        arn, _, function = integration["IntegrationUri"].partition(":function:")
        assert arn == f"arn:aws:lambda:{stack.region}:{ACCOUNT}" and function in names


def test_sam_build_takes_the_functions_as_make_build_left_them():
    for name, resource in transformed()["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            assert resource["Metadata"]["SkipBuild"] is True, name


def test_every_option_reaches_what_it_names():
    stack = Stack("one", **EVERY_OPTION)
    for name, properties in stack.of_type("AWS::IAM::Role").items():
        assert properties["Path"] == "/teams/logs/"
        assert properties["PermissionsBoundary"].endswith(":policy/boundary"), name
        assert properties["ManagedPolicyArns"] == [f"arn:aws:iam::{ACCOUNT}:policy/one-OptionsPolicy"]
    for properties in stack.of_type("AWS::Lambda::Function").values():
        assert properties["VpcConfig"] == {"SubnetIds": ["subnet-0a", "subnet-0b"], "SecurityGroupIds": ["sg-0a"]}
        assert properties["TracingConfig"] == {"Mode": "Active"}
    for properties in stack.of_type("AWS::DynamoDB::Table").values():
        assert properties["SSESpecification"]["KMSMasterKeyId"] == KEY
    for properties in stack.of_type("AWS::S3::Bucket").values():
        [rule] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    for kind, member in {
        "AWS::SecretsManager::Secret": "KmsKeyId", "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId", "AWS::SQS::Queue": "KmsMasterKeyId",
    }.items():  # fmt: skip
        for name, properties in stack.of_type(kind).items():
            assert properties[member] == KEY, name


def test_without_options_the_roles_have_nothing_for_them():
    stack = Stack()
    assert stack.of_type("AWS::IAM::ManagedPolicy") == {}
    for properties in stack.of_type("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in properties and "PermissionsBoundary" not in properties
    for properties in stack.of_type("AWS::Lambda::Function").values():
        assert "VpcConfig" not in properties


def test_a_custom_domain_is_mapped_to_the_stage_and_becomes_the_address_of_the_api():
    certificate = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/c"
    options = {"DomainName": "logs.example.com", "CertificateArn": certificate, "HostedZoneId": "Z1"}
    stack = Stack("one", **options, DefaultEndpoint="disabled")
    assert stack.refused_by() == []
    assert stack.resources["HttpApi"]["Properties"]["DisableExecuteApiEndpoint"] is True
    assert stack.resources["ApiDomainMapping"]["Properties"]["Stage"] == "one-HttpStage"
    assert stack.resources["ApiDomainRecord"]["Properties"]["Name"] == "logs.example.com"
    assert stack.resolve(stack.template["Outputs"]["ApiUrl"]["Value"]) == "https://logs.example.com"
    assert Stack().resources.keys().isdisjoint({"ApiDomain", "ApiDomainMapping", "ApiDomainRecord"})


def test_the_policy_of_ingest_names_the_bucket_whatever_it_is_called():
    for options in ({}, {"LogBucketName": "company-logs"}):
        stack = Stack("one", **options)
        bucket = stack.resources["LogBucket"]["Properties"]["BucketName"]
        assert stack.resources["IngestFunction"]["Properties"]["Environment"]["Variables"]["BUCKET"] == bucket
        for statement in stack.resources["IngestRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]:
            for arn in as_list(statement["Resource"]):
                assert ":s3:::" not in arn or arn.removeprefix("arn:aws:s3:::").split("/")[0] == bucket


def test_log_groups_may_invoke_ingest_only_if_some_are_assigned_and_only_those_of_the_account():
    def permissions(stack: Stack) -> list[dict]:
        all_of_them = stack.of_type("AWS::Lambda::Permission").values()
        return [properties for properties in all_of_them if properties["Principal"].startswith("logs")]

    assert permissions(Stack("one")) == []
    stack = Stack("one", LogGroupApps="/aws/lambda/shop-*=shop")
    [permission] = permissions(stack)
    assert permission == {
        "FunctionName": "one-IngestFunction",  # the reference
        "Action": "lambda:InvokeFunction",
        "Principal": "logs.amazonaws.com",
        "SourceAccount": ACCOUNT,
        "SourceArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:*",
    }
    # What grows with each delivery is known to the function.
    variables = stack.resources["IngestFunction"]["Properties"]["Environment"]["Variables"]
    own = [stack.resources[f"{name}LogGroup"]["Properties"]["LogGroupName"] for name in ("Ingest", "Flush")]
    assert variables["OWN_LOG_GROUPS"].split(",") == own
    flush = stack.resources["FlushFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["RECORD_GROUP_PREFIX"] == flush["LOG_GROUP_PREFIX"]
