//! What a terminal shows after bytes: as much of one as full-screen views need (ECMA-48).

/// A screen of characters, as large as any that tests use.
#[derive(Debug)]
pub(crate) struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

const ROWS: usize = 60;
const COLUMNS: usize = 200;

impl Screen {
    /// After these bytes.
    pub(crate) fn after(bytes: &[u8]) -> Self {
        let mut screen = Self {
            cells: vec![vec![' '; COLUMNS]; ROWS],
            row: 0,
            column: 0,
        };
        let text = String::from_utf8_lossy(bytes);
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\x1b' => screen.sequence(&mut characters),
                '\r' => screen.column = 0,
                '\n' => screen.row = (screen.row + 1).min(ROWS - 1),
                character if character.is_control() => {}
                character => screen.put(character),
            }
        }
        screen
    }

    fn put(&mut self, character: char) {
        if let Some(cell) = self.cells[self.row].get_mut(self.column) {
            *cell = character;
            self.column += 1;
        }
    }

    fn sequence(&mut self, characters: &mut std::str::Chars<'_>) {
        if characters.next() != Some('[') {
            return;
        }
        let mut parameters = String::new();
        for character in characters.by_ref() {
            if ('\x40'..='\x7e').contains(&character) {
                return self.control(character, &parameters);
            }
            parameters.push(character);
        }
    }

    fn control(&mut self, what: char, parameters: &str) {
        match (what, parameters) {
            ('H', _) => {
                let mut numbers = parameters.split(';').map(|number| number.parse().unwrap_or(1));
                let mut next = |most: usize| numbers.next().unwrap_or(1_usize).clamp(1, most) - 1;
                (self.row, self.column) = (next(ROWS), next(COLUMNS));
            }
            // All of it erased; another screen, or the one from before.
            ('J', "2") | ('h' | 'l', "?1049") => self.cells = vec![vec![' '; COLUMNS]; ROWS],
            _ => {}
        }
    }

    /// Its lines, without blanks at their ends.
    pub(crate) fn text(&self) -> String {
        let lines = self.cells.iter().map(|line| {
            let line: String = line.iter().collect();
            line.trim_end().to_owned() + "\n"
        });
        lines.collect()
    }
}
