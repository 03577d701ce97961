//! A trace of Python that no entry above takes: it is an entry of its own.

use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "traceback",
    title: "a trace of Python without a line that logs it",
    begins: |byte| byte == b'T',
    read,
    examples: &[Example {
        line: "Traceback (most recent call last):",
        time: "",
        level: Level::Error,
        message: "Traceback (most recent call last):",
    }],
};

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    text.starts_with("Traceback (most recent call last):")
        .then(|| Line { level: SaidLevel::Known(Level::Error), ..Line::default() })
}
