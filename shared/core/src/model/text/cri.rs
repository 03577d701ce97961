//! Lines of container runtimes (CRI): `time stream F message`.
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>

use super::cursor::Cursor;
use super::levels::find;
use super::{Ask, Example, Line, Recogniser, SaidLevel, digit};
use crate::model::level::Level;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "cri",
    title: "Kubernetes container log (CRI)",
    begins: digit,
    read,
    examples: &[
        Example {
            line: "2025-04-01T18:34:01.581234567Z stdout F ready",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Info,
            message: "ready",
        },
        Example {
            line: "2025-04-01T18:34:01.581234567Z stderr F ERROR no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "ERROR no stock",
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let (stamp, length) = ask.leading?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let stream = cursor.word().filter(|stream| matches!(*stream, "stdout" | "stderr"))?;
    cursor.word().filter(|tag| matches!(tag.as_bytes(), [b'F' | b'P'] | [b'F' | b'P', b':', ..]))?;
    let level = find(&cursor).map_or(SaidLevel::Nothing, |found| SaidLevel::Known(found.level));
    let (time, message_start) = (Some(stamp), cursor.at());
    Some(Line { time, level, message_start, more: vec![("stream", stream)], ..Line::default() })
}
