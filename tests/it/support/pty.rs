//! A command in a terminal of its own, as a user at a keyboard has it.

use banyan_runtime::sys::poll::readable;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Set when nobody reads it any more.
    closed: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
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
        let mut wrapped = super::hearing(command, &["setsid", "--ctty", "--wait"]);
        wrapped.env("TERM", "xterm");
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
        let closed = Arc::new(AtomicBool::new(false));
        let asked = closed.clone();
        let reader = thread::spawn(move || {
            let mut bytes = vec![0; 64 << 10];
            loop {
                let [ready] = readable([from.as_fd()], Duration::from_millis(50)).unwrap();
                if asked.load(Ordering::SeqCst) {
                    return;
                }
                if !ready {
                    continue;
                }
                let Ok(length @ 1..) = from.read(&mut bytes) else {
                    return;
                };
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
            closed,
            reader: Some(reader),
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

    /// The command's process, found below the wrapper that made its session.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let wrapper = self.child.id();
        let path = format!("/proc/{wrapper}/task/{wrapper}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let pids: Vec<u32> = children.split_whitespace().flat_map(str::parse).collect();
        // Without a child the wrapper has become the command.
        if pids.is_empty() { vec![wrapper] } else { pids }
    }

    /// Sends a signal to the command.
    pub(crate) fn signal(&self, name: &str) {
        for pid in self.processes() {
            let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
            assert!(sent.unwrap().success());
        }
    }

    /// Nobody is at the terminal any more: its last descriptor outside of the command is closed, and the kernel hangs up.
    pub(crate) fn close(mut self) {
        let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
        (self.keyboard, self.terminal) = (null(), null());
        self.closed.store(true, Ordering::SeqCst);
        self.reader.take().unwrap().join().unwrap();
        self.exit_status_within(20);
    }

    /// The other screen was left, and the cursor shown.
    #[track_caller]
    pub(crate) fn assert_left_other_screen(&self) {
        self.last_shown("the other screen was not left", |text| {
            let (taken, left) = (text.rfind("\x1b[?1049h"), text.rfind("\x1b[?1049l"));
            taken.is_some() && taken < left
        });
    }

    /// The last bytes may still be on their way when the command has ended.
    #[track_caller]
    fn last_shown(&self, otherwise: &str, fine: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !fine(&self.text()) {
            assert!(Instant::now() < deadline, "{otherwise}");
            thread::park_timeout(Duration::from_millis(10));
        }
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

    /// What a full-screen view shows now.
    pub(crate) fn view(&self) -> String {
        super::screen::Screen::after(&self.screen.lock().unwrap().text).text()
    }

    /// Waits until a full-screen view shows it.
    #[track_caller]
    pub(crate) fn wait_to_see(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.view().contains(text) {
            assert!(
                Instant::now() < deadline,
                "`{text}` is not to be seen; this is:\n{}",
                self.view()
            );
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Hangs up: nobody is at the terminal any more. Gives the command, to be waited for.
    pub(crate) fn exit_status_within(&mut self, seconds: u64) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.take_the_rest();
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("it did not end in {seconds} s; this was shown:\n{}", self.text());
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// What was written last may still lie in the terminal when its writer has ended.
    fn take_the_rest(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            let [more] = readable([self.keyboard.as_fd()], Duration::ZERO).unwrap();
            // The reader may just have taken it, and not put it down yet.
            thread::park_timeout(Duration::from_millis(20));
            if !more {
                return;
            }
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
        self.last_shown("the cursor was left hidden", |text| {
            let (hidden, shown) = (text.rfind("\x1b[?25l"), text.rfind("\x1b[?25h"));
            hidden.is_none() || hidden < shown
        });
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
