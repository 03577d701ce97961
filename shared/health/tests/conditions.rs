//! The condition language, case by case, from what Gatus documents.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use logferry_health_checks::condition::Condition;
use logferry_health_checks::condition::facts::Facts;
use logferry_health_checks::condition::steps::MAX_STEPS;

fn answer(status: u16, response_time_ms: u64) -> Facts {
    Facts::new(status, response_time_ms, true, 0, String::new())
}

fn body(text: &str) -> Facts {
    Facts::new(200, 10, true, 0, text.to_string())
}

fn certificate(hours: i64) -> Facts {
    Facts::new(200, 10, true, hours * 3_600_000, String::new())
}

fn unreachable() -> Facts {
    Facts::new(0, 0, false, 0, String::new())
}

/// An empty expectation means that the condition holds. Otherwise it is the failure's text.
#[track_caller]
fn check(condition: &str, facts: &Facts, expect: &str) {
    let parsed = Condition::parse(condition).unwrap_or_else(|reason| panic!("{condition} {reason}"));
    assert_eq!(parsed.as_str(), condition);
    let shown = parsed.evaluate(facts).err().unwrap_or_default();
    assert_eq!(shown, expect, "{condition}");
}

#[test]
fn status_is_compared_as_a_number() {
    let cases: [(&str, u16, &str); 22] = [
        ("[STATUS] == 200", 200, ""),
        ("[STATUS] == 200", 201, "[STATUS] (201) == 200"),
        ("[STATUS] == 200", 404, "[STATUS] (404) == 200"),
        ("[STATUS] != 200", 500, ""),
        ("[STATUS] != 200", 200, "[STATUS] (200) != 200"),
        ("[STATUS] < 300", 200, ""),
        ("[STATUS] < 300", 299, ""),
        ("[STATUS] < 300", 301, "[STATUS] (301) < 300"),
        ("[STATUS] < 300", 300, "[STATUS] (300) < 300"),
        ("[STATUS] <= 299", 299, ""),
        ("[STATUS] <= 299", 301, "[STATUS] (301) <= 299"),
        ("[STATUS] > 400", 401, ""),
        ("[STATUS] > 400", 400, "[STATUS] (400) > 400"),
        ("[STATUS] >= 400", 400, ""),
        ("[STATUS] >= 400", 399, "[STATUS] (399) >= 400"),
        ("[STATUS] == any(200, 429)", 200, ""),
        ("[STATUS] == any(200, 429)", 429, ""),
        ("[STATUS] == any(200, 429)", 404, "[STATUS] (404) == any(200, 429)"),
        ("[STATUS] != any(200, 429)", 404, ""),
        ("any(200, 429) == [STATUS]", 429, ""),
        ("[status] == 200", 200, ""),
        ("200 == [STATUS]", 200, ""),
    ];
    for (condition, status, expect) in cases {
        check(condition, &answer(status, 1), expect);
    }
    check("[STATUS] == 200", &unreachable(), "[STATUS] (0) == 200");
}

