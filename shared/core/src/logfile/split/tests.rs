use proptest::prelude::*;

use super::*;

/// 2025-04-01T18:34:01.581Z
const NEAR_MS: i64 = 1_743_532_441_581;

/// Entries in a form made to be read: `framing start..end text`.
fn split_in(bytes: &[u8], chunk: usize, max: usize, end: StreamEnd) -> (Vec<String>, bool) {
    let mut splitter = Splitter::new(max, NEAR_MS);
    let mut out = Vec::new();
    let mut drain = |splitter: &mut Splitter| {
        while let Some(piece) = splitter.next_piece() {
            assert_eq!(piece.ordinal, out.len() as u64);
            let body = match &piece.body {
                Body::Record(record) => record.raw.to_owned(),
                Body::Bad(reason, sample) => format!("{} {sample}", reason.as_str()),
            };
            out.push(format!("{} {}..{} {body}", piece.framing, piece.start, piece.end));
        }
    };
    for part in bytes.chunks(chunk) {
        splitter.push(part);
        drain(&mut splitter);
    }
    splitter.finish(end);
    drain(&mut splitter);
    (out, splitter.unterminated())
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    check_bytes(text.as_bytes(), expect);
}

#[track_caller]
fn check_bytes(bytes: &[u8], expect: &[&str]) {
    for chunk in [1, 2, 3, 7, 64, 10_000] {
        let (pieces, unterminated) = split_in(bytes, chunk, 200, StreamEnd::Whole);
        assert_eq!(pieces, expect, "in chunks of {chunk}");
        assert!(!unterminated);
    }
}

#[test]
fn objects_are_pieces_wherever_the_lines_end() {
    check(
        "\u{feff}{\"a\":1}\r\n\r\n  \n {\"a\":2} \n{\"a\":3}{\"a\":4},{\"a\":5}\t\u{1e}{\n \"a\" :\n 6}\n",
        &[
            "ndjson 3..10 {\"a\":1}",
            "ndjson 18..25 {\"a\":2}",
            "ndjson 27..34 {\"a\":3}",
            "ndjson 34..41 {\"a\":4}",
            "ndjson 42..49 {\"a\":5}",
            "ndjson 51..63 {\n \"a\" :\n 6}",
        ],
    );
}

#[test]
fn an_object_that_does_not_parse_is_text_until_there_has_been_a_good_one() {
    check("{ port: 3000 }\n{a=1}\n", &["text 0..14 { port: 3000 }", "text 15..20 {a=1}"]);
    check(
        "{a=1}\n{\"a\":1}\n{a=1}\nready\n",
        &[
            "text 0..5 {a=1}",
            "ndjson 6..13 {\"a\":1}",
            "ndjson 14..19 BROKEN_JSON {a=1}",
            "text 20..25 ready",
        ],
    );
}

#[test]
fn a_broken_object_takes_no_neighbour_on_its_line_along() {
    check(
        "{\"a\":1}{\"b\":}{\"c\":3}\n{\"d\":\n{\"e\":5}",
        &[
            "ndjson 0..7 {\"a\":1}",
            "ndjson 7..13 BROKEN_JSON {\"b\":}",
            "ndjson 13..20 {\"c\":3}",
            "ndjson 21..26 BROKEN_JSON {\"d\":",
            "ndjson 27..34 {\"e\":5}",
        ],
    );
}

#[test]
fn text_on_an_object_s_line_makes_the_line_text_or_broken() {
    check("{\"a\":1} took 5 ms\n", &["text 0..17 {\"a\":1} took 5 ms"]);
    check("{}\n{\"a\":1} x\n", &["ndjson 0..2 {}", "ndjson 3..12 BROKEN_JSON {\"a\":1} x"]);
}

#[test]
fn values_that_are_no_objects_are_text_or_among_objects_bad() {
    check("null\n[1,2]\n", &["text 0..4 null", "text 5..10 [1,2]"]);
    check(
        "{}\nnull\n\"x\"",
        &["ndjson 0..2 {}", "ndjson 3..7 NOT_AN_OBJECT null", "ndjson 8..11 NOT_AN_OBJECT \"x\""],
    );
}

