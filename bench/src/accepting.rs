//! A table and a ledger that accept everything and keep nothing. Calls that reading a file does not make are
//! refused.

use std::collections::BTreeSet;
use std::hint::black_box;

use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Finished, Lease, Ledger};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileRow, Grant, StoredSoFar};
use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::model::block::{Block, BlockHeader, BlockPlace};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::Day;

#[derive(Debug)]
pub(crate) struct Accepting;

fn unused<T>() -> Result<T, Fault> {
    Err(Fault::new(FaultClass::Permanent, "bench", "not a call of the pipeline"))
}

impl BlockTable for Accepting {
    async fn put(&self, blocks: Vec<Block>) -> Result<Vec<Block>, Fault> {
        black_box(&blocks);
        Ok(Vec::new())
    }

    async fn remove(&self, _: &[StoredHeader]) -> Result<(), Fault> {
        unused()
    }

    async fn newest(&self, _: &BlockRange, _: u32, _: Option<&BlockPosition>) -> Result<BlockPage, Fault> {
        unused()
    }

    async fn headers(&self, _: &BlockRange, _: u32, _: Option<&BlockPosition>) -> Result<HeaderPage, Fault> {
        unused()
    }

    async fn at(&self, _: &BlockPlace) -> Result<Option<StoredBlock>, Fault> {
        unused()
    }

    async fn with_extents(&self, _: &BlockHeader, _: Vec<u8>, _: u8) -> Result<Vec<u8>, Fault> {
        unused()
    }
}

impl Grants for Accepting {
    async fn grant(&self, _: &Grant) -> Result<(), Fault> {
        unused()
    }

    async fn find_grant(&self, _: &str, _: &str) -> Result<Option<Grant>, Fault> {
        unused()
    }

    async fn find_waiting(&self, _: &str, _: &str) -> Result<Option<FileRow>, Fault> {
        unused()
    }

    async fn find(&self, _: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        unused()
    }
}

impl Ledger for Accepting {
    async fn claim(&self, _: &Claim) -> Result<Claimed, Fault> {
        unused()
    }

    async fn stored_so_far(&self, _: &ObjectRef) -> Result<StoredSoFar, Fault> {
        unused()
    }

    async fn note_hours(&self, _: &Lease, _: &BTreeSet<i64>, _: Day) -> Result<(), Fault> {
        Ok(())
    }

    async fn restart(&self, _: &Lease, _: &PackFingerprint, _: i64) -> Result<(), Fault> {
        unused()
    }

    async fn quarantine(&self, _: &Lease, _: &[Quarantined]) -> Result<(), Fault> {
        Ok(())
    }

    async fn release(&self, _: &Lease, _: Checkpoint, _: EndedBy, _: i64, _: i64) -> Result<(), Fault> {
        unused()
    }

    async fn finish(&self, _: &Lease, _: &Outcome, _: i64) -> Result<Finished, Fault> {
        unused()
    }
}
