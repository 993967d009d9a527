//! The journal's files were deleted, moved or replaced under the running gateway. What was open is
//! still there for it, and for nobody after it: so everything is saved into a new file.
//!
//! It waits a moment before it does so: whoever is at work there may not be done, and what comes back
//! needs no saving. Meanwhile everything goes on in the open files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{TICK, Writer};
use crate::journal::JournalState;
use crate::journal::error::Fault;
use crate::journal::place::{COMPANIONS, Place, TAIL, with_suffix};
use crate::journal::recovery::{self, DATABASE};
use crate::journal::store::Store;
use crate::telemetry::Timestamp;

const ASTRAY: crate::repeated::Topic = crate::repeated::Topic::of_attempts("journal-astray");

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The open files are not those that the path leads to.
#[derive(Debug)]
pub(super) struct Astray {
    reason: String,
    next_attempt: Instant,
    pause: Duration,
}

impl Astray {
    /// Makes the next attempt due.
    #[cfg(test)]
    pub(super) fn try_now(&mut self) {
        self.next_attempt = Instant::now();
    }
}

impl Writer {
    /// Notes where the files are, now that they are open.
    pub(super) fn note_place(&mut self) {
        let claim = self.claim.as_ref();
        self.place = claim.map(|claim| Place::note(&self.shared.name, &claim.path));
    }

    /// Looks whether the files are where they were; saves what is in them if they are not.
    pub(super) fn watch_files(&mut self) {
        self.find_astray();
        if self
            .astray
            .as_ref()
            .is_some_and(|astray| astray.next_attempt <= Instant::now())
            && let Err(fault) = self.save()
            && let Some(astray) = &mut self.astray
        {
            tracing::debug!(error = %fault, "Cannot save the journal.");
            astray.next_attempt = Instant::now() + astray.pause;
            astray.pause = (astray.pause * 2).min(MAX_PAUSE);
        }
        self.keep_lock();
    }

    /// Whether the open files are not those that the path leads to. The first time it is said.
    pub(super) fn find_astray(&mut self) -> bool {
        let change = match (&mut self.place, &self.file) {
            (Some(place), Some(_)) => place.change(),
            _ => return false,
        };
        match change {
            None if self.astray.is_some() => {
                let journal = self.shared.name.clone();
                ASTRAY.say("back", "", move |sum| {
                    let repeated = sum.words();
                    info!(journal = %journal.display(), repeated, "The journal's files are back.");
                });
                self.end_astray(None);
            }
            Some(reason) if self.astray.is_none() => self.begin_astray(reason),
            _ => {}
        }
        self.astray.is_some()
    }

    fn begin_astray(&mut self, reason: String) {
        let name = self.shared.name.display();
        let (journal, error) = (self.shared.name.clone(), reason.clone());
        ASTRAY.say("gone", &reason, move |sum| {
            error!(
                journal = %journal.display(),
                error = %error,
                repeated = sum.words(),
                "The journal's files are gone; what is in them is saved into a new file.",
            );
        });
        self.shared.tiers_mut().astray = true;
        {
            let mut ledger = self.shared.ledger();
            ledger.notice = Some(format!("journal {name}: {reason}"));
            let reason = reason.clone();
            ledger.set_state(JournalState::Fallback { reason });
        }
        self.astray = Some(Astray {
            reason,
            next_attempt: Instant::now() + TICK,
            pause: TICK,
        });
    }

    fn end_astray(&mut self, notice: Option<String>) {
        self.astray = None;
        self.shared.tiers_mut().astray = false;
        let is_written = self.trouble.is_none();
        let mut ledger = self.shared.ledger();
        if is_written {
            ledger.set_state(JournalState::File);
        }
        ledger.notice = notice;
    }

    /// Saves all that the open files have into a new one at the path, and goes on in that.
    pub(super) fn save(&mut self) -> Result<(), Fault> {
        let Some(claim) = &mut self.claim else {
            return Ok(());
        };
        claim.renew(&self.shared.name, self.shared.marks.as_ref())?;
        let path = claim.path.clone();
        if self.trouble.is_none() {
            self.empty_memory()?;
        }
        let new = with_suffix(&path, ".saving");
        let is_whole = self.copy_to(&new)?;
        let is_own = |path: &Path| self.place.as_ref().is_some_and(|place| place.owns(path));
        let found = make_way(&path, |path| is_whole && is_own(path))?;
        fs::rename(&new, &path)?;
        sync_folder(&path);
        let mut store = Store::open(&path)?;
        store.register(&self.acknowledged(), Timestamp::now())?;
        let reason = self.astray.as_ref().map(|astray| astray.reason.as_str());
        let notice = report(
            &self.shared.name,
            reason.unwrap_or_default(),
            found.as_deref(),
        );
        if let Some(old) = self.file.replace(store) {
            old.leave();
        }
        self.begin_tail();
        self.note_place();
        {
            let mut tiers = self.shared.tiers_mut();
            tiers.generation += 1;
            tiers.file = Some(path);
        }
        self.end_astray(Some(notice));
        self.publish(&[]);
        Ok(())
    }

