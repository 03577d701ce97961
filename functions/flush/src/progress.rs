//! How far an invocation got with one partition, as a mark that a later one can go on from.
//! Pure. The mark only ever speaks of what was given to this invocation or to the one whose mark
//! it found, so that it can hide no record that neither has seen.

use logferry_ports::flush_marks::{FlushMark, PartMark};

use crate::stream::SequenceNumber;

/// What became of one stream record in this invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not yet, or given back.
    Open,
    /// Every event of it was confirmed, left out by setting, or dead-lettered.
    Through,
    /// It cannot be read.
    Bad,
}

fn sequence(text: &str) -> SequenceNumber {
    SequenceNumber::new(text)
}

/// Whether a record was through as a whole when the mark was made.
#[must_use]
pub fn covers(mark: &FlushMark, number: &SequenceNumber) -> bool {
    let through = mark.through.as_deref().map(sequence);
    *number >= sequence(&mark.from)
        && through.is_some_and(|through| *number <= through)
        && !mark.open.iter().any(|open| open == number.as_str())
}

/// The mark after this invocation's records, given in the stream's order, and the one before it.
/// `None` when there is nothing to remember.
#[must_use]
pub fn mark(
    records: &[(SequenceNumber, State)],
    part: Option<PartMark>,
    before: Option<&FlushMark>,
) -> Option<FlushMark> {
    let (first, _) = records.first()?;
    // Up to the last record that is through. Those before it that are not are named one by one.
    let reached = records.iter().rposition(|(_, state)| *state == State::Through);
    let done = reached.map_or(&[][..], |last| &records[..=last]);
    let is_open = |number: &SequenceNumber| {
        records.iter().any(|(other, state)| other == number && *state != State::Through)
    };
    let mut new = FlushMark {
        from: first.as_str().to_owned(),
        through: done.last().map(|(number, _)| number.as_str().to_owned()),
        open: done
            .iter()
            .filter(|(_, state)| *state != State::Through)
            .map(|(number, _)| number.as_str().to_owned())
            .collect(),
        part: part.filter(|part| is_open(&sequence(&part.sequence))),
    };
    if let Some(before) = before.filter(|before| touches(before, first)) {
        let was_given = |text: &str| records.iter().any(|(number, _)| number.as_str() == text);
        let mut open: Vec<String> =
            before.open.iter().filter(|text| !was_given(text)).cloned().chain(new.open).collect();
        let reached_before = before.through.as_deref().map(sequence);
        let reached_now = new.through.as_deref().map(sequence);
        if reached_before > reached_now {
            // What was through before stays so; what was given again and is not through is open.
            let still_open = records.iter().filter(|(number, state)| {
                *state != State::Through && !covers(before, number) && reached_before.as_ref() >= Some(number)
            });
            open.extend(still_open.map(|(number, _)| number.as_str().to_owned()));
            new.through.clone_from(&before.through);
        }
        let is_through = |part: &PartMark| {
            records.iter().any(|(number, state)| number.as_str() == part.sequence && *state == State::Through)
        };
        new.part = new.part.or_else(|| before.part.clone().filter(|part| !is_through(part)));
        new.from.clone_from(&before.from);
        open.sort();
        open.dedup();
        new.open = open;
    }
    (new.through.is_some() || new.part.is_some()).then_some(new)
}

/// Whether the mark's stretch reaches to or over this record, so that both are one stretch.
fn touches(mark: &FlushMark, number: &SequenceNumber) -> bool {
    let end = [mark.through.as_deref(), mark.part.as_ref().map(|part| part.sequence.as_str())];
    let end = end.into_iter().flatten().map(sequence).max();
    sequence(&mark.from) <= *number && end.is_some_and(|end| *number <= end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn records(states: &[(u32, State)]) -> Vec<(SequenceNumber, State)> {
        states.iter().map(|(number, state)| (sequence(&number.to_string()), *state)).collect()
    }

    #[test]
    fn a_mark_names_what_is_open_inside_its_stretch() {
        use State::{Bad, Open, Through};
        let made = mark(&records(&[(8, Through), (9, Bad), (10, Through), (11, Open)]), None, None).unwrap();
        assert_eq!(
            (made.from.as_str(), made.through.as_deref(), made.open.as_slice()),
            ("8", Some("10"), &["9".to_owned()][..])
        );
        let covered: Vec<u32> = (0..20).filter(|n| covers(&made, &sequence(&n.to_string()))).collect();
        assert_eq!(covered, [8, 10]);
        assert_eq!(mark(&records(&[(1, Open)]), None, None), None);
    }

    proptest! {
        // Batches as the mapping gives them: a stretch, then stretches that begin inside it or
        // behind it. A mark covers a record only if the record once was through, and forgets
        // none of the stretch that is given again.
        #[test]
        fn a_mark_never_covers_what_was_not_through(
            runs in prop::collection::vec((0u32..6, 1u32..8, prop::collection::vec(0u8..3, 8)), 1..6)
        ) {
            let mut through: BTreeSet<u32> = BTreeSet::new();
            let mut current: Option<FlushMark> = None;
            let mut base = 1;
            for (step, length, states) in runs {
                base += step;
                let numbers: Vec<u32> = (base..base + length).collect();
                let states: Vec<_> = numbers.iter().zip(&states).map(|(number, state)| {
                    let known = current.as_ref().is_some_and(|mark| covers(mark, &sequence(&number.to_string())));
                    let state = match state { _ if known => State::Through, 0 => State::Open, 1 => State::Bad, _ => State::Through };
                    (*number, state)
                }).collect();
                through.extend(states.iter().filter(|(_, state)| *state == State::Through).map(|(number, _)| *number));
                current = mark(&records(&states), None, current.as_ref()).or(current);
                for number in 0..60 {
                    let covered = current.as_ref().is_some_and(|mark| covers(mark, &sequence(&number.to_string())));
                    prop_assert!(!covered || through.contains(&number), "{number} of {current:?}");
                }
                for (number, state) in states {
                    if state == State::Through {
                        prop_assert!(current.as_ref().is_some_and(|mark| covers(mark, &sequence(&number.to_string()))));
                    }
                }
            }
        }
    }
}
