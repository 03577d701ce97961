//! Entries that a client sends again, together with newer ones, until it is answered: the bodies overlap, and
//! begin with the same entry. What is stored is remembered under the entry with which it begins.

use sha2::{Digest as _, Sha256};

use crate::logbook::carried::{self, Carried};
use crate::logbook::new_entry::{Invalid, NewEntry};
use crate::logbook::records::Records;
use crate::logbook::write::{
    Refused, WriteError, WriteRequest, hash_entry, key_of, live_memo, not_pruned, redacted, write_with_key,
};
use crate::logbook::write_plan::fitting;
use crate::model::fault::{Fault, FaultClass};
use crate::ports::usage::Usage;

/// Maximum attempts at the same place of a body, of which each lost against another request.
const ATTEMPTS: u32 = 4;

/// Stores the entries that no earlier body with the same beginning has stored, except those that it returns.
///
/// # Errors
/// The app's quota, or a fault. What was stored before is skipped by a retry.
pub async fn carry_resent(
    records: &(impl Records + Usage),
    request: &WriteRequest<'_>,
    entries: &[Carried<'_>],
) -> Result<Vec<Refused>, WriteError> {
    let read = |(index, entry): (usize, &Carried<'_>)| {
        carried::read(entry, &format!("entries[{index}]"), request.now_ms).map(|read| redacted(request, read))
    };
    let read: Vec<_> = entries.iter().enumerate().map(read).collect();
    let mut refused = Vec::new();
    let (mut from, mut attempts) = (0, 0);
    while from < read.len() {
        let key = key_at(request, &entries[from], &read[from]);
        let known = live_memo(records, request, &key).await?;
        if let Some(stored) = known.and_then(|memo| count_in(&memo.body_hash)) {
            (from, attempts) = (from.saturating_add(stored), 0);
            continue;
        }
        let good = read[from..].iter().map_while(|read| read.as_ref().ok());
        let count = fitting(good).max(1);
        let mut part = Vec::with_capacity(count);
        let mut left_out = Vec::new();
        for (index, read) in read.iter().enumerate().skip(from).take(count) {
            let at = format!("entries[{index}]");
            match read.clone().and_then(|entry| not_pruned(request, &entry, &at).map(|()| entry)) {
                Ok(entry) => part.push(entry),
                Err(why) => left_out.push(Refused { index, why }),
            }
        }
        if !part.is_empty() {
            match write_with_key(records, request, &key, count_as_hash(count), &part).await {
                Ok(_) => {}
                // Another body with this beginning was first, and is of another length.
                Err(WriteError::KeyReused) if attempts < ATTEMPTS => {
                    attempts += 1;
                    continue;
                }
                Err(WriteError::KeyReused) => return Err(conflict().into()),
                Err(error) => return Err(error),
            }
        }
        refused.append(&mut left_out);
        (from, attempts) = (from + count, 0);
    }
    Ok(refused)
}

fn conflict() -> Fault {
    Fault::new(FaultClass::Transient, "write", "conflicts with other requests with the same entries")
}

/// The key of the entries that begin with this one.
fn key_at(request: &WriteRequest<'_>, entry: &Carried<'_>, read: &Result<NewEntry, Invalid>) -> String {
    let mut hash = Sha256::new();
    hash.update(entry.time_ns.unwrap_or_default().to_be_bytes());
    match read {
        Ok(read) => hash_entry(&mut hash, read),
        Err(_) => hash.update(entry.text.as_bytes()),
    }
    key_of(&format!("{}:from", request.format), hash)
}

/// The number of entries that a memo stands for, in place of the hash of a body.
fn count_as_hash(count: usize) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[24..].copy_from_slice(&(count as u64).to_be_bytes());
    hash
}

fn count_in(hash: &[u8; 32]) -> Option<usize> {
    let (zeros, count) = hash.split_at(24);
    let count = usize::try_from(u64::from_be_bytes(count.try_into().ok()?)).ok()?;
    (count > 0 && zeros.iter().all(|byte| *byte == 0)).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_stands_for_a_number_of_entries() {
        for count in [1, 85, 100_000] {
            assert_eq!(count_in(&count_as_hash(count)), Some(count));
        }
        assert_eq!(count_in(&[0; 32]), None);
        assert_eq!(count_in(&[1; 32]), None);
    }
}