#[test]
fn an_array_gives_its_elements_wherever_brackets_and_commas_stand_inside() {
    check(
        "[ {\"a\":\"],{\\\"\"} ,\n[1,{}],2 ,\"x,]\"]\n",
        &[
            "json-array 2..15 {\"a\":\"],{\\\"\"}",
            "json-array 18..24 NOT_AN_OBJECT [1,{}]",
            "json-array 25..26 NOT_AN_OBJECT 2",
            "json-array 28..33 NOT_AN_OBJECT \"x,]\"",
        ],
    );
    check("[]", &[]);
    check(" [ ] \n", &[]);
}

#[test]
fn a_broken_element_does_not_take_the_next_ones_along() {
    check(
        "[{\"a\":1},{\"a\":[2},{\"a\":}\n,{\"a\":\"x\n,{\"a\":3}]",
        &[
            "json-array 1..8 {\"a\":1}",
            "json-array 9..17 BROKEN_JSON {\"a\":[2}",
            "json-array 18..24 BROKEN_JSON {\"a\":}",
            "json-array 26..33 BROKEN_JSON {\"a\":\"x",
            "json-array 35..42 {\"a\":3}",
        ],
    );
    check("[{\"a\":1],{\"b\":2}]", &["json-array 1..7 BROKEN_JSON {\"a\":1", "json-array 9..16 {\"b\":2}"]);
}

#[test]
fn arrays_objects_and_text_may_follow_each_other() {
    check(
        "[{\"a\":1}]\n[{\"a\":2}]\n{\"a\":3}\nready\n[INFO] x\n[{\"a\":4}]",
        &[
            "json-array 1..8 {\"a\":1}",
            "json-array 11..18 {\"a\":2}",
            "ndjson 20..27 {\"a\":3}",
            "text 28..33 ready",
            "level-first 34..42 [INFO] x",
            "json-array 44..51 {\"a\":4}",
        ],
    );
}

#[test]
fn text_after_an_array_on_its_line_ends_the_array() {
    check("[{\"a\":1}], retrying\nready\n", &["text 0..19 [{\"a\":1}], retrying", "text 20..25 ready"]);
    check(
        "[{\"a\":1}] processed\n{\"a\":2}",
        &["text 0..19 [{\"a\":1}] processed", "ndjson 20..27 {\"a\":2}"],
    );
    let long = format!("[{{\"a\":\"{}\"}}], retrying\nready\n{{\"b\":1}}", "x".repeat(2000));
    for chunk in [1, 7, 10_000] {
        let (pieces, unterminated) = split_in(long.as_bytes(), chunk, 10_000, StreamEnd::Whole);
        assert_eq!(
            pieces[1..],
            ["text 2010..2020 , retrying", "text 2021..2026 ready", "ndjson 2027..2034 {\"b\":1}"]
        );
        assert!(!unterminated);
    }
    check(
        "[{\"a\":1}],\n[{\"b\":2}],\n{\"c\":3}\n",
        &["json-array 1..8 {\"a\":1}", "json-array 12..19 {\"b\":2}", "ndjson 22..29 {\"c\":3}"],
    );
}

#[test]
fn an_array_cut_off_on_its_line_takes_no_other_line_along() {
    let first = "json-array 1..8 {\"a\":1}";
    check(
        "[{\"a\":1},{\"b\":\n{\"c\":3}\n{\"d\":4}\n",
        &[
            first,
            "json-array 9..14 BROKEN_JSON {\"b\":",
            "ndjson 15..22 {\"c\":3}",
            "ndjson 23..30 {\"d\":4}",
        ],
    );
    check(
        "[{\"a\":1},{\"b\":2}\n[{\"c\":3}]\nready\n",
        &[first, "json-array 9..16 {\"b\":2}", "json-array 18..25 {\"c\":3}", "text 27..32 ready"],
    );
    check(
        "[{\"a\":1},{\"b\":\n2025-04-01 18:34:01 WARN x\n  at y\nready\n",
        &[
            first,
            "json-array 9..14 BROKEN_JSON {\"b\":",
            "dated 15..48 2025-04-01 18:34:01 WARN x\n  at y",
            "text 49..54 ready",
        ],
    );
    check("[{\"a\":1},\nready\nnode\n", &[first, "text 10..15 ready", "text 16..20 node"]);
    check(
        "[{\"a\":1},{\"b\nready\nnode\n",
        &[first, "json-array 9..12 BROKEN_JSON {\"b", "text 13..18 ready", "text 19..23 node"],
    );
}