#[test]
fn patterns_apply_to_status_and_body() {
    check("[STATUS] == pat(4*)", &answer(404, 1), "");
    check("[STATUS] == pat(4*)", &answer(200, 1), "[STATUS] (200) == pat(4*)");
    check("[STATUS] != pat(4*)", &answer(200, 1), "");
    check("pat(2*) == [STATUS]", &answer(204, 1), "");
    let john = body(r#"{"name": "john.doe"}"#);
    check("[BODY] == pat(*john*)", &john, "");
    check("[BODY].name == pat(john*)", &john, "");
    check("[BODY].name == pat(bob*)", &john, "[BODY].name (john.doe) == pat(bob*)");
    check("[BODY].name != pat(bob*)", &john, "");
    check("[BODY] == pat(*)", &body(""), "");
    let page = body(r#"<!DOCTYPE html><html lang="en"><body><div id="user">john.doe</div></body></html>"#);
    check(r#"[BODY] == pat(*<div id="user">john.doe</div>*)"#, &page, "");
    check(
        r#"[BODY] == pat(*<div id="user">jane.doe</div>*)"#,
        &page,
        r#"[BODY] (<!DOCTYPE html><html lang...(truncated)) == pat(*<div id="user">jane.doe</div>*)"#,
    );
    check(
        r#"pat(*jane*) == [BODY]"#,
        &page,
        r#"pat(*jane*) == [BODY] (<!DOCTYPE html><html lang...(truncated))"#,
    );
    check("[BODY] == pat(*a < b*)", &body("if a < b then"), "");
    check("[BODY].data == pat(*Whatever*)", &body(r#"{"data": ["hello", "world", "Whatever"]}"#), "");
    check("[BODY].missing == pat(*)", &john, "[BODY].missing (INVALID) == pat(*)");
}

#[test]
fn response_time_is_in_milliseconds_or_a_duration() {
    let cases: [(&str, u64, &str); 15] = [
        ("[RESPONSE_TIME] < 500", 100, ""),
        ("[RESPONSE_TIME] < 500", 300, ""),
        ("[RESPONSE_TIME] < 500", 500, "[RESPONSE_TIME] (500) < 500"),
        ("[RESPONSE_TIME] < 500", 501, "[RESPONSE_TIME] (501) < 500"),
        ("[RESPONSE_TIME] < 1s", 50, ""),
        ("[RESPONSE_TIME] < 1s", 1000, "[RESPONSE_TIME] (1000) < 1s"),
        ("[RESPONSE_TIME] > 500", 750, ""),
        ("[RESPONSE_TIME] > 1s", 2000, ""),
        ("[RESPONSE_TIME] >= 500", 500, ""),
        ("[RESPONSE_TIME] >= 500", 499, "[RESPONSE_TIME] (499) >= 500"),
        ("[RESPONSE_TIME] <= 500", 500, ""),
        ("[RESPONSE_TIME] <= 500", 25, ""),
        ("[RESPONSE_TIME] <= 500", 750, "[RESPONSE_TIME] (750) <= 500"),
        ("[RESPONSE_TIME] <= 1.5s", 1500, ""),
        ("[RESPONSE_TIME] < 300ms", 299, ""),
    ];
    for (condition, ms, expect) in cases {
        check(condition, &answer(200, ms), expect);
    }
}

#[test]
fn connected_is_true_or_false() {
    check("[CONNECTED] == true", &answer(500, 1), "");
    check("[CONNECTED] == true", &unreachable(), "[CONNECTED] (false) == true");
    check("[CONNECTED] == false", &unreachable(), "");
    check("[CONNECTED] != true", &unreachable(), "");
}

#[test]
fn certificate_expiration_is_a_duration_and_zero_without_tls() {
    check("[CERTIFICATE_EXPIRATION] > 48h", &certificate(49), "");
    check("[CERTIFICATE_EXPIRATION] > 48h", &certificate(123), "");
    check("[CERTIFICATE_EXPIRATION] > 48h", &certificate(24), "[CERTIFICATE_EXPIRATION] (24h) > 48h");
    check("[CERTIFICATE_EXPIRATION] > 48h", &certificate(1), "[CERTIFICATE_EXPIRATION] (1h) > 48h");
    check("[CERTIFICATE_EXPIRATION] > 2419200000", &certificate(24 * 60), "");
    check(
        "[CERTIFICATE_EXPIRATION] > 2419200000",
        &certificate(24 * 14),
        "[CERTIFICATE_EXPIRATION] (336h) > 2419200000",
    );
    check("[CERTIFICATE_EXPIRATION] > 1h30m", &certificate(2), "");
    check("[CERTIFICATE_EXPIRATION] == 0", &answer(200, 1), "");
    check("[CERTIFICATE_EXPIRATION] > 48h", &answer(200, 1), "[CERTIFICATE_EXPIRATION] (0s) > 48h");
}

#[test]
fn the_body_is_text_or_a_number() {
    check("[BODY] == test", &body("test"), "");
    check("[BODY] == test", &body("  test\n"), "");
    check("[BODY] == 1", &body("1"), "");
    check("[BODY] == 1", &body("{}"), "[BODY] ({}) == 1");
    check("[BODY] == 1", &body("2"), "[BODY] (2) == 1");
    check("[BODY] < 124", &body("123"), "");
    check("[BODY] > 122", &body("123"), "");
    check("[BODY] > 123", &body("100"), "[BODY] (100) > 123");
    check("[BODY] == []", &body("[]"), "");
    check("[BODY] > 0", &body("not a number"), "[BODY] (not a number) > 0");
}

#[test]
fn body_paths_walk_objects_and_arrays() {
    let cases = [
        ("[BODY].status == UP", r#"{"status":"UP"}"#, ""),
        ("[BODY].user.name == john", r#"{"user":{"name":"john"}}"#, ""),
        ("[BODY].data[0].id == 1", r#"{"data":[{"id":1}]}"#, ""),
        ("[BODY].data[1].id == 2", r#"{"data":[{"id":1},{"id":2},{"id":3}]}"#, ""),
        ("[BODY].data[9].id == 2", r#"{"data":[{"id":1}]}"#, "[BODY].data[9].id (INVALID) == 2"),
        ("[BODY][0].id == 1", r#"[{"id":1},{"id":2}]"#, ""),
        ("[BODY][1][0] == 3", "[[1,2],[3,4]]", ""),
        ("[BODY].grid[1][0] == 3", r#"{"grid":[[1,2],[3,4]]}"#, ""),
        ("[BODY].age == [BODY].id", r#"{"age":1,"id":1}"#, ""),
        ("[BODY].user.first != [BODY].user.last", r#"{"user":{"first":"john","last":"doe"}}"#, ""),
        (
            "[BODY].user.first == [BODY].user.last",
            r#"{"user":{"first":"john","last":"doe"}}"#,
            "[BODY].user.first (john) == [BODY].user.last (doe)",
        ),
        ("[STATUS] == [BODY].code", r#"{"code":200}"#, ""),
        ("[BODY].data.name == john", r#"{"data":{"id":1}}"#, "[BODY].data.name (INVALID) == john"),
        ("[BODY].data == OK", r#"{"data":null}"#, "[BODY].data (INVALID) == OK"),
        ("[BODY].items[0] == OK", r#"{"items":[null,null]}"#, "[BODY].items[0] (INVALID) == OK"),
        ("[BODY].data == OK", "null", "[BODY].data (INVALID) == OK"),
        ("[BODY].data == OK", "<html>", "[BODY].data (INVALID) == OK"),
        ("[BODY][0].name == test", r#"{"statusCode":500}"#, "[BODY][0].name (INVALID) == test"),
        ("[BODY].data != OK", r#"{"other":1}"#, ""),
        ("[BODY].data.id > 0", r#"{"data":{"id":1}}"#, ""),
        ("[BODY].data.id > 5", r#"{"data":{"id":1}}"#, "[BODY].data.id (1) > 5"),
        ("[BODY].data.id < 5", r#"{"data":{"id":10}}"#, "[BODY].data.id (10) < 5"),
        ("[BODY].data.id < 5", r#"{"data":{}}"#, "[BODY].data.id (INVALID) < 5"),
        ("[BODY].balance > 100", r#"{"balance":"123.40000000000005"}"#, ""),
        ("[BODY].ratio >= 0.95", r#"{"ratio":0.951}"#, ""),
        ("[BODY].n == 1", r#"{"n":1.0}"#, ""),
        ("[BODY].n == 12345678", r#"{"n":12345678}"#, ""),
        ("[BODY].ok == true", r#"{"ok":true}"#, ""),
        ("[BODY].Name == john", r#"{"name":"john"}"#, "[BODY].Name (INVALID) == john"),
        ("[body].name == john", r#"{"name":"john"}"#, ""),
        ("[BODY].data == 1", r#"{"data":"0x1"}"#, ""),
        ("[BODY].data == 15", r#"{"data":"0xF"}"#, ""),
        ("[BODY].data == 12648243", r#"{"data":"0xC0ff33"}"#, ""),
        ("[BODY].data == 0o2", r#"{"data":"0o2"}"#, ""),
        ("[BODY].data == 0b10", r#"{"data":"0b0010"}"#, ""),
        ("[BODY].data >= 1", r#"{"data":"0x01"}"#, ""),
        ("[BODY].id == any(1, 2)", r#"{"id":2}"#, ""),
        ("[BODY].id == any(1, 2)", r#"{"id":3}"#, "[BODY].id (3) == any(1, 2)"),
        ("[BODY].name == any(john.doe, jane.doe)", r#"{"name":"jane.doe"}"#, ""),
        (
            "[BODY].name == any(john.doe, jane.doe)",
            r#"{"name":"bob"}"#,
            "[BODY].name (bob) == any(john.doe, jane.doe)",
        ),
        ("[BODY].text == hello world", r#"{"text":"hello world"}"#, ""),
    ];
    for (condition, text, expect) in cases {
        check(condition, &body(text), expect);
    }
}

#[test]
fn len_counts_elements_or_characters() {
    let cases = [
        ("len([BODY].data) < 5", r#"{"data":[{"id":1}]}"#, ""),
        ("len([BODY].name) == 8", r#"{"name":"john.doe"}"#, ""),
        ("len([BODY].name) == 8", r#"{"name":"bob"}"#, "len([BODY].name) (3) == 8"),
        ("len([BODY]) == 3", r#"[{"id":1},{"id":2},{"id":3}]"#, ""),
        ("len([BODY]) == 8", "john.doe", ""),
        ("len([BODY]) == 20", r#"{"name": "john.doe"}"#, ""),
        ("len([BODY].age) == 2", r#"{"age":18}"#, ""),
        ("len([BODY].adult) == 4", r#"{"adult":true}"#, ""),
        ("len([BODY][0]) == 23", r#"[{"age": 18, "adult": true}]"#, ""),
        ("len([BODY][0].age) == 2", r#"[{"age":18,"adult":true}]"#, ""),
        ("len([BODY].data) == 8", r#"{"name":"john.doe"}"#, "len([BODY].data) (INVALID) == 8"),
        ("len([BODY].data) >= 0", r#"{"name":"john.doe"}"#, "len([BODY].data) (INVALID) >= 0"),
        ("len([BODY].data) == 3", r#"{"data":"0x1"}"#, ""),
        ("len([BODY].data) == 0", r#"{"data":[]}"#, ""),
        ("len([BODY].name) == 4", r#"{"name":"Zoë!"}"#, ""),
        ("len([BODY].a) == len([BODY].b)", r#"{"a":[1,2],"b":"xy"}"#, ""),
    ];
    for (condition, text, expect) in cases {
        check(condition, &body(text), expect);
    }
}

#[test]
fn has_tells_whether_a_path_exists() {
    let cases = [
        ("has([BODY].errors) == false", r#"{"name":"john.doe"}"#, ""),
        ("has([BODY].errors) == false", r#"{"errors":[]}"#, "has([BODY].errors) (true) == false"),
        ("has([BODY].users) == true", r#"{"users":[]}"#, ""),
        ("has([BODY].users) == true", "{}", "has([BODY].users) (false) == true"),
        ("has([BODY].users[0].name) == true", r#"{"users":[{"name":"a"}]}"#, ""),
        ("has([BODY].article) == true", r#"{"article":{"id":123}}"#, ""),
        ("has([BODY].gone) == false", r#"{"gone":null}"#, ""),
        ("has([BODY].x) == false", "not json", ""),
        ("has([BODY]) == true", "x", ""),
        ("has([BODY]) == false", "", ""),
    ];
    for (condition, text, expect) in cases {
        check(condition, &body(text), expect);
    }
}

#[test]
fn a_condition_that_does_not_parse_is_refused_with_the_reason() {
    let no_operator = "has no operator: write one of == != <= >= < > with a space on each side";
    let cases = [
        ("[STATUS]", no_operator),
        ("[STATUS]==200", no_operator),
        ("[STATUS] = = 201", no_operator),
        ("[STATUS] ? 201", no_operator),
        ("[STATUS] ==", no_operator),
        ("[STATUS] == ", "has nothing on one side of its operator"),
        (" == 200", "has nothing on one side of its operator"),
        ("", no_operator),
        ("raw == raw", "has no placeholder such as [STATUS] on either side"),
        ("STATUS == 200", "has no placeholder such as [STATUS] on either side"),
        (
            "[STATSU] == 200",
            "names [STATSU], which is not known; known are [STATUS], [RESPONSE_TIME], [CONNECTED], [BODY] with a path, and [CERTIFICATE_EXPIRATION]",
        ),
        (
            "[RESPONSE_TIME]ms < 300",
            "names [RESPONSE_TIME]ms, which is not known; known are [STATUS], [RESPONSE_TIME], [CONNECTED], [BODY] with a path, and [CERTIFICATE_EXPIRATION]",
        ),
        ("len([BODY].users == 100", "has a len( without its )"),
        ("has([BODY].users == true", "has a has( without its )"),
        ("[BODY] == pat(*x*", "has a pat( without its )"),
        ("[STATUS] == any(200", "has a any( without its )"),
        ("len([STATUS]) == 3", "uses len() on \"[STATUS]\"; it works only with [BODY] and a path"),
        ("has(x) == true", "uses has() on \"x\"; it works only with [BODY] and a path"),
        ("[STATUS] < any(200, 300)", "uses pat() or any() with an operator other than == and !="),
        ("[BODY] > pat(1*)", "uses pat() or any() with an operator other than == and !="),
        ("[BODY] == pat([ab)", "the pattern has a [ without its ]"),
        ("[RESPONSE_TIME] < potato", "compares with \"potato\", which is neither a number nor a duration"),
        ("[CERTIFICATE_EXPIRATION] > 2d", "compares with \"2d\", which is neither a number nor a duration"),
        ("[CONNECTED] == yes", "compares [CONNECTED] with \"yes\"; it is true or false"),
        ("[CONNECTED] > 1", "orders [CONNECTED], which is true or false"),
        ("has([BODY].a) == 1", "compares has([BODY].a) with \"1\"; it is true or false"),
        (
            "[BODY].a[x] == 1",
            "has a path that cannot be read: [BODY].a[x]; write it like [BODY].users[0].name",
        ),
        ("[BODY]name == 1", "has a path that cannot be read: [BODY]name; write it like [BODY].users[0].name"),
        (
            "[BODY].a..b == 1",
            "has a path that cannot be read: [BODY].a..b; write it like [BODY].users[0].name",
        ),
        ("[BODY].a[0 == 1", "has a path that cannot be read: [BODY].a[0; write it like [BODY].users[0].name"),
    ];
    for (condition, reason) in cases {
        assert_eq!(Condition::parse(condition).unwrap_err(), reason, "{condition}");
    }
    assert_eq!(
        Condition::parse(&format!("[BODY] == {}", "x".repeat(500))).unwrap_err(),
        "is longer than 500 bytes"
    );
}

#[test]
fn only_conditions_about_the_body_ask_for_it() {
    for (condition, needs) in [
        ("[STATUS] == 200", false),
        ("[BODY] == a", true),
        ("200 == [BODY].code", true),
        ("has([BODY].a) == true", true),
        ("[STATUS] == pat([BODY])", false),
    ] {
        assert_eq!(Condition::parse(condition).unwrap().needs_body(), needs, "{condition}");
    }
}

#[test]
fn conditions_share_their_steps_and_one_that_finds_none_left_does_not_hold() {
    let page = format!("{}<b>", "a".repeat(256 * 1024 - 3));
    let facts = body(&page);
    check("[BODY] == pat(*<b>)", &facts, "");
    let dear = format!("[BODY] != pat(*?{}b*)", "a".repeat(450));
    let expect = format!("{dear} (not judged: the check's conditions take too many steps)");
    check(&dear, &facts, &expect);
    assert_eq!(facts.steps.taken(), MAX_STEPS);
    // Whatever they are, and at no cost.
    for condition in ["[BODY] == pat(*<b>)", "[BODY] != nothing", "len([BODY]) > 0", "has([BODY].a) == false"]
    {
        check(
            condition,
            &facts,
            &format!("{condition} (not judged: the check's conditions take too many steps)"),
        );
    }
    check("[STATUS] == 200", &facts, "");
}

#[test]
fn twenty_conditions_of_plain_texts_on_the_largest_body_are_judged() {
    let items: Vec<String> = (0..30_000).map(|n| format!("{n:07}")).collect();
    let page = serde_json::json!({ "items": items, "last": "end" }).to_string();
    assert!(page.len() <= 300 * 1024 && page.len() > 256 * 1024);
    let facts = body(&page);
    for _ in 0..5 {
        check("[BODY] == pat(*0029999*end*)", &facts, "");
        check("[BODY].last == pat(e?d)", &facts, "");
        check("len([BODY].items) == 30000", &facts, "");
        check("[BODY].items == pat(*0029998*)", &facts, "");
    }
    assert!(facts.steps.taken() < MAX_STEPS / 2, "{}", facts.steps.taken());
}

#[test]
fn a_value_is_truncated_to_a_number_of_bytes() {
    let shown = Condition::parse("[BODY] == x").unwrap().evaluate(&body(&"😀".repeat(1000))).unwrap_err();
    assert_eq!(shown, format!("[BODY] ({}...(truncated)) == x", "😀".repeat(25)));
    assert_eq!(
        Condition::parse(&format!("[BODY] == {}", "😀".repeat(125))).unwrap_err(),
        "is longer than 500 bytes"
    );
}
