//! The committed counts, and what they depend on.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::Failure;

const HEADER: &str = "\
# Instructions of the hot functions, counted by callgrind. `make counts` compares, `make counts WRITE=yes` writes.
# The first line says what the counts depend on: zstd, zlib-rs, memchr and the C library choose code by what the
# processor can do, and another compiler makes other code. On other machines they are not compared.
";

/// What counts depend on, as one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conditions(pub(crate) String);

impl Conditions {
    pub(crate) fn here() -> Result<Self, Failure> {
        let output = Command::new("rustc").arg("--version").output()?;
        let version = String::from_utf8(output.stdout)?;
        let number = version.split_whitespace().nth(1).ok_or("rustc has no version")?;
        let mut text = format!("rustc {number}, {}", std::env::consts::ARCH);
        for feature in features() {
            let _ = write!(text, " {feature}");
        }
        Ok(Self(text))
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> impl Iterator<Item = &'static str> {
    [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}

/// What counts.txt holds.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) conditions: String,
    counts: Vec<(String, u64)>,
}

impl Committed {
    /// Reads a file; a missing one is empty.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        match path.exists() {
            true => Self::parse(&std::fs::read_to_string(path)?),
            false => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let conditions = lines.next().unwrap_or_default().to_owned();
        let count = |line: &str| {
            let (name, count) = line.rsplit_once(' ').ok_or("no count")?;
            Ok::<_, Failure>((name.trim().to_owned(), count.parse()?))
        };
        let counts = lines.map(|line| count(line).map_err(|error| format!("counts.txt: {line}: {error}")));
        Ok(Self { conditions, counts: counts.collect::<Result<_, _>>()? })
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }
}

/// Writes counts.
pub(crate) fn write(path: &Path, conditions: &Conditions, counts: &[(&str, u64)]) -> Result<(), Failure> {
    let mut text = format!("{HEADER}{}\n", conditions.0);
    for (name, count) in counts {
        writeln!(text, "{name:<28} {count:>14}")?;
    }
    Ok(std::fs::write(path, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("logferry-counts-{}", std::process::id()));
        write(&path, &Conditions("rustc 1.95.0, x86_64 avx2".to_owned()), &[("split NDJSON", 7)]).unwrap();
        let read = Committed::read(&path);
        std::fs::remove_file(&path).unwrap();
        let read = read.unwrap();
        assert_eq!(read.conditions, "rustc 1.95.0, x86_64 avx2");
        assert_eq!((read.count("split NDJSON"), read.count("other")), (Some(7), None));
    }

    #[test]
    fn a_line_without_a_count_is_an_error_that_names_it() {
        let error = Committed::parse("rustc\nsplit NDJSON many\n").unwrap_err().to_string();
        assert!(error.starts_with("counts.txt: split NDJSON many:"), "{error}");
    }
}
