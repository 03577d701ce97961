//! State that outlives the process: the session in which a file is being uploaded. A small database per
//! file and service, which only one process can open at a time.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("session");
const ROW: &str = "session";

/// A session, with the file's state when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) upload_id: String,
    pub(crate) key: String,
    pub(crate) part_size: u64,
    pub(crate) file: FileState,
}

/// What must be unchanged for the parts to fit together.
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

impl Store {
    pub(crate) fn open(dir: &Path, service: &str, file: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(broken(dir))?;
        let mut name = Sha256::new();
        name.update(service.as_bytes());
        name.update([0]);
        name.update(file.as_os_str().as_encoded_bytes());
        let path = dir.join(format!("{}.redb", &hex::encode(name.finalize())[..32]));
        let in_use = || Error::InUse { path: file.to_owned() };
        let database = match Database::create(&path) {
            Err(error) if is_unreadable(&error) => {
                // The process was killed while it created the file, or the disk lost a part of it: the
                // upload cannot be resumed. It is restarted, and the old session expires.
                std::fs::remove_file(&path).map_err(broken(&path))?;
                Database::create(&path)
            }
            opened => opened,
        };
        match database {
            Ok(database) => Ok(Self { database, path }),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(in_use()),
            Err(error) => Err(broken(&path)(error)),
        }
    }

    pub(crate) fn load(&self) -> Result<Option<Saved>, Error> {
        let read = self.database.begin_read().map_err(broken(&self.path))?;
        let table = match read.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(broken(&self.path)(error)),
        };
        let row = table.get(ROW).map_err(broken(&self.path))?;
        // A row of another version is ignored.
        Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
    }

    /// Durable on return.
    pub(crate) fn save(&self, saved: &Saved) -> Result<(), Error> {
        let bytes = serde_json::to_vec(saved).map_err(broken(&self.path))?;
        let write = self.database.begin_write().map_err(broken(&self.path))?;
        {
            let mut table = write.open_table(TABLE).map_err(broken(&self.path))?;
            table.insert(ROW, bytes.as_slice()).map_err(broken(&self.path))?;
        }
        write.commit().map_err(broken(&self.path))
    }

    /// Removes the state of a finished upload.
    pub(crate) fn remove(self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(broken(&self.path))
    }
}

fn broken<E: StdError + Send + Sync + 'static>(path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    |error| Error::State { path, source: error.into() }
}

/// Whether the file is not a database, or a damaged one. We hold its lock at this point.
fn is_unreadable(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::UpgradeRequired(_) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved {
            upload_id: "u".to_owned(),
            key: "k".to_owned(),
            part_size: 8,
            file: FileState { size: 1, modified_ns: 2 },
        }
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("logferry-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_session_is_found_again_by_the_same_file_and_service_only() {
        let dir = folder("store");
        let open = |service: &str, file: &str| Store::open(&dir, service, Path::new(file));
        let store = open("http://a", "/f").unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.save(&saved()).unwrap();
        assert!(matches!(open("http://a", "/f"), Err(Error::InUse { .. })));
        drop(store);
        assert_eq!(open("http://a", "/f").unwrap().load().unwrap(), Some(saved()));
        assert_eq!(open("http://b", "/f").unwrap().load().unwrap(), None);
        assert_eq!(open("http://a", "/g").unwrap().load().unwrap(), None);
        open("http://a", "/f").unwrap().remove().unwrap();
        assert_eq!(open("http://a", "/f").unwrap().load().unwrap(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// The state of a process that was killed while it created the file: the magic number is written last.
    #[test]
    fn a_file_that_was_cut_short_is_as_good_as_none() {
        let dir = folder("cut");
        let open = || Store::open(&dir, "http://a", Path::new("/f"));
        let store = open().unwrap();
        store.save(&saved()).unwrap();
        let path = store.path.clone();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let mut nameless = whole.clone();
        nameless[..9].fill(0);
        for left in [&nameless, &whole[..0], &whole[..5], &whole[..4096], &whole[..whole.len() / 2]] {
            std::fs::write(&path, left).unwrap();
            let store = open().unwrap_or_else(|error| panic!("{} bytes: {error:?}", left.len()));
            assert_eq!(store.load().unwrap(), None, "{} bytes", left.len());
            store.save(&saved()).unwrap();
            drop(store);
            assert_eq!(open().unwrap().load().unwrap(), Some(saved()));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
