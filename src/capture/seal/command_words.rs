//! A command line as words: blanks part them, single or double quotes keep blanks, and nothing else means anything. There
//! are no escapes, variables, patterns or pipes, for no shell sees it.

/// The words of a command line.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("has a quote that is not closed");
    }
    words.extend(word);
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("names no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_part_words_and_quotes_keep_blanks() {
        let cases: [(&str, Result<&[&str], &str>); 7] = [
            ("unwrap", Ok(&["unwrap"])),
            ("  a\tb \n c ", Ok(&["a", "b", "c"])),
            ("a 'b c' \"d 'e\" f'g h'i ''", Ok(&["a", "b c", "d 'e", "fg hi", ""])),
            ("a \\ $HOME * | `b`", Ok(&["a", "\\", "$HOME", "*", "|", "`b`"])),
            ("a 'b", Err("has a quote that is not closed")),
            (" ", Err("names no program")),
            ("'' a", Err("names no program")),
        ];
        for (line, wanted) in cases {
            let wanted = wanted.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(words(line), wanted, "{line}");
        }
    }
}
