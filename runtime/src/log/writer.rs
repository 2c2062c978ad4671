//! The shim's end of a log: pipe → block → file, one read and one write for each piece, nothing copied between.

use super::{
    LogSettings, Stream, file_of,
    frame::{BLOCK, HEADER, Kind, seal},
    numbers,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Appends records; one writer per directory.
#[derive(Debug)]
pub(crate) struct Writer {
    directory: PathBuf,
    settings: LogSettings,
    file: OwnedFd,
    number: u64,
    /// Where the next record goes.
    offset: u64,
    /// Output that could not be written (full disk), bytes.
    lost: u64,
}

/// What one [`Writer::take`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something was read; there may be more.
    Some,
    /// Nothing there now.
    Nothing,
    /// The other end is closed for good.
    End,
}

impl Writer {
    /// Opens the log in `directory`, continuing the last file at a fresh block.
    pub(crate) fn open(directory: &Path, settings: &LogSettings) -> io::Result<Self> {
        let number = numbers(directory)?.last().copied().unwrap_or(1);
        let file = open_file(directory, number)?;
        let end = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or_default();
        let mut writer = Self {
            directory: directory.to_path_buf(),
            settings: settings.clone(),
            file,
            number,
            offset: end,
            lost: 0,
        };
        if end % BLOCK as u64 != 0 {
            writer.start_block()?;
        }
        Ok(writer)
    }

    /// Room for payload in the current block, a new one (and a new file when due) begun if there is none.
    fn room(&mut self) -> io::Result<usize> {
        let used = usize::try_from(self.offset % BLOCK as u64).unwrap_or(0);
        if BLOCK - used <= HEADER {
            self.start_block()?;
        }
        if self
            .settings
            .max_size
            .is_some_and(|most| self.offset > 0 && self.offset + 1024 > most.max(BLOCK as u64))
        {
            self.rotate()?;
        }
        let used = usize::try_from(self.offset % BLOCK as u64).unwrap_or(0);
        Ok(BLOCK - used - HEADER)
    }

    /// The rest of the block becomes a hole, which readers skip.
    fn start_block(&mut self) -> io::Result<()> {
        self.offset = self.offset.next_multiple_of(BLOCK as u64);
        Ok(rustix::fs::ftruncate(&self.file, self.offset)?)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = open_file(&self.directory, self.number + 1)?;
        self.number += 1;
        self.offset = 0;
        let keep = u64::from(self.settings.max_files.unwrap_or(u32::MAX).max(1));
        for old in numbers(&self.directory)?
            .into_iter()
            .filter(|old| old + keep <= self.number)
        {
            std::fs::remove_file(file_of(&self.directory, old))?;
        }
        Ok(())
    }

    /// Reads one piece from `source` and appends it. `buffer` is a block of scratch memory.
    ///
    /// A full disk must not stop the container: what cannot be written is counted, and the count is written as soon
    /// as there is room again.
    pub(crate) fn take(
        &mut self,
        source: impl AsFd,
        stream: Stream,
        buffer: &mut [u8; BLOCK_SIZE],
    ) -> io::Result<Taken> {
        let room = self.room().unwrap_or(BLOCK - HEADER);
        let length = match rustix::io::read(&source, &mut buffer[HEADER..HEADER + room]) {
            Ok(0) | Err(Errno::IO) => return Ok(Taken::End),
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Taken::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let record = &mut buffer[..HEADER + length];
        seal(record, Kind::Output(stream), now());
        if !self.append(record) {
            self.lost += length as u64;
        } else if self.lost > 0 {
            self.confess();
        }
        Ok(Taken::Some)
    }

    /// Writes how much was lost.
    fn confess(&mut self) {
        let mut record = [0; HEADER + 8];
        record[HEADER..].copy_from_slice(&self.lost.to_le_bytes());
        seal(&mut record, Kind::Lost, now());
        if self.room().is_ok_and(|room| room >= 8) && self.append(&record) {
            self.lost = 0;
        }
    }

    /// Whether the record was written whole; otherwise the file is as before.
    fn append(&mut self, record: &[u8]) -> bool {
        let mut done = 0;
        while done < record.len() {
            match rustix::io::pwrite(&self.file, &record[done..], self.offset + done as u64) {
                Ok(0) => break,
                Ok(length) => done += length,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if done < record.len() {
            // A half record would be skipped by readers, but would also waste its block.
            let _ = rustix::fs::ftruncate(&self.file, self.offset);
            return false;
        }
        self.offset += record.len() as u64;
        true
    }
}

/// Size of the scratch memory [`Writer::take`] wants.
pub(crate) const BLOCK_SIZE: usize = BLOCK;

fn open_file(directory: &Path, number: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    Ok(rustix::fs::open(
        file_of(directory, number),
        flags,
        Mode::from_raw_mode(0o640),
    )?)
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
