//! Reading a log: lines in order, from any place, while it is being written and rotated.

use super::{
    Stream, file_of,
    frame::{BLOCK, Found, HEADER, Kind, open},
    numbers,
};
use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// A line longer than this comes in pieces, so that no container can make a reader use unbounded memory.
const LONGEST_PIECE: usize = 1 << 20;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory or one of its files.
    #[error("cannot open the log `{path}`")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// One of its files.
    #[error("cannot read the log `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// One line of output, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which output.
    pub stream: Stream,
    /// When it was read from the container, nanoseconds since 1970.
    pub time: i64,
    /// The line without its newline.
    pub bytes: Vec<u8>,
    /// The line goes on in the stream's next entry (or ended without a newline).
    pub partial: bool,
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Only the last so many lines of what is there now.
    pub tail: Option<usize>,
    /// Only lines at or after this time, nanoseconds since 1970.
    pub since: Option<i64>,
    /// Only lines before this time.
    pub until: Option<i64>,
}

/// Reads entries in the order they were written. Never blocks: [`next`](Self::next) gives `None` when there is nothing
/// more *now*; use a [`Watch`](super::Watch) to wait.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    options: ReaderOptions,
    /// File being read and its number.
    file: Option<(File, u64)>,
    offset: u64,
    /// What was read of the current block; `block[taken..]` lies at `offset` of the file.
    block: Vec<u8>,
    taken: usize,
    ready: VecDeque<Entry>,
    unfinished: [Unfinished; 2],
    lost: u64,
    damaged: u64,
}

#[derive(Debug, Default)]
struct Unfinished {
    time: i64,
    bytes: Vec<u8>,
}

impl Reader {
    /// Opens the log in `directory`.
    ///
    /// # Errors
    /// When it cannot be read; an empty directory is an empty log.
    pub fn open(directory: &Path, options: ReaderOptions) -> Result<Self, LogError> {
        let mut reader = Self {
            directory: directory.to_path_buf(),
            options,
            file: None,
            offset: 0,
            block: Vec::new(),
            taken: 0,
            ready: VecDeque::new(),
            unfinished: Default::default(),
            lost: 0,
            damaged: 0,
        };
        if let Some(since) = options.since {
            reader.skip_older_files(since)?;
        }
        if let Some(lines) = options.tail {
            reader.keep_last(lines)?;
        }
        Ok(reader)
    }

