//! What this process has written to disks.

use std::fs;

/// Bytes written so far, as the system counts them: whole pages, each time that one has to be written, but not when
/// that is never done. `None`: the system does not say.
pub(crate) fn of_process() -> Option<u64> {
    written(&fs::read_to_string("/proc/self/io").ok()?)
}

fn written(io: &str) -> Option<u64> {
    let mut lines = io.lines();
    lines.find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_counted() {
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(written(io), Some(4096));
        assert_eq!(written("rchar: 1\n"), None);
    }
}
