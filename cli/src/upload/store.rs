//! What outlives the process: which session a file is being uploaded in. A small database per file
//! and service, which only one process has open at a time.

use std::error::Error;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("session");
const ROW: &str = "session";

/// A session that was begun, and the file as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) upload_id: String,
    pub(crate) key: String,
    pub(crate) part_size: u64,
    pub(crate) file: FileState,
}

/// What must not have changed for the parts to fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    pub(crate) size: u64,
    pub(crate) modified_ns: u128,
}

/// The database of one file's upload to one service.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("another process is uploading this file")]
    Busy,
    #[error("the upload's state could not be kept: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

fn broken(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Broken(Box::new(error))
}

impl Store {
    pub(crate) fn open(dir: &Path, service: &str, file: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(broken)?;
        let mut name = Sha256::new();
        name.update(service.as_bytes());
        name.update([0]);
        name.update(file.as_os_str().as_encoded_bytes());
        let path = dir.join(format!("{}.redb", &hex::encode(name.finalize())[..32]));
        match Database::create(&path) {
            Ok(database) => Ok(Self { database, path }),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::Busy),
            Err(error) => Err(broken(error)),
        }
    }

    pub(crate) fn load(&self) -> Result<Option<Saved>, StoreError> {
        let read = self.database.begin_read().map_err(broken)?;
        let table = match read.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(broken(error)),
        };
        let row = table.get(ROW).map_err(broken)?;
        // A row that another version wrote is as good as none.
        Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
    }

    /// Durable when it returns.
    pub(crate) fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(saved).map_err(broken)?;
        let write = self.database.begin_write().map_err(broken)?;
        {
            let mut table = write.open_table(TABLE).map_err(broken)?;
            table.insert(ROW, bytes.as_slice()).map_err(broken)?;
        }
        write.commit().map_err(broken)
    }

    /// The upload is over: nothing is left of it.
    pub(crate) fn remove(self) -> Result<(), StoreError> {
        std::fs::remove_file(&self.path).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_again_by_the_same_file_and_service_only() {
        let dir = std::env::temp_dir().join(format!("logferry-store-{}", std::process::id()));
        let saved = Saved {
            upload_id: "u".to_owned(),
            key: "k".to_owned(),
            part_size: 8,
            file: FileState { size: 1, modified_ns: 2 },
        };
        let open = |service: &str, file: &str| Store::open(&dir, service, Path::new(file));
        let store = open("http://a", "/f").unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.save(&saved).unwrap();
        assert!(matches!(open("http://a", "/f"), Err(StoreError::Busy)));
        drop(store);
        assert_eq!(open("http://a", "/f").unwrap().load().unwrap(), Some(saved));
        assert_eq!(open("http://b", "/f").unwrap().load().unwrap(), None);
        assert_eq!(open("http://a", "/g").unwrap().load().unwrap(), None);
        open("http://a", "/f").unwrap().remove().unwrap();
        assert_eq!(open("http://a", "/f").unwrap().load().unwrap(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
