use proptest::prelude::*;

use super::*;

/// Entries in a readable form: `kind start..end text`.
fn split_in(bytes: &[u8], chunk: usize, max: usize, end: StreamEnd) -> (Vec<String>, bool) {
    let mut splitter = Splitter::new(max);
    let mut out = Vec::new();
    let mut drain = |splitter: &mut Splitter| {
        while let Some(piece) = splitter.next_piece() {
            assert_eq!(piece.ordinal, out.len() as u64);
            let (kind, body) = match piece.body {
                Body::Json(body) => ("json", body),
                Body::Line(body) => ("line", body),
                Body::Worker(body) => ("worker", body),
                Body::TooLarge(body) => ("large", body),
            };
            let cut = if piece.cut_off { " cut" } else { "" };
            let text = String::from_utf8_lossy(body);
            out.push(format!("{kind}{cut} {}..{} {text}", piece.start, piece.end));
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
    for chunk in [1, 2, 3, 7, 64, 10_000] {
        let (pieces, unterminated) = split_in(text.as_bytes(), chunk, 100, StreamEnd::Whole);
        assert_eq!(pieces, expect, "in chunks of {chunk}");
        assert!(!unterminated);
    }
}

#[test]
fn json_lines_end_in_lf_or_crlf_and_blank_ones_do_not_count() {
    check(
        "\u{feff}{\"a\":1}\r\n\r\n  \n {\"a\":2} \nbroken\n{\"a\":3}",
        &["json 3..10 {\"a\":1}", "json 18..25 {\"a\":2}", "json 27..33 broken", "json 34..41 {\"a\":3}"],
    );
}

#[test]
fn an_array_gives_its_elements_wherever_brackets_and_commas_stand_inside() {
    check(
        "[ {\"a\":\"],{\\\"\"} ,\n[1,{}],2 ,\"x,]\"]\n",
        &["json 2..15 {\"a\":\"],{\\\"\"}", "json 18..24 [1,{}]", "json 25..26 2", "json 28..33 \"x,]\""],
    );
    check("[]", &[]);
    check(" [ ] \n", &[]);
    check("[null]", &["json 1..5 null"]);
}

#[test]
fn a_broken_element_does_not_take_the_next_ones_along() {
    check(
        "[{\"a\":1},{\"a\":[2},{\"a\":}\n,{\"a\":\"x\n,{\"a\":3}]",
        &[
            "json 1..8 {\"a\":1}",
            "json 9..17 {\"a\":[2}",
            "json 18..24 {\"a\":}",
            "json 26..33 {\"a\":\"x",
            "json 35..42 {\"a\":3}",
        ],
    );
    check("[1,,2,]", &["json 1..2 1", "json 3..3 ", "json 4..5 2", "json 6..6 "]);
    check("[{\"a\":1],{\"b\":2}]", &["json 1..7 {\"a\":1", "json 9..16 {\"b\":2}"]);
}

#[test]
fn arrays_and_json_lines_may_follow_an_array() {
    check("[1,2]\n[3]\n{\"a\":4}\n", &["json 1..2 1", "json 3..4 2", "json 7..8 3", "json 10..17 {\"a\":4}"]);
}

#[test]
fn an_array_without_its_end_is_reported() {
    for (text, count) in [("[", 0), ("[1,", 1), ("[{\"a\":1}", 1), ("[{\"a\":1},{\"b", 2)] {
        let (pieces, unterminated) = split_in(text.as_bytes(), 3, 100, StreamEnd::Whole);
        assert!(unterminated, "{text}");
        assert_eq!(pieces.len(), count, "{text}");
    }
}

#[test]
fn lines_that_do_not_begin_like_a_worker_s_continue_the_message_above() {
    check(
        "2024-01-01T00:00:00.000Z [INFO] a\r\n  b\n\n{\"c\":1}\n\n2024-01-01T00:00:01.000Z [WARN] d\n\n",
        &[
            "worker 0..47 2024-01-01T00:00:00.000Z [INFO] a\r\n  b\n\n{\"c\":1}",
            "worker 49..82 2024-01-01T00:00:01.000Z [WARN] d",
        ],
    );
}

#[test]
fn before_the_first_worker_line_each_line_is_an_entry() {
    check(
        "\n  started\r\n[INFO] x\n{\"a\":1}\n2024-01-01T00:00:00Z [INFO]\nmore",
        &[
            "line 1..10 \u{20} started",
            "line 12..20 [INFO] x",
            "line 21..28 {\"a\":1}",
            "worker 29..61 2024-01-01T00:00:00Z [INFO]\nmore",
        ],
    );
}

#[test]
fn an_entry_that_is_too_large_is_skipped_and_sampled() {
    let long = "x".repeat(5000);
    let (pieces, _) =
        split_in(format!("{{\"a\":1}}\n{long}\n{{\"a\":2}}\n").as_bytes(), 100, 1100, StreamEnd::Whole);
    assert_eq!(pieces[0], "json 0..7 {\"a\":1}");
    assert_eq!(pieces[1], format!("large 8..5008 {}", "x".repeat(MAX_SAMPLE_BYTES)));
    assert_eq!(pieces[2], "json 5009..5016 {\"a\":2}");
    let (pieces, unterminated) =
        split_in(format!("[\"{long}\",{{}}]").as_bytes(), 100, 1100, StreamEnd::Whole);
    assert!(pieces[0].starts_with("large 1..5003 \"xxx"));
    assert_eq!((pieces[1].as_str(), unterminated), ("json 5004..5006 {}", false));
    let header = "2024-01-01T00:00:00.000Z [INFO] ";
    let text = format!("{header}a\n{long}\n\nyy\n{header}b\n");
    let (pieces, _) = split_in(text.as_bytes(), 100, 1100, StreamEnd::Whole);
    assert!(pieces[0].starts_with("large 0..5038 2024"), "{}", &pieces[0][..40]);
    assert_eq!(pieces[1], format!("worker 5039..5072 {header}b"));
}

#[test]
fn memory_stays_at_the_limit_however_long_an_entry_is() {
    let mut splitter = Splitter::new(1000);
    for _ in 0..1000 {
        splitter.push(&[b'x'; 500]);
        assert!(splitter.next_piece().is_none());
        assert!(splitter.buffer.len() <= 2000);
    }
    splitter.finish(StreamEnd::Whole);
    assert_eq!(splitter.next_piece().map(|piece| (piece.start, piece.end)), Some((0, 500_000)));
    assert!(splitter.next_piece().is_none());
}

#[test]
fn the_entry_in_which_a_stream_breaks_off_is_marked() {
    for (text, last) in [
        ("{\"a\":1}\n{\"a\"", "json cut 8..12 {\"a\""),
        ("one\ntw", "line cut 4..6 tw"),
        ("one\ntwo\n", "line 4..7 two"),
        ("[{\"a\":1},{\"a", "json cut 9..12 {\"a"),
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
        "\n\n",
        "\u{feff}",
        "2024-01-01T00:00:00.000Z [INFO] hi",
        "\n2024-01-01T00:00:00.000Z [INFO] a longer message that goes on",
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
}
