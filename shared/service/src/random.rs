//! The system's random numbers.

use logferry_core::model::fault::{Fault, FaultClass};

/// Returns random bytes, good enough for keys.
///
/// # Errors
/// The system has none.
pub fn bytes<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::new(FaultClass::Transient, "getrandom", error.to_string()))?;
    Ok(bytes)
}