#[test]
fn a_bad_element_of_an_array_over_many_lines_takes_no_other_along() {
    check(
        "[\n{\"a\":1,},\n{\"b\":{\"c\":},\n{\"d\":1},\n3\n,\n{\n  \"e\": [\n    true,\n    {\n}\n  \n},\n{\"f\":1}\n]\nready",
        &[
            "json-array 2..10 BROKEN_JSON {\"a\":1,}",
            "json-array 12..23 BROKEN_JSON {\"b\":{\"c\":}",
            "json-array 25..32 {\"d\":1}",
            "json-array 34..35 NOT_AN_OBJECT 3",
            "json-array 38..71 BROKEN_JSON {\n  \"e\": [\n    true,\n    {\n}\n  \n}",
            "json-array 73..80 {\"f\":1}",
            "text 83..88 ready",
        ],
    );
}

/// A line that begins an object and a wrong byte far away: each line is read to there, if nothing prevents it.
#[test]
fn many_open_braces_before_a_wrong_byte_are_read_in_linear_time() {
    for line in ["{\"\":\n", "[{\"a\":1},{\"b\":\n", "[{\"a\":[1,\n"] {
        let lines = line.repeat(200_000 / line.len());
        let text = format!("{lines}!\n{{\"a\":1}}\n").repeat(4);
        let mut splitter = Splitter::new(1 << 20, NEAR_MS);
        let mut last = 0;
        for chunk in text.as_bytes().chunks(1 << 16) {
            splitter.push(chunk);
            while let Some(piece) = splitter.next_piece() {
                last = piece.end;
            }
        }
        splitter.finish(StreamEnd::Whole);
        while let Some(piece) = splitter.next_piece() {
            last = piece.end;
        }
        assert_eq!(last as usize, text.len() - 1, "{line}");
        assert!(splitter.failed_bytes < 16 << 20, "{line}: {}", splitter.failed_bytes);
    }
}

#[test]
fn an_array_without_its_end_is_reported() {
    for (text, count) in
        [("[", 0), ("[{},", 1), ("[{\"a\":1}", 1), ("[{\"a\":1},{\"b", 2), ("{\"logs\":[{}", 1)]
    {
        let (pieces, unterminated) = split_in(text.as_bytes(), 3, 100, StreamEnd::Whole);
        assert_eq!((pieces.len(), unterminated), (count, text != "{\"logs\":[{}"), "{text}");
    }
}

#[test]
fn envelopes_are_unwrapped_and_give_their_scalars_as_context() {
    check(
        r#"{"owner":"1","logs":[{"a":1},{"a":2}],"late":true}{"Records":[{"b":1}]}"#,
        &[
            "logs 21..28 {\"owner\":\"1\",\"late\":true}\n{\"a\":1}",
            "logs 29..36 {\"owner\":\"1\",\"late\":true}\n{\"a\":2}",
            "cloudtrail 62..69 {\"b\":1}",
        ],
    );
    check(
        r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"id":"","message":"x"}]}{"logGroup":"g","logEvents":[{"id":"7","message":"{\"m\":1}"}]}"#,
        &["cloudwatch 100..132 {\"logGroup\":\"g\",\"id\":\"7\"}\n{\"m\":1}"],
    );
    check(
        r#"{"msg":"got","records":[{"a":1}]}"#,
        &["ndjson 0..33 {\"msg\":\"got\",\"records\":[{\"a\":1}]}"],
    );
}

