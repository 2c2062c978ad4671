//! A command line in one string, split as docker compose splits it (go-shellwords without expansion): spaces separate,
//! single and double quotes group, a backslash takes the next character as it is. No shell is involved.

/// Splits `text`.
///
/// # Errors
/// The byte offset of a quote or backslash that is never completed.
pub(crate) fn split(text: &str) -> Result<Vec<String>, usize> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut started = false;
    let mut quote: Option<(char, usize)> = None;
    let mut characters = text.char_indices();
    while let Some((i, c)) = characters.next() {
        match (c, quote) {
            ('\\', None | Some(('"', _))) => {
                let Some((_, next)) = characters.next() else {
                    return Err(i);
                };
                if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
                started = true;
            }
            (c, Some((open, _))) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                quote = Some((c, i));
                started = true;
            }
            (' ' | '\t' | '\r' | '\n', None) => {
                if started {
                    words.push(std::mem::take(&mut word));
                    started = false;
                }
            }
            (c, None) => {
                word.push(c);
                started = true;
            }
        }
    }
    if let Some((_, at)) = quote {
        return Err(at);
    }
    if started {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_separated_by_spaces_and_grouped_by_quotes() {
        for (text, words) in [
            ("", &[][..]),
            ("a b  c", &["a", "b", "c"]),
            (" a\tb\n", &["a", "b"]),
            ("sh -c 'echo \"x y\"'", &["sh", "-c", "echo \"x y\""]),
            ("a \"b c\" d", &["a", "b c", "d"]),
            ("a\\ b c", &["a b", "c"]),
            ("''", &[""]),
            ("a''b", &["ab"]),
            ("x=\"1 2\"", &["x=1 2"]),
            ("é 'ü'", &["é", "ü"]),
        ] {
            assert_eq!(
                split(text).as_deref(),
                Ok(words
                    .iter()
                    .map(|w| (*w).to_owned())
                    .collect::<Vec<_>>()
                    .as_slice()),
                "{text}"
            );
        }
    }

    #[test]
    fn an_open_quote_is_refused_where_it_opens() {
        assert_eq!(split("a 'b"), Err(2));
        assert_eq!(split("\"a"), Err(0));
        assert_eq!(split("a\\"), Err(1));
    }
}
