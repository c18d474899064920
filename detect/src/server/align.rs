//! Which tokens make up a text.
//!
//! A server's tokens and its text do not always agree: the end of the text may come as a token, thoughts may be cut out of the text but not out
//! of the tokens, a letter may be spread over several tokens. The tokens of a record are those of its text, and the end is no part of it, as in
//! records of the engine.

use std::ops::Range;

/// The tokens within a text, and the part of the text that each makes up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Aligned {
    /// Which tokens.
    pub(super) tokens: Range<usize>,
    /// Their texts; joined they are the text.
    pub(super) texts: Vec<String>,
}

/// Texts of tokens from their bytes. A letter that is spread over several tokens is given whole to the one that completes it; bytes that are no
/// letter become U+FFFD.
pub(super) fn texts_of(tokens: &[&[u8]]) -> Vec<String> {
    let mut begun = Vec::new();
    let mut texts: Vec<String> = tokens
        .iter()
        .map(|bytes| {
            begun.extend_from_slice(bytes);
            let whole = begun.len() - unfinished(&begun);
            let rest = begun.split_off(whole);
            String::from_utf8_lossy(&std::mem::replace(&mut begun, rest)).into_owned()
        })
        .collect();
    if let Some(last) = texts.last_mut() {
        last.push_str(&String::from_utf8_lossy(&begun));
    }
    texts
}

/// Bytes at the end that may be the beginning of a letter.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map(|chunk| chunk.invalid()).unwrap_or_default();
    let may_go_on = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if may_go_on { last.len() } else { 0 }
}

/// The tokens that make up `text`: the last such run of them, or all, where only letters in pieces are missing; `None` where neither does.
pub(super) fn align(text: &str, tokens: &[String]) -> Option<Aligned> {
    let joined = tokens.concat();
    let Some(start) = joined.rfind(text) else { return filled(text, tokens) };
    let end = start + text.len();
    let mut at = 0;
    let places: Vec<Range<usize>> = tokens
        .iter()
        .map(|token| {
            at..{
                at += token.len();
                at
            }
        })
        .collect();
    let within = |place: &Range<usize>| {
        if place.is_empty() { start <= place.start && place.end < end } else { place.start < end && start < place.end }
    };
    let first = places.iter().position(&within).unwrap_or(0);
    let kept: Vec<&Range<usize>> = places[first..].iter().take_while(|place| within(place)).collect();
    let texts = kept.iter().map(|place| joined[place.start.max(start)..place.end.min(end)].to_owned()).collect();
    Some(Aligned { tokens: first..first + kept.len(), texts })
}

/// All tokens, where some servers leave out letters that are spread over several: what stands between two texts goes to the last token without
/// a text there.
fn filled(text: &str, tokens: &[String]) -> Option<Aligned> {
    let (mut texts, mut rest, mut gap) = (vec![String::new(); tokens.len()], text, None);
    for (place, token) in tokens.iter().enumerate() {
        if token.trim_matches('\u{fffd}').is_empty() {
            gap = Some(place);
            continue;
        }
        let (before, after) = rest.split_once(token.as_str())?;
        fill(&mut texts, gap.take(), before)?;
        token.clone_into(texts.get_mut(place)?);
        rest = after;
    }
    fill(&mut texts, gap, rest)?;
    Some(Aligned { tokens: 0..tokens.len(), texts })
}

/// Gives a missing part to the token that stands for it; `None` where there is a part and no such token.
fn fill(texts: &mut [String], gap: Option<usize>, part: &str) -> Option<()> {
    if part.is_empty() {
        return Some(());
    }
    part.clone_into(texts.get_mut(gap?)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owned(tokens: &[&str]) -> Vec<String> {
        tokens.iter().map(|&token| token.to_owned()).collect()
    }

    fn aligned(text: &str, tokens: &[&str]) -> Option<(Range<usize>, Vec<String>)> {
        align(text, &owned(tokens)).map(|aligned| (aligned.tokens, aligned.texts))
    }

    #[test]
    fn the_end_of_the_text_and_thoughts_are_no_part_of_it() {
        assert_eq!(aligned("Paris.", &["Paris", ".", "</s>"]), Some((0..2, owned(&["Paris", "."]))));
        assert_eq!(aligned("Paris.", &["Paris", ".", ""]), Some((0..2, owned(&["Paris", "."]))));
        assert_eq!(
            aligned("Paris", &["<think>", "Paris?", "</think>\n\n", "Par", "is", "<|im_end|>"]),
            Some((3..5, owned(&["Par", "is"])))
        );
        assert_eq!(aligned("Paris", &[" Par", "is"]), Some((0..2, owned(&["Par", "is"]))), "the server has cut the blank");
        assert_eq!(aligned("", &["</s>"]), Some((0..0, vec![])));
        assert_eq!(aligned("", &[]), Some((0..0, vec![])));
        assert_eq!(aligned("Rome", &["Paris"]), None);
    }

    #[test]
    fn a_letter_in_pieces_belongs_to_the_token_that_completes_it() {
        let snowman = "☃".as_bytes();
        assert_eq!(texts_of(&[b"a", &snowman[..1], &snowman[1..], b"b"]), ["a", "", "☃", "b"]);
        assert_eq!(aligned("☃b", &["", "☃", "b", ""]), Some((0..3, owned(&["", "☃", "b"]))));
        assert_eq!(texts_of(&[&snowman[..2]]), ["\u{fffd}"], "cut off in the middle");
        assert_eq!(texts_of(&[b"\xff", b"a"]), ["\u{fffd}", "a"]);
        assert_eq!(texts_of(&[]), [""; 0]);
    }

    #[test]
    fn letters_that_a_server_leaves_out_are_put_back() {
        assert_eq!(aligned("a☃b", &["a", "", "", "b"]), Some((0..4, owned(&["a", "", "☃", "b"]))));
        assert_eq!(aligned("☃é", &["\u{fffd}", "é"]), Some((0..2, owned(&["☃", "é"]))));
        assert_eq!(aligned("a☃", &["a", "", ""]), Some((0..3, owned(&["a", "", "☃"]))));
        assert_eq!(aligned("a☃b", &["a", "b"]), None, "no token stands for it");
    }

    proptest! {
        #[test]
        fn what_is_put_back_joins_to_the_text(text in "[a☃é]{0,8}", cuts in prop::collection::vec(0usize..24, 0..6)) {
            let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            places.sort_unstable();
            let piece = |pair: &[usize]| text.get(pair[0]..pair[1]).unwrap_or_default().to_owned();
            let tokens: Vec<String> = places.windows(2).map(piece).collect();
            if let Some(aligned) = align(&text, &tokens) {
                prop_assert_eq!(aligned.texts.concat(), text);
            }
        }

        #[test]
        fn any_cut_of_a_text_joins_to_it(text in any::<String>(), cuts in prop::collection::vec(0usize..64, 0..8)) {
            let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let texts = texts_of(&pieces);
            prop_assert_eq!(texts.concat(), text.clone());
            let aligned = align(&text, &texts).expect("it is its own part");
            prop_assert_eq!(aligned.texts.concat(), text);
        }
    }
}
