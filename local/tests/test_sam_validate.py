"""The SAM translator finds what SAM would refuse."""

import pytest

import sam_validate
from stack.settings import ROOT

TEMPLATE = (ROOT / "template.yaml").read_text()


def test_the_template_is_valid():
    assert sam_validate.problems(TEMPLATE) == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("Type: DynamoDB\n", "Type: DynamoDBStream\n"),
        ("StartingPosition: TRIM_HORIZON", "Position: TRIM_HORIZON"),
        ("CodeUri: target/lambda/flush/", "Code: target/lambda/flush/"),
    ],
)
def test_a_wrong_event_or_property_is_refused(good, bad):
    assert TEMPLATE.count(good) == 1
    [problem] = sam_validate.problems(TEMPLATE.replace(good, bad))
    assert "Flush" in problem
