//! The view, drawn on screens of characters.

use super::{
    draw::{self, Look},
    keys::Key,
    output::{Heard, Line},
    row::{Row, Tone, Use},
    view::{Asked, View},
};
use ratatui::{Terminal, backend::TestBackend, style::Color};

const NOW: i64 = 1_800_000_000;

fn row(service: &str, number: u32, state: &str) -> Row {
    let up = state == "running";
    Row {
        name: format!("{service}-{number}"),
        service: service.into(),
        number,
        id: format!("id-{service}-{number}"),
        state: state.into(),
        health: "",
        tone: if up { Tone::Good } else { Tone::Bad },
        up,
        paused: false,
        image: format!("{service}:1"),
        since: Some((NOW - 95) * 1_000_000_000),
        ports: String::new(),
        address: None,
        usage: up.then_some(Use {
            processor: Some(1.26),
            memory: 87 << 20,
            limit: None,
        }),
    }
}

fn shop() -> View {
    let mut view = View::new("shop");
    let mut web = row("web", 1, "running");
    (web.health, web.ports) = ("healthy", "8080→80".into());
    web.address = Some("http://localhost:8080".into());
    let mut none = row("worker", 0, "not created");
    none.name = "worker".into();
    (none.id, none.tone, none.since) = (String::new(), Tone::Quiet, None);
    let mut db = row("db", 1, "running");
    if let Some(usage) = &mut db.usage {
        usage.limit = Some(512 << 20);
    }
    view.take_rows(vec![db, row("job", 1, "exited (3)"), web, none]);
    hear(&mut view, &["ready for connections", "hello"]);
    view
}

fn hear(view: &mut View, lines: &[&str]) {
    let choice = view.new_choice().unwrap_or(1);
    let line = |text: &&str| Line {
        of: 0,
        text: (*text).to_owned(),
        error: false,
    };
    let lines = lines.iter().map(line).collect();
    view.take_lines(Heard { choice, lines });
}

fn draw(view: &mut View, width: u16, height: u16, colour: bool) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            view.fit(draw::parts(view, frame.area()));
            draw::draw(frame, view, Look { colour, now: NOW });
        })
        .unwrap();
    terminal.backend().clone()
}

/// What is drawn, without blanks at the ends of lines.
fn screen(view: &mut View, width: u16, height: u16) -> String {
    let drawn = draw(view, width, height, false);
    let buffer = drawn.buffer();
    let mut text = String::new();
    for y in 0..height {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn press(view: &mut View, keys: &str) -> Option<Asked> {
    keys.chars().filter_map(|key| view.press(Key::Char(key))).last()
}

fn words(asked: Option<Asked>) -> String {
    match asked {
        Some(Asked::Do(words) | Asked::Tell(words) | Asked::Hand(words)) => words.join(" "),
        asked => format!("{asked:?}"),
    }
}

#[test]
fn a_project_on_eighty_columns() {
    let mut view = shop();
    assert_eq!(
        screen(&mut view, 80, 14),
        " shop   2 of 4 running
     SERVICE  STATE           HEALTH        CPU    MEMORY  PORTS
>  ● db-1     running                      1.3%     87MiB
   ○ job-1    exited (3)
   ● web-1    running         healthy      1.3%     87MiB  8080→80
   ○ worker   not created
── db-1 ────────────────────────────────────────────────────────────────────────
 ready for connections
 hello




 r restart  s stop  u up  e shell  o open  w why  / filter  ? help  q leave
"
    );
}

#[test]
fn more_about_each_container_on_a_wide_screen() {
    let mut view = shop();
    let text = screen(&mut view, 140, 10);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1],
        "     SERVICE  STATE           HEALTH       SINCE     CPU               MEMORY  PORTS                   IMAGE"
    );
    assert_eq!(
        lines[2],
        ">  ● db-1     running                      1 min    1.3%       87MiB / 512MiB                          db:1"
    );
}

#[test]
fn nothing_is_lost_without_colours_and_colours_follow_the_states() {
    let mut view = shop();
    let plain = draw(&mut view, 80, 14, false);
    assert!(
        plain
            .buffer()
            .content()
            .iter()
            .all(|cell| cell.fg == Color::Reset)
    );
    let coloured = draw(&mut view, 80, 14, true);
    let colour = |y| coloured.buffer()[(3, y)].fg;
    assert_eq!(
        (colour(2), colour(3), colour(5)),
        (Color::Green, Color::Red, Color::Reset)
    );
}

