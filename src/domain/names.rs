//! Whether a last name that somebody said is that of a name on file. Pure.
//!
//! Case, accents, punctuation and the alphabet do not matter: `Muller`, `Mueller` and `müller` are one name, and so are
//! `Petrova` and `Петрова`.

use unicode_normalization::UnicodeNormalization;

/// What people write for letters that they have no key for.
const WRITTEN_OUT: [(char, &str); 6] = [('ä', "ae"), ('ö', "oe"), ('ü', "ue"), ('å', "aa"), ('ø', "oe"), ('æ', "ae")];

/// Whether `said` is the last name of `name`: what its last words say together, or what stands before a comma. `Hagen` and
/// `von Hagen` are both last names of `Anna von Hagen`; `Anna` is none.
#[must_use]
pub fn is_last_name(said: &str, name: &str) -> bool {
    let said = spellings(said).map(|words| words.concat());
    if said.iter().any(String::is_empty) {
        return false;
    }
    let before_comma = name.split_once(',').map(|(last, _)| last);
    let names = before_comma.into_iter().chain(before_comma.is_none().then_some(name)).flat_map(spellings);
    names.into_iter().any(|words| {
        let whole = before_comma.is_some();
        let endings = (0..words.len()).filter(|first| !whole || *first == 0).map(|first| words[first..].concat());
        endings.into_iter().any(|ending| said.contains(&ending))
    })
}

/// The words of a text in plain letters, with accents left out and, beside that, with accents written out.
fn spellings(text: &str) -> [Vec<String>; 2] {
    let text: String = text.nfc().collect::<String>().to_lowercase();
    let written_out: String = text
        .chars()
        .map(|letter| match WRITTEN_OUT.iter().find(|(accented, _)| *accented == letter) {
            Some((_, plain)) => (*plain).to_owned(),
            None => letter.to_string(),
        })
        .collect();
    [plain_words(&text), plain_words(&written_out)]
}

fn plain_words(text: &str) -> Vec<String> {
    // Split before the letters are made plain, for some become several, with signs between them.
    let words = text.split(|letter: char| letter.is_whitespace() || letter == '-');
    let plain = words.map(|word| {
        let letters = deunicode::deunicode(word).to_lowercase();
        letters.chars().filter(char::is_ascii_alphanumeric).collect::<String>()
    });
    plain.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn last_names_are_known_however_they_are_spelled() {
        for (said, name) in [
            ("Lovelace", "Ada Lovelace"),
            ("LOVELACE", "ada lovelace"),
            (" lovelace ", "Ada  Lovelace"),
            ("Müller", "Jörg Mueller"),
            ("Mueller", "Jörg Müller"),
            ("Muller", "Jörg Müller"),
            ("Mu\u{308}ller", "Jörg Müller"),
            ("Åström", "Zoe Astrom"),
            ("Weiß", "Anna Weiss"),
            ("Lukasz", "Łukasz"),
            ("von Hagen", "Anna von Hagen"),
            ("Hagen", "Dr. Anna von Hagen"),
            ("obrien", "Conan O'Brien"),
            ("O’Brien", "Conan O'Brien"),
            ("Müller-Lüdenscheidt", "Karl Müller Lüdenscheidt"),
            ("García López", "Ana García López"),
            ("Lovelace", "Lovelace, Ada"),
            ("Petrova", "Ольга Петрова"),
            ("Madonna", "Madonna"),
            ("Ada Lovelace", "Ada Lovelace"),
        ] {
            assert!(is_last_name(said, name), "{said} of {name}");
        }
    }

    #[test]
    fn anything_else_is_no_last_name() {
        for (said, name) in [
            ("Ada", "Ada Lovelace"),
            ("Ada", "Lovelace, Ada"),
            ("ace", "Ada Lovelace"),
            ("L", "Ada Lovelace"),
            ("Love", "Ada Lovelace"),
            ("Maria", "Anna Maria von Hagen"),
            ("", "Ada Lovelace"),
            (" - ", "Ada Lovelace"),
            ("...", "..."),
            ("Byron", "Ada Lovelace"),
        ] {
            assert!(!is_last_name(said, name), "{said} of {name}");
        }
    }

    proptest! {
        #[test]
        fn a_last_word_is_a_last_name_in_any_case(first in "[A-Za-zÀ-ÿ]{1,12}", last in "[A-Za-zÀ-ÖØ-öø-ÿ]{1,20}") {
            let name = format!("{first} {last}");
            prop_assert!(is_last_name(&last, &name));
            prop_assert!(is_last_name(&last.to_uppercase(), &name));
        }

        #[test]
        fn no_text_is_too_odd(said in any::<String>(), name in any::<String>()) {
            let _either = is_last_name(&said, &name);
        }
    }
}
