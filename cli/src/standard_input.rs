//! `-` as a file: standard input, copied to a temporary file, because files are read more than once.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A file that a command reads. A copy of standard input is removed with it.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    /// As it was named on the command line.
    pub(crate) name: String,
    folder: Option<TempDir>,
}

impl Input {
    /// Copies standard input if the path is `-`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let name = path.display().to_string();
        if name != "-" {
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{name} cannot be read: {error}"));
            if std::fs::metadata(path).map_err(named)?.is_dir() {
                let message = format!("{name} is a folder; name the files in it");
                return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
            }
            return Ok(Self { path: path.to_owned(), name, folder: None });
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("stdin");
        io::copy(&mut io::stdin().lock(), &mut File::create(&path)?)?;
        Ok(Self { path, name: "standard input".to_owned(), folder: Some(folder) })
    }

    /// The folder of the copy of standard input.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(TempDir::path)
    }
}
