//! The socket over which a gateway is asked on its own machine, without any configuration.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::config::JournalPath;

/// Its name in the folder that a service manager makes for it.
const NAME: &str = "fieldgate.sock";

/// Its ending beside the journal.
const ENDING: &str = "sock";

/// Owner and group may ask.
const MODE: u32 = 0o660;

/// Where a gateway with this journal is asked: in the folder that the service manager made for it, or
/// beside its journal. `None`: it has neither.
pub fn socket_path(runtime_folder: Option<&Path>, journal: &JournalPath) -> Option<PathBuf> {
    match (runtime_folder, journal) {
        (Some(folder), _) => Some(folder.join(NAME)),
        (None, JournalPath::File(path)) => Some(path.with_extension(ENDING)),
        (None, JournalPath::Memory) => None,
    }
}

/// The folder that a service manager made for what lives as long as the gateway.
pub fn runtime_folder() -> Option<PathBuf> {
    let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
    // Several stand with colons between them.
    let first = std::env::split_paths(&folders).next()?;
    (!first.as_os_str().is_empty()).then_some(first)
}

/// A socket that is listened on, and goes with this.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file of a socket, removed when it is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), error = %error, "The socket stays behind.");
        }
    }
}

impl Socket {
    /// Listens at a path. What a gateway left behind that was killed is replaced; what another one
    /// listens on is not.
    pub(super) fn bind(path: PathBuf) -> io::Result<Self> {
        if UnixStream::connect(&path).is_ok() {
            let taken = "another gateway listens there";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, taken));
        }
        let is_socket = |it: fs::Metadata| {
            use std::os::unix::fs::FileTypeExt;
            it.file_type().is_socket()
        };
        if fs::symlink_metadata(&path).is_ok_and(is_socket) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        let file = SocketFile(path);
        fs::set_permissions(&file.0, fs::Permissions::from_mode(MODE))?;
        Ok(Self { listener, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_the_service_manager_says_or_beside_the_journal() {
        let journal = JournalPath::File("/var/lib/fieldgate/journal.db".into());
        let run = Some(Path::new("/run/fieldgate"));
        for (folder, journal, expected) in [
            (run, &journal, Some("/run/fieldgate/fieldgate.sock")),
            (
                run,
                &JournalPath::Memory,
                Some("/run/fieldgate/fieldgate.sock"),
            ),
            (None, &journal, Some("/var/lib/fieldgate/journal.sock")),
            (None, &JournalPath::Memory, None),
        ] {
            assert_eq!(
                socket_path(folder, journal).as_deref(),
                expected.map(Path::new)
            );
        }
    }

    #[tokio::test]
    async fn what_was_left_behind_is_replaced_and_what_is_used_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(path.clone()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let second = Socket::bind(path.clone()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "no socket").unwrap();
        assert!(Socket::bind(path.clone()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"no socket");
    }
}