#[test]
fn no_size_breaks_it() {
    for width in 0..40 {
        for height in 0..16 {
            let mut view = shop();
            press(&mut view, "jj ");
            draw(&mut view, width, height, true);
            view.press(Key::Enter);
            draw(&mut view, width, height, true);
            press(&mut view, "?");
            draw(&mut view, width, height, true);
        }
    }
}

#[test]
fn what_is_chosen_stays_chosen_while_replicas_come_and_go() {
    let mut view = shop();
    press(&mut view, "jj");
    assert_eq!(view.selected.as_deref(), Some("web-1"));
    let rows = |numbers: std::ops::RangeInclusive<u32>| {
        let mut rows = vec![row("api", 1, "running")];
        rows.extend(numbers.map(|number| row("web", number, "running")));
        rows
    };
    view.take_rows(rows(1..=5));
    assert_eq!(view.selected.as_deref(), Some("web-1"));
    press(&mut view, "jjjj");
    assert_eq!(view.selected.as_deref(), Some("web-5"));
    view.take_rows(rows(1..=2));
    assert_eq!(
        view.selected.as_deref(),
        Some("web-2"),
        "the neighbour of what vanished"
    );
    view.take_rows(Vec::new());
    assert_eq!(view.selected, None);
    assert!(screen(&mut view, 80, 10).contains("brings the project up"));
    view.take_rows(rows(1..=1));
    assert_eq!(view.selected.as_deref(), Some("api-1"));
}

#[test]
fn hundreds_of_services_scroll_and_the_chosen_one_is_in_sight() {
    let mut view = View::new("big");
    view.take_rows((1..=400).map(|number| row("web", number, "running")).collect());
    assert!(screen(&mut view, 80, 24).contains("> "));
    for key in [
        Key::Char('G'),
        Key::Up,
        Key::Up,
        Key::Home,
        Key::Down,
        Key::Char('G'),
    ] {
        view.press(key);
        let text = screen(&mut view, 80, 24);
        let chosen = view.selected.clone().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with('>'))
            .expect("a chosen line");
        assert!(line.contains(&format!(" {chosen} ")), "{chosen}:\n{text}");
    }
    assert_eq!(view.selected.as_deref(), Some("web-400"));
    // A smaller window.
    assert!(screen(&mut view, 80, 10).contains("● web-400 "));
}

#[test]
fn a_filter_narrows_as_it_is_typed() {
    let mut view = shop();
    press(&mut view, "/we");
    let text = screen(&mut view, 80, 12);
    assert!(
        text.contains("> ") && text.contains("web-1") && !text.contains("db-1  "),
        "{text}"
    );
    assert!(text.contains("only names with: we▏"), "{text}");
    // Letters are text now, not commands; afterwards they are commands again.
    assert_eq!(press(&mut view, "b"), None);
    view.press(Key::Enter);
    assert_eq!(words(press(&mut view, "r")), "restart web");
    view.press(Key::Escape);
    assert_eq!(view.shown().len(), 4);
    assert_eq!(view.selected.as_deref(), Some("web-1"));
    press(&mut view, "/nothing");
    assert!(screen(&mut view, 80, 12).contains("no name has this text"));
}

#[test]
fn keys_are_the_commands_that_could_be_typed() {
    let mut view = shop();
    press(&mut view, "jj");
    for (key, command) in [
        ("r", "restart web"),
        ("s", "stop web"),
        ("u", "up -d web"),
        ("p", "pause web"),
        ("w", "why web"),
    ] {
        assert_eq!(words(press(&mut view, key)), command);
    }
    assert!(words(press(&mut view, "e")).starts_with("exec --index 1 web sh -c "));
    assert_eq!(
        press(&mut view, "o"),
        Some(Asked::Open("http://localhost:8080".into()))
    );
    assert_eq!(press(&mut view, "q"), Some(Asked::Quit));
    assert_eq!(view.press(Key::Ctrl('c')), Some(Asked::Quit));
    // What cannot be done is said, and not tried.
    press(&mut view, "j");
    for key in ["r", "s", "e", "o"] {
        view.note = None;
        assert_eq!(press(&mut view, key), None, "{key}");
        assert!(view.note.as_ref().is_some_and(|note| note.bad), "{key}");
    }
    assert_eq!(words(press(&mut view, "u")), "up -d worker");
}

