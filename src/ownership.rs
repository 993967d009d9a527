//! Whom a file belongs to, and who asks for it: what a permission that is denied comes down to.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, geteuid};

/// The group that a getty gives the terminal that it waits at.
const OF_TERMINALS: &str = "tty";

/// What to do about an error with a file or folder: who it belongs to and who asks, in numbers as containers
/// know no names, or that it may not be there.
pub(crate) fn advice(path: &Path, error: &io::Error) -> String {
    let refused = match error.kind() {
        // What cannot be seen lies behind a folder that lets nobody in.
        ErrorKind::PermissionDenied => path
            .ancestors()
            .find_map(|path| Some((path, fs::metadata(path).ok()?))),
        _ => None,
    };
    match refused {
        Some((at, found)) => of_owner(at, found.uid(), found.mode(), geteuid().as_raw()),
        None => "check that its folder exists and may be written to".to_owned(),
    }
}

fn of_owner(path: &Path, owner: u32, mode: u32, own: u32) -> String {
    // A relative path ends in the current folder.
    let path = match path.to_str() {
        Some("") => ".".into(),
        _ => path.to_string_lossy(),
    };
    if owner == own {
        let mode = mode & 0o7777;
        return format!(
            "{path} belongs to UID {own}, as which fieldgate runs, but its mode {mode:o} does not allow it (chmod)"
        );
    }
    format!(
        "{path} belongs to UID {owner}, and fieldgate runs as UID {own}: let that one use it (chown), or run \
         fieldgate as UID {owner}"
    )
}

/// What to do about a device that may not be opened: the group whose members may.
pub(crate) fn advice_for_device(path: &Path) -> String {
    let Ok(found) = fs::metadata(path) else {
        return "give the user that runs fieldgate the right to use it".to_owned();
    };
    let group = Gid::from_raw(found.gid());
    let name = Group::from_gid(group).ok().flatten().map(|it| it.name);
    of_group(path, found.gid(), name.as_deref(), found.mode())
}

fn of_group(path: &Path, group: u32, name: Option<&str>, mode: u32) -> String {
    if name == Some(OF_TERMINALS) {
        let device = path.file_name().unwrap_or_default().to_string_lossy();
        return format!("a login waits there (sudo systemctl disable --now serial-getty@{device})");
    }
    if group == 0 || mode & 0o060 != 0o060 {
        return "it is for root alone; a rule of udev gives it to a group".to_owned();
    }
    let shown = name.map_or_else(|| group.to_string(), str::to_owned);
    format!(
        "add the user that runs fieldgate to the group `{shown}` (sudo usermod -aG {shown} NAME; in a container \
         --group-add {group}) and log in again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_owners_are_named() {
        let folder = Path::new("/var/lib/fieldgate");
        let other = of_owner(folder, 0, 0o755, 10001);
        assert!(
            other.contains("/var/lib/fieldgate belongs to UID 0,"),
            "{other}"
        );
        assert!(other.contains("runs as UID 10001"), "{other}");
        let own = of_owner(folder, 10001, 0o100_555, 10001);
        assert!(
            own.contains("UID 10001") && own.contains("mode 555"),
            "{own}"
        );
        assert!(of_owner(Path::new(""), 0, 0o755, 1).starts_with(". belongs"));
    }

    #[test]
    fn only_a_permission_is_about_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there");
        let own = geteuid().as_raw();
        let denied = advice(&path, &ErrorKind::PermissionDenied.into());
        assert!(denied.starts_with(&format!("{} belongs to UID {own}", folder.path().display())));
        assert!(advice(&path, &ErrorKind::NotADirectory.into()).starts_with("check"));
    }

    #[test]
    fn a_device_is_had_through_its_group() {
        let path = Path::new("/dev/ttyAMA0");
        for (group, name, mode, expected) in [
            (20, Some("dialout"), 0o20_660, "usermod -aG dialout NAME"),
            (987, Some("uucp"), 0o20_660, "usermod -aG uucp NAME"),
            (987, None, 0o20_660, "--group-add 987"),
            (0, Some("root"), 0o20_660, "a rule of udev"),
            (20, Some("dialout"), 0o20_600, "a rule of udev"),
            (5, Some("tty"), 0o20_620, "serial-getty@ttyAMA0"),
        ] {
            let advice = of_group(path, group, name, mode);
            assert!(advice.contains(expected), "{advice}");
        }
    }
}
