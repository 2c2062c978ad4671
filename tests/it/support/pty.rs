//! A command in a terminal of its own, as a user at a keyboard has it.

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// What was shown: all of it up to a bound, and how much it was.
#[derive(Debug, Default)]
struct Screen {
    text: Vec<u8>,
    length: u64,
}

/// The terminal, and the command in it.
#[derive(Debug)]
pub(crate) struct Pty {
    keyboard: File,
    /// Held, so that its modes can be looked at when the command has ended.
    terminal: File,
    child: Child,
    screen: Arc<Mutex<Screen>>,
    before: Termios,
}

/// Bytes kept of what was shown.
const KEPT: usize = 1 << 20;

impl Pty {
    /// Starts it in 24 lines of 80 characters, as the leader of a session whose terminal this is (setsid(1) does that,
    /// so that Ctrl-C is a signal).
    pub(crate) fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || File::options().read(true).write(true).open(&name).unwrap();
        let terminal = open();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let mut wrapped = Command::new("setsid");
        wrapped
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped
            .env("TERM", "xterm")
            .current_dir(command.get_current_dir().unwrap());
        let child = wrapped
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        let (mut from, screen) = (
            keyboard.try_clone().unwrap(),
            Arc::new(Mutex::new(Screen::default())),
        );
        let shown = screen.clone();
        thread::spawn(move || {
            let mut bytes = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                let mut screen = shown.lock().unwrap();
                screen.length += length as u64;
                let room = KEPT.saturating_sub(screen.text.len()).min(length);
                screen.text.extend_from_slice(&bytes[..room]);
            }
        });
        Self {
            keyboard,
            terminal,
            child,
            screen,
            before,
        }
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the window another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.terminal, size).unwrap();
    }

    /// Everything shown so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap().text).into_owned()
    }

    /// How many bytes were shown.
    pub(crate) fn length(&self) -> u64 {
        self.screen.lock().unwrap().length
    }

    /// Waits until it was shown.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.text().contains(text) {
            assert!(
                Instant::now() < deadline,
                "`{text}` was not shown; this was:\n{}",
                self.text()
            );
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Hangs up: nobody is at the terminal any more. Gives the command, to be waited for.
    pub(crate) fn exit_status_within(&mut self, seconds: u64) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("it did not end in {seconds} s; this was shown:\n{}", self.text());
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for the end; the terminal must be as it was before.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> i32 {
        let status = self.exit_status_within(60);
        self.assert_restored();
        status
    }

    /// The terminal's modes are those from before.
    #[track_caller]
    pub(crate) fn assert_restored(&self) {
        let now = tcgetattr(&self.terminal).unwrap();
        assert_eq!(now.input_modes, self.before.input_modes, "input modes");
        assert_eq!(now.output_modes, self.before.output_modes, "output modes");
        assert_eq!(now.local_modes, self.before.local_modes, "local modes");
        let text = self.text();
        let (hidden, shown) = (text.rfind("\x1b[?25l"), text.rfind("\x1b[?25h"));
        assert!(hidden.is_none() || hidden < shown, "the cursor was left hidden");
    }

    /// Whether keys go straight through.
    pub(crate) fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.terminal).unwrap();
        now.local_modes != self.before.local_modes
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
