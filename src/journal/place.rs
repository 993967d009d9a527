//! Whether the journal's files are still where they were opened: by device and inode, since a name says
//! nothing about what an open file has become.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of an open file.
    pub(super) fn of_metadata(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// Of what a path leads to; `None`: to nothing.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::of_metadata(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // A part of the path is a file now.
            Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The files of an open journal.
#[derive(Debug)]
pub(super) struct Place {
    /// As configured: where the next start will look.
    configured: PathBuf,
    /// With links followed: where its companions are.
    path: PathBuf,
    folder: Option<Identity>,
    file: Option<Identity>,
    companions: [Option<Identity>; 3],
}

pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", TAIL];

/// What stands behind the name of the file that the last packets are in.
pub(super) const TAIL: &str = "-tail";

impl Place {
    /// Notes what is there now.
    pub(super) fn note(configured: &Path, path: &Path) -> Self {
        let identity = |path: &Path| Identity::of(path).ok().flatten();
        Self {
            configured: configured.to_owned(),
            path: path.to_owned(),
            folder: path.parent().and_then(identity),
            file: identity(path),
            companions: COMPANIONS.map(|suffix| identity(&with_suffix(path, suffix))),
        }
    }

    /// What became of the files, in words; `None`: they are where they were.
    pub(super) fn change(&mut self) -> Option<String> {
        let change = match Identity::of(&self.configured) {
            Ok(found) if found == self.file => return self.change_of_companions(),
            Ok(Some(_)) => "another file was put in its place".to_owned(),
            Ok(None) if self.is_folder_the_same() => {
                "the file was deleted or moved away".to_owned()
            }
            Ok(None) => "its folder was deleted, moved or replaced".to_owned(),
            Err(error) => format!("the file cannot be reached any more ({error})"),
        };
        Some(change)
    }

    fn change_of_companions(&mut self) -> Option<String> {
        for (suffix, noted) in COMPANIONS.into_iter().zip(&mut self.companions) {
            let found = Identity::of(&with_suffix(&self.path, suffix));
            if noted.is_none() {
                // Made since.
                *noted = found.ok().flatten();
            } else if found.is_ok_and(|found| found != *noted) {
                return Some(format!(
                    "the file's companion {suffix} was deleted, moved or replaced"
                ));
            }
        }
        None
    }

    fn is_folder_the_same(&self) -> bool {
        let folder = self.path.parent().map(Identity::of);
        folder.is_some_and(|found| found.is_ok_and(|found| found == self.folder))
    }

    /// Whether a file at one of the journal's paths is one of its own.
    pub(super) fn owns(&self, path: &Path) -> bool {
        let found = Identity::of(path).ok().flatten();
        found.is_some() && (found == self.file || self.companions.contains(&found))
    }
}

/// A path with something behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