    /// A reader of what is written from now on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at_end(directory: &Path) -> Result<Self, LogError> {
        Self::open(
            directory,
            ReaderOptions {
                tail: Some(0),
                ..ReaderOptions::default()
            },
        )
    }

    /// The next line; `None` when there is no more now.
    ///
    /// # Errors
    /// When a file cannot be read. Damage inside one is skipped and counted ([`damaged`](Self::damaged)).
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would be fused by its users; this one goes on"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, LogError> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                if self.options.since.is_some_and(|since| entry.time < since) {
                    continue;
                }
                if self.options.until.is_some_and(|until| entry.time >= until) {
                    continue;
                }
                return Ok(Some(entry));
            }
            if !self.read_some()? {
                return Ok(None);
            }
        }
    }

    /// Hands out lines without an end as partial entries: for prompts, and when the container has ended.
    pub fn flush(&mut self) -> Vec<Entry> {
        let mut list = Vec::new();
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let unfinished = std::mem::take(&mut self.unfinished[index]);
            let asked = self.options.since.is_none_or(|since| unfinished.time >= since)
                && self.options.until.is_none_or(|until| unfinished.time < until);
            if asked && !unfinished.bytes.is_empty() {
                list.push(Entry {
                    stream,
                    time: unfinished.time,
                    bytes: unfinished.bytes,
                    partial: true,
                });
            }
        }
        list
    }

    /// Bytes the container wrote that no disk had room for, as far as read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Blocks with a damaged record, as far as read.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Reads one record or moves to the next block or file; false when there is nothing more now.
    fn read_some(&mut self) -> Result<bool, LogError> {
        if self.file.is_none() && !self.open_next(None)? {
            return Ok(false);
        }
        match open(&self.block[self.taken..]) {
            Found::Record(record, length) => {
                let (kind, time, payload) = (record.kind, record.time, record.payload.to_vec());
                self.taken += length;
                self.offset += length as u64;
                match kind {
                    Kind::Output(stream) => self.split_lines(stream, time, &payload),
                    Kind::Lost => {
                        let mut count = [0; 8];
                        let length = payload.len().min(8);
                        count[..length].copy_from_slice(&payload[..length]);
                        self.lost += u64::from_le_bytes(count);
                    }
                }
                Ok(true)
            }
            Found::Nothing => self.refill(),
        }
    }

    /// Reads more of the current block; when it has no more, goes to the next block or file, if there is one.
    fn refill(&mut self) -> Result<bool, LogError> {
        let Some((file, number)) = &self.file else {
            return Ok(false);
        };
        let number = *number;
        let fail = |cause| LogError::Read {
            path: file_of(&self.directory, number),
            cause,
        };
        let block_end = (self.offset + 1).next_multiple_of(BLOCK as u64);
        let at = self.offset + (self.block.len() - self.taken) as u64;
        let room = usize::try_from(block_end - at).unwrap_or(0);
        if room > 0 {
            let old = self.block.len();
            self.block.resize(old + room, 0);
            let length = file.read_at(&mut self.block[old..], at).map_err(fail)?;
            self.block.truncate(old + length);
            if length > 0 {
                return Ok(true);
            }
        }
        // Nothing more in this block now. Is there something after it?
        let size = file.metadata().map_err(fail)?.len();
        if size > block_end || (size == block_end && self.next_number(number)?.is_some()) {
            // Records never straddle: what is left here is a hole, the too-short end of a block, or damage.
            let rest = &self.block[self.taken..];
            let (hole, enough) = (rest.iter().all(|byte| *byte == 0), rest.len() > HEADER);
            // A writer may have completed this block between our read and our look at the size.
            if !hole && room == 0 && self.reread(block_end)? {
                return Ok(true);
            }
            if !hole && enough {
                self.damaged += 1;
            }
            self.offset = block_end;
            self.empty_block();
            return Ok(true);
        }
        if self.next_number(number)?.is_some() {
            // The writer has moved on; take what it wrote to this file last.
            if file.metadata().map_err(fail)?.len() > at {
                return Ok(true);
            }
            if self.block[self.taken..].iter().any(|byte| *byte != 0) {
                self.damaged += 1;
            }
            return self.open_next(Some(number));
        }
        Ok(false)
    }

    fn empty_block(&mut self) {
        self.block.clear();
        self.taken = 0;
    }

    /// Reads the rest of the block again; true when that made a record readable.
    fn reread(&mut self, block_end: u64) -> Result<bool, LogError> {
        let Some((file, number)) = &self.file else {
            return Ok(false);
        };
        let mut fresh = vec![0; usize::try_from(block_end - self.offset).unwrap_or(0)];
        let length = file
            .read_at(&mut fresh, self.offset)
            .map_err(|cause| LogError::Read {
                path: file_of(&self.directory, *number),
                cause,
            })?;
        fresh.truncate(length);
        let better = matches!(open(&fresh), Found::Record(..));
        self.block = fresh;
        self.taken = 0;
        Ok(better)
    }

    fn next_number(&self, after: u64) -> Result<Option<u64>, LogError> {
        // The usual case costs one look instead of a listing.
        if file_of(&self.directory, after + 1).exists() {
            return Ok(Some(after + 1));
        }
        Ok(self.numbers()?.into_iter().find(|number| *number > after))
    }

    fn numbers(&self) -> Result<Vec<u64>, LogError> {
        numbers(&self.directory).map_err(|cause| LogError::Open {
            path: self.directory.clone(),
            cause,
        })
    }

    /// Opens the first file after `after`; false when there is none.
    fn open_next(&mut self, after: Option<u64>) -> Result<bool, LogError> {
        // A file may be deleted between listing and opening: look again.
        for _ in 0..100 {
            let next = match after {
                Some(after) => self.next_number(after)?,
                None => self.numbers()?.first().copied(),
            };
            let Some(number) = next else { return Ok(false) };
            let path = file_of(&self.directory, number);
            match File::open(&path) {
                Ok(file) => {
                    self.file = Some((file, number));
                    self.offset = 0;
                    self.empty_block();
                    return Ok(true);
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(LogError::Open { path, cause }),
            }
        }
        Ok(false)
    }

    fn split_lines(&mut self, stream: Stream, time: i64, mut payload: &[u8]) {
        let unfinished = &mut self.unfinished[usize::from(stream == Stream::Stderr)];
        while !payload.is_empty() {
            if unfinished.bytes.is_empty() {
                unfinished.time = time;
            }
            let room = LONGEST_PIECE - unfinished.bytes.len().min(LONGEST_PIECE - 1);
            let newline = payload.iter().take(room).position(|byte| *byte == b'\n');
            let (line, rest, partial) = match newline {
                Some(end) => (&payload[..end], &payload[end + 1..], false),
                None if payload.len() >= room => (&payload[..room], &payload[room..], true),
                None => {
                    unfinished.bytes.extend_from_slice(payload);
                    return;
                }
            };
            let mut bytes = std::mem::take(&mut unfinished.bytes);
            bytes.extend_from_slice(line);
            self.ready.push_back(Entry {
                stream,
                time: unfinished.time,
                bytes,
                partial,
            });
            payload = rest;
        }
    }

    /// Starts at the last file whose first record is not younger than `since`.
    fn skip_older_files(&mut self, since: i64) -> Result<(), LogError> {
        let numbers = self.numbers()?;
        let mut start = None;
        for pair in numbers.windows(2) {
            if self.first_time(pair[1]).is_some_and(|time| time < since) {
                start = Some(pair[0]);
            }
        }
        if let Some(before) = start {
            self.open_next(Some(before))?;
        }
        Ok(())
    }

    fn first_time(&self, number: u64) -> Option<i64> {
        let file = File::open(file_of(&self.directory, number)).ok()?;
        let mut block = vec![0; BLOCK];
        let length = file.read_at(&mut block, 0).ok()?;
        match open(&block[..length]) {
            Found::Record(record, _) => Some(record.time),
            Found::Nothing => None,
        }
    }

    /// Leaves only the last `lines` of what is there now to be read, reading backwards only as far as needed.
    fn keep_last(&mut self, lines: usize) -> Result<(), LogError> {
        self.seek_back(lines)?;
        let mut last = VecDeque::new();
        while let Some(entry) = self.next()? {
            last.push_back(entry);
            if last.len() > lines {
                last.pop_front();
            }
        }
        let unfinished = self
            .unfinished
            .iter()
            .filter(|line| !line.bytes.is_empty())
            .count();
        for _ in 0..unfinished.min((last.len() + unfinished).saturating_sub(lines)) {
            last.pop_front();
        }
        if lines == 0 {
            // What was begun before belongs to the past; what follows of it is still shown.
            self.unfinished = Default::default();
        }
        self.ready = last;
        Ok(())
    }

    /// Goes to a block from which at least `lines` + 1 newlines follow, or to the very beginning.
    fn seek_back(&mut self, lines: usize) -> Result<(), LogError> {
        let mut newlines = 0;
        for number in self.numbers()?.into_iter().rev() {
            let path = file_of(&self.directory, number);
            let Ok(file) = File::open(&path) else { continue };
            let fail = |cause| LogError::Read {
                path: path.clone(),
                cause,
            };
            let size = file.metadata().map_err(fail)?.len();
            let mut start = size.saturating_sub(1) / BLOCK as u64 * BLOCK as u64;
            loop {
                let mut block = vec![0; BLOCK];
                let length = file.read_at(&mut block, start).map_err(fail)?;
                let mut rest = &block[..length];
                while let Found::Record(record, length) = open(rest) {
                    newlines += record.payload.iter().filter(|byte| **byte == b'\n').count();
                    rest = &rest[length..];
                }
                if newlines > lines {
                    self.file = Some((file, number));
                    self.offset = start;
                    self.empty_block();
                    return Ok(());
                }
                if start == 0 {
                    break;
                }
                start -= BLOCK as u64;
            }
        }
        Ok(())
    }
}
