//! Text that somebody else wrote, made fit for a terminal.

/// Text that somebody else wrote, such as the names in a component, so that it can neither end a line nor move the
/// cursor of a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::new();
    for character in text.chars() {
        // Also characters that turn the direction of writing.
        match character.is_control() || matches!(character, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            true => printable.extend(character.escape_default()),
            false => printable.push(character),
        }
    }
    printable
}
