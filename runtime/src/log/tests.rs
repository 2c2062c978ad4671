use super::{
    frame::BLOCK,
    writer::{BLOCK_SIZE, Taken},
    *,
};
use std::{io::Write, os::fd::OwnedFd};

/// A log fed from a pipe, as the shim feeds it.
struct Fixture {
    place: tempfile::TempDir,
    writer: Writer,
    pipe: std::io::PipeReader,
    input: std::io::PipeWriter,
}

impl Fixture {
    fn new(settings: LogSettings) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (pipe, input) = std::io::pipe().unwrap();
        let reader: OwnedFd = pipe.try_clone().unwrap().into();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        Self {
            writer: Writer::open(place.path(), &settings).unwrap(),
            place,
            pipe,
            input,
        }
    }

    fn write(&mut self, stream: Stream, text: &[u8]) {
        for piece in text.chunks(BLOCK) {
            self.input.write_all(piece).unwrap();
            let mut buffer = [0; BLOCK_SIZE];
            while self.writer.take(&self.pipe, stream, &mut buffer).unwrap() == Taken::Some {}
        }
    }

    fn reader(&self, options: ReaderOptions) -> Reader {
        Reader::open(self.place.path(), options).unwrap()
    }

    fn lines(&self, options: ReaderOptions) -> Vec<String> {
        let mut reader = self.reader(options);
        let mut list = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            list.push(String::from_utf8(entry.bytes).unwrap());
        }
        list.extend(
            reader
                .flush()
                .into_iter()
                .map(|entry| String::from_utf8(entry.bytes).unwrap() + "…"),
        );
        list
    }
}

#[test]
fn lines_come_back_in_order_across_blocks() {
    let mut log = Fixture::new(LogSettings::default());
    let expected: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
    log.write(Stream::Stdout, (expected.join("\n") + "\n").as_bytes());
    assert_eq!(log.lines(ReaderOptions::default()), expected);
}

#[test]
fn streams_are_put_together_separately() {
    let mut log = Fixture::new(LogSettings::default());
    log.write(Stream::Stdout, b"one ");
    log.write(Stream::Stderr, b"err\nor");
    log.write(Stream::Stdout, b"line\n\n");
    assert_eq!(
        log.lines(ReaderOptions::default()),
        ["err", "one line", "", "or…"]
    );
}

#[test]
fn nul_bytes_and_ten_megabyte_lines_survive() {
    let mut log = Fixture::new(LogSettings::default());
    let long: Vec<u8> = (0..10 << 20)
        .map(|index: u32| if index.is_multiple_of(7) { 0 } else { b'x' })
        .collect();
    log.write(Stream::Stdout, &long);
    log.write(Stream::Stdout, b"\nnext\n");
    let mut reader = log.reader(ReaderOptions::default());
    let mut whole = Vec::new();
    loop {
        let entry = reader.next().unwrap().unwrap();
        whole.extend(entry.bytes);
        if !entry.partial {
            break;
        }
    }
    assert!(whole == long, "the long line is the same byte for byte");
    assert_eq!(reader.next().unwrap().unwrap().bytes, b"next");
}

#[test]
fn tail_gives_the_last_lines() {
    let mut log = Fixture::new(LogSettings {
        max_size: Some(BLOCK as u64),
        max_files: None,
    });
    for number in 0..9_000 {
        log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
    }
    let tail = |lines| {
        log.lines(ReaderOptions {
            tail: Some(lines),
            ..ReaderOptions::default()
        })
    };
    assert_eq!(tail(2), ["line 8998", "line 8999"]);
    assert_eq!(tail(0), [""; 0]);
    assert_eq!(tail(5_000).len(), 5_000);
    assert_eq!(tail(5_000)[0], "line 4000");
    assert_eq!(tail(100_000).len(), 9_000);
}

#[test]
fn a_reader_survives_rotation_and_sees_each_line_once() {
    let mut log = Fixture::new(LogSettings {
        max_size: Some(BLOCK as u64),
        max_files: Some(3),
    });
    let mut reader = log.reader(ReaderOptions::default());
    let mut seen = Vec::new();
    for number in 0..20_000 {
        log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        if number % 100 == 0 {
            while let Some(entry) = reader.next().unwrap() {
                seen.push(String::from_utf8(entry.bytes).unwrap());
            }
        }
    }
    while let Some(entry) = reader.next().unwrap() {
        seen.push(String::from_utf8(entry.bytes).unwrap());
    }
    assert_eq!(seen.len(), 20_000);
    assert!(
        seen.iter()
            .enumerate()
            .all(|(number, line)| *line == format!("line {number}"))
    );
    assert_eq!(numbers(log.place.path()).unwrap().len(), 3);
}

#[test]
fn a_torn_record_hides_nothing_that_follows() {
    let mut log = Fixture::new(LogSettings::default());
    log.write(Stream::Stdout, b"before\n");
    log.write(Stream::Stdout, b"torn\n");
    let path = file_of(log.place.path(), 1);
    let size = std::fs::metadata(&path).unwrap().len();
    // The last record lost its end, as after a power cut.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(size - 3)
        .unwrap();
    log.writer = Writer::open(log.place.path(), &LogSettings::default()).unwrap();
    log.write(Stream::Stdout, b"after\n");
    assert_eq!(log.lines(ReaderOptions::default()), ["before", "after"]);
}

#[test]
fn a_flipped_byte_costs_one_block_at_most() {
    let mut log = Fixture::new(LogSettings::default());
    for number in 0..4_000 {
        log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
    }
    let path = file_of(log.place.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = log.reader(ReaderOptions::default());
    let mut count = 0;
    let mut last = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        count += 1;
        last = entry.bytes;
    }
    assert_eq!(last, b"line 3999");
    assert_eq!(reader.damaged(), 1);
    assert!(count > 2_500, "{count} of 4000 lines are left");
}

#[test]
fn since_and_until_select_by_time() {
    let mut log = Fixture::new(LogSettings {
        max_size: Some(BLOCK as u64),
        max_files: None,
    });
    log.write(Stream::Stdout, b"old\n");
    let middle = super::writer::now();
    log.write(Stream::Stdout, b"new\n");
    assert_eq!(
        log.lines(ReaderOptions {
            since: Some(middle),
            ..ReaderOptions::default()
        }),
        ["new"]
    );
    assert_eq!(
        log.lines(ReaderOptions {
            until: Some(middle),
            ..ReaderOptions::default()
        }),
        ["old"]
    );
}
