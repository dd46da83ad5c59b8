//! What of a Rust file counts as the product's code: not its comments, and not the tests at its end.

/// Lines of code with their numbers. Rough on purpose: it cuts at `//`, also inside a string, which a rule about code can
/// bear, and at the first `#[cfg(test)]` that stands alone, after which only tests come.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let product = text.lines().take_while(|line| *line != "#[cfg(test)]");
    product.enumerate().map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
}

/// Whether `word` occurs and is not part of a longer word.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_no_code() {
        let text = "//! doc\nlet a = 1; // why\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(lines(text).collect::<Vec<_>>(), [(1, ""), (2, "let a = 1; ")]);
    }

    #[test]
    fn a_word_is_whole() {
        assert!(has_word("Instant::now()", "Instant"));
        assert!(!has_word("block_instantly", "instant"));
        assert!(!has_word("is_instant", "instant"));
    }
}