#[test]
fn output_of_several_is_shown_together_with_their_names() {
    let mut view = shop();
    press(&mut view, " j ");
    assert_eq!(
        view.to_follow(),
        [
            ("db-1".into(), "id-db-1".into()),
            ("web-1".into(), "id-web-1".into())
        ]
    );
    let choice = view.new_choice().expect("another choice");
    let line = |of, text: &str| Line {
        of,
        text: text.into(),
        error: of == 1,
    };
    let lines = vec![line(0, "query"), line(1, "request")];
    view.take_lines(Heard { choice, lines });
    // What was on its way for an earlier choice is not mixed in.
    view.take_lines(Heard {
        choice: choice - 1,
        lines: vec![line(0, "stale")],
    });
    let text = screen(&mut view, 80, 14);
    assert!(text.contains("── db-1, web-1 ──"), "{text}");
    assert!(text.contains(" db-1   query\n web-1  request\n"), "{text}");
    assert!(!text.contains("stale"));
}

#[test]
fn output_scrolled_back_stays_where_it_is_read() {
    let mut view = shop();
    let many: Vec<String> = (1..=100).map(|number| format!("line {number}")).collect();
    let lines: Vec<&str> = many.iter().map(String::as_str).collect();
    hear(&mut view, &lines);
    assert!(screen(&mut view, 80, 14).contains(" line 100\n"));
    view.press(Key::PageUp);
    let before = screen(&mut view, 80, 14);
    assert!(
        !before.contains(" line 100\n") && before.contains("more below"),
        "{before}"
    );
    let read = |text: &str| text.lines().skip(7).take(6).collect::<Vec<_>>().join("\n");
    hear(&mut view, &["line 101", "line 102"]);
    assert_eq!(read(&screen(&mut view, 80, 14)), read(&before));
    view.press(Key::End);
    assert!(screen(&mut view, 80, 14).contains(" line 102\n"));
    view.press(Key::Right);
    assert!(screen(&mut view, 80, 14).contains("from column 17"));
    // On the whole screen there is more of it.
    view.press(Key::Left);
    view.press(Key::Enter);
    let text = screen(&mut view, 80, 14);
    assert!(text.contains(" line 92\n") && !text.contains("SERVICE"), "{text}");
    for _ in 0..1000 {
        view.press(Key::PageUp);
    }
    assert!(
        screen(&mut view, 80, 14).contains(" ready for connections\n"),
        "not beyond the first line"
    );
}

#[test]
fn a_text_over_everything_scrolls_and_closes() {
    let mut view = shop();
    let text: String = (1..=50).map(|number| format!("cause {number}\n")).collect();
    view.show("why web", &text);
    let drawn = screen(&mut view, 80, 12);
    assert!(
        drawn.contains("── why web ──") && drawn.contains("cause 1\n"),
        "{drawn}"
    );
    assert!(!drawn.contains("SERVICE"), "{drawn}");
    // Keys of services do nothing to them here.
    view.press(Key::End);
    let drawn = screen(&mut view, 80, 12);
    assert!(drawn.contains("cause 50\n"), "{drawn}");
    assert_eq!(press(&mut view, "s"), None);
    assert!(view.panel.is_none(), "any other key closes it");
    press(&mut view, "?");
    assert!(screen(&mut view, 80, 24).contains("a shell in the container"));
}

#[test]
fn a_note_is_shown_in_the_corner_and_cut_to_fit() {
    let mut view = shop();
    view.say("restart web: done", false);
    let text = screen(&mut view, 80, 10);
    assert!(
        text.lines().next().unwrap().ends_with("restart web: done"),
        "{text}"
    );
    view.say("x".repeat(200), true);
    let text = screen(&mut view, 80, 10);
    assert!(text.lines().next().unwrap().ends_with("xxx…"), "{text}");
}
