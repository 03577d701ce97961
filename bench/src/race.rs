//! Interleaved rounds: each round runs every contender once, so that a slow minute of the machine slows all
//! of them. The result of a contender is the median of its rounds.

use crate::clock::{Time, timed};

/// Any error of a measurement.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// A piece of work to measure.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    run: Box<dyn FnMut() -> Result<(), Failure> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Result<(), Failure> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Runs all contenders in rounds. Returns the median times, in the order of the contenders.
pub(crate) fn race(rounds: u32, contenders: &mut [Contender<'_>]) -> Result<Vec<Time>, Failure> {
    let mut taken: Vec<Vec<Time>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds.max(1) {
        for (contender, times) in contenders.iter_mut().zip(&mut taken) {
            let (time, result) = timed(&mut contender.run);
            result.map_err(|error| format!("{}: {error}", contender.name))?;
            times.push(time);
        }
    }
    let middle = |times: &[Time], of: fn(&Time) -> f64| median(times.iter().map(of).collect());
    Ok(taken
        .iter()
        .map(|times| Time { cpu: middle(times, |time| time.cpu), wall: middle(times, |time| time.wall) })
        .collect())
}

/// Returns the middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn rounds_are_interleaved_and_an_error_names_its_contender() {
        let order = RefCell::new(Vec::new());
        let step = |name: &'static str| {
            let order = &order;
            Contender::new(name, move || {
                order.borrow_mut().push(name);
                Ok(())
            })
        };
        assert_eq!(race(2, &mut [step("a"), step("b")]).unwrap().len(), 2);
        assert_eq!(*order.borrow(), ["a", "b", "a", "b"]);
        let broken = race(1, &mut [Contender::new("c", || Err("no file".into()))]);
        assert_eq!(broken.unwrap_err().to_string(), "c: no file");
    }

    #[test]
    fn a_median_is_the_middle_value() {
        assert_eq!(median(vec![5.0, 1.0, 100.0]), 5.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