#[test]
fn an_object_with_an_empty_array_is_a_record() {
    for text in [r#"{"time":1,"job":"sync","records":[]}"#, r#"{"logs":[]}"#, r#"{"Records":[],"n":1}"#] {
        check(text, &[&format!("ndjson 0..{} {text}", text.len())]);
    }
    check(r#"{"Records":[]}{"resourceLogs":[{"resource":{},"scopeLogs":[]}]}"#, &[]);
}

#[test]
fn an_object_with_two_arrays_loses_neither() {
    let text = r#"{"logs":[{"a":1}],"entries":[{"b":2}]}"#;
    check(text, &[&format!("ndjson 0..{} {text}", text.len())]);
    check(r#"{"logs":[{"a":1}],"entries":[]}"#, &["logs 9..16 {\"a\":1}"]);
}

#[test]
fn an_envelope_with_a_large_context_is_one_record() {
    let text = |bytes: usize| format!("{{\"pad\":\"{}\",\"logs\":[{{}},{{}}]}}", "x".repeat(bytes));
    let pieces = |text: &str| split_in(text.as_bytes(), 1000, 1 << 20, StreamEnd::Whole).0;
    assert_eq!(pieces(&text(16_000)).len(), 2);
    let large = text(16_400);
    assert_eq!(pieces(&large), [format!("ndjson 0..{} {large}", large.len())]);
    let nested = format!("{{\"logs\":[{},{{}}]}}", text(16_400));
    assert_eq!(pieces(&nested).len(), 2);
}

#[test]
fn column_names_are_bounded() {
    let text = |bytes: usize| format!("#Fields: {} b\nx y\n", "x".repeat(bytes));
    let pieces = |text: &str| split_in(text.as_bytes(), 1000, 1 << 20, StreamEnd::Whole).0;
    let named = pieces(&text(16_000));
    assert!(named.len() == 1 && named[0].starts_with("w3c "), "{}", named[0].len());
    let unnamed = pieces(&text(16_400));
    assert_eq!(unnamed[1], "text 16412..16415 x y");
}

#[test]
fn what_stands_beside_a_wrapped_message_is_kept() {
    let text = "{\"log\":\"{\\\"a\\\":1}\\n\",\"stream\":\"stdout\",\"message\":\"m\",\"kubernetes\":{\"pod\":\n\"p\"},\"tags\":[1]}";
    let context = "{\"stream\":\"stdout\",\"message\":\"m\",\"kubernetes\":{\"pod\": \"p\"},\"tags\":[1]}";
    check(text, &[&format!("docker 0..{} {context}\n{{\"a\":1}}", text.len())]);
    let labels = "x".repeat(17_000);
    let text = format!("{{\"log\":\"{{}}\",\"stream\":\"stdout\",\"labels\":\"{labels}\"}}");
    let (pieces, _) = split_in(text.as_bytes(), 1000, 1 << 20, StreamEnd::Whole);
    assert_eq!(pieces, [format!("docker 0..{} {text}", text.len())]);
}

#[test]
fn an_envelope_longer_than_a_record_is_streamed_with_what_stands_before_its_array() {
    let elements: Vec<_> = (0..50).map(|i| format!("{{\"i\":{i}}}")).collect();
    let text = format!("{{\"owner\":\"1\",\"records\":[{}],\"late\":1}}\n{{\"b\":1}}", elements.join(",\n"));
    for chunk in [1, 5, 1000] {
        let (pieces, _) = split_in(text.as_bytes(), chunk, 100, StreamEnd::Whole);
        assert_eq!(pieces.len(), 51);
        assert!(pieces[49].ends_with("{\"owner\":\"1\"}\n{\"i\":49}"), "{}", pieces[49]);
        assert!(pieces[50].ends_with("{\"b\":1}"), "{}", pieces[50]);
    }
}

#[test]
fn what_follows_the_array_of_a_streamed_envelope_is_bad_unless_it_ends_the_envelope() {
    let elements: Vec<_> = (0..50).map(|i| format!("{{\"i\":{i}}}")).collect();
    let records = format!("{{\"records\":[{}]", elements.join(","));
    for (tail, expect) in [
        ("\n}\n{\"b\":1}\n", vec!["{\"b\":1}"]),
        (",\"late\":[{}]}{\"b\":1}\n", vec!["{\"b\":1}"]),
        ("\n{\"b\":1}\n", vec!["{\"b\":1}"]),
        (" junk\n{\"b\":1}\n", vec!["BROKEN_JSON  junk", "{\"b\":1}"]),
        (",\"entries\":[{}]}\n{\"b\":1}\n", vec!["BROKEN_JSON ,\"entries\":[{}]}", "{\"b\":1}"]),
    ] {
        let text = format!("{records}{tail}");
        for chunk in [1, 5, 1000] {
            let (pieces, unterminated) = split_in(text.as_bytes(), chunk, 100, StreamEnd::Whole);
            let rest: Vec<_> =
                pieces[50..].iter().map(|piece| piece.splitn(3, ' ').nth(2).unwrap()).collect();
            assert_eq!((rest, unterminated), (expect.clone(), false), "{tail} in chunks of {chunk}");
        }
    }
}

#[test]
fn a_container_runtime_s_lines_give_the_object_that_they_wrap() {
    check(
        "{\"log\":\"{\\\"a\\\":1}\\n\",\"stream\":\"stderr\",\"time\":\"t\"}\n2025-04-01T18:34:01Z stdout F {\"b\":2}\n",
        &[
            "docker 0..50 {\"stream\":\"stderr\",\"time\":\"t\"}\n{\"a\":1}",
            "cri 51..88 {\"time\":\"2025-04-01T18:34:01Z\",\"stream\":\"stdout\"}\n{\"b\":2}",
        ],
    );
}

#[test]
fn everything_but_a_header_and_an_object_continues_a_worker_s_message() {
    check(
        "2024-01-01T00:00:00.000Z [INFO] a\r\n  b\n\n{ c }\n\n2024-01-01T00:00:01.000Z [WARN] d\n\n{\"e\":1}\nf\n",
        &[
            "worker 0..45 2024-01-01T00:00:00.000Z [INFO] a\r\n  b\n\n{ c }",
            "worker 47..80 2024-01-01T00:00:01.000Z [WARN] d",
            "ndjson 82..89 {\"e\":1}",
            "text 90..91 f",
        ],
    );
}

#[test]
fn an_indented_line_begins_no_entry_within_a_worker_s_message() {
    for forged in ["2024-01-01T00:00:01.000Z [ERROR] b", "2025-04-01 18:34:01 ERROR b", "{\"level\":50}"] {
        for indent in [" ", "  ", "\t"] {
            let entry = format!("2024-01-01T00:00:00.000Z [INFO] a\n{indent}{forged}");
            let expect = format!("worker 0..{} {entry}", entry.len());
            check(&entry, &[&expect]);
        }
    }
}

#[test]
fn indented_headers_begin_entries_in_a_log_that_indents_them() {
    check(
        " INFO a\n  b\n ERROR c\n   WARN d\n",
        &["level-first 0..11  INFO a\n  b", "level-first 12..30  ERROR c\n   WARN d"],
    );
    check(
        "ℹ a\n\n WARN  b\n\n  INFO: c\nℹ d\n",
        &[
            "symbol 0..5 ℹ a",
            "level-first 7..15  WARN  b",
            "level-first 17..26   INFO: c",
            "symbol 27..32 ℹ d",
        ],
    );
}

#[test]
fn frames_of_go_continue_what_failed_and_tags_of_rails_their_message() {
    let frames = "goroutine 7 [running]:\nmain.order(0xc000012345, 0x1)\n\t/app/main.go:14";
    let panic = format!("2025/04/01 18:34:01 http: panic serving\n{frames}");
    check(
        &format!("{panic}\nexample.com is next\n"),
        &[
            &format!("go 0..{} {panic}", panic.len()),
            &format!("text {}..{} example.com is next", panic.len() + 1, panic.len() + 20),
        ],
    );
    let error = "2025-04-01T18:34:01.581Z\tERROR\tno stock\nmain.order\n\t/app/main.go:14";
    check(error, &[&format!("dated 0..{} {error}", error.len())]);
    check("INFO a\nmain.order\n", &["level-first 0..6 INFO a", "text 7..17 main.order"]);
    let rails = "E, [2025-04-01T18:34:01.581234 #7] ERROR -- : [r1]\n[r1] RuntimeError";
    check(
        &format!("{rails}\nx\n"),
        &[
            &format!("ruby 0..{} {rails}", rails.len()),
            &format!("text {0}..{1} x", rails.len() + 1, rails.len() + 2),
        ],
    );
}

#[test]
fn traces_continue_the_entry_above_and_other_lines_do_not() {
    check(
        "2025-04-01 18:34:01,581 ERROR a\njava.lang.X: y\n\tat b.C\nCaused by: z\n\n  ... 2 more\nother\n",
        &[
            "dated 0..31 2025-04-01 18:34:01,581 ERROR a",
            "text 32..46 java.lang.X: y",
            "text 47..54 \tat b.C",
            "text 55..67 Caused by: z",
            "text 69..81   ... 2 more",
            "text 82..87 other",
        ],
    );
    check(
        "2025-04-01 18:34:01,581 ERROR a\n\tat b.C\nCaused by: z\n\n  ... 2 more\nother\n",
        &[
            "dated 0..66 2025-04-01 18:34:01,581 ERROR a\n\tat b.C\nCaused by: z\n\n  ... 2 more",
            "text 67..72 other",
        ],
    );
    check(
        "ERROR:root:a\nTraceback (most recent call last):\n  File \"x\"\nKeyError: 'b'\nINFO:root:c\n",
        &[
            "level-first 0..72 ERROR:root:a\nTraceback (most recent call last):\n  File \"x\"\nKeyError: 'b'",
            "level-first 73..84 INFO:root:c",
        ],
    );
}

#[test]
fn lines_keep_their_indentation_and_lose_their_line_breaks() {
    check(
        "\n  started\r\nmore\n , odd\n",
        &["text 1..10   started", "text 12..16 more", "text 17..23  , odd"],
    );
}

#[test]
fn nuls_and_marks_before_a_piece_are_skipped_and_a_nul_inside_is_bad() {
    check("\0\0\0{\"a\":1}\n\0\0started\n", &["ndjson 3..10 {\"a\":1}", "text 13..20 started"]);
    check("a\n\u{feff}{\"a\":1}\n\u{feff}b\n", &["text 0..1 a", "ndjson 5..12 {\"a\":1}", "text 16..17 b"]);
    check("a\0b\nc\n", &["text 0..3 NUL a\0b", "text 4..5 c"]);
}

#[test]
fn bytes_that_are_no_text_are_bad_and_stand_in_their_place() {
    check_bytes(
        b"{\"a\":1}\n{\"b\":\"\xe1\"}\nx\xff\xfey\nc\xc3\n\xc3\xa9\n",
        &[
            "ndjson 0..7 {\"a\":1}",
            "ndjson 8..17 INVALID_UTF8 {\"b\":\"\u{fffd}\"}",
            "text 18..22 INVALID_UTF8 x\u{fffd}\u{fffd}y",
            "text 23..25 INVALID_UTF8 c\u{fffd}",
            "text 26..28 é",
        ],
    );
}

#[test]
fn columns_named_by_a_header_are_the_context_of_the_lines_after_it() {
    check(
        "#Version: 1.0\n#Fields: date time c-ip\n2025-04-01 18:34:01 ::1\nodd\n",
        &[
            "w3c 38..61 {\"date\":\"2025-04-01\",\"time\":\"18:34:01\",\"c-ip\":\"::1\"}\n2025-04-01 18:34:01 ::1",
            "text 62..65 odd",
        ],
    );
}

#[test]
fn what_is_too_large_is_skipped_and_sampled() {
    let long = "x".repeat(5000);
    let (pieces, _) = split_in(
        format!("{{\"a\":1}}\n{long}\n{{\"a\":\"{long}\"}}{{\"a\":2}}\n").as_bytes(),
        100,
        1100,
        StreamEnd::Whole,
    );
    assert_eq!(pieces[0], "ndjson 0..7 {\"a\":1}");
    assert!(pieces[1].starts_with("ndjson 8..5008 TOO_LARGE xxx"), "{}", &pieces[1][..40]);
    assert!(pieces[2].starts_with("ndjson 5009..10017 TOO_LARGE {\"a\":\"xx"), "{}", &pieces[2][..40]);
    assert_eq!(pieces[3], "ndjson 10017..10024 {\"a\":2}");
    let (pieces, unterminated) =
        split_in(format!("[{{\"a\":\"{long}\"}},{{}}]").as_bytes(), 100, 1100, StreamEnd::Whole);
    assert!(pieces[0].starts_with("json-array 1..5009 TOO_LARGE {\"a\":\"xxx"), "{}", &pieces[0][..40]);
    assert_eq!((pieces[1].as_str(), unterminated), ("json-array 5010..5012 {}", false));
    let header = "2024-01-01T00:00:00.000Z [INFO] ";
    let text = format!("{header}a\n{long}\n\nyy\n{header}b\n");
    let (pieces, _) = split_in(text.as_bytes(), 100, 1100, StreamEnd::Whole);
    assert!(pieces[0].starts_with("worker 0..503"), "{}", &pieces[0][..40]);
    assert_eq!(pieces[1], format!("worker 5039..5072 {header}b"));
}

#[test]
fn an_entry_of_exactly_the_limit_is_stored() {
    let header = "2025-04-01 18:34:01 WARN ";
    let line = format!("{header}{}", "x".repeat(200 - header.len()));
    let two = format!("{header}\n  {}", "x".repeat(197 - header.len()));
    let plain = "x".repeat(200);
    let whole = |text: &str| format!("dated 0..200 {text}");
    for end in ["", "\n", "\r\n", "\n\n \n"] {
        check(&format!("{line}{end}"), &[&whole(&line)]);
        check(&format!("{two}{end}"), &[&whole(&two)]);
        check(&format!("{plain}{end}"), &[&format!("text 0..200 {plain}")]);
    }
    let blank = " \n".repeat(300);
    let short = format!("dated 0..26 {header}x");
    check(&format!("{header}x\n{blank}"), &[&short]);
    check(&format!("{header}x\n{blank}ready"), &[&short, "text 627..632 ready"]);
    let far = format!("text 402..428 {}y", " ".repeat(25));
    check(&format!("{header}x\n{}y\nready", " ".repeat(400)), &[&short, &far, "text 429..434 ready"]);
    let over = format!("{two}x\n");
    assert!(split_in(over.as_bytes(), 7, 200, StreamEnd::Whole).0[0].contains("TOO_LARGE"));
}

#[test]
fn memory_stays_at_the_limit_however_long_an_entry_is() {
    for begin in ["x", "{\"a\":\"", "[{\"a\":\"", "{\"records\":[{\"a\":\""] {
        let mut splitter = Splitter::new(1000, NEAR_MS);
        splitter.push(begin.as_bytes());
        for _ in 0..1000 {
            splitter.push(&[b'x'; 500]);
            assert!(splitter.next_piece().is_none());
            assert!(splitter.buffer.held() <= 3000, "{begin}");
        }
    }
}

#[test]
fn the_entry_in_which_a_stream_breaks_off_is_bad_unless_it_is_whole() {
    for (text, last) in [
        ("{\"a\":1}\n{\"a\"", "ndjson 8..12 CUT_OFF {\"a\""),
        ("{\"a\":1}", "ndjson 0..7 {\"a\":1}"),
        ("one\ntw", "text 4..6 CUT_OFF tw"),
        ("one\ntwo\n", "text 4..7 two"),
        ("[{\"a\":1},{\"a", "json-array 9..12 CUT_OFF {\"a"),
        ("2024-01-01T00:00:00.000Z [INFO] a\nb", "worker 0..35 CUT_OFF 2024-01-01T00:00:00.000Z [INFO] a\nb"),
    ] {
        let (pieces, _) = split_in(text.as_bytes(), 3, 100, StreamEnd::CutOff);
        assert_eq!(pieces.last().map(String::as_str), Some(last));
    }
}

fn stuff() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "\\",
        "\n",
        "\r\n",
        " ",
        "null",
        "1",
        "{\"a\":1}",
        "{\"a\":1}\n",
        "\n\n",
        "\0",
        "\u{feff}",
        "\u{1e}",
        "{\"logs\":[",
        "{\"owner\":\"1\",\"logEvents\":[{\"message\":\"{}\"}",
        "\n[{\"a\":1},",
        "\n{\"a\":",
        "},\n",
        "\"b\":",
        "#Fields: a b\n",
        "\n  at x",
        "Traceback",
        "2024-01-01T00:00:00.000Z [INFO] hi",
        "\n2024-01-01T00:00:00.000Z [INFO] a longer message that goes on",
        "\n2025-04-01 18:34:01 WARN x\n",
        "\n ERROR x\n",
        "\nℹ x\n",
        "\ngoroutine 7 [running]:",
        "\nmain.order(0x1)",
        "\nE, [2025-04-01T18:34:01.581234 #7] ERROR -- : x",
        "\n[r1] y",
        "text",
        "ü",
        "a text of more than fifty bytes, which is over the limit used here",
    ]);
    (prop::sample::select(vec!["", "[", "{\"a\":1}\n", "text\n"]), prop::collection::vec(token, 0..40))
        .prop_map(|(first, tokens)| format!("{first}{}", tokens.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn chunks_make_no_difference_and_entries_stand_where_they_say(text in stuff(), chunk in 1usize..80, cut in any::<bool>()) {
        let end = if cut { StreamEnd::CutOff } else { StreamEnd::Whole };
        let whole = split_in(text.as_bytes(), 1 << 20, 50, end);
        prop_assert_eq!(&split_in(text.as_bytes(), chunk, 50, end), &whole);
        let mut last = 0usize;
        for piece in &whole.0 {
            let range = piece.split(' ').find(|word| word.contains("..")).unwrap();
            let (start, end) = range.split_once("..").unwrap();
            let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
            prop_assert!(last <= start && start <= end && end <= text.len());
            last = end;
        }
    }

    #[test]
    fn pieces_of_all_kinds_come_out_as_they_went_in(
        kinds in prop::collection::vec(0usize..6, 1..20),
        separators in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\n\n", "\n\u{feff}", "\n\0\0"]), 20),
        chunk in 1usize..200,
    ) {
        let mut text = String::new();
        let mut expect = Vec::new();
        for (i, (kind, separator)) in kinds.iter().zip(&separators).enumerate() {
            let (piece, records) = match kind {
                0 => (format!("{{\"i\":{i}}}"), vec![format!("{{\"i\":{i}}}")]),
                1 => (format!("{{\n  \"i\": {i}\n}}"), vec![format!("{{\n  \"i\": {i}\n}}")]),
                2 => (format!("[{{\"i\":{i}}},\n{{\"j\":{i}}}]"), vec![format!("{{\"i\":{i}}}"), format!("{{\"j\":{i}}}")]),
                3 => (format!("2025-04-01 18:34:01 WARN x {i}\n  at y"), vec![format!("2025-04-01 18:34:01 WARN x {i}\n  at y")]),
                4 => (format!("plain {i}"), vec![format!("plain {i}")]),
                _ => (format!("{{\"logs\":[{{\"i\":{i}}}]}}"), vec![format!("{{\"i\":{i}}}")]),
            };
            text.push_str(&piece);
            text.push_str(separator);
            expect.extend(records);
        }
        let (pieces, _) = split_in(text.as_bytes(), chunk, 1000, StreamEnd::Whole);
        let raws: Vec<_> = pieces.iter().map(|piece| piece.splitn(3, ' ').nth(2).unwrap().to_owned()).collect();
        prop_assert_eq!(raws, expect);
    }
}