    /// Copies what the open files have into a new one: all of it, or what can be read and no sink has delivered.
    /// Returns whether it is the former.
    fn copy_to(&self, new: &Path) -> Result<bool, Fault> {
        let Some(old) = &self.file else {
            return Err(Fault::Unavailable("it is not open".to_owned()));
        };
        let fresh = || -> io::Result<()> {
            for suffix in DATABASE {
                remove(&with_suffix(new, suffix))?;
            }
            recovery::create_file(new).map(drop)
        };
        fresh()?;
        let Err(fault) = old.copy_to(new) else {
            return Ok(true);
        };
        warn!(
            journal = %self.shared.name.display(),
            error = %fault,
            "Cannot save all of the journal; what is undelivered and readable is saved.",
        );
        fresh()?;
        let mut store = Store::open(new)?;
        let after = self.shared.ledger().delivered();
        let start = self.file_end();
        let old = Ok(old.connection());
        let salvage = recovery::salvage(old, after, start, &mut store);
        if salvage.fault == Some(Fault::Full) {
            return Err(Fault::Full);
        }
        store.close()?;
        self.shared.ledger().missing = salvage.missing;
        Ok(false)
    }

    /// Makes and locks the lock file again when it alone is gone.
    fn keep_lock(&mut self) {
        if self.astray.is_some() {
            return;
        }
        if let Some(claim) = &mut self.claim
            && !claim.is_locked()
        {
            match claim.renew(&self.shared.name, self.shared.marks.as_ref()) {
                Ok(()) => {
                    let journal = self.shared.name.clone();
                    ASTRAY.say("lock", "", move |sum| {
                        warn!(
                            journal = %journal.display(),
                            repeated = sum.words(),
                            "The journal's lock file was gone; it is made again."
                        );
                    });
                }
                Err(fault) => {
                    tracing::debug!(error = %fault, "Cannot lock the journal again.");
                }
            }
        }
    }
}

/// Takes out of the way what lies at the path. What is not the journal's own is kept under another
/// name, which is returned.
fn make_way(path: &Path, is_own: impl Fn(&Path) -> bool) -> io::Result<Option<PathBuf>> {
    let tail = with_suffix(path, TAIL);
    if is_own(&tail) {
        remove(&tail)?;
    }
    let is_in_the_way = path.exists() && recovery::length(path) > 0 && !is_own(path);
    if is_in_the_way {
        let all = [&DATABASE[..], &[TAIL]].concat();
        return recovery::move_aside(path, &all, "found", Timestamp::now()).map(Some);
    }
    let mut moved = None;
    for suffix in COMPANIONS {
        let companion = with_suffix(path, suffix);
        if is_own(&companion) || recovery::length(&companion) == 0 {
            remove(&companion)?;
        } else {
            let now = Timestamp::now();
            moved = Some(recovery::move_aside(&companion, &[""], "found", now)?);
        }
    }
    Ok(moved)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Has a new name outlive a power cut, where the file system can do that.
fn sync_folder(path: &Path) {
    let folder = path.parent().map(File::open);
    if let Some(Ok(folder)) = folder
        && let Err(error) = folder.sync_all()
    {
        tracing::debug!(error = %error, "Cannot sync the journal's folder.");
    }
}

fn report(name: &Path, reason: &str, found: Option<&Path>) -> String {
    let found = found.map(|path| path.display().to_string());
    let (journal, kept) = (name.to_owned(), found.clone());
    ASTRAY.say("saved", "", move |sum| {
        warn!(
            journal = %journal.display(),
            found = kept,
            repeated = sum.words(),
            "The journal is saved into a new file; what was found in its place is kept.",
        );
    });
    let kept = found.map(|found| format!(", what was found in its place is {found}"));
    let kept = kept.unwrap_or_default();
    format!(
        "journal {}: {reason}; all of it was saved into a new file{kept}",
        name.display()
    )
}
