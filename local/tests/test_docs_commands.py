"""The runner of the pages' commands."""

import docs_commands

PAGE = """# Page

```sh
echo first
```

## A task

```sh
logferry keys create
```

```text
{"key_id":"…","name":"Ada"}
… ERROR  payment failed
```

```sh
aws lambda invoke
```
"""


def test_a_block_has_its_title_and_the_answer_that_follows_it():
    first, second = docs_commands.blocks(PAGE)
    assert (first.title, first.answer) == ("the beginning", "")
    assert (second.title, second.commands) == ("A task", "logferry keys create\n")
    assert second.answer.startswith('{"key_id"')


def test_lines_that_were_not_printed_are_missing_whatever_differs_from_run_to_run():
    answer = docs_commands.blocks(PAGE)[1].answer
    printed = '{"key_id":"12","name":"Ada"}\n2026-11-26 ERROR payment failed\nmore\n'
    assert docs_commands.missing(answer, printed) == []
    assert docs_commands.missing(answer, printed.replace("Ada", "Bob")) == ['{"key_id":"…","name":"Ada"}']
