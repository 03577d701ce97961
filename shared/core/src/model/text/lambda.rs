//! The lines that Lambda itself writes around those of a function.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html>

use super::{AccessRequest, Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;

const REPORT: &str = "REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 3.16 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 65 MB\tInit Duration: 188.50 ms\t";

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "lambda",
    title: "Lambda START, END, REPORT and INIT_START lines",
    begins: |byte| matches!(byte, b'S' | b'E' | b'R' | b'I'),
    read,
    examples: &[
        Example {
            line: "START RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95 Version: $LATEST",
            time: "",
            level: Level::Info,
            message: "START RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95 Version: $LATEST",
        },
        Example { line: REPORT, time: "", level: Level::Info, message: REPORT },
        Example {
            line: "REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 3000.00 ms\tStatus: timeout",
            time: "",
            level: Level::Error,
            message: "REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 3000.00 ms\tStatus: timeout",
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    if text.starts_with("INIT_START Runtime Version: ") {
        return Some(Line::default());
    }
    let rest = ["START", "END", "REPORT"].into_iter().find_map(|kind| text.strip_prefix(kind))?;
    let rest = rest.strip_prefix(" RequestId: ")?;
    let id = rest.split([' ', '\t']).next().filter(|id| !id.is_empty())?;
    let mut line =
        Line { request: AccessRequest { id: Some(id), ..AccessRequest::default() }, ..Line::default() };
    for part in rest.split('\t').skip(1) {
        let Some((name, value)) = part.trim().split_once(": ") else { continue };
        let number = value.split(' ').next().unwrap_or(value);
        let field = match name {
            "Duration" => {
                line.request.processing_ms = number.parse().ok().filter(|ms: &f64| ms.is_finite());
                continue;
            }
            "Status" => {
                if matches!(value, "timeout" | "error") {
                    line.level = SaidLevel::Known(Level::Error);
                }
                ("status", value)
            }
            "Billed Duration" => ("billedDurationMs", number),
            "Memory Size" => ("memorySizeMb", number),
            "Max Memory Used" => ("maxMemoryUsedMb", number),
            "Init Duration" => ("initDurationMs", number),
            "XRAY TraceId" => ("traceId", value),
            _ => continue,
        };
        if ask.fields {
            line.more.push(field);
        }
    }
    Some(line)
}
